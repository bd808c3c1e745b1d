"""Word pairs and analogies: offsets pair by pair, what lies near an analogy's vector, related words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html import vega
from embcheck.reports.html.images import heat
from embcheck.reports.html.pictures.registry import Figure, figure, picture, table
from embcheck.reports.html.pictures.words import cells, padded
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.html.pictures.registry import Shown

_ROLES = {"target": ("the target", "var(--s2)"), "source": ("a word of the question", "var(--s1)")}
_METHODS = {
    "3cosadd": "a - b + c",
    "a_plus_c": "a + c",
    "nearest_to_a": "nearest to a",
    "nearest_to_c": "nearest to c",
}


@picture("offset_consistency")
def offsets(shown: Shown) -> Iterator[Figure]:
    """Cosines of the offsets of each two pairs."""
    pairs, matrix = shown.details["pairs"], shown.details["matrix"]
    limit = max(1e-6, *shown.among(lambda details: _reach(details["matrix"])))
    is_plural = shown.result.id == "plural_direction_consistency"
    words = "plural minus singular" if is_plural else "second word minus first"
    caption = (
        f"Each cell is the cosine of two of {len(pairs)} offsets ({words}): orange where they point the same way, "
        f"blue where opposite ways, full colour from {number(round(limit, 2))}."
    )
    body = heat(matrix, pairs, f"Heatmap, {shown.alias}. {caption}", limit=limit)
    yield Figure(shown.alias, caption, body)


@picture("offset_consistency")
def source_offsets(shown: Shown) -> Iterator[Figure]:
    """The source's pairs among them, with their names."""
    if shown.details["as_source"]:
        yield cells(shown, _source_pairs, "Cosines of the offsets of the source's pairs")


def _source_pairs(details: Json) -> tuple[list[str], list[list[float]]]:
    pairs = details["pairs"]
    kept = [i for i, pair in enumerate(pairs) if pair in details["as_source"]]
    return [pairs[i] for i in kept], [[details["matrix"][i][j] for j in kept] for i in kept]


def _reach(matrix: Sequence[Sequence[float]]) -> float:
    """A size that all but a hundredth of the cells beside the diagonal stay under."""
    sizes = sorted(abs(float(v)) for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j)
    return sizes[int(0.99 * (len(sizes) - 1))]


@picture("analogy_rank")
def nearest(shown: Shown) -> Iterator[Figure]:
    """The twenty forms nearest to the analogy's vector."""
    a, b, c, target = (vega.token(word) for word in shown.details["words"])
    rows = []
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
    layers = [vega.points(rows, 60, x=vega.x("v", "cosine"), y=vega.named(rows, grid=True), shape=vega.SHAPE)]
    caption = f"Nearest to {a} - {b} + {c}: the target {target} is a diamond, words of the question are squares."
    yield shown.figure(layers, caption, width=230, height=16 * len(rows))


@picture("analogy_rank")
def landmarks(shown: Shown) -> Iterator[Figure]:
    """Where the four words fall among all forms."""
    histogram, words = shown.details["cosine_histogram"], list(shown.details["words"])
    cosines = {word: float(value) for word, value in shown.details["cosines"].items() if value is not None}
    rows = [
        {
            "v": cosines[word],
            "y": vega.token(word, 14),
            "colour": _ROLES["target" if word == words[3] else "source"][1],
            "tip": f"{vega.token(word)}: {number(cosines[word])}",
        }
        for word in dict.fromkeys(words)
        if word in cosines
    ]
    span = [min(histogram["low"], *cosines.values()), max(histogram["high"], *cosines.values())]
    scale = {"domain": span, "nice": True}
    bars = vega.bars(histogram, "var(--noise)", "cosine with a - b + c", "share of forms")
    bars[0]["encoding"]["x"]["scale"] = scale
    across = vega.x("v", scale=scale, axis={"labels": False, "ticks": False})
    marks = vega.points(rows, 60, x=across, y=vega.named(rows))
    chart = vega.chart(bars, width=230, height=110)
    config = chart.pop("config")
    stacked = {"vconcat": [{"layer": [marks], "width": 230, "height": 18 * len(rows)}, chart], "config": config}
    yield figure({**stacked, "spacing": 4}, shown.alias, "Where the four words fall among all forms of the vocabulary.")


@picture("analogy_rank")
def around(shown: Shown) -> Iterator[Figure]:
    """Cosine against Euclidean distance around the analogy's vector, with the four words named."""
    points, words = shown.details["scatter"], list(shown.details["words"])
    rows: list[vega.Spec] = []
    first = len(points["tokens"]) - points["landmarks"]
    entries = list(zip(points["tokens"], points["cosine"], points["distance"], strict=True))
    for i, (name, cosine, distance) in enumerate([*entries[first:], *entries[:first]]):
        about = {"x": float(cosine), "y": float(distance), "colour": "var(--noise)", "shape": "circle", "label": ""}
        about["tip"] = f"{vega.token(name)}: cosine {number(cosine)}, distance {number(distance)}"
        if i < points["landmarks"]:
            role = "target" if name == words[3] else "source"
            shape = {"target": "diamond", "source": "square"}[role]
            about |= {"colour": _ROLES[role][1], "shape": shape, "label": vega.token(name, 14)}
        rows.append(about)
    across, up = (padded([row[key] for row in rows]) for key in ("x", "y"))
    layers = [
        vega.points(
            rows[::-1],
            32,
            opacity=0.85,
            x=vega.own("x", "cosine with a - b + c", scale={"domain": across, "nice": False}),
            y=vega.own("y", "Euclidean distance", scale={"domain": up, "nice": False}),
            shape=vega.SHAPE,
        ),
        *vega.labels(rows, across=across, up=up, size=(vega.WIDTH, 210)),
    ]
    caption = f"Grey: {first} tokens around a - b + c, vectors as stored. A long row is far, wherever it points."
    yield shown.figure(layers, caption, height=210)


@picture("analogy_rank", together=True)
def analogies(results: Sequence[Shown]) -> Iterator[Figure]:
    """The source's closing table: of each analogy, on each model, cosines, ranks and the angle of the two offsets."""
    rows = []
    for shown in sorted(results, key=lambda shown: str(shown.result.params.get("analogy"))):
        if shown.result.estimate is not None:
            details, (a, b, c, target) = shown.details, shown.details["words"]
            cosines, among = details["cosines_raw"], details["rank_among_candidates"]
            rank = f"{among['raw']} of {among['candidates']}"
            ranks = [details["rank_with_sources_kept"], rank]
            rows.append(
                [f"{a} - {b} + {c}", shown.alias, target, cosines[target], cosines[a], *ranks, details["angle_degrees"]]
            )
    names = (
        "analogy",
        "model",
        "target",
        "cos(target)",
        "cos(first)",
        "rank, sources kept",
        "among candidates",
        "angle",
    )
    caption = (
        "Cosines of a - b + c, vectors as stored, with the target and with a; the target's rank; the angle between "
        "the two offsets in degrees."
    )
    if rows:
        yield table("The analogies on each model", caption, names, rows)


@picture("analogy_gain")
def gains(shown: Shown) -> Iterator[Figure]:
    """Mean reciprocal rank of the arithmetic and of its controls."""
    ranks = {method: float(value) for method, value in shown.details["mean_reciprocal_rank"].items()}
    rows: list[vega.Spec] = []
    for method, value in sorted(ranks.items(), key=lambda item: -item[1]):
        name, colour = _METHODS.get(method, vega.token(method)), shown.tone if method == "3cosadd" else "var(--noise)"
        rows.append({"v": value, "y": name, "colour": colour, "tip": f"{name}: {number(value)}"})
    across = vega.x("v", "mean reciprocal rank of the target", scale={"domain": [0, 1]})
    bars = vega.layer({"type": "bar", "height": {"band": 0.7}}, rows, x=across, y=vega.named(rows), color=vega.COLOUR)
    caption = f"{number(shown.details['analogies'])} analogies, answered by the arithmetic and by its controls."
    yield shown.figure([bars], caption, width=240, height=28 * len(rows))


@picture("related_pair_auc")
def related(shown: Shown) -> Iterator[Figure]:
    """Cosines of related pairs over the middle 90% of random pairs."""
    cosines = sorted(((float(v), pair) for pair, v in shown.details["pairs"].items()), reverse=True)[:400]
    levels = shown.details["background"]["cosine_quantiles"]
    rows = [{"v": v, "y": i, "tip": f"{vega.token(pair, 40)}: {number(v)}"} for i, (v, pair) in enumerate(cosines, 1)]
    blank = {"labels": False, "ticks": False, "grid": False}
    up = vega.y("y", "related pairs, nearest first", scale={"reverse": True, "nice": False}, axis=blank)
    said = "the middle 90% of random pairs"
    layers = [
        vega.band(said, "cosine", ends=(levels["0.05"], levels["0.95"]), opacity=0.3),
        vega.rule(float(levels["0.5"]), "median of random pairs"),
        vega.points(rows, 26, shown.tone, opacity=0.9, x=vega.x("v", "cosine"), y=up),
    ]
    yield shown.figure(layers, "Each dot is a related pair; the band holds the middle 90% of random pairs.")


@picture("related_pair_auc")
def chosen_pairs(shown: Shown) -> Iterator[Figure]:
    """The source's pairs, and antonyms, over the middle 90% of random pairs."""
    levels = shown.details["background"]["cosine_quantiles"]
    lists = (
        ("source_pairs", shown.details.get("source_pairs")),
        ("antonyms", shown.details.get("antonyms", {}).get("pairs")),
    )
    for name, entries in lists:
        if entries:
            rows = [_pair(entry) for entry in sorted(entries, key=lambda entry: -float(entry["cosine"]))]
            layers = [
                vega.band(
                    "the middle 90% of random pairs", "cosine", ends=(levels["0.05"], levels["0.95"]), opacity=0.3
                ),
                vega.rule(float(levels["0.5"]), "median of random pairs"),
                vega.points(rows, 50, shown.tone, x=vega.x("v", "cosine"), y=vega.named(rows, grid=True)),
            ]
            what = "Pairs of the source" if name == "source_pairs" else "Antonyms, which are not opposite vectors"
            caption = f"{what}; the band holds the middle 90% of random pairs."
            yield shown.figure(layers, caption, width=200, height=17 * len(rows))


def _pair(entry: Json) -> vega.Spec:
    said = f"{vega.token(entry['pair'], 40)}: {number(entry['cosine'])}, above {entry['percentile']}% of random pairs"
    return {"y": vega.token(entry["pair"]), "v": float(entry["cosine"]), "tip": said}


@picture("related_pair_auc")
def ways_to_compare(shown: Shown) -> Iterator[Figure]:
    """How well each way of comparing two vectors tells related pairs from others."""
    yield _areas(shown, shown.details["comparisons"], "two words' vectors")


@picture("related_pair_auc")
def sizes(shown: Shown) -> Iterator[Figure]:
    """Cosines of synonyms of size with each other and with random words."""
    words = shown.details["sizes"]["mean"] or shown.details["sizes"]["single"]
    if words:
        layers = [
            *vega.bars(words["unrelated"], "var(--noise)", "cosine", "share of pairs"),
            *vega.bars(words["related"], shown.tone, "cosine", "share of pairs"),
        ]
        listed = ", ".join(vega.token(word, 14) for word in words["words"][:6])
        yield shown.figure(layers, f"Colour: {listed} ... with each other. Grey: with random words.")


@picture("related_pair_auc")
def pieces(shown: Shown) -> Iterator[Figure]:
    """The coordinates of two pieces of a word against each other."""
    if coordinates := shown.details.get("piece_coordinates"):
        (first, across), (second, up) = coordinates.items()
        rows = [{"x": float(a), "y": float(b)} for a, b in zip(across, up, strict=True)]
        names = [vega.token(name) for name in (first, second)]
        layers = [vega.points(rows, 14, shown.tone, opacity=0.5, x=vega.own("x", names[0]), y=vega.own("y", names[1]))]
        yield shown.figure(
            layers, f"Coordinates of the pieces {names[0]} and {names[1]} of one word, one dot each.", height=210
        )


@picture("profile_agreement")
def ways_to_agree(shown: Shown) -> Iterator[Figure]:
    """How well each measure of agreement of two words' profiles tells related pairs from others."""
    yield _areas(shown, shown.details["agreement"], "two words' products with the neurons")


@picture("profile_agreement")
def favoured(shown: Shown) -> Iterator[Figure]:
    """The tokens that attention to one word alone favours, by the value and output projections."""
    if words := (shown.details.get("favoured") or {}).get("words"):
        rows = [[word, *(_listed(nearest[how]) for how in ("by_cosine", "by_dot"))] for word, nearest in words.items()]
        caption = (
            "Tokens nearest to what attention to that word alone adds: value and output projection, no norm, no bias."
        )
        yield table(
            f"{shown.alias}: favoured by the value projection", caption, ("word", "by cosine", "by product"), rows
        )


def _listed(entries: Sequence[Json]) -> str:
    return ", ".join(vega.token(entry["token"], 14) for entry in entries[:6])


def _areas(shown: Shown, ways: Json, what: str) -> Figure:
    areas = {name: entry["auc"] for name, entry in ways.items()}
    caption = f"Ways to compare {what}: how often a related pair is nearer than an unrelated one. Dashed: chance."
    return shown.bars(areas, "area under the curve", caption, against={0.5: "chance"})


@picture("middle_men")
def neurons(shown: Shown) -> Iterator[Figure]:
    """How many neurons carry what two words have in common, beside rotated weights."""
    counts = {name.replace("_", " "): value for name, value in shown.details["effective_neurons"].items()}
    caption = "Neurons that carry what two words have in common: related and unrelated pairs, and with weights rotated."
    yield shown.bars(counts, "effective number of neurons", caption)


@picture("surface_variant_auc")
def variants(shown: Shown) -> Iterator[Figure]:
    """Mean cosine of variants of one word, and of unrelated words."""
    caption = (
        f"Mean cosine of {number(shown.details['words'])} words with their variants, and with those of other words."
    )
    yield shown.bars(shown.details["mean_cosine"], "mean cosine", caption)
