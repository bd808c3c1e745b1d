import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.errors import NotMeasurable
from embcheck.measures.pairs import offset_consistency
from embcheck.measures.resolve import STEM, matched_pools
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable


def build(words, pairs=24, others=700, *, width=16, strength=0.0, seed=0):
    """A table of word pairs and other words in mixed order, the second words moved along one direction."""
    names = words(2 * pairs + others)
    r = np.random.default_rng(seed)
    vectors = r.standard_normal((len(names), width))
    vectors[pairs : 2 * pairs, 0] += strength
    relation = lexicons.relation("made up", list(zip(names[:pairs], names[pairs : 2 * pairs], strict=True)))
    order = r.permutation(len(names))
    return EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [names[i] for i in order]), relation


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(permutations, "PERMUTATIONS", 60)
    monkeypatch.setattr(permutations, "CHUNK", 25)


def vectors_of(table, relation):
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    return np.array([rows[a] for a, _ in relation.pairs]), np.array([rows[b] for _, b in relation.pairs])


def consistency(first, second):
    """Mean cosine of the offsets of all pairs of pairs, one by one."""
    off = [b - a for a, b in zip(first, second, strict=True)]
    cosines = [np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)) for x, y in itertools.combinations(off, 2)]
    return np.mean(cosines)


def test_consistency_is_the_mean_cosine_of_all_pairs_of_offsets(few_draws, words, rng):
    """The value is the mean over all pairs of pairs of the cosine between their offsets."""
    table, relation = build(words, strength=2)
    found = measures.offset_consistency(table, relation, rng=rng)
    assert found.value == pytest.approx(consistency(*vectors_of(table, relation)), abs=1e-9)
    assert (found.n, found.unit) == (24, "word pairs")


def test_the_interval_is_the_jackknife_by_deletion(few_draws, words, rng, wilson):
    """Pseudo-values are those of the value without each pair; the lower end is t's, the upper Wilson's of the root."""
    table, relation = build(words, strength=2)
    found = measures.offset_consistency(table, relation, rng=rng)
    first, second = vectors_of(table, relation)
    n = len(first)
    left_out = np.array([consistency(np.delete(first, i, 0), np.delete(second, i, 0)) for i in range(n)])
    pseudo = n * found.value - (n - 1) * left_out
    half = stats.t.ppf(0.975, n - 1) * pseudo.std(ddof=1) / np.sqrt(n)
    np.testing.assert_allclose(found.units, pseudo, atol=1e-8)
    root = found.value**0.5
    worth = root * (1 - root) / (pseudo.var(ddof=1) / n / (2 * root) ** 2)
    _, high = wilson(root, max(worth, 0.75 * n), stats.t.ppf(0.975, n - 1))
    assert high**2 > found.value + half
    assert (found.low, found.high) == pytest.approx((found.value - half, high**2), abs=1e-9)


def test_gram_matrices_give_the_draws_of_real_permutations(few_draws, words):
    """Each draw of shuffled_pairs equals the consistency of the pairs that its permutation makes."""
    table, relation = build(words, strength=1)
    drawn = offset_consistency._shuffled(
        offset_consistency._resolve(table, relation, "single"), np.random.default_rng(11)
    )
    first, second = vectors_of(table, relation)
    r = np.random.default_rng(11)
    orders = [r.permuted(np.broadcast_to(np.arange(24), (c, 24)), axis=1) for c in (25, 25, 10)]
    expected = [consistency(first, second[order]) for order in np.concatenate(orders)]
    np.testing.assert_allclose(drawn, expected, atol=1e-9)


def test_draws_survive_any_scale_of_the_vectors(few_draws, words):
    """Vectors of length 1e-12 or 1e12 give the draws of vectors of length 1."""
    table, relation = build(words, strength=1)
    draws = []
    for scale in (1e-12, 1.0, 1e12):
        scaled = table.with_vectors(table.vectors * scale)
        draws.append(
            offset_consistency._shuffled(
                offset_consistency._resolve(scaled, relation, "single"), np.random.default_rng(1)
            )
        )
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-6)
    np.testing.assert_allclose(draws[2], draws[1], atol=1e-6)


def test_the_null_function_draws_what_the_measure_draws(monkeypatch, words):
    """Measured on relabellings by nulls.shuffled_pairs, consistency has the distribution of the measure's own draws."""
    table, relation = build(words, pairs=20, strength=2)
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    r = np.random.default_rng(5)
    slow = []
    for _ in range(200):
        _, made = nulls.shuffled_pairs(table, {"relation": relation}, r)
        pairs = made["relation"].pairs
        slow.append(consistency([rows[a] for a, _ in pairs], [rows[b] for _, b in pairs]))
    monkeypatch.setattr(permutations, "PERMUTATIONS", 400)
    fast = offset_consistency._shuffled(
        offset_consistency._resolve(table, relation, "single"), np.random.default_rng(6)
    )
    assert stats.ks_2samp(slow, fast).pvalue > 0.001


def test_pools_are_disjoint_and_hold_the_true_word_first(words):
    """Pools share no word, begin with the true second word, and hold no word of any pair."""
    table, relation = build(words)
    rows = np.array([table.rows(pair) for pair in relation.pairs])
    pools = matched_pools(table, rows, relation.pairs)
    assert pools.shape == (24, 20)
    assert len(np.unique(pools)) == pools.size
    assert pools[:, 0].tolist() == rows[:, 1].tolist()
    assert not set(pools[:, 1:].ravel()) & set(rows.ravel())


def test_pools_are_near_in_frequency_and_unrelated(words):
    """Pool words have ids near the true word's, and do not begin like the pair's first word."""
    table, relation = build(words, pairs=5, others=2000)
    rows = np.array([table.rows(pair) for pair in relation.pairs])
    stem = relation.pairs[2][0][:STEM]
    tokens = list(table.tokens)
    near = int(rows[2, 1]) + 1
    if near in rows or near >= len(tokens):
        near -= 2
    tokens[near] = stem + "zz"
    related = EmbeddingTable.from_arrays(table.vectors, tokens)
    pools = matched_pools(related, rows, relation.pairs)
    assert np.abs(pools - rows[:, 1:]).max() < 60
    assert near not in pools[2]
    assert near in matched_pools(table, rows, relation.pairs)[2]


def test_matched_draws_are_the_consistency_of_drawn_words(few_draws, words):
    """Each draw of frequency_matched_pairs equals the consistency of first words with the words picked."""
    table, relation = build(words, strength=1)
    pairs = offset_consistency._resolve(table, relation, "single")
    drawn = offset_consistency._frequency_matched(table, pairs, np.random.default_rng(4))
    pools = matched_pools(table, pairs.rows, pairs.words)
    vectors = table.vectors.double().numpy()
    r = np.random.default_rng(4)
    picks = np.concatenate([r.integers(0, 20, size=(c, 24)) for c in (25, 25, 10)])
    first = vectors[pairs.rows[:, 0]]
    expected = [consistency(first, vectors[pools[np.arange(24), p]]) for p in picks]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_the_matched_null_function_draws_what_the_measure_draws(monkeypatch, words):
    """Measured on relabellings by nulls.frequency_matched_pairs, consistency has the distribution of the own draws."""
    table, relation = build(words, pairs=20, strength=2)
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    r = np.random.default_rng(5)
    slow = []
    for _ in range(200):
        _, made = nulls.frequency_matched_pairs(table, {"relation": relation}, r)
        pairs = made["relation"].pairs
        slow.append(consistency([rows[a] for a, _ in pairs], [rows[b] for _, b in pairs]))
    monkeypatch.setattr(permutations, "PERMUTATIONS", 400)
    fast = offset_consistency._frequency_matched(
        table, offset_consistency._resolve(table, relation, "single"), np.random.default_rng(6)
    )
    assert stats.ks_2samp(slow, fast).pvalue > 0.001


def test_pools_of_two_need_other_words(words):
    """A vocabulary without enough other words can't be matched by frequency, and says how many it has."""
    table, relation = build(words, pairs=24, others=10)
    rows = np.array([table.rows(pair) for pair in relation.pairs])
    with pytest.raises(NotMeasurable, match="10 other words are too few to match 24 pairs"):
        matched_pools(table, rows, relation.pairs)


def test_pairing_consistency_is_an_area_under_the_roc_curve(monkeypatch, words):
    """Pairing consistency is the share of (true, shuffled) cosine pairs in which the true one is larger."""
    monkeypatch.setattr(offset_consistency, "SHUFFLES", 3)
    table, relation = build(words, pairs=8, strength=2)
    pairs = offset_consistency._resolve(table, relation, "single")
    units = offset_consistency._unit(pairs.second - pairs.first)
    found = offset_consistency._pairing_consistency(pairs, (units @ units.T).numpy(), np.random.default_rng(2))
    first, second = vectors_of(table, relation)
    upper = np.triu_indices(8, 1)

    def cosines(other):
        off = other - first
        off /= np.linalg.norm(off, axis=1, keepdims=True)
        return (off @ off.T)[upper]

    r = np.random.default_rng(2)
    areas = []
    for _ in range(3):
        shuffled = cosines(second[r.permutation(8)])
        wins = [(x > y) + 0.5 * (x == y) for x in cosines(second) for y in shuffled]
        areas.append(np.mean(wins))
    assert found == pytest.approx(np.mean(areas), abs=1e-12)


@pytest.mark.parametrize(("strength", "low", "high"), [(0, 0.4, 0.6), (6, 0.95, 1.0)])
def test_the_effect_goes_from_one_half_to_one(few_draws, words, rng, strength, low, high):
    """Pairing consistency is near one half without structure. A shift of all second words alone leaves it below one."""
    table, relation = build(words, pairs=40)
    if strength:  # each pair apart from the others, moved by a small step along one direction
        rows = np.array([table.rows(pair) for pair in relation.pairs])
        table.vectors[rows[:, 1]] = table.vectors[rows[:, 0]]
        table.vectors[rows[:, 1], 0] += strength
        table.vectors[rows[:, 1], 1] += torch.linspace(0, 1, 40)
        table = table.with_vectors(table.vectors)
    assert low < measures.offset_consistency(table, relation, rng=rng).effect["value"] <= high


def test_cosines_with_the_mean_direction(few_draws, words, rng):
    """Details give each offset's cosine with the mean direction, itself included as the source does, and left out."""
    table, relation = build(words, strength=2)
    found = measures.offset_consistency(table, relation, rng=rng)
    first, second = vectors_of(table, relation)
    off = (second - first) / np.linalg.norm(second - first, axis=1, keepdims=True)
    total = off.sum(0)
    with_it = [np.dot(u, total) / np.linalg.norm(total) for u in off]
    without = [np.dot(u, total - u) / np.linalg.norm(total - u) for u in off]
    assert list(found.details["cosine_with_mean"].values()) == pytest.approx(with_it, abs=1e-4)
    assert list(found.details["cosine_with_mean_left_out"].values()) == pytest.approx(without, abs=1e-4)
    assert [c["value"] for c in found.counterexamples] == pytest.approx(sorted(without)[:10], abs=1e-6)
    np.testing.assert_allclose(found.details["matrix"], off @ off.T, atol=1e-3)


def test_strata_have_their_own_consistency(few_draws, words, rng):
    """Each declared stratum's consistency is that of its own pairs."""
    table, whole = build(words, strength=2)
    strata = {"one": whole.pairs[:10], "two": whole.pairs[10:23], "alone": whole.pairs[23:]}
    found = measures.offset_consistency(table, lexicons.Relation("made up", "", strata), rng=rng).details["strata"]
    first, second = vectors_of(table, whole)
    assert found["one"] == {"pairs": 10, "consistency": pytest.approx(consistency(first[:10], second[:10]), abs=1e-9)}
    assert set(found) == {"one", "two"}


def test_fewer_than_twenty_pairs_decide_nothing(few_draws, words, rng):
    """From 3 to 19 pairs the value is given with the reason why it may not decide."""
    table, relation = build(words, pairs=19)
    found = measures.offset_consistency(table, relation, rng=rng)
    assert found.reason == "only 19 pairs are single tokens; 20 are needed to decide"
    assert found.value == pytest.approx(consistency(*vectors_of(table, relation)), abs=1e-9)
    table, relation = build(words, pairs=20)
    assert measures.offset_consistency(table, relation, rng=rng).reason is None


def test_two_pairs_are_not_measured(words, rng):
    """Below three pairs no interval exists, and the number that resolved is named."""
    table, relation = build(words, pairs=5)
    kept = EmbeddingTable.from_arrays(
        table.vectors, [t if t not in relation.words[4:] else t * 2 for t in table.tokens]
    )
    with pytest.raises(NotMeasurable, match="2 of 5 made up pairs"):
        measures.offset_consistency(kept, relation, rng=rng)


def test_a_pair_of_equal_vectors_has_no_offset(few_draws, words, rng):
    """Two words with the same vector point nowhere: the pair is left out rather than counted as zero."""
    table, relation = build(words, strength=2)
    a, b = table.rows(relation.pairs[3])
    table.vectors[b] = table.vectors[a]
    found = measures.offset_consistency(table.with_vectors(table.vectors), relation, rng=rng)
    first, second = vectors_of(table, relation)
    assert found.n == 23
    assert found.value == pytest.approx(consistency(np.delete(first, 3, 0), np.delete(second, 3, 0)), abs=1e-9)


def test_one_common_offset_is_fully_consistent(few_draws, words, rng):
    """If all offsets are the same vector the consistency is 1; if half of them are reversed it is -1/(n - 1)."""
    table, relation = build(words, pairs=24)
    rows = np.array([table.rows(pair) for pair in relation.pairs])
    for sign, expected in ((np.ones(24), 1.0), (np.resize([1.0, -1.0], 24), -1 / 23)):
        vectors = table.vectors.clone()
        vectors[rows[:, 0]] = 0.5
        vectors[rows[:, 1]] = 0.5 + torch.from_numpy(sign[:, None] * np.ones((1, 16))).float()
        found = measures.offset_consistency(table.with_vectors(vectors), relation, rng=rng)
        assert found.value == pytest.approx(expected, abs=1e-12)
