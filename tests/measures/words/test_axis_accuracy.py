import importlib
import itertools

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.resolve import axis_pool
from embcheck.measures.words import axis_accuracy as module
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

GENDER, ROYALTY = lexicons.axes("gender", "royalty")


def check(**parameters):
    return Check(importlib.import_module("embcheck.properties.semantic_axes").semantic_axes, parameters)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "RANDOM_AXES", 40)


@pytest.fixture
def made(words):
    """``made(pairs, strength)``: an axis of made-up pairs, apart along one direction, in a table of more words."""

    def build(pairs=21, *, strength=0.0, width=10, seed=0, away=0):
        names = words(2 * (pairs + away) + 80)
        r = np.random.default_rng(seed)
        vectors = r.standard_normal((len(names), width))
        vectors[pairs : 2 * pairs, 0] += strength
        vectors[2 * pairs + away : 2 * (pairs + away), 1] += 3.0
        chosen = list(zip(names[:pairs], names[pairs : 2 * pairs], strict=True))
        rest = names[2 * pairs : 2 * (pairs + away)]
        other = None
        if away:  # the last pair shares a word with the axis
            others = [*zip(rest[:away], rest[away:], strict=True), (chosen[0][0], names[-1])]
            other = lexicons.Axis("other", "", lexicons.relation("other", others))
        axis = lexicons.Axis("made up", "", lexicons.relation("made up", chosen), other)
        order = r.permutation(len(names))
        table = EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [names[i] for i in order])
        return table, axis

    return build


def units_of(table, words):
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    return {w: rows[w] / np.sqrt(np.dot(rows[w], rows[w])) for w in words}


def share(first, second):
    """Leave-one-out sign accuracy, axis by axis."""
    right = []
    for i in range(len(first)):
        others = [j for j in range(len(first)) if j != i]
        axis = np.mean([second[j] - first[j] for j in others], axis=0)
        middle = np.mean([(second[j] + first[j]) / 2 for j in others], axis=0)
        right += [np.dot(first[i] - middle, axis) < 0, np.dot(second[i] - middle, axis) > 0]
    return np.mean(right)


def poles(table, axis):
    units = units_of(table, axis.poles.words)
    return np.array([units[a] for a, _ in axis.poles.pairs]), np.array([units[b] for _, b in axis.poles.pairs])


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_value_is_the_share_of_words_on_their_side_of_the_others_axis(few_draws, made, rng, strength):
    """The value is the accuracy of axes built without each pair, on unit vectors; the effect is that on raw ones."""
    table, axis = made(strength=strength)
    found = measures.axis_accuracy(table, axis, rng=rng)
    assert found.value == share(*poles(table, axis))
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    raw = [np.array([rows[pair[k]] for pair in axis.poles.pairs]) for k in (0, 1)]
    assert found.effect["value"] == share(*raw)
    assert (found.n, found.unit) == (21, "word pairs")


def test_the_interval_is_wilsons_with_a_tenth_of_what_the_jackknife_adds(few_draws, made, rng):
    """The number of words that counts is p(1 - p) over the variance; ends solve Wilson's quadratic equation."""
    table, axis = made(strength=1.0)
    found = measures.axis_accuracy(table, axis, rng=rng)
    first, second = poles(table, axis)
    left_out = np.array([share(np.delete(first, i, 0), np.delete(second, i, 0)) for i in range(21)])
    of_pairs, jackknifed = np.var(found.units, ddof=1) / 21, 20 * np.var(left_out)
    assert jackknifed > of_pairs
    n = found.value * (1 - found.value) / (0.9 * of_pairs + 0.1 * jackknifed)
    assert n < 42
    for end in (found.low, found.high):
        assert abs(found.value - end) == pytest.approx(stats.t.ppf(0.975, 20) * np.sqrt(end * (1 - end) / n))


def test_units_are_shares_of_pairs(few_draws, made, rng):
    """Each pair has none, one or both of its words on their side; together they are the value."""
    table, axis = made(strength=1.0)
    found = measures.axis_accuracy(table, axis, rng=rng)
    assert set(found.units) <= {0.0, 0.5, 1.0}
    assert found.units.mean() == found.value
    assert found.parts[0].labels == tuple(">".join(pair) for pair in axis.poles.pairs)


def test_an_axis_is_orthogonal_to_the_other_one(few_draws, made, rng):
    """What lies along the other axis is taken out; the other's pair that shares a word with this axis is not used."""
    table, axis = made(strength=1.0, away=5)
    assert [pair in axis.away for pair in axis.orthogonal_to.poles.pairs] == [True] * 5 + [False]
    found = measures.axis_accuracy(table, axis, rng=rng)
    other = units_of(table, [w for pair in axis.away for w in pair])
    direction = np.mean([other[b] - other[a] for a, b in axis.away], axis=0)
    direction /= np.linalg.norm(direction)
    first, second = (side - np.outer(side @ direction, direction) for side in poles(table, axis))
    assert found.value == share(first, second)


def test_words_that_differ_only_along_the_other_axis_are_not_told_apart(few_draws, made, rng):
    """Poles that lie apart along the other axis alone are separated by that axis, not by one orthogonal to it."""
    table, axis = made(60, width=30, away=150)
    vectors = table.vectors.numpy().copy()
    vectors[table.rows([b for _, b in axis.poles.pairs]), 1] += 4.0
    moved = table.with_vectors(type(table.vectors)(vectors))
    alone = lexicons.Axis("alone", "", axis.poles)
    assert measures.axis_accuracy(moved, alone, rng=rng).value > 0.9
    assert measures.axis_accuracy(moved, axis, rng=rng).value < 0.7


def test_random_axes_are_the_same_share_of_drawn_words(few_draws, made, rng):
    """Each draw is the accuracy of as many pairs made of the first words of a permuted pool."""
    table, axis = made(strength=1.0)
    poles_ = module._resolve(table, axis)
    drawn = module._random_axes(table, axis, poles_, np.random.default_rng(3))
    pool = [w for w in axis_pool(axis) if w in set(table.tokens)]
    assert pool == list(axis.poles.words)
    units = units_of(table, pool)
    order = np.random.default_rng(3).permuted(np.broadcast_to(np.arange(len(pool)), (40, len(pool))), axis=1)
    for draw, positions in zip(drawn, order, strict=True):
        vectors = np.array([units[pool[i]] for i in positions])
        assert draw == share(vectors[:21], vectors[21:])


@pytest.mark.parametrize("axis", [GENDER, ROYALTY], ids=str)
def test_the_null_function_draws_what_the_measure_draws(monkeypatch, lexicon_table, axis):
    """Measured on axes made by nulls.random_axes, the value has the distribution of the measure's own draws."""
    table, r = lexicon_table(), np.random.default_rng(5)
    monkeypatch.setattr(module, "RANDOM_AXES", 400)
    fast = module._random_axes(table, axis, module._resolve(table, axis), r)
    monkeypatch.setattr(module, "RANDOM_AXES", 1)
    slow = []
    for _ in range(150):
        _, parameters = nulls.random_axes(table, {"axis": axis}, r)
        other = parameters["axis"]
        assert len(other.poles.pairs) == len(axis.poles.pairs)
        assert other.away == axis.away
        found = module._resolve(table, other)
        units = module.project_out(module.unit(found.vectors), found.away)
        slow.append(float(module.accuracy(units @ units.T)))
    smooth = [np.array(x) + np.random.default_rng(1).uniform(0, 1e-3, len(x)) for x in (slow, fast)]
    assert stats.ks_2samp(*smooth).pvalue > 0.001


def test_the_pool_of_random_axes(lexicon_table):
    """Random axes are made of this axis' words and all others of the lexicons, but not of what is projected out."""
    pool = axis_pool(ROYALTY)
    assert set(ROYALTY.poles.words) <= set(pool)
    assert not {w for pair in ROYALTY.away for w in pair} & set(pool)
    assert len({w.casefold() for w in pool}) == len(pool) > 1_000


def test_positions_put_the_poles_at_minus_one_and_one(few_draws, lexicon_table, rng):
    """Details place the poles' means at -1 and 1, and controls by their cosine with the axis, built from all pairs."""
    table = lexicon_table()
    found = measures.axis_accuracy(table, GENDER, rng=rng).details
    positions = found["positions"]
    for k, expected in ((0, -1), (1, 1)):
        assert np.mean([positions[pair[k]] for pair in GENDER.poles.pairs]) == pytest.approx(expected, abs=1e-3)
    first, second = poles(table, GENDER)
    direction = second.mean(0) - first.mean(0)
    direction /= np.linalg.norm(direction)
    for word, where in found["controls"].items():
        assert where["cosine"] == pytest.approx(units_of(table, [word])[word] @ direction, abs=1e-4)
    assert list(found["controls"]) == ["dog", "Paris", "computer", "banana", "happy", "physics"]


def test_the_source_axes_are_those_of_four_words(few_draws, lexicon_table, rng):
    """The source's axes: woman - man, and king and queen minus man and woman orthogonal to it; raw and unit vectors."""
    table = lexicon_table()
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    gender = rows["woman"] - rows["man"]
    gender /= np.linalg.norm(gender)
    royal = (rows["king"] + rows["queen"]) / 2 - (rows["man"] + rows["woman"]) / 2
    royal -= np.dot(royal, gender) * gender
    royal /= np.linalg.norm(royal)
    star = rows["king"] - rows["man"] + rows["woman"]
    for axis, direction in ((GENDER, gender), (ROYALTY, royal)):
        found = measures.axis_accuracy(table, axis, rng=rng).details["as_source"]
        for word, vector in {**{w: rows[w] for w in (*axis.focus, *axis.controls)}, "king - man + woman": star}.items():
            assert found[word]["raw"] == pytest.approx(vector @ direction, abs=1e-5)
            assert found[word]["unit"] == pytest.approx(vector @ direction / np.linalg.norm(vector), abs=1e-4)


def test_worst_words_are_those_farthest_on_the_wrong_side(few_draws, made, rng):
    """Counterexamples are the words with the smallest margin, negative where they lie on the wrong side."""
    table, axis = made(strength=1.0)
    found = measures.axis_accuracy(table, axis, rng=rng)
    first, second = poles(table, axis)
    margins = []
    for k, (own, sign) in itertools.product(range(21), ((first, -1), (second, 1))):
        others = [j for j in range(21) if j != k]
        direction = np.sum([second[j] - first[j] for j in others], axis=0)
        middle = np.mean([(second[j] + first[j]) / 2 for j in others], axis=0)
        margins.append((sign * np.dot(own[k] - middle, direction), axis.poles.pairs[k][(sign + 1) // 2]))
    scale = np.mean([abs(m) for m, _ in margins])
    expected = sorted(margins)[:10]
    assert [c["token"] for c in found.counterexamples] == [w for _, w in expected]
    assert [c["value"] for c in found.counterexamples] == pytest.approx([m / scale for m, _ in expected])
    assert [c["id"] for c in found.counterexamples] == table.rows([w for _, w in expected])
    assert sum(m <= 0 for m, _ in margins) == round((1 - found.value) * 42)


def test_an_accuracy_of_one_still_has_an_interval(few_draws, made, rng):
    """Where every word is on its side there is no spread, and the interval is not of zero width."""
    table, axis = made(strength=40.0)
    found = measures.axis_accuracy(table, axis, rng=rng)
    assert found.value == found.high == 1
    assert 0.6 < found.low < 0.97


def test_too_few_pairs(few_draws, made, rng):
    """19 pairs decide nothing, two can't be measured, nor can an axis whose other axis has no pair here."""
    table, axis = made(19)
    found = measures.axis_accuracy(table, axis, rng=rng)
    assert found.reason == "only 19 pairs are single tokens; 20 are needed to decide"
    table, axis = made(2)
    with pytest.raises(NotMeasurable, match="2 of 2 made up pairs are two single tokens here; at least 3"):
        measures.axis_accuracy(table, axis, rng=rng)
    table, axis = made(20, away=3)
    missing = {w for pair in axis.away for w in pair}
    known = EmbeddingTable.from_arrays(table.vectors, [t * 2 if t in missing else t for t in table.tokens])
    with pytest.raises(NotMeasurable, match="no other pair is two single tokens here, so made up can't be orthogonal"):
        measures.axis_accuracy(known, axis, rng=rng)


def test_rotation_scale_and_row_order_change_nothing(few_draws, made):
    """An orthogonal map, one factor and another order of rows leave value and interval as they are."""
    table, axis = made(strength=1.0, away=4)
    vectors, r = table.vectors.numpy(), np.random.default_rng(1)
    turn, order = np.linalg.qr(r.standard_normal((10, 10)))[0], r.permutation(len(vectors))

    def run(vectors, tokens=None):
        other = EmbeddingTable.from_arrays(vectors, table.tokens if tokens is None else tokens)
        found = measures.axis_accuracy(other, axis, rng=np.random.default_rng(0))
        return found.value, found.low, found.high, found.effect["value"]

    before = run(vectors)
    assert run(vectors @ turn) == before
    assert run(vectors * 1e-12) == before
    assert run(vectors[order], [table.tokens[i] for i in order]) == before


def test_only_the_effect_depends_on_the_length_of_each_row(few_draws, made, rng):
    """A factor for each row leaves the accuracy as it is, and changes that of vectors as stored."""
    table, axis = made(strength=1.0)
    factors = np.random.default_rng(1).uniform(0.02, 50, (len(table.tokens), 1))
    after = measures.axis_accuracy(
        EmbeddingTable.from_arrays(table.vectors.numpy() * factors, table.tokens), axis, rng=rng
    )
    before = measures.axis_accuracy(table, axis, rng=rng)
    assert (after.value, after.low) == (before.value, before.low)
    assert after.effect["value"] != before.effect["value"]


@pytest.mark.parametrize("axis", [GENDER, ROYALTY], ids=str)
def test_planted_axes_hold_and_noise_does_not(lexicon_table, axis):
    """Second poles moved along one direction hold; noise does not, nor does a shift of all rows."""

    def plant(vectors, at):
        vectors[at([b for _, b in axis.poles.pairs]), 0] += 4.0

    def shift(vectors, at):
        vectors += 2.0

    asked = check(axis=axis)
    assert evaluate(asked, lexicon_table(plant), Settings()).verdict is Verdict.HOLDS
    assert evaluate(asked, lexicon_table(), Settings()).verdict is not Verdict.HOLDS
    assert evaluate(asked, lexicon_table(shift), Settings()).verdict is not Verdict.HOLDS
