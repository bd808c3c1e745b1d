import itertools

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures
from embcheck.errors import NotMeasurable
from embcheck.measures.pairs import analogy_gain
from embcheck.measures.resolve import forms_of
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

CONTROLS = ("nearest_to_a", "nearest_to_c", "a_plus_c")


def build(words, pairs=22, others=300, *, seed=1, width=12, variants=True):  # seed 0 has two scores 3e-8 apart
    """Pairs s + g and s - g among noise; with ``variants``, many words also in capitals and with a space."""
    names = words(2 * pairs + others)
    r = np.random.default_rng(seed)
    vectors = r.standard_normal((len(names), width))
    vectors[pairs : 2 * pairs] = 0.8 * vectors[:pairs] + 0.6 * vectors[pairs : 2 * pairs]
    vectors[:pairs, 0] += 2
    vectors[pairs : 2 * pairs, 0] -= 2
    relation = lexicons.relation("made up", list(zip(names[:pairs], names[pairs : 2 * pairs], strict=True)))
    if variants:
        again = [*range(0, pairs, 3), *range(pairs, 2 * pairs, 4), *range(2 * pairs, len(names), 2)]
        thrice = again[::5]
        names += [names[i].upper() for i in again] + [" " + names[i] for i in thrice]
        vectors = np.concatenate([vectors, r.standard_normal((len(again) + len(thrice), width))])
    order = r.permutation(len(names))
    return EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [names[i] for i in order]), relation


def naive_ranks(table, pairs):
    """Rank of b_j for each (i, j) and method, by sorting all words for every single analogy."""
    rows = {t: v / np.linalg.norm(v) for t, v in zip(table.tokens, table.vectors.double().numpy(), strict=True)}
    every = np.array(list(rows.values()))
    keys = [t.strip().lower() for t in rows]
    names = sorted(set(keys))
    where = np.array([names.index(k) for k in keys])

    def rank(query, target, sources):
        best = np.full(len(names), -np.inf)
        np.maximum.at(best, where, every @ query)
        ahead = best >= best[names.index(target)]
        ahead[[names.index(w) for w in (target, *sources)]] = False
        return 1 + ahead.sum()

    found = {name: np.ones((len(pairs), len(pairs)), dtype=int) for name in ("3cosadd", *CONTROLS)}
    for (i, (ai, bi)), (j, (aj, bj)) in itertools.permutations(enumerate(pairs), 2):
        queries = {
            "3cosadd": rows[aj] - rows[ai] + rows[bi],
            "nearest_to_a": rows[aj],
            "nearest_to_c": rows[bi],
            "a_plus_c": rows[aj] + rows[bi],
        }
        for name, query in queries.items():
            found[name][i, j] = rank(query, bj, (aj, ai, bi))
    return found


def measured(table, relation):
    forms = forms_of(table)
    words = analogy_gain._resolve(table, relation, forms)
    return words.pairs, analogy_gain.ranks(table, words.rows, words.forms, forms)


@pytest.mark.parametrize(
    "cells", [1, 100 * 22**2, analogy_gain._CELLS], ids=["blocks of 64", "blocks of 100", "one block"]
)
def test_ranks_are_those_of_sorting_for_every_analogy(monkeypatch, words, cells):
    """All n^2 ranks by every method equal those of sorting, however rows fall into blocks; variants count once."""
    monkeypatch.setattr(analogy_gain, "_CELLS", cells)
    table, relation = build(words)
    pairs, found = measured(table, relation)
    expected = naive_ranks(table, pairs)
    assert set(found) == set(expected)
    for name, ranks in expected.items():
        assert found[name].tolist() == ranks.tolist(), name


def test_ranks_without_any_variants(words):
    """In a vocabulary where every row is a form of its own, ranks are those of sorting too."""
    table, relation = build(words, variants=False)
    pairs, found = measured(table, relation)
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in naive_ranks(table, pairs).items()}


def mean(cells):
    return np.mean([cells[i, j] for i, j in itertools.permutations(range(len(cells)), 2)])


def gain(reciprocal):
    return mean(reciprocal["3cosadd"]) - max(mean(reciprocal[name]) for name in CONTROLS)


def test_gain_is_mean_reciprocal_rank_over_the_better_control(words):
    """The value is the mean reciprocal rank of 3CosAdd minus the larger of the controls'."""
    table, relation = build(words)
    found = measures.analogy_gain(table, relation)
    pairs, ranks = measured(table, relation)
    reciprocal = {name: 1 / cells for name, cells in ranks.items()}
    assert found.value == pytest.approx(gain(reciprocal), abs=1e-12)
    means = {name: mean(cells) for name, cells in reciprocal.items()}
    assert found.details["mean_reciprocal_rank"] == pytest.approx(means)
    assert found.details["accuracy"] == pytest.approx({name: mean(cells == 1) for name, cells in ranks.items()})
    better = max(CONTROLS, key=lambda name: means[name])
    assert (found.details["better_control"], found.effect["control"]) == (better, pytest.approx(means[better]))
    assert found.details["analogies"] == 22 * 21
    assert found.details["pairs"] == [f"{a}>{b}" for a, b in pairs]


def test_the_interval_is_the_jackknife_by_deletion(words):
    """Pseudo-values are those of leaving out each pair with all its analogies, the better control chosen anew."""
    table, relation = build(words)
    found = measures.analogy_gain(table, relation)
    reciprocal = {name: 1 / cells for name, cells in measured(table, relation)[1].items()}
    n = 22
    left_out = [
        gain({name: np.delete(np.delete(cells, k, 0), k, 1) for name, cells in reciprocal.items()}) for k in range(n)
    ]
    pseudo = n * found.value - (n - 1) * np.array(left_out)
    half = stats.t.ppf(0.975, n - 1) * pseudo.std(ddof=1) / np.sqrt(n)
    np.testing.assert_allclose(found.units, pseudo, atol=1e-10)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-10)


def test_counterexamples_are_the_pairs_that_lose_most(words):
    """Named against the claim: pairs whose analogies, in either role, gain least."""
    table, relation = build(words)
    found = measures.analogy_gain(table, relation)
    pairs, ranks = measured(table, relation)
    difference = 1 / ranks["3cosadd"] - 1 / ranks[found.details["better_control"]]
    n = len(pairs)
    own = [
        np.mean([difference[k, j] for j in range(n) if j != k] + [difference[j, k] for j in range(n) if j != k])
        for k in range(n)
    ]
    assert [c["value"] for c in found.counterexamples] == pytest.approx(sorted(own)[:10])
    worst = found.counterexamples[0]
    assert worst["token"] == "{}>{}".format(*pairs[int(np.argmin(own))])
    assert [table.token(row) for row in worst["ids"]] == worst["token"].split(">")


def test_the_scale_of_single_rows_plays_no_part(words):
    """Ranks are by cosine of unit vectors: scaling each row by its own factor changes none."""
    table, relation = build(words)
    factors = 2.0 ** np.random.default_rng(0).integers(-20, 20, (len(table.vectors), 1))
    scaled = EmbeddingTable.from_arrays(table.vectors.numpy() * factors.astype(np.float32), table.tokens)
    for name, ranks in measured(table, relation)[1].items():
        assert measured(scaled, relation)[1][name].tolist() == ranks.tolist()


def test_ties_count_against_the_target(words):
    """Copies of the target under other names are ranked before it; a copy in capitals is the target itself."""
    names = words(12)
    pairs = list(zip(names[:3], names[3:6], strict=True))
    e = np.eye(8, dtype=np.float32)
    first, second = [e[k] + e[7] for k in range(3)], [e[k] - e[7] for k in range(3)]
    vectors = np.array([*first, *second, second[0], second[0], second[1], *e[3:6]])
    names[8] = names[4].upper()
    table = EmbeddingTable.from_arrays(vectors, names)
    pairs, found = measured(table, lexicons.relation("made up", pairs))
    copies = {names[3]: 2, names[4]: 0, names[5]: 0}
    for (i, _), (j, (_, target)) in itertools.permutations(enumerate(pairs), 2):
        assert found["3cosadd"][i, j] == 1 + copies[target]


def test_all_pairs_are_used_where_that_is_cheap(monkeypatch, words):
    """All of fifty pairs, or as many as the cost allows, forty at least, evenly from the list: no seed has a say."""
    table, relation = build(words, pairs=50, others=50, variants=False)
    assert measures.analogy_gain(table, relation).n == 50
    monkeypatch.setattr(analogy_gain, "COST", 45.5**2 * len(table.population))
    assert measures.analogy_gain(table, relation).n == 45
    monkeypatch.setattr(analogy_gain, "COST", 1.0)
    found = measures.analogy_gain(table, relation)
    assert found.n == 40
    assert found.details["pairs"] == [">".join(relation.pairs[i * 50 // 40]) for i in range(40)]
    with using(Settings(seed=1)):
        assert measures.analogy_gain(table, relation).value == found.value


def test_pairs_that_share_a_form_are_used_once(words):
    """Pairs must be word-disjoint as forms too: of two pairs that share one, the first is used."""
    names = words(30)
    tokens = [*names, "Kappa", "kappa"]
    pairs = [(names[0], "Kappa"), (names[1], "kappa"), *zip(names[2:10], names[10:18], strict=True)]
    table = EmbeddingTable.from_arrays(np.random.default_rng(0).standard_normal((32, 6)), tokens)
    relation = lexicons.Relation.__new__(
        lexicons.Relation
    )  # the lexicon refuses such pairs; a vocabulary may make them
    for key, value in (("name", "made up"), ("sentence", ""), ("strata", {"all": tuple(pairs)})):
        object.__setattr__(relation, key, value)
    used, _ = measured(table, relation)
    assert sorted(used) == sorted([pairs[0], *pairs[2:]])


def test_a_control_at_the_ceiling_leaves_nothing_to_gain(words):
    """Where b_j is simply the nearest word to a_j, no gain is what is found, and the control is named."""
    names = words(60)
    r = np.random.default_rng(0)
    first = r.standard_normal((20, 16))
    vectors = np.concatenate([first, first + 0.01 * r.standard_normal((20, 16)), r.standard_normal((20, 16))])
    relation = lexicons.relation("made up", list(zip(names[:20], names[20:40], strict=True)))
    found = measures.analogy_gain(EmbeddingTable.from_arrays(vectors, names), relation)
    assert found.details["mean_reciprocal_rank"]["nearest_to_a"] == 1
    assert found.high <= 0
    assert found.reason is None
    assert found.details["summary"].startswith("The control nearest_to_a already has a mean reciprocal rank of 1.00")


def test_few_pairs_decide_nothing_and_two_are_not_measured(words):
    """From 3 to 19 pairs the gain is given with the reason; below 3 it is not measured."""
    table, relation = build(words, pairs=19)
    assert measures.analogy_gain(table, relation).reason == "only 19 pairs are single tokens; 20 are needed to decide"
    short = lexicons.relation("made up", [*relation.pairs[:2], ("not", "there")])
    with pytest.raises(NotMeasurable, match="2 of 3 made up pairs"):
        measures.analogy_gain(table, short)
