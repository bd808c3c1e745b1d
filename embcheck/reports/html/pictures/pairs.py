"""Word pairs and analogies: offsets pair by pair, what lies near an analogy's vector, related words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.draw.heat import heat
from embcheck.reports.html.pictures import Figure, figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.reports.html.pictures import Shown

__all__ = ["gains", "landmarks", "nearest", "offsets", "related"]

_ROLES = {"target": ("the target", "var(--s2)"), "source": ("a word of the question", "var(--s1)")}
_METHODS = {
    "3cosadd": "a - b + c",
    "a_plus_c": "a + c",
    "nearest_to_a": "nearest to a",
    "nearest_to_c": "nearest to c",
}


@picture("plural_direction_consistency")
def offsets(shown: Shown) -> Iterator[Figure]:
    """Cosines of the offsets of each two pairs."""
    pairs, matrix = shown.details["pairs"], shown.details["matrix"]
    cells = sorted(abs(float(v)) for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j)
    limit = max(cells[int(0.99 * (len(cells) - 1))], 1e-6)
    caption = (
        f"Each cell is the cosine of two of {len(pairs)} offsets (plural minus singular): orange where they point the "
        f"same way, blue where opposite ways, full colour from {number(round(limit, 2))}."
    )
    body = heat(matrix, pairs, f"Heatmap, {shown.alias}. {caption}", limit=limit)
    yield Figure(shown.alias, caption, body)


@picture("analogy_rank")
def nearest(shown: Shown) -> Iterator[Figure]:
    """The twenty forms nearest to the analogy's vector."""
    a, b, c, target = (vega.token(word) for word in shown.details["words"])
    rows: list[dict[str, Any]] = []
    for rank, entry in enumerate(shown.details["nearest"][:20], 1):
        said, colour = _ROLES.get(entry["role"], ("another form", "var(--noise)"))
        rows.append(
            {
                "y": f"{rank}. {vega.token(entry['token'], 16)}",
                "v": float(entry["value"]),
                "colour": colour,
                "shape": {"target": "diamond", "source": "square"}.get(entry["role"], "circle"),
                "tip": f"{vega.token(entry['token'])}: {number(entry['value'])}, {said}",
            }
        )
    order = [row["y"] for row in rows]
    layers = [
        vega.layer(
            {"type": "point", "filled": True, "size": 60, "opacity": 1},
            rows,
            x=vega.x("v", "cosine"),
            y=vega.y("y", kind="nominal", sort=order, scale={}, axis={"grid": True}),
            color={"field": "colour", "type": "nominal", "scale": None},
            shape={"field": "shape", "type": "nominal", "scale": None},
        )
    ]
    yield figure(
        vega.chart(layers, width=230, height=16 * len(rows)),
        shown.alias,
        f"Nearest to {a} - {b} + {c}: the target {target} is a diamond, words of the question are squares.",
    )


@picture("analogy_rank")
def landmarks(shown: Shown) -> Iterator[Figure]:
    """Where the four words fall among all forms."""
    found = shown.details["cosine_histogram"]
    words = list(shown.details["words"])
    cosines = {word: float(value) for word, value in shown.details["cosines"].items() if value is not None}
    tones = {word: _ROLES["target" if word == words[3] else "source"][1] for word in words}
    rows = [
        {
            "v": cosines[word],
            "y": vega.token(word, 14),
            "colour": tones[word],
            "tip": f"{vega.token(word)}: {number(cosines[word])}",
        }
        for word in dict.fromkeys(words)
        if word in cosines
    ]
    span = [min(found["low"], *cosines.values()), max(found["high"], *cosines.values())]
    scale = {"domain": span, "nice": True}
    bars = vega.bars(found, "var(--noise)", "cosine with a - b + c", "share of forms")
    bars[0]["encoding"]["x"]["scale"] = scale
    marks = vega.layer(
        {"type": "point", "filled": True, "size": 60, "opacity": 1},
        rows,
        x=vega.x("v", scale=scale, axis={"labels": False, "ticks": False}),
        y=vega.y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows]),
        color={"field": "colour", "type": "nominal", "scale": None},
    )
    chart = vega.chart(bars, width=230, height=110)
    top = {"layer": [marks], "width": 230, "height": 18 * len(rows)}
    stacked = {"vconcat": [top, {key: chart[key] for key in ("layer", "width", "height")}], "config": chart["config"]}
    yield figure({**stacked, "spacing": 4}, shown.alias, "Where the four words fall among all forms of the vocabulary.")


@picture("analogy_gain")
def gains(shown: Shown) -> Iterator[Figure]:
    """Mean reciprocal rank of the arithmetic and of its controls."""
    found = shown.details["mean_reciprocal_rank"]
    rows: list[dict[str, Any]] = [
        {
            "v": float(value),
            "y": _METHODS.get(method, vega.token(method)),
            "colour": vega.tone(shown.index) if method == "3cosadd" else "var(--noise)",
            "tip": f"{_METHODS.get(method, vega.token(method))}: {number(value)}",
        }
        for method, value in found.items()
    ]
    rows.sort(key=lambda row: -row["v"])
    bars = vega.layer(
        {"type": "bar", "height": {"band": 0.7}},
        rows,
        x=vega.x("v", "mean reciprocal rank of the target", scale={"domain": [0, 1]}),
        y=vega.y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows]),
        color={"field": "colour", "type": "nominal", "scale": None},
    )
    yield figure(
        vega.chart([bars], width=240, height=28 * len(rows)),
        shown.alias,
        f"{number(shown.details['analogies'])} analogies, answered by the arithmetic and by its controls.",
    )


@picture("related_word_pairs")
def related(shown: Shown) -> Iterator[Figure]:
    """Cosines of related pairs over the middle 90% of random pairs."""
    cosines = sorted(((float(v), pair) for pair, v in shown.details["pairs"].items()), reverse=True)[:400]
    levels = shown.details["background"]["cosine_quantiles"]
    rows = [{"v": v, "y": i, "tip": f"{vega.token(pair, 40)}: {number(v)}"} for i, (v, pair) in enumerate(cosines, 1)]
    band = [{"a": levels["0.05"], "b": levels["0.95"], "tip": "the middle 90% of random pairs"}]
    layers = [
        vega.layer(
            {"type": "rect", "color": "var(--noise)", "opacity": 0.3}, band, x=vega.x("a", "cosine"), x2={"field": "b"}
        ),
        vega.rule(float(levels["0.5"]), "median of random pairs"),
        vega.layer(
            {"type": "point", "filled": True, "size": 26, "color": vega.tone(shown.index), "opacity": 0.9},
            rows,
            x=vega.x("v", "cosine"),
            y=vega.y(
                "y",
                "related pairs, nearest first",
                scale={"reverse": True, "nice": False},
                axis={"labels": False, "ticks": False, "grid": False},
            ),
        ),
    ]
    caption = "Each dot is a related pair; the band holds the middle 90% of random pairs."
    yield figure(vega.chart(layers), shown.alias, caption)
