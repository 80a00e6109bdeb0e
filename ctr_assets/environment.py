"""Environment variables: what a machine says about itself. ``ctr.yaml`` says the rest."""

import os


def variable(name: str, default: str) -> str:
    """Value of a variable; the default where it is not set, or empty."""
    return os.environ[name] if os.environ.get(name) else default
