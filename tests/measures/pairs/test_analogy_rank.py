import math

import numpy as np
import pytest

from embcheck import lexicons, measures
from embcheck.errors import NotMeasurable
from embcheck.measures.pairs import analogy_rank
from embcheck.table import EmbeddingTable

WORDS = ("king", "man", "woman", "queen")
CANDIDATES = ("queen", "king", "woman", "man", "prince", "absent")


def analogy(**options):
    return lexicons.Analogy("royal", *WORDS, **options)


@pytest.fixture(params=range(3))
def table(request, words):
    """Noise in which the words occur in several variants, the target somewhat near a - b + c."""
    r = np.random.default_rng(request.param)
    names = [*WORDS, "King", " queen", "QUEEN", "Man", "prince", "<unk>", *words(400)]
    names += [name.upper() for name in names[-60:]]
    vectors = r.standard_normal((len(names), 10)) * r.uniform(0.2, 5, (len(names), 1))
    vectors[3] = 0.5 * (vectors[0] - vectors[1] + vectors[2]) + r.standard_normal(10)
    order = r.permutation(len(names))
    return EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [names[i] for i in order])


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def by_form(table, scores):
    """Best score of each word whatever its case."""
    best = {}
    for row, score in zip(table.population, scores, strict=True):
        key = table.tokens[row].strip().lower()
        best[key] = max(score, best.get(key, -np.inf))
    return best


def rank(best, without):
    return 1 + sum(s >= best["queen"] for word, s in best.items() if word not in {"queen", *without})


def all_scores(table):
    rows = table.vectors.double().numpy()
    a, b, c = (rows[list(table.tokens).index(w)] for w in WORDS[:3])
    every = unit(rows[table.population])
    cos = {w: every @ unit(v) for w, v in (("a", a), ("b", b), ("c", c))}
    return {
        "3cosadd": every @ unit(unit(a) - unit(b) + unit(c)),
        "3cosadd_raw": every @ unit(a - b + c),
        "nearest_to_a": cos["a"],
        "nearest_to_c": cos["c"],
        "a_plus_c": every @ unit(unit(a) + unit(c)),
        "3cosmul": (cos["a"] + 1) / 2 * (cos["c"] + 1) / 2 / ((cos["b"] + 1) / 2 + 0.001),
    }


@pytest.mark.parametrize(
    ("ranks", "remark"),
    [
        ((1, 1, 1, 1), "a + c alone ranks it as high"),
        ((2, 3, 9, 2), "c alone ranks it as high"),
        ((4, 5, 2, 7), "a alone ranks it higher"),
        ((1, 2, 3, 4), None),
    ],
)
def test_the_best_control_is_named_where_it_does_as_well(ranks, remark):
    """Of (arithmetic, a + c, a, c) the best control is named where no other rank is below it, the sum before a word."""
    named = dict(zip(("3cosadd", "a_plus_c", "nearest_to_a", "nearest_to_c"), ranks, strict=True))
    assert analogy_rank._remark(named).get("remark") == remark


def test_a_sum_that_does_as_well_is_said(words):
    """With the target at a + c, which b is no part of, the arithmetic adds nothing, and the result says so."""
    names = [*WORDS, *words(60)]
    vectors = np.random.default_rng(3).standard_normal((64, 40))
    vectors[3] = unit(vectors[0]) + unit(vectors[2])
    found = measures.analogy_rank(EmbeddingTable.from_arrays(vectors, names), analogy())
    assert (found.value, found.details["remark"]) == (1, "a + c alone ranks it as high")


def test_ranks_of_every_method_are_those_of_a_full_sort(table):
    """By every method the rank is 1 + the words, sources left out, that score at least as high as the target."""
    found = measures.analogy_rank(table, analogy())
    expected = {name: rank(by_form(table, s), WORDS[:3]) for name, s in all_scores(table).items()}
    assert found.details["ranks"] == expected
    assert (found.value, found.is_exact) == (expected["3cosadd"], True)
    assert found.n == len({table.tokens[row].strip().lower() for row in table.population})


def test_the_rank_with_sources_kept_counts_them(table):
    """With source words kept they are words like any other."""
    found = measures.analogy_rank(table, analogy()).details["rank_with_sources_kept"]
    assert found == rank(by_form(table, all_scores(table)["3cosadd"]), ())


def own_scores(table, scores, words):
    """The score of the row that is written exactly like each word."""
    positions = {w: table.population.tolist().index(table.tokens.index(w)) for w in words}
    return {w: float(scores[position]) for w, position in positions.items()}


def test_cosines_are_those_of_the_words_own_rows(table):
    """Cosines with the four words, on unit and on raw vectors, are their own rows', whatever variants score."""
    found = measures.analogy_rank(table, analogy()).details
    scores = all_scores(table)
    for key, name in (("cosines", "3cosadd"), ("cosines_raw", "3cosadd_raw")):
        assert found[key] == pytest.approx(own_scores(table, scores[name], WORDS), abs=1e-6)


def test_the_rank_among_candidates_keeps_sources(table):
    """Among the candidates that are a token, each at its own row, the target's rank counts the source words."""
    found = measures.analogy_rank(table, analogy(candidates=CANDIDATES)).details["rank_among_candidates"]
    scores = all_scores(table)
    expected = {"candidates": 5}
    for key, name in (("unit", "3cosadd"), ("raw", "3cosadd_raw")):
        own = own_scores(table, scores[name], CANDIDATES[:5])
        expected[key] = 1 + sum(own[w] >= own["queen"] for w in CANDIDATES[1:5])
    assert found == expected


def test_a_variant_lends_a_candidate_neither_cosine_nor_rank(words):
    """Where "Man" and "Prince" lie on a - b + c, "man" and "prince" keep their own places, and the target is first."""
    e = np.eye(64)
    query = e[0] - e[1] + e[2]
    rows = {
        "king": e[0],
        "man": e[1],
        "woman": e[2],
        "queen": query + e[7],
        "prince": -query,
        "Prince": query,
        "Man": query,
    }
    names = [*rows, *words(57)]
    table = EmbeddingTable.from_arrays(np.array([*rows.values(), *e[:57]], dtype=np.float32), names)
    found = measures.analogy_rank(table, analogy(candidates=("queen", "king", "woman", "man", "prince"))).details
    assert found["rank_among_candidates"] == {"unit": 1, "raw": 1, "candidates": 5}
    assert found["cosines"]["man"] == pytest.approx(-1 / math.sqrt(3), abs=1e-6)


def test_no_candidates_no_rank_among_them(table):
    """An analogy without candidates has no rank among them."""
    assert measures.analogy_rank(table, analogy()).details["rank_among_candidates"] is None


def test_the_angle_is_between_the_two_offsets(table):
    """The angle is that between a - b and target - c on raw vectors, in degrees."""
    rows = table.vectors.double().numpy()
    a, b, c, target = (rows[list(table.tokens).index(w)] for w in WORDS)
    expected = math.degrees(math.acos(float(unit(a - b) @ unit(target - c))))
    assert measures.analogy_rank(table, analogy()).details["angle_degrees"] == pytest.approx(expected, abs=1e-4)


def test_the_nearest_words_are_named_without_sources(table):
    """The words shown are the nearest to a - b + c, sources left out, one a form, nearest first."""
    found = measures.analogy_rank(table, analogy()).counterexamples
    best = by_form(table, all_scores(table)["3cosadd"])
    expected = sorted((w for w in best if w not in WORDS[:3]), key=lambda w: -best[w])[:10]
    assert [c["token"].strip().lower() for c in found] == expected
    assert [c["value"] for c in found] == pytest.approx([best[w] for w in expected], abs=1e-6)
    assert [c["token"] for c in found] == [table.token(c["id"]) for c in found]


def exact_table(vectors, words):
    names = [*WORDS, *words(len(vectors) - 4)]
    return EmbeddingTable.from_arrays(np.array(vectors, dtype=np.float32), names)


def test_ties_count_against_the_target(words):
    """Words that score exactly as high as the target are ranked before it."""
    e = np.eye(8)
    vectors = [e[0], e[1], e[2], e[0] - e[1] + e[2], *[e[0] - e[1] + e[2]] * 3, e[4]]
    assert measures.analogy_rank(exact_table(vectors, words), analogy()).value == 4


def test_a_parallelogram_ranks_first(words):
    """Where target = a - b + c exactly, the target ranks first and the offsets are parallel."""
    e = np.eye(64)
    vectors = [e[0], e[1], e[2], e[0] - e[1] + e[2], *e[3:]]
    found = measures.analogy_rank(exact_table(vectors, words), analogy())
    assert found.value == 1
    assert found.details["angle_degrees"] == pytest.approx(0, abs=1e-3)
    assert found.details["cosines"]["queen"] == pytest.approx(1)


def test_the_summary_says_when_the_arithmetic_adds_nothing(words):
    """Where the target is simply near to c, the summary names that control and says that nothing is added."""
    e = np.eye(64)
    near_c = [e[0], e[1], e[2], 3 * e[2] - 0.5 * e[0], *e[3:]]
    found = measures.analogy_rank(exact_table(near_c, words), analogy()).details
    assert found["ranks"]["nearest_to_c"] == 1
    assert found["summary"] == "woman alone ranks queen 1, the arithmetic 1: it adds nothing over that"


def test_the_summary_says_when_the_arithmetic_helps(words):
    """Where every control ranks the target behind its decoys, the summary gives both ranks and no complaint."""
    s, t, gender = np.eye(64)[:3]
    decoys = [s + t, s - 0.2 * np.eye(64)[5], t - 0.2 * np.eye(64)[6]]
    vectors = [s + gender, t + gender, t - gender, s - gender, *decoys, *np.eye(64)[3:]]
    found = measures.analogy_rank(exact_table(vectors, words), analogy()).details
    assert found["ranks"]["3cosadd"] == 1
    assert min(found["ranks"][k] for k in ("nearest_to_a", "nearest_to_c", "a_plus_c")) > 1
    assert found["summary"].endswith("the arithmetic 1")


def test_a_small_vocabulary_decides_nothing(monkeypatch, table):
    """Below the number of forms where rank 10 is rare by chance, the rank is given with the reason."""
    found = measures.analogy_rank(table, analogy())
    assert f"only {found.n} forms" in found.reason
    monkeypatch.setattr(analogy_rank, "ENOUGH_FORMS", found.n)
    assert measures.analogy_rank(table, analogy()).reason is None


def test_missing_words_are_named(words):
    """A word that is no single token of the population is named, and the analogy is not measured."""
    table = EmbeddingTable.from_arrays(np.eye(9), ["king", "man", "<unk>", *words(6)])
    with pytest.raises(NotMeasurable, match="not a single token of this vocabulary: woman, queen"):
        measures.analogy_rank(table, analogy())


def test_the_scatter_has_cosine_and_distance_from_the_arithmetic(table):
    """Of tokens, and last of the four words, the cosine with a - b + c and the distance from it, vectors as stored."""
    found = measures.analogy_rank(table, analogy()).details["scatter"]
    rows = table.vectors.double().numpy()
    named = [rows[list(table.tokens).index(word)] for word in found["tokens"]]
    query = np.array([rows[list(table.tokens).index(word)] for word in WORDS[:3]]).T @ [1, -1, 1]
    assert tuple(found["tokens"][-found["landmarks"] :]) == WORDS
    assert found["cosine"] == pytest.approx(unit(np.array(named)) @ unit(query), rel=1e-3, abs=1e-5)
    assert found["distance"] == pytest.approx(np.linalg.norm(named - query, axis=1), rel=1e-3)
