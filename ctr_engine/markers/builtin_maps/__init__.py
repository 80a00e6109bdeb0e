"""Marker maps that come with the package, one JSON file per tissue, to start from and edit."""

from difflib import get_close_matches
from importlib.resources import files

from ctr_engine.errors import ParameterError

_SUFFIX = ".json"


def builtin_tissues() -> tuple[str, ...]:
    """Names of the built-in maps, in alphabetical order."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def builtin_name(tissue: str) -> str:
    """Give the name of a built-in map as its file spells it.

    Parameters
    ----------
    tissue
        The name; case, spaces or underscores for hyphens and American spelling do not matter.

    Raises
    ------
    ParameterError
        If there is no such map; it lists those that there are and the nearest.
    """
    known = builtin_tissues()
    name = "-".join(tissue.casefold().replace("_", " ").replace("-", " ").split())
    name = name.replace("tumor", "tumour")
    if name in known:
        return name
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    msg = f"There is no built-in marker map {tissue!r}. {hint}There are: {', '.join(known)}."
    raise ParameterError(msg)


def builtin_map_text(tissue: str) -> str:
    """Content of a built-in map, JSON.

    Raises
    ------
    ParameterError
        If there is no such map.
    """
    return files(__name__).joinpath(builtin_name(tissue) + _SUFFIX).read_text(encoding="utf-8")
