"""Old against new: how far each compared check moved since the baseline, in units of its margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html import vega
from embcheck.reports.html.pictures.registry import figure
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from embcheck.checks.record import ModelRecord, ResultRecord
    from embcheck.reports.html.pictures.registry import Figure

_FAR = 5.0
_TONES = {"match": "var(--noise)", "improved": "var(--s2)", "regressed": "var(--s1)", "undecided": "var(--s4)"}


def moved(model: ModelRecord) -> Iterator[Figure]:
    """The changes of one model's checks; none where nothing was compared."""
    rows = sorted(_rows(model.results), key=lambda row: -abs(row["v"]))
    if not rows:
        return
    span = {"domain": [-_FAR, _FAR], "nice": False}
    up = vega.named(rows, limit=260)
    layers = [
        vega.band("within the margin", "change since the baseline, in margins", scale=span),
        vega.rule(0.0, "no change"),
        vega.layer(
            {"type": "rule", "strokeWidth": 3},
            rows,
            x=vega.x("low", scale=span),
            x2={"field": "high"},
            y=up,
            color=vega.COLOUR,
        ),
        vega.points(rows, 55, x=vega.x("v", scale=span), y=up),
    ]
    caption = "New minus old in units of each check's margin, with its interval; inside the band nothing has changed."
    yield figure(vega.chart(layers, width=230, height=20 * len(rows)), model.alias, caption)


def _rows(results: Iterable[ResultRecord]) -> Iterator[vega.Spec]:
    """A row for each check that was compared."""
    for result in results:
        change = result.change
        if change is None or change.value is None or not change.margin:
            continue
        low, value, high = (
            max(-_FAR, min(_FAR, float(change.value if end is None else end) / change.margin))
            for end in (change.low, change.value, change.high)
        )
        said = f"{result.label}: {change.state}, from {number(change.before)} to {number(change.after)}"
        yield {
            "y": vega.token(result.label, 40),
            "v": value,
            "low": low,
            "high": high,
            "colour": _TONES.get(change.state, "var(--noise)"),
            "tip": vega.token(said, 120),
        }
