"""The picture of a cohort: what each sample consists of, tissue by tissue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctr_engine.keys import UNASSIGNED
from ctr_engine.reporting.drawing import (
    SMALL,
    SOFT,
    WORDS,
    Style,
    largest,
    many,
    shown,
    styles,
    text_width,
    told_apart,
    widest,
)
from ctr_engine.reporting.sheet import MARGIN, Sheet, fill, message
from ctr_engine.tables import natural_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TISSUES, MOST_LABELS, MOST_BARS = 8, 16, 500
_MANY, _FEW_LABELS = 100, 10
_TITLE = "What each sample consists of"
_WIDTH, _LEFT, _BAR, _HEAD, _GAP = 6.0, 0.42, 0.75, 0.22, 0.14
_WIDEST, _NAMED, _APART = 0.42, 0.13, 0.04
_LETTERS = 12
_OTHERS = Style("#5F5F5F")


@dataclass(frozen=True)
class _Strip:
    """The bars of one tissue: shares (one row per sample, one column per label) in their order."""

    tissue: str
    n_samples: int
    n_cells: int
    shares: pd.DataFrame
    named: bool

    @property
    def pitch(self) -> float:
        """Width of a bar, in inches."""
        return min(_WIDTH / len(self.shares), _WIDEST)

    @property
    def names(self) -> list[str]:
        """Names below the bars; none where they would not fit."""
        return [shown(str(name), _LETTERS) for name in self.shares.index] if self.named else []

    @property
    def height(self) -> float:
        """Height with heading, bars and names, in inches."""
        return _HEAD + _BAR + (widest(self.names) + 0.07 if self.named else 0.0) + _GAP


def label_shares(summary: pd.DataFrame) -> "Figure":
    """Bars of the labels of each sample, from 0 to 100 % of its cells, one strip per tissue.

    Samples stand in the order of their names as long as these fit below the bars, else by the share
    of the commonest label of the tissue. Beyond 8 tissues those with the most samples are drawn,
    beyond 500 samples some, evenly from each row. The rarest labels are drawn as one: beyond 16,
    and beyond 10 where there are more than 100 samples.

    Parameters
    ----------
    summary
        ``cohort_summary``.
    """
    if summary.empty:
        return message(_TITLE, "no sample has labels")
    table = summary.assign(label=_labels(summary))
    tissues = [(str(name), rows) for name, rows in table.groupby("tissue", sort=True)]
    sizes = [rows["sample"].nunique() for _, rows in tissues]
    chosen = largest(sizes, MOST_TISSUES)
    most = _most_bars([sizes[i] for i in chosen])
    strips = [_strip(*tissues[i], most) for i in chosen]
    order = _order(table)
    looks = _looks(order)
    sheet = Sheet(
        _LEFT + _WIDTH + 0.2,
        sum(strip.height for strip in strips),
        title=_TITLE,
        note=_note(sum(sizes), len(tissues), len(strips)),
        key=[(shown(name), looks[name]) for name in order],
        bottom=0.02,
    )
    top = 0.0
    for strip in strips:
        _draw(sheet, strip, looks, top)
        top += strip.height
    return sheet.figure


def _labels(summary: pd.DataFrame) -> pd.Series:
    """Name of the label in each row; the rarest have one together, if there are too many."""
    path = summary["cell_type_path"].where(summary["cell_type_path"] != "", summary["cell_type"])
    names = told_apart(dict(zip(path, summary["cell_type"], strict=True)))
    labels = path.map(names)
    order = _order(summary.assign(label=labels))
    n_samples = len(summary[["tissue", "sample"]].drop_duplicates())
    most = MOST_LABELS if n_samples <= _MANY else _FEW_LABELS
    if len(order) <= most:
        return labels
    rest = [name for name in order if name != UNASSIGNED][most - 2 :]
    return labels.where(~labels.isin(rest), f"{len(rest)}\u00a0other labels")


def _order(table: pd.DataFrame) -> list[str]:
    """Labels from the bottom of a bar upwards: the commonest first, Unassigned last."""
    shares = table["share"].groupby(table["label"]).sum()
    return sorted(map(str, shares.index), key=lambda name: (_last(name), -shares[name], name))


def _most_bars(sizes: Sequence[int]) -> int:
    """Bars that a strip may have, so that there are not too many in all."""
    return next(
        most for most in range(MOST_BARS, 0, -1) if sum(min(n, most) for n in sizes) <= MOST_BARS
    )


def _last(name: str) -> int:
    return 2 if name == UNASSIGNED else int(_is_rest(name))


def _is_rest(name: str) -> bool:
    return name.endswith("\u00a0other labels")


def _looks(order: Sequence[str]) -> dict[str, Style]:
    looks = styles(name for name in order if not _is_rest(name))
    return {name: _OTHERS if _is_rest(name) else looks[name] for name in order}


def _strip(tissue: str, rows: pd.DataFrame, most: int) -> _Strip:
    shares = rows.pivot_table("share", "sample", "label", aggfunc="sum", fill_value=0.0)
    shares = shares[_order(rows)]
    named = len(shares) * _NAMED <= _WIDTH
    if named:
        shares = shares.loc[sorted(shares.index, key=natural_key)]
    else:
        shares = shares.sort_values(shares.columns[0], ascending=False, kind="stable")
    n_cells = int(rows["n_cells"].sum())
    chosen = np.linspace(0, len(shares) - 1, min(len(shares), most)).round().astype(int)
    return _Strip(tissue, len(shares), n_cells, shares.iloc[chosen], named)


def _note(n_samples: int, n_tissues: int, n_drawn: int) -> str:
    text = f"{many(n_samples, 'sample')} of {many(n_tissues, 'tissue')}; "
    text += "a bar is a sample, 0 to 100 % of its cells"
    if n_drawn < n_tissues:
        text += f"; the {n_drawn} tissues with the most samples"
    return text


def _draw(sheet: Sheet, strip: _Strip, looks: Mapping[str, Style], top: float) -> None:
    _head(sheet, strip, sheet.top + top + _HEAD / 2)
    n = len(strip.shares)
    axes = sheet.axes(_LEFT, strip.pitch * n, top=top + _HEAD, height=_BAR)
    axes.set(xlim=(0, n), ylim=(0, 100), yticks=(0, 50, 100))
    axes.spines[:].set_visible(False)
    lower = np.zeros(n)
    for name in strip.shares:
        upper = lower + 100 * strip.shares[name].to_numpy()
        part = axes.stairs(upper, np.arange(n + 1), baseline=lower, fill=True)
        fill(part, looks[str(name)])
        part.set_antialiased(False)  # mixed colours at the edges would double the size of the file
        lower = upper
    if strip.pitch > _APART:
        axes.vlines(range(1, n), 0, 100, color="white", linewidth=min(1.0, 8 * strip.pitch))
    axes.tick_params(axis="x", length=0, pad=1.5)
    places: list[Any] = [i + 0.5 for i in range(len(strip.names))]
    axes.set_xticks(places, strip.names, rotation=90, fontsize=SMALL)


def _head(sheet: Sheet, strip: _Strip, middle: float) -> None:
    name = shown(strip.tissue, 30)
    sheet.text(MARGIN, middle, name, WORDS, weight="bold")
    cut = f" ({len(strip.shares)} drawn)" if len(strip.shares) < strip.n_samples else ""
    told = f"{many(strip.n_samples, 'sample')}{cut}, {many(strip.n_cells, 'cell')}"
    left = MARGIN + text_width(name, WORDS, bold=True) + 0.12
    sheet.text(left, middle, told, SMALL, color=SOFT)
