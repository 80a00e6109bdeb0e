"""The manual file of a curator's decisions: entries on top, their cells below."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ctr_engine.io.atomic import whole_file, write_text

HEADER = """\
# Overrides of a curator. `cells` holds the cells that each cluster had when it was decided on, so
# that a decision finds its cluster again after another clustering, whatever that calls it.
"""


_OTHER_BREAKS = "\x85\u2028\u2029"
"""What YAML takes for the end of a line in a block, and turns into another one."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_block = "\n" in text and not any(mark in text for mark in _OTHER_BREAKS)
    style = "|" if is_block else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write_manual(content: dict[str, Any], path: Path) -> Path | None:
    """Write a manual file; gives the place where an earlier one was kept."""
    kept = None
    if path.exists():
        kept = _free(path)
        with whole_file(kept) as temporary:
            shutil.copyfile(path, temporary)
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    write_text(path, HEADER + text)
    return kept


def _free(path: Path) -> Path:
    """Give a name for a copy that no earlier copy has."""
    names = (f"{path.name}.bak{number if number > 1 else ''}" for number in count(1))
    return next(place for name in names if not (place := path.with_name(name)).exists())
