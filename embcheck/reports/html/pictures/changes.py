"""Old against new: how far each compared check moved since the baseline, in units of its margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure
from embcheck.reports.terminal import label
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.reports.html.pictures import Figure

__all__ = ["moved"]

_FAR = 5.0
_TONES = {"match": "var(--noise)", "improved": "var(--s2)", "regressed": "var(--s1)", "undecided": "var(--s4)"}


def moved(model: Mapping[str, Any]) -> Iterator[Figure]:
    """The changes of one model's checks; none where nothing was compared."""
    rows = _rows(model["results"])
    if not rows:
        return
    colour = {"field": "colour", "type": "nominal", "scale": None}
    span = {"domain": [-_FAR, _FAR], "nice": False}
    up = vega.y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows], axis={"labelLimit": 260})
    layers = [
        vega.layer(
            {"type": "rect", "color": "var(--noise)", "opacity": 0.25},
            [{"a": -1, "b": 1, "tip": "within the margin"}],
            x=vega.x("a", "change since the baseline, in margins", scale=span),
            x2={"field": "b"},
        ),
        vega.rule(0.0, "no change"),
        vega.layer(
            {"type": "rule", "strokeWidth": 3},
            rows,
            x=vega.x("low", scale=span),
            x2={"field": "high"},
            y=up,
            color=colour,
        ),
        vega.layer(
            {"type": "point", "filled": True, "size": 55, "opacity": 1},
            rows,
            x=vega.x("v", scale=span),
            y=up,
            color=colour,
        ),
    ]
    caption = "New minus old in units of each check's margin, with its interval; inside the band nothing has changed."
    yield figure(vega.chart(layers, width=230, height=20 * len(rows)), model["alias"], caption)


def _rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each check that was compared, the largest change first."""
    rows = []
    for result in results:
        change = result["change"]
        if not change or change["value"] is None or not change["margin"]:
            continue
        low, value, high = (
            max(-_FAR, min(_FAR, float(change[key] if change[key] is not None else change["value"]) / change["margin"]))
            for key in ("low", "value", "high")
        )
        said = f"{label(result)}: {change['state']}, from {number(change['before'])} to {number(change['after'])}"
        rows.append(
            {
                "y": vega.token(label(result), 40),
                "v": value,
                "low": low,
                "high": high,
                "colour": _TONES.get(change["state"], "var(--noise)"),
                "tip": vega.token(said, 120),
            }
        )
    return sorted(rows, key=lambda row: -abs(row["v"]))
