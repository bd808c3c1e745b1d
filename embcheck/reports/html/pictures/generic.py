"""The picture that serves every estimate: its interval, the bounds it is held against, and its nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure
from embcheck.reports.terminal import bound_text
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["estimate", "histogram"]


def estimate(shown: Shown) -> Iterator[Figure]:
    """Interval, bounds and nulls on one axis; before it the histogram, where the details hold one."""
    result = shown.result
    found = result["estimate"]
    if found is None or found["value"] is None:
        return
    yield from histogram(shown)
    name = "measured"
    rows = [{"v": found["value"], "y": name, "tip": f"measured: {number(found['value'])}"}]
    low, high = (found[key] if found[key] is not None else found["value"] for key in ("low", "high"))
    spread = [{"a": low, "b": high, "y": name, "tip": f"interval: {number(low)} to {number(high)}"}]
    nulls = _nulls(result)
    order = [name, *(row["y"] for row in nulls)]
    up = vega.y("y", kind="nominal", scale={}, axis={"grid": False}, sort=order)
    layers: list[dict[str, Any]] = [
        vega.layer(
            {"type": "rule", "strokeWidth": 4, "color": vega.tone(shown.index), "opacity": 0.5},
            spread,
            x=vega.x("a", vega.token(found["name"] or "value", 60), scale={"padding": 14}, axis={"format": ".3~g"}),
            x2={"field": "b"},
            y=up,
        ),
        vega.layer(
            {"type": "point", "filled": True, "size": 70, "color": vega.tone(shown.index)}, rows, x=vega.x("v"), y=up
        ),
        *(
            [vega.layer({"type": "tick", "color": "var(--noise)", "thickness": 3}, nulls, x=vega.x("v"), y=up)]
            if nulls
            else []
        ),
    ]
    yield figure(
        vega.chart([*layers, *_bounds(result)], height=34 * len(order)),
        shown.alias,
        "The measured value with its interval, its nulls, and the bounds of the claim (dashed).",
    )


def _nulls(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = [(vega.token(null["name"]), null["value"]) for null in result["nulls"] if null["value"] is not None]
    return [{"v": value, "y": name, "tip": f"{name}: {number(value)}"} for name, value in names]


def _bounds(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for claim in result["claims"]:
        for key in ("bound", "low", "high"):
            if claim["op"] != "beats" and claim.get(key) is not None:
                yield vega.rule(float(claim[key]), bound_text(claim))


def histogram(shown: Shown) -> Iterator[Figure]:
    """The first histogram that the details hold."""
    for key, value in sorted(shown.details.items()):
        if isinstance(value, dict) and {"low", "high", "counts"} <= value.keys():
            title = vega.token(key.replace("_", " "), 40)
            yield figure(vega.chart(vega.bars(value, vega.tone(shown.index), title)), shown.alias, f"{title}.")
            return
