"""Several models, or one against what others published: overlap of neighbors, figures of the literature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html import vega
from embcheck.reports.html.pictures.registry import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.reports.html.pictures.registry import Figure, Shown

_MOST, _FAR = 60, 5.0


@picture("neighbor_overlap", "relative_orientation", together=True)
def overlap(results: Sequence[Shown]) -> Iterator[Figure]:
    """What was measured of each two models, as a matrix."""
    measured = [
        (shown.alias, str(shown.result.params["other"]), float(shown.result.estimate.value))
        for shown in results
        if shown.result.estimate and shown.result.estimate.value is not None and "other" in shown.result.params
    ]
    order = [vega.token(name) for name in dict.fromkeys(name for a, b, _ in measured for name in (a, b))]
    if not order:
        return
    rows = [
        {"a": a, "b": b, "v": value, "label": f"{value:.2f}", "tip": f"{a} and {b}: {number(value)}"}
        for first, second, value in measured
        for a, b in ((vega.token(first), vega.token(second)), (vega.token(second), vega.token(first)))
    ]
    plain = {"grid": False, "ticks": False, "domain": False}
    axes = {
        "x": vega.x("a", kind="nominal", scale={"domain": order}, sort=order, axis={**plain, "labelAngle": -30}),
        "y": vega.y("b", kind="nominal", scale={"domain": order}, sort=order, axis=plain),
    }
    size = {"field": "v", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0.05, 0.8]}, "legend": None}
    layers = [
        vega.layer({"type": "rect", "color": "var(--hot)"}, rows, opacity=size, **axes),
        vega.text(rows, {}, **axes),
    ]
    side = max(120, min(320, 60 * len(order)))
    chart = vega.chart(layers, width=side, height=side)
    what = next(shown.result.estimate.name for shown in results if shown.result.estimate) or "overlap of neighbors"
    yield figure(chart, "Model by model", f"{what[0].upper()}{what[1:]} of each two models.")


@picture("neighbor_overlap", "relative_orientation")
def by_word(shown: Shown) -> Iterator[Figure]:
    """The words for which two models agree most, and least."""
    ends = [*shown.details["highest"], *reversed(shown.result.counterexamples)]
    values = {entry["token"]: entry["value"] for entry in ends}
    other = vega.token(shown.result.params["other"], 40)
    yield shown.bars(values, "agreement", f"Words for which it agrees most with {other}, then those least.")
    if words := shown.details.get("words"):
        yield shown.bars(
            words, "Jaccard index", f"Two words of each category, and how alike their neighbors are in {other}."
        )


@picture("matrix_alignment")
def input_and_output(shown: Shown) -> Iterator[Figure]:
    """Quantiles of the cosine of a token's input and output rows."""
    yield shown.bars(shown.details["quantiles"], "cosine", "Cosine of a token's input and output rows, by quantile.")


@picture("published_deviation")
def published(shown: Shown) -> Iterator[Figure]:
    """Published figures and ours, each within its tolerance or not."""
    rows = []
    for entry in shown.details["published_figures"][:_MOST]:
        ours, printed, tolerance = (float(entry[key]) for key in ("ours", "published", "tolerance"))
        off = (ours - printed) / tolerance
        tip = f"{vega.token(entry['figure'], 60)}: {number(ours)}, published {number(printed)} +- {number(tolerance)}"
        rows.append({"y": vega.token(entry["figure"], 30), "tip": tip, **vega.clipped(off, _FAR)})
    across = vega.x("v", "ours minus published, in units of the tolerance")
    layers = [
        vega.band(),
        vega.rule(0.0, "the published figure"),
        vega.points(rows, 60, shown.tone, x=across, y=vega.named(rows, limit=220), shape=vega.SHAPE),
    ]
    caption = f"Each dot is a published figure; the band is its tolerance; an arrow is off by more than {_FAR:.0f}."
    yield shown.figure(layers, caption, width=200, height=22 * len(rows))
