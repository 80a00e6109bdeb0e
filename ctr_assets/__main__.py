"""``python -m ctr_assets`` is ``ctr``."""

from ctr_assets.cli import main

main()
