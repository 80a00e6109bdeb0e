"""What the figures of a report share: colours, and names that are drawn as they are."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ctr_engine.keys import UNASSIGNED

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
NO_LABEL = "#BFBFBF"
"""Grey of Unassigned; a darker one looks like Okabe and Ito's purple in deuteranopia."""
INK, SOFT, PALE = "#222222", "#666666", "#F2F2F2"
OKABE_ITO = (
    BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
LONG_PALETTE = (
    *OKABE_ITO,
    # each as far from the others, from grey and from white as Okabe and Ito's are, also as
    # Machado's (2009) deuteranopia, protanopia and tritanopia show them
    "#5A0F00", "#000087", "#A5004B", "#2D00E1", "#A569FF", "#3C0F4B",
    "#87F0A5", "#5A3C87", "#C31E00", "#87C378", "#964B87", "#D20FB4",
)  # fmt: skip
MARKERS = "osD^vPX"
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oooo")
TITLE, WORDS, SMALL = 9.5, 7.5, 7.0
_HINTED = 1.07  # letters are moved to whole pixels: the outlines are up to 6 % narrower at 72 dpi
_MOST_LETTERS = 40


@dataclass(frozen=True)
class Style:
    """How one category looks: as a point, or as a filled shape."""

    colour: str
    hatch: str = ""
    marker: str = "o"


TWO_ROOTS = Style("#8A8A8A", "////")
"""The look of clusters whose best two roots are too close."""


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Give each name a look of its own, the first ones Okabe and Ito's colours.

    Colours come again after 20 names, with another marker and hatch. ``Unassigned`` is grey.
    """
    known = [name for name in dict.fromkeys(names) if name != UNASSIGNED]
    looks = {}
    for i, name in enumerate(known):
        turn = i // len(LONG_PALETTE) % len(MARKERS)
        looks[name] = Style(LONG_PALETTE[i % len(LONG_PALETTE)], HATCHES[turn], MARKERS[turn])
    return {**looks, UNASSIGNED: Style(NO_LABEL)}


def plain(text: str) -> str:
    """Write a name so that it is drawn as it is: no formula, and no sign that the font lacks."""
    one_line = " ".join(text.split())
    known = _signs()
    shown = "".join(sign if _can_be_drawn(sign, known) else "□" for sign in one_line)
    return shown.replace("$", r"\$")


def shorten(text: str, most: int = _MOST_LETTERS) -> str:
    """Cut a long text in the middle, where names of cell types differ least."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (most - head - 1) :].lstrip()}"


def shown(text: str, most: int = _MOST_LETTERS) -> str:
    """Shorten a name and write it so that it is drawn as it is."""
    return plain(shorten(" ".join(text.split()), most))


def told_apart(labels: Mapping[str, str]) -> dict[str, str]:
    """Name each path by its label; labels that several paths share get the path before them.

    Parameters
    ----------
    labels
        Label by path.
    """
    values = list(labels.values())
    return {
        path: label if values.count(label) == 1 or path == label else f"{label} ({_above(path)})"
        for path, label in labels.items()
    }


def _above(path: str) -> str:
    return path.rpartition(" / ")[0] or path


def many(n: int, word: str) -> str:
    """Number and noun, the noun in the plural where it has to be."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def percent(share: float) -> str:
    """Write a share as a percentage; no share but 0 is 0 %, none but 1 is 100 %."""
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 <= share < 1:
        return ">99.9 %"
    whole = share in (0, 1) or 0.0995 <= share < 0.995
    return f"{100 * share:.0f} %" if whole else f"{100 * share:.1f} %"


def text_width(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """Width of a text that is ready to be drawn, in inches."""
    return _width(text, bold, _font_file(bold=bold)) * size if text.strip() else 0.0


def widest(texts: Iterable[str], size: float = SMALL) -> float:
    """Width of the widest text, in inches."""
    return max((text_width(text, size) for text in texts), default=0.0)


def ink_on(colour: Any) -> str:
    """Colour of a text on a surface of that colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else INK


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """Mix a colour with white; ``share`` of the result is white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (part + (1 - part) * share for part in to_rgb(colour))
    return red, green, blue


def largest(sizes: Sequence[float], most: int) -> list[int]:
    """Places of the ``most`` largest, in the order in which they stand; of equals the first."""
    by_size = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    return sorted(by_size[:most])


def _can_be_drawn(sign: str, known: Any) -> bool:
    return unicodedata.category(sign)[0] != "C" and known.get_char_index(ord(sign)) != 0


@lru_cache(maxsize=10_000)
def _width(text: str, bold: bool, _font: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight="bold" if bold else "normal")
    drawn = TextPath((0, 0), text, size=100, prop=font)
    return _HINTED * float(drawn.get_extents().x1) / 7200


def _signs() -> Any:
    return _font(_font_file())


def _font_file(*, bold: bool = False) -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties(weight="bold" if bold else "normal")))


@lru_cache(maxsize=4)
def _font(file: str) -> Any:
    from matplotlib.font_manager import get_font

    return get_font(file)
