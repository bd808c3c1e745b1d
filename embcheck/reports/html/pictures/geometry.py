"""The geometry of the whole vocabulary: lengths, spectrum, hubs, distances, rows that look untrained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["background", "distances", "frequency", "hubs", "lengths", "scree", "untrained"]

_LOG = {"type": "log", "nice": False}
_FINGERPRINTS = {
    "zero": "all zero",
    "equal": "equal to another row",
    "short": "unusually short",
    "near_unused": "near rows never used",
    "near_another": "almost another row",
}


@picture("background_similarity")
def background(shown: Shown) -> Iterator[Figure]:
    """Cosines of random pairs, and those of noise."""
    found, noise = shown.details["cosine_histogram"], shown.details["cosine_of_noise"]
    layers = [
        *vega.bars(found, vega.tone(shown.index), "cosine of a random pair", "share of pairs"),
        vega.noise_curve(found, float(noise["mean"]), float(noise["sd"]), "noise of this width"),
    ]
    yield figure(vega.chart(layers), shown.alias, "Bars: random pairs of tokens. Dotted curve: noise of this width.")


@picture("normalization")
def lengths(shown: Shown) -> Iterator[Figure]:
    """Lengths of the rows, those of Gaussian rows of the same scale, and the unit length."""
    found, chi = shown.details["norm_histogram"], shown.details["chi"]
    mean = float(chi["scale"]) * math.sqrt(shown.shape[1])
    layers = [
        *vega.bars(found, vega.tone(shown.index), "length of a row", "share of rows"),
        vega.noise_curve(found, mean, mean * float(chi["variation_of_noise"]), "Gaussian rows of this scale"),
    ]
    said = ""
    if found["low"] - 1 <= 1 <= found["high"] + 1:
        layers.append(vega.rule(1.0, "unit length"))
        said = " Dashed line: length 1."
    yield figure(vega.chart(layers), shown.alias, f"Bars: rows. Dotted curve: Gaussian rows of the same scale.{said}")


@picture("effective_dimension")
def scree(shown: Shown) -> Iterator[Figure]:
    """Shares of the variance by component, beside those of noise of the same shape."""
    found = shown.details["scree"]
    layers = [
        _line(found["component"], found[name], colour, said, dash=name == "noise")
        for name, colour, said in (
            ("noise", "var(--noise)", "noise of this shape"),
            ("share", vega.tone(shown.index), vega.token(shown.alias)),
        )
    ]
    for layer in layers:
        layer["encoding"] |= {
            "x": vega.x("x", "component", scale=_LOG),
            "y": vega.y("y", "share of the variance", scale=_LOG, axis={"format": ".2~%", "tickCount": 4}),
        }
    ratio = float(shown.details["centred"]["participation_ratio"])
    caption = f"Solid: this matrix, which uses {ratio:.0f} of {shown.shape[1]} dimensions. Dotted: noise of its shape."
    yield figure(vega.chart(layers), shown.alias, caption)


def _line(
    across: Sequence[float], up: Sequence[float], colour: str, said: str, *, dash: bool, what: str = "component"
) -> dict[str, Any]:
    """A line with a point at each number that is above zero."""
    rows = [
        {"x": a, "y": b, "tip": f"{said}: {what} {number(a)}, {100 * b:.2g}%"}
        for a, b in zip(across, up, strict=True)
        if b > 0
    ]
    point = {"size": 22, "filled": True, "color": colour, "opacity": 0.9 if not dash else 0.5}
    mark = {"type": "line", "color": colour, "strokeWidth": 2, "strokeDash": [2, 2] if dash else [1, 0], "point": point}
    return vega.layer(mark, rows)


@picture("hubness")
def hubs(shown: Shown) -> Iterator[Figure]:
    """In how many neighbor lists rows stand, beside rows of noise."""
    found = shown.details["in_lists"]
    middles = [(a + b - 1) / 2 + 1 for a, b in zip(found["from"], found["to"], strict=True)]
    widths = [b - a for a, b in zip(found["from"], found["to"], strict=True)]
    layers = []
    for name, colour, said in (
        ("noise", "var(--noise)", "noise"),
        ("share", vega.tone(shown.index), vega.token(shown.alias)),
    ):
        each = [share / wide for share, wide in zip(found[name], widths, strict=True)]
        line = _line(middles, each, colour, said, dash=name == "noise", what="lists + 1:")
        line["encoding"] |= {
            "x": vega.x("x", "neighbor lists that a row stands in, plus 1", scale=_LOG),
            "y": vega.y("y", "share of rows", scale=_LOG, axis={"format": ".2~%", "tickCount": 4}),
        }
        layers.append(line)
    largest = shown.details["whole_vocabulary"]["largest_hubs"][:3]
    named = ", ".join(f"{vega.token(hub['token'])!r} ({number(round(hub['in_lists']))})" for hub in largest)
    yield figure(
        vega.chart(layers),
        shown.alias,
        f"Solid: this matrix. Dotted: noise of its width. Largest hubs of the whole vocabulary: {named}.",
    )


@picture("frequency_norm")
def frequency(shown: Shown) -> Iterator[Figure]:
    """Length against frequency, word by word."""
    found = shown.details["points"]
    rows = _points(found["tokens"], found["frequency_percentile"], found["norm"], "frequency percentile", "length")
    caption = f"{len(rows)} words, by {vega.token(shown.details['source'], 40)}."
    yield _scatter(shown, rows, ("frequency percentile (100: most frequent)", "length of the row"), caption)


@picture("metric_agreement")
def distances(shown: Shown) -> Iterator[Figure]:
    """Cosine against distance, from the probe whose agreement is the median one."""
    found = shown.details["scatter"]
    rows = _points(found["tokens"], found["cosine"], found["distance"], "cosine", "distance", found["norm"])
    probe = vega.token(found["probe"])
    caption = (
        f"From {probe!r}, whose agreement of {number(float(found['correlation']))} is the median one, to {len(rows)} "
        "others. Were all rows of one length, the dots would lie on a falling curve; a larger dot is a longer row."
    )
    yield _scatter(shown, rows, ("cosine", "Euclidean distance"), caption)


def _points(
    tokens: Sequence[str],
    across: Sequence[float],
    up: Sequence[float],
    first: str,
    second: str,
    sizes: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    rows = []
    for i, (word, a, b) in enumerate(list(zip(tokens, across, up, strict=True))[:1000]):
        row = {"x": a, "y": b, "tip": f"{vega.token(word)}: {first} {number(a)}, {second} {number(b)}"}
        rows.append(row if sizes is None else {**row, "size": float(sizes[i])})
    return rows


def _scatter(shown: Shown, rows: Sequence[Mapping[str, Any]], titles: tuple[str, str], caption: str) -> Figure:
    sized = {"size": {"field": "size", "type": "quantitative", "scale": {"range": [8, 90]}, "legend": None}}
    points = vega.layer(
        {"type": "point", "filled": True, "size": 26, "color": vega.tone(shown.index), "opacity": 0.65},
        rows,
        x=vega.x("x", titles[0]),
        y=vega.y("y", titles[1]),
        **(sized if any("size" in row for row in rows) else {}),
    )
    return figure(vega.chart([points], height=210), shown.alias, caption)


@picture("untrained_tokens")
def untrained(shown: Shown) -> Iterator[Figure]:
    """How many rows bear each sign of being untrained."""
    rows: list[dict[str, Any]] = [
        {"y": said, "v": int(shown.details["fingerprints"][name].get("rows", 0)), "tip": ""}
        for name, said in _FINGERPRINTS.items()
        if name in shown.details["fingerprints"]
    ]
    for row in rows:
        row["tip"] = f"{row['y']}: {row['v']:,} rows"
    place = {"y": vega.y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows], axis={"grid": False})}
    bars = vega.layer(
        {"type": "bar", "color": vega.tone(shown.index), "height": {"band": 0.65}},
        rows,
        x=vega.x(
            "v",
            "rows",
            scale={"domainMin": 0, "domainMax": max(5, *(1.15 * row["v"] for row in rows))},
            axis={"tickMinStep": 1},
        ),
        **place,
    )
    text = vega.layer(
        {"type": "text", "align": "left", "dx": 4},
        [{"y": row["y"], "v": row["v"], "label": f"{row['v']:,}"} for row in rows],
        x=vega.x("v", "rows"),
        text={"field": "label", "type": "nominal"},
        **place,
    )
    yield figure(
        vega.chart([bars, text], width=210, height=28 * len(rows)), shown.alias, "Rows by sign of being untrained."
    )
