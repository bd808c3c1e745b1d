"""The picture that serves every estimate: its interval, the bounds it is held against, and its nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html import vega
from embcheck.reports.html.pictures.registry import EVERY, picture
from embcheck.reports.text import number
from embcheck.reports.wording import bound_text, ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.reports.html.pictures.registry import Figure, Shown

__all__ = ["estimate", "histogram"]


@picture(EVERY)
def histogram(shown: Shown) -> Iterator[Figure]:
    """The first histogram that the details hold."""
    if shown.result.estimate is None or shown.result.estimate.value is None:
        return
    for key, value in sorted(shown.details.items()):
        if isinstance(value, dict) and {"low", "high", "counts"} <= value.keys():
            title = vega.token(key.replace("_", " "), 40)
            yield shown.figure(vega.bars(value, shown.tone, title), f"{title}.")
            return


@picture(EVERY)
def estimate(shown: Shown) -> Iterator[Figure]:
    """Interval, bounds and nulls on one axis."""
    result, measured = shown.result, shown.result.estimate
    if measured is None or measured.value is None:
        return
    name = "measured"
    low, high = (measured.value if end is None else end for end in (measured.low, measured.high))
    rows = [{"v": measured.value, "y": name, "tip": f"measured: {number(measured.value)}"}]
    spread = [{"a": low, "b": high, "y": name, "tip": f"interval: {number(low)} to {number(high)}"}]
    nulls = [
        {"v": null.value, "y": vega.token(null.name), "tip": f"{vega.token(null.name)}: {number(null.value)}"}
        for null in result.nulls
        if null.value is not None
    ]
    up = vega.named([*rows, *nulls], grid=False)
    across = vega.x("a", vega.token(measured.name or "value", 60), scale={"padding": 14}, axis={"format": ".3~g"})
    mark = {"type": "rule", "strokeWidth": 4, "color": shown.tone, "opacity": 0.5}
    layers = [
        vega.layer(mark, spread, x=across, x2={"field": "b"}, y=up),
        vega.points(rows, 70, shown.tone, opacity=None, x=vega.x("v"), y=up),
    ]
    if nulls:
        tick = {"type": "tick", "color": "var(--noise)", "thickness": 3}
        layers.append(vega.layer(tick, nulls, x=vega.x("v"), y=up))
    bounds = [claim for claim in result.claims if claim.op != "beats"]
    layers += [vega.rule(float(end), bound_text(claim)) for claim in bounds for end in ends([claim])]
    caption = "The measured value with its interval, its nulls, and the bounds of the claim (dashed)."
    yield shown.figure(layers, caption, height=34 * (1 + len(nulls)))
