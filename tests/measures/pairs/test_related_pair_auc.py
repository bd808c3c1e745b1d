import importlib
import itertools

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures import cells as measured
from embcheck.measures.pairs import related_pair_auc as beside
from embcheck.settings import Settings
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable


def check(**parameters):
    return Check(importlib.import_module("embcheck.properties.related_word_pairs").related_word_pairs, parameters)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(permutations, "PERMUTATIONS", 60)
    monkeypatch.setattr(permutations, "CHUNK", 25)


def build(words, pairs=24, others=300, *, width=12, strength=0.0, seed=0):
    """Word pairs, the second word drawn towards the first, among other words in mixed order."""
    names = words(2 * pairs + others)
    r = np.random.default_rng(seed)
    vectors = r.standard_normal((len(names), width))
    vectors[pairs : 2 * pairs] += strength * vectors[:pairs]
    relation = lexicons.relation("made up", list(zip(names[:pairs], names[pairs : 2 * pairs], strict=True)))
    order = r.permutation(len(names))
    return EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [names[i] for i in order]), relation


def vectors_of(table, relation):
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    return np.array([rows[a] for a, _ in relation.pairs]), np.array([rows[b] for _, b in relation.pairs])


def cosine(x, y):
    return np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y))


def area(first, second, similarity=cosine):
    """Share of (related, cross) pairs in which the related one is the more similar, one by one."""
    n = len(first)
    cross = [similarity(first[i], second[j]) for i, j in itertools.permutations(range(n), 2)]
    own = [similarity(first[i], second[i]) for i in range(n)]
    return np.mean([(x > y) + 0.5 * (x == y) for x in own for y in cross])


def test_the_area_is_the_share_of_cross_pairs_that_a_related_pair_exceeds(few_draws, words, rng):
    """The value is the area under the ROC curve counted pair by pair; the effect is that of dot products."""
    table, relation = build(words, strength=0.3)
    found = measures.related_pair_auc(table, relation, rng=rng)
    first, second = vectors_of(table, relation)
    assert found.value == pytest.approx(area(first, second), abs=1e-12)
    assert found.effect["value"] == pytest.approx(area(first, second, np.dot), abs=1e-12)
    assert (found.n, found.unit) == (24, "word pairs")
    scipys = stats.mannwhitneyu(
        [cosine(x, y) for x, y in zip(first, second, strict=True)],
        [cosine(first[i], second[j]) for i, j in itertools.permutations(range(24), 2)],
    )
    assert found.details["mann_whitney"]["u"] == scipys.statistic


def test_the_interval_is_the_jackknife_by_deletion(few_draws, words, rng, wilson):
    """Pseudo-values are those of the area without each pair; the interval is Wilson's with their variance."""
    table, relation = build(words, pairs=21, strength=0.3)
    found = measures.related_pair_auc(table, relation, rng=rng)
    first, second = vectors_of(table, relation)
    left_out = np.array([area(np.delete(first, i, 0), np.delete(second, i, 0)) for i in range(21)])
    pseudo = 21 * found.value - 20 * left_out
    np.testing.assert_allclose(found.units, pseudo, atol=1e-9)
    worth = found.value * (1 - found.value) / (pseudo.var(ddof=1) / 21)
    assert 63 < worth < 66
    expected = wilson(
        found.value,
        63,  # three answers a pair at most
        stats.t.ppf(0.975, 20),
    )
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_draws_are_the_areas_of_real_permutations(few_draws, words):
    """Each draw of shuffled_pairs is the area of the pairs that its permutation makes."""
    table, relation = build(words, strength=0.5)
    first, second = vectors_of(table, relation)
    cells = np.array([[cosine(x, y) for y in second] for x in first])
    drawn = measured.shuffled(cells, np.random.default_rng(3))
    r = np.random.default_rng(3)
    orders = [r.permuted(np.broadcast_to(np.arange(24), (count, 24)), axis=1) for count in (25, 25, 10)]
    expected = [area(first, second[order]) for order in np.concatenate(orders)[:12]]
    np.testing.assert_allclose(drawn[:12], expected, atol=1e-12)


def test_the_null_function_draws_what_the_measure_draws(monkeypatch, words):
    """Measured on relabellings by nulls.shuffled_pairs, the area has the distribution of the measure's own draws."""
    table, relation = build(words, pairs=20, strength=0.3)
    first, second = vectors_of(table, relation)
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    slow, r = [], np.random.default_rng(5)
    for _ in range(200):
        _, made = nulls.shuffled_pairs(table, {"relation": relation}, r)
        pairs = made["relation"].pairs
        a, b = np.array([rows[x] for x, _ in pairs]), np.array([rows[y] for _, y in pairs])
        slow.append(measured.area(np.array([[cosine(x, y) for y in b] for x in a])))
    monkeypatch.setattr(permutations, "PERMUTATIONS", 400)
    cells = np.array([[cosine(x, y) for y in second] for x in first])
    assert stats.ks_2samp(slow, measured.shuffled(cells, np.random.default_rng(6))).pvalue > 0.001


def test_ties_count_one_half(few_draws, words, rng):
    """Where all vectors are one, every comparison is a tie and the area is one half."""
    table, relation = build(words)
    equal = EmbeddingTable.from_arrays(np.ones_like(table.vectors.numpy()), table.tokens)
    assert measures.related_pair_auc(equal, relation, rng=rng).value == 0.5


def test_an_area_of_one_still_has_an_interval(few_draws, words, rng):
    """Where every related pair exceeds every cross pair there is no spread, and the interval is not of zero width."""
    table, relation = build(words, strength=50.0)
    found = measures.related_pair_auc(table, relation, rng=rng)
    assert found.value == found.high == 1
    assert 0.6 < found.low < 0.95
    assert found.low == pytest.approx(1 / (1 + stats.t.ppf(0.975, found.n - 1) ** 2 / (3 * found.n)))


def test_fewer_than_twenty_pairs_decide_nothing(few_draws, words, rng):
    """With 19 pairs the value is given with the reason why it may not decide; with two there is none."""
    table, relation = build(words, pairs=19, strength=1.0)
    found = measures.related_pair_auc(table, relation, rng=rng)
    assert found.reason == "only 19 pairs are single tokens; 20 are needed to decide"
    known = EmbeddingTable.from_arrays(
        table.vectors, [t if t not in relation.words[4:] else t * 2 for t in table.tokens]
    )
    with pytest.raises(NotMeasurable, match="2 of 19 made up pairs are two single tokens here; at least 3"):
        measures.related_pair_auc(known, relation, rng=rng)


def test_other_comparisons_are_those_of_scipy(words):
    """Pearson, Spearman, Kendall and Euclid between the vectors of a pair are scipy's, averaged over pairs."""
    table, relation = build(words, strength=0.5)
    first, second = vectors_of(table, relation)
    found = beside.of_pairs(relation, list(relation.pairs), first, second)["comparisons"]
    references = {
        "pearson": lambda x, y: stats.pearsonr(x, y).statistic,
        "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
        "euclidean": lambda x, y: np.sqrt(((x - y) ** 2).sum()),
        "dot": np.dot,
    }
    for name, compare in references.items():
        assert found[name]["related"] == pytest.approx(
            np.mean([compare(x, y) for x, y in zip(first, second, strict=True)]), abs=1e-9
        )
        cross = [compare(first[i], second[j]) for i, j in itertools.permutations(range(24), 2)]
        assert found[name]["unrelated"] == pytest.approx(np.mean(cross), abs=1e-9)
    nearer = [-1 if name == "euclidean" else 1 for name in references]
    areas = [
        area(first, second, lambda x, y, s=s, c=c: s * c(x, y))
        for s, c in zip(nearer, references.values(), strict=True)
    ]
    assert [found[name]["auc"] for name in references] == pytest.approx(areas, abs=1e-9)
    tau = [stats.kendalltau(first[i], second[i]).statistic for i in range(24)]
    shifted = [stats.kendalltau(first[i], second[(i + 1) % 24]).statistic for i in range(24)]
    assert found["kendall"]["related"] == pytest.approx(np.mean(tau))
    assert found["kendall"]["unrelated"] == pytest.approx(np.mean(shifted))


def run(table, relation):
    found = measures.related_pair_auc(table, relation, rng=np.random.default_rng(0))
    return found.value, found.low, found.high


def test_rotation_scale_and_row_order_change_nothing(few_draws, words):
    """An orthogonal map, one factor and another order of rows leave value and interval as they are."""
    table, relation = build(words, strength=0.3)
    before, r = run(table, relation), np.random.default_rng(1)
    turn = np.linalg.qr(r.standard_normal((12, 12)))[0]
    order = r.permutation(len(table.tokens))
    vectors = table.vectors.numpy()
    assert run(EmbeddingTable.from_arrays(vectors @ turn, table.tokens), relation) == pytest.approx(before, abs=1e-9)
    for factor in (1e-12, 1e12):
        scaled = EmbeddingTable.from_arrays(vectors * factor, table.tokens)
        assert run(scaled, relation) == pytest.approx(before, abs=1e-9)
    moved = EmbeddingTable.from_arrays(vectors[order], [table.tokens[i] for i in order])
    assert run(moved, relation) == pytest.approx(before, abs=1e-9)


def test_only_the_area_of_dot_products_depends_on_the_length_of_each_row(few_draws, words, rng):
    """A factor for each row leaves the area of cosines as it is, and changes that of dot products."""
    table, relation = build(words, strength=0.3)
    factors = np.random.default_rng(1).uniform(0.05, 20, (len(table.tokens), 1))
    before = measures.related_pair_auc(table, relation, rng=rng)
    after = measures.related_pair_auc(
        EmbeddingTable.from_arrays(table.vectors.numpy() * factors, table.tokens), relation, rng=rng
    )
    assert after.value == pytest.approx(before.value, abs=1e-9)
    assert abs(after.effect["value"] - before.effect["value"]) > 0.01


def test_rank_comparisons_depend_on_the_coordinates(words):
    """Spearman's correlation between two vectors changes when all rows are rotated; the cosine does not."""
    table, relation = build(words, strength=0.5)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]
    pairs, (first, second) = list(relation.pairs), vectors_of(table, relation)
    before = beside.of_pairs(relation, pairs, first, second)["comparisons"]
    after = beside.of_pairs(relation, pairs, first @ turn, second @ turn)["comparisons"]
    assert after["cosine"]["related"] == pytest.approx(before["cosine"]["related"], abs=1e-9)
    assert abs(after["spearman"]["related"] - before["spearman"]["related"]) > 1e-3


def test_planted_partners_hold_and_noise_does_not(lexicon_table):
    """Partners drawn towards each other hold against permuted partners; noise, and one common shift, do not."""
    relation = lexicons.related()

    def together(vectors, at):
        vectors[at([b for _, b in relation.pairs])] += 1.0 * vectors[at([a for a, _ in relation.pairs])]

    def shift(vectors, at):
        vectors += 2.0

    def verdict(plant):
        return evaluate(check(relation=relation), lexicon_table(plant), Settings()).verdict

    assert verdict(together) is Verdict.HOLDS
    assert verdict(None) is not Verdict.HOLDS
    assert verdict(shift) is not Verdict.HOLDS


def test_details_see_planted_antonyms_sums_and_sizes(few_draws, lexicon_table, rng):
    """Opposite antonyms count as negative, a planted sum ranks first, planted synonyms of size beat random tokens."""
    lists = lexicons.comparisons()

    def plant(vectors, at):
        hot, cold, small, dog, chihuahua = at(["hot", "cold", "small", "dog", "Chihuahua"])
        vectors[cold] = -vectors[hot]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[chihuahua] = 3 * (unit[small] + unit[dog])
        vectors[at(lists.sizes)] += 3.0

    table = lexicon_table(plant)
    found = measures.related_pair_auc(table, lexicons.related(), rng=rng).details
    for piece, numbers in found["piece_coordinates"].items():
        assert numbers == pytest.approx(table.vectors[table.tokens.index(piece)].double().numpy(), rel=6e-3)
    antonyms = {row["pair"]: row for row in found["antonyms"]["pairs"]}
    assert antonyms["hot-cold"]["cosine"] == pytest.approx(-1, abs=1e-6)
    assert antonyms["hot-cold"]["percentile"] == 0
    assert found["antonyms"]["negative"] == sum(row["cosine"] < 0 for row in antonyms.values()) >= 1
    sums = {row["target"]: row for row in found["compositions"]}
    assert (sums["Chihuahua"]["rank"], sums["Chihuahua"]["cosine"]) == (1, pytest.approx(1, abs=1e-6))
    assert sums["puppy"]["rank"] > 1
    sizes = found["sizes"]["single"]
    assert sizes["cosine"]["auc"] > 0.95
    counted = {name: sum(sizes[name][key] for key in ("below", "above")) for name in ("related", "unrelated")}
    n = len(sizes["words"])
    assert counted["related"] + sum(sizes["related"]["counts"]) == n * (n - 1) // 2
    assert counted["unrelated"] + sum(sizes["unrelated"]["counts"]) == sizes["cosine"]["unrelated_pairs"]
    assert [row["pair"] for row in found["source_pairs"]] == [f"{a}-{b}" for a, b in lists.source_pairs]
    assert [row["pieces"] for row in found["pieces"]] == [["ban", "ana"], ["cos", "mic"]]


def test_the_rank_of_a_sum_is_counted_over_all_other_forms(few_draws, lexicon_table, rng):
    """A composition's rank is one more than the number of rows, its two words left out, that are as near to the sum."""
    table = lexicon_table()
    rows = table.vectors.double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    place = {token: i for i, token in enumerate(table.tokens)}
    found = measures.related_pair_auc(table, lexicons.related(), rng=rng).details["compositions"]
    for row, (a, b, target) in zip(found, lexicons.comparisons().compositions, strict=True):
        scores = unit @ (unit[place[a]] + unit[place[b]])
        others = [i for token, i in place.items() if token not in (a, b, target)]
        assert row["rank"] == 1 + int((scores[others] >= scores[place[target]]).sum())


def test_the_cosine_of_a_sum_is_that_of_the_targets_own_row(few_draws, lexicon_table, rng):
    """A variant of the target that is the sum itself lends it its place in the ranks, as any form's best, no cosine."""
    plain = lexicon_table()
    unit = plain.vectors.double().numpy() / plain.norms.double().numpy()[:, None]
    small, dog, target = (unit[plain.tokens.index(word)] for word in ("small", "dog", "Chihuahua"))
    vectors = np.vstack([plain.vectors.numpy(), small + dog]).astype(np.float32)
    table = EmbeddingTable.from_arrays(vectors, [*plain.tokens, "CHIHUAHUA"])
    found = measures.related_pair_auc(table, lexicons.related(), rng=rng).details["compositions"]
    (row,) = (row for row in found if row["target"] == "Chihuahua")
    assert row["rank"] == 1
    assert row["cosine"] == pytest.approx(cosine(small + dog, target), abs=1e-6)


def test_worst_pairs_are_those_that_fewest_cross_pairs_lie_below(few_draws, words, rng):
    """Counterexamples are pairs in order of their percentile among cross pairs, with the rows of both words."""
    table, relation = build(words, strength=0.3)
    found = measures.related_pair_auc(table, relation, rng=rng).counterexamples
    first, second = vectors_of(table, relation)
    cross = np.array([cosine(first[i], second[j]) for i, j in itertools.permutations(range(24), 2)])
    own = np.array([cosine(x, y) for x, y in zip(first, second, strict=True)])
    below = np.array([100 * (cross < c).mean() for c in own])
    order = np.argsort(below, kind="stable")[:10]
    assert [c["percentile"] for c in found] == pytest.approx(below[order].tolist())
    assert [c["ids"] for c in found] == [table.rows(relation.pairs[i]) for i in order]
    assert [c["value"] for c in found] == pytest.approx(own[order].tolist())


@pytest.mark.parametrize("decimals", [1, 12], ids=["ties", "no ties"])
@pytest.mark.parametrize("n", [3, 4, 25])
def test_areas_left_out_are_those_by_deletion(rng, n, decimals):
    """The area without each pair is that of the cells without its row and column, ties counting one half."""
    cells = rng.standard_normal((n, n)).round(decimals)
    expected = [measured.area(np.delete(np.delete(cells, i, 0), i, 1)) for i in range(n)]
    np.testing.assert_allclose(measured.areas_left_out(cells), expected, atol=1e-12)
