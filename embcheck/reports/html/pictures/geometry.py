"""The geometry of the whole vocabulary: lengths, spectrum, hubs, distances, rows that look untrained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from embcheck.reports.html import vega
from embcheck.reports.html.images import heat
from embcheck.reports.html.pictures.registry import Figure, picture, table
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.reports.html.pictures.registry import Shown

_LOG = {"type": "log", "nice": False}
_NOISE = "var(--noise)"
_FINGERPRINTS = {
    "zero": "all zero",
    "equal": "equal to another row",
    "short": "unusually short",
    "near_unused": "near rows never used",
    "near_another": "almost another row",
}


@picture("background_cosine")
def background(shown: Shown) -> Iterator[Figure]:
    """Cosines of random pairs, and those of noise."""
    histogram, noise = shown.details["cosine_histogram"], shown.details["cosine_of_noise"]
    layers = [
        *vega.bars(histogram, shown.tone, "cosine of a random pair", "share of pairs"),
        vega.noise_curve(histogram, float(noise["mean"]), float(noise["sd"]), "noise of this width"),
    ]
    yield shown.figure(layers, "Bars: random pairs of tokens. Dotted curve: noise of this width.")


@picture("background_cosine")
def distances_of_pairs(shown: Shown) -> Iterator[Figure]:
    """Euclidean distances of the same random pairs."""
    bars = vega.bars(
        shown.details["distance_histogram"], shown.tone, "distance of a random pair", "share of pairs", is_own=True
    )
    yield shown.figure(bars, "Bars: the same pairs by Euclidean distance, which depends on the rows' lengths.")


@picture("constant_length_share")
def column_means(shown: Shown) -> Iterator[Figure]:
    """Means of the columns over the vocabulary."""
    bars = vega.bars(
        shown.details["columns"]["histogram"], shown.tone, "mean of a column", "share of columns", is_own=True
    )
    yield shown.figure([*bars, vega.rule(0.0, "zero")], "Bars: means of the columns over all rows. Dashed: zero.")


@picture("constant_length_share")
def matrix_slice(shown: Shown) -> Iterator[Figure]:
    """The first columns of some rows."""
    tokens, values = shown.details["slice"]["tokens"], shown.details["slice"]["values"]
    sizes = sorted(abs(float(value)) for row in values for value in row)
    limit = sizes[int(0.99 * (len(sizes) - 1))] or 1.0
    width = len(values[0])
    caption = (
        f"{len(tokens)} rows by the first {width} columns, as stored: orange above zero, blue below, "
        f"full colour from {number(round(limit, 3))}, a size of this matrix's own."
    )
    columns = [f"column {i}" for i in range(width)]
    body = heat(values, tokens, f"Slice of the matrix, {shown.alias}. {caption}", limit=limit, columns=columns)
    yield Figure(shown.alias, caption, body)


@picture("constant_length_share")
def lengths(shown: Shown) -> Iterator[Figure]:
    """Lengths of the rows, those of Gaussian rows of the same scale, and the unit length."""
    histogram, chi = shown.details["norm_histogram"], shown.details["chi"]
    mean = float(chi["scale"]) * math.sqrt(shown.shape[1])
    layers = [
        *vega.bars(histogram, shown.tone, "length of a row", "share of rows", is_own=True),
        vega.noise_curve(histogram, mean, mean * float(chi["variation_of_noise"]), "Gaussian rows of this scale"),
    ]
    said = ""
    if histogram["low"] - 1 <= 1 <= histogram["high"] + 1:
        layers.append(vega.rule(1.0, "unit length"))
        said = " Dashed line: length 1."
    yield shown.figure(layers, f"Bars: rows. Dotted curve: Gaussian rows of the same scale.{said}")


@picture("participation_share")
def scree(shown: Shown) -> Iterator[Figure]:
    """Shares of the variance by component, beside those of noise of the same shape."""
    spectrum = shown.details["scree"]
    layers = [
        _line(spectrum["component"], spectrum[name], colour, said, ("component", "share of the variance"))
        for name, colour, said in _against_noise(shown, "noise of this shape")
    ]
    ratio = float(shown.details["centred"]["participation_ratio"])
    caption = f"Solid: this matrix, which uses {ratio:.0f} of {shown.shape[1]} dimensions. Dotted: noise of its shape."
    yield shown.figure(layers, caption)


@picture("neighbor_count_skewness")
def hubs(shown: Shown) -> Iterator[Figure]:
    """In how many neighbor lists rows stand, beside rows of noise."""
    bins = shown.details["in_lists"]
    edges = list(zip(bins["from"], bins["to"], strict=True))
    middles = [(a + b - 1) / 2 + 1 for a, b in edges]
    layers = []
    for name, colour, said in _against_noise(shown, "noise"):
        shares = [share / (b - a) for share, (a, b) in zip(bins[name], edges, strict=True)]
        titles = ("neighbor lists that a row stands in, plus 1", "share of rows")
        layers.append(_line(middles, shares, colour, said, titles, "lists + 1:"))
    largest = shown.details["whole_vocabulary"]["largest_hubs"][:3]
    named = ", ".join(f"{vega.token(hub['token'])!r} ({number(round(hub['in_lists']))})" for hub in largest)
    caption = f"Solid: this matrix. Dotted: noise of its width. Largest hubs of the whole vocabulary: {named}."
    yield shown.figure(layers, caption)


def _against_noise(shown: Shown, noise: str) -> tuple[tuple[str, str, str], ...]:
    """Key, colour and name of the two lines of a picture."""
    return ("noise", _NOISE, noise), ("share", shown.tone, vega.token(shown.alias))


def _line(across: Any, up: Any, colour: str, said: str, titles: tuple[str, str], what: str = "component") -> vega.Spec:
    """A line, dotted for noise, with a point at each number that is above zero; both axes are logarithmic."""
    is_noise = colour == _NOISE
    rows = [
        {"x": a, "y": b, "tip": f"{said}: {what} {number(a)}, {100 * b:.2g}%"}
        for a, b in zip(across, up, strict=True)
        if b > 0
    ]
    point = {"size": 22, "filled": True, "color": colour, "opacity": 0.5 if is_noise else 0.9}
    dash = [2, 2] if is_noise else [1, 0]
    return vega.layer(
        {"type": "line", "color": colour, "strokeWidth": 2, "strokeDash": dash, "point": point},
        rows,
        x=vega.x("x", titles[0], scale=_LOG),
        y=vega.y("y", titles[1], scale=_LOG, axis={"format": ".2~%", "tickCount": 4}),
    )


@picture("norm_frequency_correlation")
def frequency(shown: Shown) -> Iterator[Figure]:
    """Length against frequency, word by word."""
    words = shown.details["points"]
    rows = _points(words["tokens"], words["frequency_percentile"], words["norm"], ("frequency percentile", "length"))
    across = vega.x("x", "frequency percentile (100: most frequent)")
    points = vega.points(rows, 26, shown.tone, opacity=0.65, x=across, y=vega.own("y", "length of the row"))
    yield shown.figure([points], f"{len(rows)} words, by {vega.token(shown.details['source'], 40)}.", height=210)


@picture("frequency_r2")
def predicted_frequency(shown: Shown) -> Iterator[Figure]:
    """Log frequency of held-out words, as it is and as their vectors predict it."""
    words = shown.details["points"]
    names = ("log frequency", "predicted")
    rows = _points(words["tokens"], words["log_frequency"], words["predicted"], names)
    ends = [f([row["x"] for row in rows]) for f in (min, max)]
    same = {"type": "line", "color": "var(--bound)", "strokeWidth": 1.5, "strokeDash": [4, 3]}
    layers = [
        vega.points(
            rows,
            26,
            shown.tone,
            opacity=0.65,
            x=vega.x("x", "natural log of the frequency"),
            y=vega.y("y", "predicted from the vector"),
        ),
        vega.layer(
            same, [{"x": end, "y": end, "tip": "predicted as it is"} for end in ends], x=vega.x("x"), y=vega.y("y")
        ),
    ]
    source = vega.token(shown.details["source"], 40)
    caption = f"{len(rows)} words, each predicted from others: frequency by {source}. Dashed: predicted as it is."
    yield shown.figure(layers, caption, height=210)


@picture("equal_rows")
def equal_tokens(shown: Shown) -> Iterator[Figure]:
    """How many tokens share one vector, group by group, and which; none where no two do."""
    groups = shown.details["largest"]
    if not groups:
        return
    named = [(" = ".join(vega.token(token) for token in group["tokens"]), group) for group in groups]
    caption = f"Groups of tokens that share one vector, the largest of {shown.details['groups']:,}."
    yield shown.bars({f"{i}. {name}": group["rows"] for i, (name, group) in enumerate(named, 1)}, "rows", caption)
    rows = [
        (f"{i}.", group["rows"], ", ".join(map(vega.token, group["tokens"])), ", ".join(map(str, group["ids"])))
        for i, group in enumerate(groups, 1)
    ]
    columns = ("group", "rows", "tokens, the first ten", "their row ids")
    yield table(shown.alias, "Tokens whose rows are equal bit for bit.", columns, rows)


@picture("metric_agreement")
def distances(shown: Shown) -> Iterator[Figure]:
    """Cosine against distance, from the probe whose agreement is the median one."""
    others = shown.details["scatter"]
    rows = _points(others["tokens"], others["cosine"], others["distance"], ("cosine", "distance"))
    rows = [row | {"size": float(norm)} for row, norm in zip(rows, others["norm"], strict=False)]
    size = {"field": "size", "type": "quantitative", "scale": {"range": [8, 90]}, "legend": None}
    probe, agreement = vega.token(others["probe"]), number(float(others["correlation"]))
    caption = (
        f"From {probe!r}, whose agreement of {agreement} is the median one, to {len(rows)} others. "
        "Were all rows of one length, the dots would lie on a falling curve; a larger dot is a longer row."
    )
    across, up = vega.x("x", "cosine"), vega.own("y", "Euclidean distance")
    points = vega.points(rows, 26, shown.tone, opacity=0.65, x=across, y=up, size=size)
    yield shown.figure([points], caption, height=210)


def _points(words: Sequence[str], across: Any, up: Any, names: tuple[str, str]) -> list[vega.Spec]:
    return [
        {"x": a, "y": b, "tip": f"{vega.token(word)}: {names[0]} {number(a)}, {names[1]} {number(b)}"}
        for word, a, b in list(zip(words, across, up, strict=True))[:1000]
    ]


@picture("untrained_share")
def untrained(shown: Shown) -> Iterator[Figure]:
    """How many rows bear each sign of being untrained."""
    signs = shown.details["fingerprints"]
    counted = {said: int(signs[name].get("rows", 0)) for name, said in _FINGERPRINTS.items() if name in signs}
    rows = [{"y": said, "v": n, "label": f"{n:,}", "tip": f"{said}: {n:,} rows"} for said, n in counted.items()]
    texts = [{key: row[key] for key in ("y", "v", "label")} for row in rows]
    up, most = vega.named(rows, grid=False), max(5, *(1.15 * n for n in counted.values()))
    across = vega.x("v", "rows", scale={"domainMin": 0, "domainMax": most}, axis={"tickMinStep": 1})
    layers = [
        vega.layer({"type": "bar", "color": shown.tone, "height": {"band": 0.65}}, rows, x=across, y=up),
        vega.text(texts, {"align": "left", "dx": 4}, x=vega.x("v", "rows"), y=up),
    ]
    yield shown.figure(layers, "Rows by sign of being untrained.", width=210, height=28 * len(rows))


@picture("kept_neighbors")
def kept(shown: Shown) -> Iterator[Figure]:
    """Neighbors that each way to compress the rows keeps."""
    estimate = shown.result.estimate
    ways = {shown.details["by"]: estimate.value if estimate else None, **shown.details["kept_by_others"]}
    caption = f"Share of the {shown.details['neighbors']} nearest neighbors that stay when rows are compressed so."
    yield shown.bars(ways, "share of neighbors kept", caption)
