"""Word lists: orders and categories as heatmaps, categories and axes in a plane, neighbors of seed words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from embcheck.reports.html import vega
from embcheck.reports.html.pictures.registry import figure, picture
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.html.pictures.registry import Figure, Shown

_MOST_CELLS = 2_500
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_QUOTABLE = re.compile(r"[A-Za-z0-9 >_.-]+")
_CONTROLS = frozenset({"Paris", "banana", "computer", "dog", "happy", "physics"})


@picture("order_agreement")
def order(shown: Shown) -> Iterator[Figure]:
    """Cosines of the words, in their order."""
    what = "Cosines of the words, in their order"
    if shown.details.get("shape") == "circle":
        what += ", the last of which is followed by the first"
    yield cells(shown, lambda details: (details["words"], details["matrix"]), what)


@picture("circulant_share")
def circle(shown: Shown) -> Iterator[Figure]:
    """Products of the words' centred vectors, in their order: a circle has diagonals of one colour."""
    what = "Cosines of the words less their mean, in order"
    yield cells(shown, lambda details: (details["words"], details["matrix"]), what)


@picture("category_separation")
def categories(shown: Shown) -> Iterator[Figure]:
    """Mean cosine of the words of each two categories."""
    what = "Mean cosine between the words of two categories"
    # the labels, as keys of a mapping come sorted from a file, which rows do not
    yield cells(shown, lambda details: (details["matrix_labels"], details["matrix"]), what)


def cells(shown: Shown, read: Callable[[Json], tuple[Sequence[str], Sequence[Sequence[float]]]], what: str) -> Figure:
    """A square heatmap: hue is the sign, opacity the size, from zero or, where all are positive, from the smallest.

    ``read`` gets names and matrix from the details of this model, and of those beside it: all share their colours.
    """
    names, matrix = read(shown.details)
    if not 0 < len(names) ** 2 <= _MOST_CELLS:
        raise ValueError(f"{len(names)} names make too large a heatmap")
    words = [vega.token(name, 12) for name in names]
    start = max(0.0, min(shown.among(lambda details: min(_off_diagonal(read(details)[1])))))
    limit = max(start + 1e-6, *shown.among(lambda details: max(map(abs, _off_diagonal(read(details)[1])))))
    rows: list[vega.Spec] = [
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
    axis: vega.Spec = {"grid": False, "ticks": False, "domain": False}
    if all(_QUOTABLE.fullmatch(word) for word in words):
        axis["labelExpr"] = f"{words!r}[datum.value]"
    else:  # not to be quoted in an expression: the rows bear the names, in order by their numbers
        for row in rows:
            row["i"], row["j"] = f"{row['i']:02d} {words[row['i']]}", f"{row['j']:02d} {words[row['j']]}"
    layer = vega.layer(
        {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 0.5},
        rows,
        x=vega.x("j", kind="ordinal", scale={}, axis={**axis, "labelAngle": -60 if max(map(len, words)) > 2 else 0}),
        y=vega.y("i", kind="ordinal", scale={}, axis=axis),
        color=vega.COLOUR,
        opacity={"field": "size", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0, 1]}, "legend": None},
    )
    side = max(150, min(260, 22 * len(words)))
    colours = f"orange above zero, blue below, full at {limit:.2f}."
    if start:
        colours = f"from {start:.2f} (faint) to {limit:.2f} (full)."
    return shown.figure([layer], f"{what}: {colours}", width=side, height=side)


def _off_diagonal(matrix: Sequence[Sequence[float]]) -> list[float]:
    return [float(value) for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]


@picture("category_separation")
def projections(shown: Shown) -> Iterator[Figure]:
    """The words on their first two principal components: directions, then as stored; by UMAP where asked for."""
    on = "The words on their first two principal components"
    for key, what in (("projection", "unit vectors"), ("projection_as_stored", "vectors as stored")):
        if key in shown.details:
            plane = shown.details[key]
            share = 100 * sum(map(float, plane["explained"]))
            said = f"{on} ({what}), which hold {share:.0f}% of their variance."
            yield _scattered(shown, plane, said, ("first component", "second component"))
    if "umap" in shown.details:
        said = "The words as UMAP places them (1 - cosine): who is near whom; how far groups lie apart means little."
        yield _scattered(shown, shown.details["umap"], said, ("first coordinate", "second coordinate"))


def _scattered(shown: Shown, plane: Json, caption: str, axes: tuple[str, str]) -> Figure:
    rows: list[vega.Spec] = []
    for word, name, x, y in zip(plane["words"], plane["category"], plane["x"], plane["y"], strict=True):
        category, label = vega.token(name), vega.token(word)
        tip = f"{label} ({category})"
        rows.append({"x": float(x), "y": float(y), "category": category, "label": label, "tip": tip})
    domain = [vega.token(name) for name in dict.fromkeys(plane["category"])]
    tones = [vega.tone(i) for i in range(len(domain))]
    shapes = [_SHAPES[i % len(_SHAPES)] for i in range(len(domain))]
    by_category = {"field": "category", "type": "nominal"}
    across, up = (padded([row[key] for row in rows]) for key in ("x", "y"))
    size = (vega.WIDTH, 240)
    points = vega.points(
        rows,
        50,
        opacity=0.9,
        x=vega.own("x", axes[0], scale={"domain": across, "nice": False}),
        y=vega.own("y", axes[1], scale={"domain": up, "nice": False}),
        color=by_category | {"scale": {"domain": domain, "range": tones}, "legend": {"columns": 4}},
        shape=by_category | {"scale": {"domain": domain, "range": shapes}},
    )
    layers = [points, *vega.labels(rows, across=across, up=up, size=size)]
    return shown.figure(layers, caption, height=size[1])


@picture("axis_accuracy", together=True)
def plane(results: Sequence[Shown]) -> Iterator[Figure]:
    """Royalty against gender, as the source draws it: vectors as stored, then scaled to length 1."""
    by_model: dict[str, dict[str, Shown]] = {}
    for shown in results:
        by_model.setdefault(shown.alias, {})[str(shown.result.params.get("axis"))] = shown
    for axes in by_model.values():
        if {"gender", "royalty"} <= axes.keys():
            gender, royalty = (axes[name].details.get("as_source") for name in ("gender", "royalty"))
            if gender and royalty:
                for how, title in (("raw", "vectors as stored"), ("unit", "unit vectors")):
                    yield _plane(axes["gender"], gender, royalty, how, title)


def _plane(shown: Shown, gender: Any, royalty: Any, how: str, title: str) -> Figure:
    rows: list[vega.Spec] = []
    for word in sorted(set(gender) & set(royalty), key=lambda word: (" " not in word, word in _CONTROLS, word))[:60]:
        shape, colour = "circle", shown.tone
        if word in _CONTROLS:
            shape, colour = "cross", "var(--noise)"
        elif " " in word:  # king - man + woman
            shape, colour = "diamond", "var(--s1)"
        x, y, label = gender[word][how], royalty[word][how], vega.token(word)
        tip = f"{label}: gender {number(x)}, royalty {number(y)}"
        rows.append({"x": float(x), "y": float(y), "label": label, "shape": shape, "colour": colour, "tip": tip})
    across, up = (padded([row[key] for row in rows]) for key in ("x", "y"))
    size = (vega.WIDTH, 230)
    points = vega.points(
        rows,
        55,
        x=vega.x("x", "male to female", scale={"domain": across, "nice": False}),
        y=vega.y("y", "commoner to royal", scale={"domain": up, "nice": False}),
        shape=vega.SHAPE,
    )
    layers = [points, *vega.labels(rows, across=across, up=up, size=size)]
    caption = "Crosses are words that should lie in the middle; the diamond is king - man + woman."
    return figure(vega.chart(layers, height=size[1]), f"{shown.alias}, {title}", caption)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis with room beside the outermost values."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


@picture("neighbor_category_share")
def neighbors(shown: Shown) -> Iterator[Figure]:
    """The ten nearest of some seed words."""
    seeds = {seed: lists["merged"] for seed, lists in list(shown.details["neighbors"].items())[:12]}
    rows: list[vega.Spec] = []
    for seed, nearest in seeds.items():
        for rank, (word, cosine) in enumerate(nearest, 1):
            tip = f"{vega.token(seed)}: {rank}. {vega.token(word)} ({number(cosine)})"
            about = {"seed": vega.token(seed, 14), "v": float(cosine), "tip": tip}
            rows.append(about | ({"label": vega.token(word, 14)} if rank == 1 else {}))
    first = [{key: row[key] for key in ("seed", "v", "label")} for row in rows if "label" in row]
    up = vega.y("seed", kind="nominal", scale={}, axis={"grid": True})
    layers = [
        vega.points(rows, 40, shown.tone, opacity=None, x=vega.x("v", "cosine", scale={"padding": 10}), y=up),
        vega.text(first, {"align": "right", "dy": -9, "dx": 4}, x=vega.x("v", "cosine"), y=up),
    ]
    caption = "The ten nearest neighbors of each seed word; the nearest is named."
    yield shown.figure(layers, caption, width=260, height=34 * len(seeds))


@picture("category_separation")
def source_categories(shown: Shown) -> Iterator[Figure]:
    """The matrix as the source has it."""
    if shown.details["as_source"]["matrix"]:
        what = "As the source has it: words of several tokens pooled, each word with itself among the cells"
        yield cells(shown, lambda details: (details["as_source"]["categories"], details["as_source"]["matrix"]), what)


@picture("circulant_share")
def around(shown: Shown) -> Iterator[Figure]:
    """Mean cosine by the distance around the circle."""
    steps = zip(shown.details["distances"], shown.details["mean_product_by_distance"], strict=True)
    caption = "Mean cosine of words so many steps apart around the circle: it falls where there is one."
    yield shown.bars({f"{distance} apart": value for distance, value in steps}, "mean cosine", caption)


@picture("last_digit_accuracy")
def last_digits(shown: Shown) -> Iterator[Figure]:
    """How often the last digit is read off the vector, digit by digit."""
    caption = "Share of the numbers ending in each digit whose digit is read off the vector. Dashed: by chance."
    yield shown.bars(shown.details["right_by_digit"], "share right", caption, against={0.1: "one of ten digits"})


@picture("residue_power")
def periods(shown: Shown) -> Iterator[Figure]:
    """Power at each period, as a multiple of what shuffled numbers give."""
    powers = {f"period {period}": entry["times"] for period, entry in shown.details["periods"].items()}
    caption = "Power of waves of each period over the numbers, in multiples of shuffled numbers' (dashed)."
    yield shown.bars(powers, "times that of shuffled numbers", caption, against={1.0: "shuffled numbers"})


@picture("first_letter_accuracy")
def first_letters(shown: Shown) -> Iterator[Figure]:
    """How often the first letter is read off the vector, letter by letter."""
    letter = float(shown.details["most_frequent_letter"])
    caption = (
        "Share of held-out words with each first letter whose letter is read right. Dashed: the most frequent one."
    )
    yield shown.bars(shown.details["right_by_letter"], "share right", caption, against={letter: "most frequent letter"})


@picture("script_accuracy")
def scripts(shown: Shown) -> Iterator[Figure]:
    """How often the script is read off the vector, and what it is taken for."""
    caption = "Share of the held-out tokens of each script whose script is read off the vector."
    yield shown.bars(shown.details["accuracy"], "share right", caption)
    yield cells(shown, _confusion, "Tokens of each script (row), by the script they are taken for (column)")


def _confusion(details: Json) -> tuple[list[str], list[list[float]]]:
    taken = details["taken_for"]
    return list(taken), [[float(taken[row].get(column, 0)) for column in taken] for row in taken]


@picture("hierarchy_orthogonality")
def right_angles(shown: Shown) -> Iterator[Figure]:
    """Cosine of each kind's contrast with its parent."""
    kinds = {entry["token"]: entry["cosine"] for entry in shown.details["kinds"]}
    caption = "Cosine of a kind's contrast (kind minus parent) with its parent: zero is a right angle."
    yield shown.bars(kinds, "cosine", caption, against={0.0: "a right angle"})
