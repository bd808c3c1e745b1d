"""Several models, or one against what others published: overlap of neighbors, figures of the literature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["overlap", "published"]

_MOST, _FAR = 60, 5.0


@picture("neighbor_overlap", together=True)
def overlap(results: Sequence[Shown]) -> Iterator[Figure]:
    """The overlap of each two models, as a matrix."""
    measured = [one for one in results if one.result["estimate"] is not None and "other" in one.result["params"]]
    names = list(dict.fromkeys(name for one in measured for name in (one.alias, str(one.result["params"]["other"]))))
    if not names:
        return
    rows = []
    for one in measured:
        value, other = float(one.result["estimate"]["value"]), str(one.result["params"]["other"])
        for a, b in ((one.alias, other), (other, one.alias)):
            tip = f"{vega.token(a)} and {vega.token(b)}: {number(value)}"
            rows.append({"a": vega.token(a), "b": vega.token(b), "v": value, "label": f"{value:.2f}", "tip": tip})
    order = [vega.token(name) for name in names]
    plain = {"grid": False, "ticks": False, "domain": False}
    place = {
        "x": vega.x("a", kind="nominal", scale={"domain": order}, sort=order, axis={**plain, "labelAngle": -30}),
        "y": vega.y("b", kind="nominal", scale={"domain": order}, sort=order, axis=plain),
    }
    size = {"field": "v", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0.05, 0.8]}, "legend": None}
    layers = [
        vega.layer({"type": "rect", "color": "var(--hot)"}, rows, opacity=size, **place),
        vega.layer("text", rows, text={"field": "label", "type": "nominal"}, **place),
    ]
    side = max(120, min(320, 60 * len(names)))
    yield figure(
        vega.chart(layers, width=side, height=side), "Model by model", "Overlap of neighbors of each two models."
    )


@picture("reproduces_published_figures")
def published(shown: Shown) -> Iterator[Figure]:
    """Published figures and ours, each within its tolerance or not."""
    rows = []
    for entry in shown.details["published_figures"][:_MOST]:
        ours, printed, tolerance = (float(entry[key]) for key in ("ours", "published", "tolerance"))
        off = (ours - printed) / tolerance
        tip = f"{vega.token(entry['figure'], 60)}: {number(ours)}, published {number(printed)} +- {number(tolerance)}"
        rows.append({"y": vega.token(entry["figure"], 30), "v": max(-_FAR, min(_FAR, off)), "tip": tip})
    layers = [
        vega.layer(
            {"type": "rect", "color": "var(--noise)", "opacity": 0.25},
            [{"a": -1, "b": 1}],
            x=vega.x("a"),
            x2={"field": "b"},
        ),
        vega.rule(0.0, "the published figure"),
        vega.layer(
            {"type": "point", "filled": True, "size": 60, "color": vega.tone(shown.index), "opacity": 1},
            rows,
            x=vega.x("v", "ours minus published, in units of the tolerance"),
            y=vega.y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows], axis={"labelLimit": 220}),
        ),
    ]
    chart = vega.chart(layers, width=200, height=22 * len(rows))
    yield figure(chart, shown.alias, "Each dot is a published figure; the band is its tolerance.")
