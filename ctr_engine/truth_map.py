"""Which cell type of the marker map each known label stands for."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.hierarchy import MarkerMap

_MOST = 5


def truth_paths(document: Document, labels: Sequence[str], marker_map: MarkerMap) -> dict[str, str]:
    """Read the path of each known label; empty where the file says not to score it.

    Parameters
    ----------
    document
        An object: known label to a cell type, given as its label, its path (``A / B``) or the list
        of labels on it; null for cells that are not to be scored.
    labels
        Known labels of the sample; each must be in the file.

    Raises
    ------
    ConfigError
        With every label that is missing, and every cell type that the map does not have.
    """
    if not isinstance(document.value, Mapping):
        fault = Fault('is no object; write {"known label": "cell type of the map", ...}')
        raise ConfigError(document.source, [fault])
    found, faults = {}, []
    for label, given in document.value.items():
        path, problem = _path(given, marker_map)
        if problem:
            faults.append(Fault(problem, str(label), document.line((label,))))
        found[str(label)] = path
    missing = sorted(set(labels) - set(found))
    if missing:
        shown = ", ".join(map(repr, missing[:_MOST])) + (", ..." if len(missing) > _MOST else "")
        many = (
            "1 label of the sample is"
            if len(missing) == 1
            else f"{len(missing)} labels of the sample are"
        )
        message = (
            f"{many} not in the file: {shown}. Name the cell type of each, or null to leave its "
            "cells out"
        )
        faults.append(Fault(message))
    if faults:
        raise ConfigError(document.source, faults)
    return found


def _path(given: Any, marker_map: MarkerMap) -> tuple[str, str]:
    """Path of a cell type as the file names it, and what is wrong with it."""
    if given is None:
        return "", ""
    if isinstance(given, list) and all(isinstance(part, str) for part in given) and given:
        given = PATH_SEPARATOR.join(given)
    if not isinstance(given, str):
        return "", f"{given!r} is no cell type: write a label, a path, a list of labels, or null"
    if given in marker_map.row_of:
        return given, ""
    paths = [node.path for node in marker_map.nodes if node.label == given]
    if len(paths) == 1:
        return paths[0], ""
    if paths:
        return "", f"{given!r} is several cell types; write the path of one: {', '.join(paths)}"
    known = [*marker_map.row_of, *(node.label for node in marker_map.nodes)]
    near = get_close_matches(given, known, n=3)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return "", f"the marker map has no cell type {given!r}{hint}"
