"""Signs of cosines: their histogram against random directions, and which characters they are negative for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from embcheck.reports.html import vega
from embcheck.reports.html.pictures.registry import figure, picture, table
from embcheck.reports.text import number, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.html.pictures.registry import Figure, Shown

_ACROSS = 13
_FEWEST = 3


@picture("non_negative_share")
def cosines(shown: Shown) -> Iterator[Figure]:
    """Cosines of the probes with all others, and those of random directions."""
    histogram, width = shown.details["cosine_histogram"], shown.shape[1]
    layers = [
        *vega.bars(histogram, shown.tone, "cosine", "share of pairs"),
        vega.noise_curve(histogram, 0.0, 1 / math.sqrt(width), f"random directions in {width} dimensions"),
        vega.rule(0.0, "cosine of zero"),
    ]
    probes = number(shown.details["published_columns"]["probes"])
    bars = f"Bars: cosines of {probes} probe tokens with all others."
    yield shown.figure(layers, f"{bars} Dotted curve: random directions in {width} dimensions.")


_PUBLISHED = {
    "min": "min",
    "max": "max",
    "mean": "mean",
    "median": "median",
    "non_negative": "non-negative pairs",
    "negative": "negative pairs",
}


@picture("non_negative_share", together=True)
def published_columns(results: Sequence[Shown]) -> Iterator[Figure]:
    """The columns of the source's table, a model a row, averaged over probes."""
    rows = []
    for shown in results:
        if columns := shown.details.get("published_columns"):
            pairs = columns["non_negative"] + columns["negative"]
            share = f"{100 * columns['non_negative'] / pairs:.2f}%"
            rows.append([shown.alias, *(round(float(columns[key]), 2) for key in _PUBLISHED), share])
    if rows:
        names = ["model", *_PUBLISHED.values(), "non-negative"]
        yield table("Averaged over probe tokens", "Of each probe's cosines with all others.", names, rows)


@picture("coordinate_share")
def coordinates(shown: Shown) -> Iterator[Figure]:
    """The coordinates that carry most of the mean cosine."""
    shares = {f"coordinate {entry['coordinate']}": entry["share"] for entry in shown.details["coordinates"]}
    even = float(shown.details["expected_if_even"]) / 3  # of three coordinates together
    caption = "Share of the mean cosine that each coordinate carries. Dashed: were all alike."
    yield shown.bars(shares, "share of the mean cosine", caption, against={even: "were all alike"})


@picture("non_negative_share", together=True)
def model_size(results: Sequence[Shown]) -> Iterator[Figure]:
    """The share against the number of entries of the matrix, for three models or more."""
    rows = list(_sizes(results))
    if len(rows) < _FEWEST:
        return
    powers = [math.log10(row["x"]) for row in rows]
    values = [row[key] for row in rows for key in ("low", "high")] + [0.5]
    across, up = (math.floor(min(powers)), math.ceil(max(powers) + 1e-9)), (min(values) - 0.03, max(values) + 0.03)
    wide = vega.x(
        "x",
        "entries of the matrix (rows x width)",
        scale={"type": "log", "domain": [10**p for p in across]},
        axis={"format": "~s", "tickCount": across[1] - across[0]},
    )
    share, low = vega.y("y", "share of non-negative cosines", scale={"domain": up}), vega.y("low", scale={"domain": up})
    texts = vega.labels(
        [{**row, "x": power} for row, power in zip(rows, powers, strict=True)],
        across=across,
        up=up,
        size=(vega.WIDTH, vega.HEIGHT),
        line=0.5,
    )
    for text in texts:
        text["data"]["values"][0]["x"] = 10 ** text["data"]["values"][0]["x"]
    mark = {"type": "rule", "strokeWidth": 2}
    layers = [
        vega.rule(0.5, "what random directions give", axis="y"),
        vega.layer(mark, rows, x=wide, y=low, y2={"field": "high"}, color=vega.COLOUR),
        vega.points(rows, 70, x=wide, y=share),
        *texts,
    ]
    yield figure(vega.chart(layers), "Against model size", "Share of non-negative cosines by the size of the matrix.")


def _sizes(results: Sequence[Shown]) -> Iterator[vega.Spec]:
    """Entries of the matrix and share with its interval, for each model that was measured."""
    for shown in results:
        if estimate := shown.result.estimate:
            (rows, width), name = shown.shape, vega.token(shown.alias)
            tip = f"{name}: {number(estimate.value)}, {rows:,} x {width}"
            ends = {"y": estimate.value, "low": estimate.low, "high": estimate.high}
            yield ends | {"x": rows * width, "label": name, "colour": shown.tone, "tip": tip}


def _shares(details: Json) -> list[float]:
    return [float(entry["negative_share"]) for entry in details["by_token"]]


@picture("negative_share_difference")
def characters(shown: Shown) -> Iterator[Figure]:
    """The tokens of the class, sorted by the share of their cosines that is negative."""
    entries = sorted(shown.details["by_token"], key=lambda entry: -float(entry["negative_share"]))[:256]
    if not entries:
        return
    values = [float(entry["negative_share"]) for entry in entries]
    low, high = (
        min(shown.among(lambda details: min(_shares(details)))),
        max(shown.among(lambda details: max(_shares(details)))),
    )
    rows = [
        {
            "column": i % _ACROSS,
            "row": i // _ACROSS,
            "token": vega.token(entry["token"], 6),
            "share": (value - low) / max(high - low, 1e-9),
            "tip": f"{quoted(vega.token(entry['token']))} #{entry['id']}: {100 * value:.1f}% negative",
        }
        for i, (entry, value) in enumerate(zip(entries, values, strict=True))
    ]
    lines = -(-len(rows) // _ACROSS)
    column, row = ({"field": name, "type": "ordinal", "axis": None} for name in ("column", "row"))
    depth = {"domain": [0, 1], "range": [0.08, 0.7]}
    tiles = vega.layer(
        {"type": "rect", "color": "var(--cold)", "stroke": "var(--paper)"},
        rows,
        x=column,
        y=row,
        opacity={"field": "share", "type": "quantitative", "scale": depth, "legend": None},
    )
    texts = [{key: tile[key] for key in ("column", "row", "token")} for tile in rows]
    mean = 100 * float(shown.details["class_mean"])
    caption = (
        f"Most negative first: from {100 * values[0]:.0f}% of cosines negative down to {100 * values[-1]:.0f}%; "
        f"in the mean {mean:.0f}%. Full colour: {100 * high:.0f}%, faint: {100 * low:.0f}%."
    )
    layers = [tiles, vega.text(texts, {"fontSize": 11}, "token", x=column, y=row)]
    yield shown.figure(layers, caption, width=25 * _ACROSS, height=24 * lines)
