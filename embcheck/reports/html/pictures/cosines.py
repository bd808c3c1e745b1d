"""Signs of cosines: their histogram against random directions, and which characters they are negative for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["characters", "cosines", "model_size"]

_ACROSS = 13
_FEWEST = 3


@picture("positive_cosine_bias")
def cosines(shown: Shown) -> Iterator[Figure]:
    """Cosines of the probes with all others, and those of random directions."""
    found, width = shown.details["cosine_histogram"], shown.shape[1]
    layers = [
        *vega.bars(found, vega.tone(shown.index), "cosine", "share of pairs"),
        vega.noise_curve(found, 0.0, 1 / math.sqrt(width), f"random directions in {width} dimensions"),
        vega.rule(0.0, "cosine of zero"),
    ]
    yield figure(
        vega.chart(layers),
        shown.alias,
        f"Bars: cosines of {number(shown.details['published_columns']['probes'])} probe tokens with all others. "
        f"Dotted curve: random directions in {width} dimensions.",
    )


@picture("positive_cosine_bias", together=True)
def model_size(results: Sequence[Shown]) -> Iterator[Figure]:
    """The share against the number of entries of the matrix, for three models or more."""
    rows = _sizes(results)
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
    high = vega.y("y", "share of non-negative cosines", scale={"domain": up})
    colour = {"field": "colour", "type": "nominal", "scale": None}
    texts = vega.labels(
        [{**row, "x": math.log10(row["x"])} for row in rows],
        across=across,
        up=up,
        size=(vega.WIDTH, vega.HEIGHT),
        line=0.5,
    )
    for text in texts:
        text["data"]["values"][0]["x"] = 10 ** text["data"]["values"][0]["x"]
    layers = [
        vega.rule(0.5, "what random directions give", axis="y"),
        vega.layer(
            {"type": "rule", "strokeWidth": 2},
            rows,
            x=wide,
            y=vega.y("low", scale={"domain": up}),
            y2={"field": "high"},
            color=colour,
        ),
        vega.layer({"type": "point", "filled": True, "size": 70, "opacity": 1}, rows, x=wide, y=high, color=colour),
        *texts,
    ]
    yield figure(vega.chart(layers), "Against model size", "Share of non-negative cosines by the size of the matrix.")


def _sizes(results: Sequence[Shown]) -> list[dict[str, Any]]:
    """Entries of the matrix and share with its interval, for each model that was measured."""
    return [
        {
            "x": one.shape[0] * one.shape[1],
            "y": one.result["estimate"]["value"],
            "low": one.result["estimate"]["low"],
            "high": one.result["estimate"]["high"],
            "label": vega.token(one.alias),
            "colour": vega.tone(one.index),
            "tip": "{}: {}, {:,} x {}".format(
                vega.token(one.alias), number(one.result["estimate"]["value"]), *one.shape
            ),
        }
        for one in results
        if one.result["estimate"] is not None
    ]


@picture("ascii_anti_alignment")
def characters(shown: Shown) -> Iterator[Figure]:
    """The tokens of the class, sorted by the share of their cosines that is negative."""
    found = sorted(shown.details["by_token"], key=lambda entry: -float(entry["negative_share"]))[:256]
    values = [float(entry["negative_share"]) for entry in found]
    if not values:
        return
    rows = _tiles(found, values)
    lines = -(-len(rows) // _ACROSS)
    place = {name: {"field": name, "type": "ordinal", "axis": None} for name in ("column", "row")}
    tiles = vega.layer(
        {"type": "rect", "color": "var(--cold)", "stroke": "var(--paper)"},
        rows,
        x=place["column"],
        y=place["row"],
        opacity={
            "field": "share",
            "type": "quantitative",
            "scale": {"domain": [0, 1], "range": [0.08, 0.7]},
            "legend": None,
        },
    )
    text = vega.layer(
        {"type": "text", "fontSize": 11},
        [{key: row[key] for key in ("column", "row", "token")} for row in rows],
        x=place["column"],
        y=place["row"],
        text={"field": "token", "type": "nominal"},
    )
    yield figure(
        vega.chart([tiles, text], width=25 * _ACROSS, height=24 * lines),
        shown.alias,
        f"Most negative first: from {100 * values[0]:.0f}% of cosines negative (deep colour) "
        f"down to {100 * values[-1]:.0f}%; in the mean {100 * float(shown.details['class_mean']):.0f}%.",
    )


def _tiles(found: Sequence[Mapping[str, Any]], values: Sequence[float]) -> list[dict[str, Any]]:
    """A tile for each token, in lines of 13."""
    return [
        {
            "column": i % _ACROSS,
            "row": i // _ACROSS,
            "token": vega.token(entry["token"], 6),
            "share": (value - min(values)) / max(max(values) - min(values), 1e-9),
            "tip": f"'{vega.token(entry['token'])}' #{entry['id']}: {100 * value:.1f}% negative",
        }
        for i, (entry, value) in enumerate(zip(found, values, strict=True))
    ]
