"""Word lists: orders and categories as heatmaps, categories and axes in a plane, neighbors of seed words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.reports.html.pictures import Figure, Shown

__all__ = ["categories", "neighbors", "order", "plane", "projection"]

_MOST_CELLS = 2_500
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_CONTROLS = frozenset({"Paris", "banana", "computer", "dog", "happy", "physics"})


@picture("number_order")
def order(shown: Shown) -> Iterator[Figure]:
    """Cosines of the words, in their order."""
    yield _cells(shown, shown.details["words"], shown.details["matrix"], "Cosines of the words, in their order")


@picture("semantic_categories")
def categories(shown: Shown) -> Iterator[Figure]:
    """Mean cosine of the words of each two categories."""
    names = list(shown.details["categories"])
    yield _cells(shown, names, shown.details["matrix"], "Mean cosine between the words of two categories")


def _cells(shown: Shown, names: Sequence[str], matrix: Sequence[Sequence[float]], what: str) -> Figure:
    """A heatmap: hue is the sign, opacity the size, from zero or, where all are positive, from the smallest."""
    if not 0 < len(names) ** 2 <= _MOST_CELLS:
        raise ValueError(f"{len(names)} names make too large a heatmap")
    words = [vega.token(name, 12) for name in names]
    off = [float(v) for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j]
    start = max(0.0, min(off))
    limit = max(*map(abs, off), start + 1e-6)
    rows = _cell_rows(words, matrix, start, limit)
    said = {"labelExpr": f"{words!r}[datum.value]"} if all(w.isascii() and w.isalnum() for w in words) else {}
    if not said:
        for row in rows:
            row["i"], row["j"] = f"{row['i']:02d} {words[row['i']]}", f"{row['j']:02d} {words[row['j']]}"
    axis = {"grid": False, "ticks": False, "domain": False, **said}
    layer = vega.layer(
        {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 0.5},
        rows,
        x=vega.x("j", kind="ordinal", scale={}, axis={**axis, "labelAngle": -60 if max(map(len, words)) > 2 else 0}),
        y=vega.y("i", kind="ordinal", scale={}, axis=axis),
        color={"field": "colour", "type": "nominal", "scale": None},
        opacity={"field": "size", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0, 1]}, "legend": None},
    )
    side = max(150, min(260, 22 * len(words)))
    return figure(
        vega.chart([layer], width=side, height=side),
        shown.alias,
        f"{what}: "
        + (
            f"from {start:.2f} (faint) to {limit:.2f} (full)."
            if start
            else f"orange above zero, blue below, full at {limit:.2f}."
        ),
    )


def _cell_rows(
    words: Sequence[str], matrix: Sequence[Sequence[float]], start: float, limit: float
) -> list[dict[str, Any]]:
    return [
        {
            "i": i,
            "j": j,
            "size": 0.06 + 0.94 * max(0.0, min(1.0, (abs(float(value)) - start) / (limit - start))),
            "colour": "var(--hot)" if float(value) >= 0 else "var(--cold)",
            "tip": f"{words[i]}, {words[j]}: {number(round(float(value), 4))}",
        }
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]


@picture("semantic_categories")
def projection(shown: Shown) -> Iterator[Figure]:
    """The words on their first two principal components."""
    found = shown.details["projection"]
    names = list(dict.fromkeys(found["category"]))
    rows = [
        {
            "x": float(across),
            "y": float(up),
            "category": vega.token(category),
            "tip": f"{vega.token(word)} ({vega.token(category)})",
        }
        for word, category, across, up in zip(found["words"], found["category"], found["x"], found["y"], strict=True)
    ]
    domain = [vega.token(name) for name in names]
    share = 100 * sum(map(float, found["explained"]))
    scale: dict[str, Any] = {"domain": domain}
    points = vega.layer(
        {"type": "point", "filled": True, "size": 50, "opacity": 0.9},
        rows,
        x=vega.x("x", "first component"),
        y=vega.y("y", "second component"),
        color={
            "field": "category",
            "type": "nominal",
            "scale": scale | {"range": [vega.tone(i) for i in range(len(names))]},
            "legend": {"columns": 4},
        },
        shape={
            "field": "category",
            "type": "nominal",
            "scale": scale | {"range": [_SHAPES[i % len(_SHAPES)] for i in range(len(names))]},
        },
    )
    yield figure(
        vega.chart([points], height=220),
        shown.alias,
        f"The words on their first two principal components, which hold {share:.0f}% of their variance.",
    )


@picture("semantic_axes", together=True)
def plane(results: Sequence[Shown]) -> Iterator[Figure]:
    """Royalty against gender, as the source draws it: vectors as stored, then scaled to length 1."""
    by_model: dict[str, dict[str, Shown]] = {}
    for one in results:
        by_model.setdefault(one.alias, {})[str(one.result["params"].get("axis"))] = one
    for axes in by_model.values():
        if {"gender", "royalty"} <= axes.keys():
            gender, royalty = (axes[name].details.get("as_source") for name in ("gender", "royalty"))
            if gender and royalty:
                for how, title in (("raw", "vectors as stored"), ("unit", "unit vectors")):
                    yield _plane(axes["gender"], gender, royalty, how, title)


def _plane(shown: Shown, gender: Any, royalty: Any, how: str, title: str) -> Figure:
    rows: list[dict[str, Any]] = [
        {
            "x": float(gender[word][how]),
            "y": float(royalty[word][how]),
            "label": vega.token(word),
            "shape": "cross" if word in _CONTROLS else "diamond" if " " in word else "circle",
            "colour": "var(--noise)" if word in _CONTROLS else "var(--s1)" if " " in word else vega.tone(shown.index),
            "tip": f"{vega.token(word)}: gender {number(gender[word][how])}, royalty {number(royalty[word][how])}",
        }
        for word in sorted(set(gender) & set(royalty), key=lambda word: (" " not in word, word in _CONTROLS, word))[:60]
    ]
    across, up = (_padded([row[key] for row in rows]) for key in ("x", "y"))
    size = (vega.WIDTH, 230)
    points = vega.layer(
        {"type": "point", "filled": True, "size": 55, "opacity": 1},
        rows,
        x=vega.x("x", "male to female", scale={"domain": across, "nice": False}),
        y=vega.y("y", "commoner to royal", scale={"domain": up, "nice": False}),
        color={"field": "colour", "type": "nominal", "scale": None},
        shape={"field": "shape", "type": "nominal", "scale": None},
    )
    layers = [points, *vega.labels(rows, across=across, up=up, size=size)]
    caption = "Crosses are words that should lie in the middle; the diamond is king - man + woman."
    return figure(vega.chart(layers, height=size[1]), f"{shown.alias}, {title}", caption)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


@picture("nearest_neighbors")
def neighbors(shown: Shown) -> Iterator[Figure]:
    """The ten nearest of some seed words."""
    seeds = {seed: found["merged"] for seed, found in list(shown.details["neighbors"].items())[:12]}
    rows = [
        {
            "seed": vega.token(seed, 14),
            "v": float(cosine),
            "tip": f"{vega.token(seed)}: {rank}. {vega.token(word)} ({number(cosine)})",
        }
        for seed, found in seeds.items()
        for rank, (word, cosine) in enumerate(found, 1)
    ]
    first = [
        {"seed": vega.token(seed, 14), "v": float(found[0][1]), "label": vega.token(found[0][0], 14)}
        for seed, found in seeds.items()
        if found
    ]
    place = {"y": vega.y("seed", kind="nominal", scale={}, axis={"grid": True})}
    layers = [
        vega.layer(
            {"type": "point", "filled": True, "size": 40, "color": vega.tone(shown.index)},
            rows,
            x=vega.x("v", "cosine", scale={"padding": 10}),
            **place,
        ),
        vega.layer(
            {"type": "text", "align": "right", "dy": -9, "dx": 4},
            first,
            x=vega.x("v", "cosine"),
            text={"field": "label", "type": "nominal"},
            **place,
        ),
    ]
    yield figure(
        vega.chart(layers, width=260, height=34 * len(seeds)),
        shown.alias,
        "The ten nearest neighbors of each seed word; the nearest is named.",
    )
