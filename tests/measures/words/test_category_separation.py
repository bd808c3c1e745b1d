import importlib.util
import itertools
import re

import numpy as np
import pytest
from scipy import stats

import embcheck
from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.words import category_separation
from embcheck.reports import json_file
from embcheck.reports.html import pictures, vega
from embcheck.reports.text import number
from embcheck.settings import Settings
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable

(EIGHT,) = lexicons.categories("eight")


def check(**parameters):
    return Check(importlib.import_module("embcheck.properties.semantic_categories").semantic_categories, parameters)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(permutations, "PERMUTATIONS", 60)
    monkeypatch.setattr(permutations, "CHUNK", 25)


@pytest.fixture
def made(made_categories):
    """``made(sizes, strength)``: categories in a table of other words too."""
    return lambda sizes=(9, 8, 7), **options: made_categories(sizes, 50, **options)


def units_of(table, categories):
    """Unit vectors and labels of all words, in float64."""
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    units = [rows[word] / np.sqrt(np.dot(rows[word], rows[word])) for word in categories.words]
    labels = [k for k, group in enumerate(categories.groups) for _ in group.words]
    return np.array(units), np.array(labels)


def weighted_separate(units, labels, sizes):
    """Float64 reference written from the definition, each category at the weight of its full size."""
    kept = {g: [i for i in range(len(units)) if labels[i] == g] for g in range(len(sizes))}

    def mean(g, h):
        return np.mean([np.dot(units[i], units[j]) for i in kept[g] for j in kept[h] if i != j])

    within = {(g, g): sizes[g] * (sizes[g] - 1) for g in kept}
    between = {(g, h): sizes[g] * sizes[h] for g in kept for h in kept if g != h}
    return np.subtract(*(sum(w * mean(*k) for k, w in part.items()) / sum(part.values()) for part in (within, between)))


def separate(units, labels):
    """Mean cosine within minus between, pair by pair."""
    pairs = list(itertools.combinations(range(len(units)), 2))
    within = [np.dot(units[i], units[j]) for i, j in pairs if labels[i] == labels[j]]
    between = [np.dot(units[i], units[j]) for i, j in pairs if labels[i] != labels[j]]
    return np.mean(within) - np.mean(between)


def test_the_value_is_the_difference_of_two_means_over_pairs(few_draws, made, rng):
    """The value is the mean cosine over pairs of one category minus that over pairs of two."""
    table, categories = made(strength=1)
    found = measures.category_separation(table, categories, rng=rng)
    assert found.value == pytest.approx(separate(*units_of(table, categories)), abs=1e-12)
    assert (found.n, found.unit) == (24, "words")


def test_umap_is_placed_where_asked_for(few_draws, made, rng):
    """UMAP keeps categories that lie apart together, and changes no number; without the extra the way is named."""
    table, categories = made(strength=8)
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(UsageError, match=r"pip install 'embcheck\[umap\]'"):
            measures.category_separation(table, categories, rng=rng, umap=True)
        pytest.skip("the umap extra is not installed")
    found = measures.category_separation(table, categories, rng=rng, umap=True)
    plane = found.details["umap"]
    places, labels = np.column_stack([plane["x"], plane["y"]]), np.array(plane["category"])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    assert (labels[apart.argmin(1)] == labels).mean() > 0.9
    assert found.value == measures.category_separation(table, categories, rng=rng).value


def squared_covariance(rows):
    """tr(S S) from all sets of four different rows: (u . v)^2 - 2 (u . v)(u . w) + (u . v)(w . x), means over them."""
    g = rows @ rows.T
    tuples = list(itertools.permutations(range(len(rows)), 4))
    return np.mean([g[i, j] ** 2 - 2 * g[i, j] * g[i, k] + g[i, j] * g[k, m] for i, j, k, m in tuples])


def counted_twice(units, labels):
    """What the jackknife's variance has too much of, from the covariances of the categories."""
    members = [units[labels == k] for k in np.unique(labels)]
    sizes = np.array([len(x) for x in members])
    within = (sizes * (sizes - 1)).sum()
    between = sizes.sum() ** 2 - (sizes**2).sum()
    found = sum(
        2 * m**2 * (m - 1) / (m - 2) / within**2 * squared_covariance(x) for m, x in zip(sizes, members, strict=True)
    )
    for x, y in itertools.combinations(members, 2):
        found += 4 * len(x) * len(y) / between**2 * np.sum(np.cov(x.T) * np.cov(y.T))
    return found


def test_the_interval_is_the_jackknife_by_deletion_less_what_it_counts_twice(few_draws, made, rng):
    """The interval's variance is the sum over categories of that of the values without each of its words in turn.

    The weights of the categories stay: else a word would seem to count for less than it does.
    """
    table, categories = made(strength=3)
    found = measures.category_separation(table, categories, rng=rng)
    units, labels = units_of(table, categories)
    left_out = np.array(
        [weighted_separate(np.delete(units, i, 0), np.delete(labels, i), np.bincount(labels)) for i in range(24)]
    )
    parts = [left_out[labels == k] for k in range(3)]
    variances = [(len(x) - 1) / len(x) * ((x - x.mean()) ** 2).sum() for x in parts]
    df = sum(variances) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, parts, strict=True))
    excess = counted_twice(units, labels)
    assert 0 < excess < sum(variances) / 2
    half = stats.t.ppf(0.975, df) * np.sqrt(sum(variances) - excess)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-10)
    assert found.units.std(ddof=1) / np.sqrt(24) == pytest.approx(np.sqrt(sum(variances) - excess), abs=1e-10)
    assert found.units.mean() == pytest.approx(found.value, abs=1e-10)


def test_draws_are_the_values_of_permuted_labels(few_draws, made):
    """Each draw of shuffled_categories is the value that its permuted labels give."""
    table, categories = made(strength=1)
    units, labels = units_of(table, categories)
    drawn = category_separation._shuffled(units @ units.T, labels, np.random.default_rng(3))
    r = np.random.default_rng(3)
    orders = [r.permuted(np.broadcast_to(np.arange(24), (count, 24)), axis=1) for count in (25, 25, 10)]
    expected = [separate(units[order], labels) for order in np.concatenate(orders)]
    np.testing.assert_allclose(drawn, expected, atol=1e-12)


def test_the_null_function_draws_what_the_measure_draws(monkeypatch, made):
    """Measured on nulls.shuffled_categories, which keeps sizes and words, the value is distributed as the own draws."""
    table, categories = made(strength=1)
    r, slow = np.random.default_rng(5), []
    for _ in range(200):
        _, parameters = nulls.shuffled_categories(table, {"categories": categories}, r)
        shuffled = parameters["categories"]
        assert [len(group.words) for group in shuffled.groups] == [9, 8, 7]
        assert sorted(shuffled.words) == sorted(categories.words)
        slow.append(separate(*units_of(table, shuffled)))
    monkeypatch.setattr(permutations, "PERMUTATIONS", 400)
    units, labels = units_of(table, categories)
    assert stats.ks_2samp(slow, category_separation._shuffled(units @ units.T, labels, r)).pvalue > 0.001


def test_the_silhouette_is_that_of_its_definition(few_draws, made, rng):
    """Silhouettes are (b - a) / max(a, b), of the mean distances 1 - cosine within and to the nearest category."""
    table, categories = made(strength=1)
    units, labels = units_of(table, categories)
    expected = []
    for i, u in enumerate(units):
        distance = [1 - np.dot(u, v) for v in units]
        own = np.mean([d for j, d in enumerate(distance) if labels[j] == labels[i] and j != i])
        other = min(np.mean([d for j, d in enumerate(distance) if labels[j] == k]) for k in {0, 1, 2} - {labels[i]})
        expected.append((other - own) / max(own, other))
    found = measures.category_separation(table, categories, rng=rng)
    assert found.effect["value"] == pytest.approx(np.mean(expected), abs=1e-9)
    worst = np.argsort(expected, kind="stable")[:10]
    assert [c["value"] for c in found.counterexamples] == pytest.approx(np.array(expected)[worst].tolist(), abs=1e-9)
    assert [c["token"] for c in found.counterexamples] == [categories.words[i] for i in worst]
    assert [c["id"] for c in found.counterexamples] == table.rows([categories.words[i] for i in worst])


def test_purity_and_matrix_are_those_of_their_definitions(few_draws, made, rng):
    """Details give the share of the 5 nearest words that share the category, and the mean cosine of each two."""
    table, categories = made(strength=1)
    units, labels = units_of(table, categories)
    cosines = units @ units.T
    hits = []
    for i in range(24):
        nearest = sorted((j for j in range(24) if j != i), key=lambda j, i=i: -cosines[i, j])[:5]
        hits += [labels[j] == labels[i] for j in nearest]
    found = measures.category_separation(table, categories, rng=rng).details
    assert found["neighbors_of_own_category"]["share"] == pytest.approx(np.mean(hits))
    assert found["neighbors_of_own_category"]["expected"] == pytest.approx((9 * 8 + 8 * 7 + 7 * 6) / (24 * 23))
    matrix = [
        [
            np.mean(
                [cosines[i, j] for i in range(24) for j in range(24) if i != j and (labels[i], labels[j]) == (a, b)]
            )
            for b in range(3)
        ]
        for a in range(3)
    ]
    np.testing.assert_allclose(found["matrix"], matrix, atol=1e-4)
    with_self = [[cosines[np.ix_(labels == a, labels == b)].mean() for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(found["as_source"]["matrix"], with_self, atol=1e-4)


def test_categories_of_fewer_than_three_words_are_left_out(few_draws, made, rng):
    """A category with two single tokens plays no part; with one category left the check is skipped."""
    table, categories = made((12, 11, 2), strength=1)
    found = measures.category_separation(table, categories, rng=rng)
    units, labels = units_of(table, categories)
    assert found.value == pytest.approx(separate(units[labels < 2], labels[labels < 2]), abs=1e-12)
    assert set(found.details["categories"]) == {"c0", "c1"}
    table, categories = made((12, 2, 2))
    with pytest.raises(NotMeasurable, match="1 of 3 categories have at least 3 words"):
        measures.category_separation(table, categories, rng=rng)


def test_fewer_than_twenty_words_decide_nothing(few_draws, made, rng):
    """With 19 words the value is given with the reason why it may not decide; 20 may."""
    table, categories = made((10, 9))
    assert measures.category_separation(table, categories, rng=rng).reason == (
        "only 19 words are single tokens; 20 are needed to decide"
    )
    table, categories = made((10, 10))
    assert measures.category_separation(table, categories, rng=rng).reason is None


def test_equal_vectors_leave_nothing_to_judge_by(few_draws, made, rng):
    """Where all vectors are one, no word changes the value: it decides nothing, and says so."""
    table, categories = made((12, 12))
    found = measures.category_separation(table.with_vectors(table.vectors * 0 + 1), categories, rng=rng)
    assert found.value == 0
    assert found.reason == "no one of the 24 words changes the value, so there is no spread to judge by"


def test_rotation_scale_lengths_and_row_order_change_nothing(few_draws, made):
    """Only directions count: an orthogonal map, a factor for each row and another order of rows change nothing."""
    table, categories = made(strength=1)
    vectors, r = table.vectors.numpy(), np.random.default_rng(1)
    turn, order = np.linalg.qr(r.standard_normal((12, 12)))[0], r.permutation(len(vectors))

    def run(vectors, tokens=None):
        tokens = table.tokens if tokens is None else tokens
        found = measures.category_separation(
            EmbeddingTable.from_arrays(vectors, tokens), categories, rng=np.random.default_rng(0)
        )
        return found.value, found.low, found.high, found.effect["value"]

    before = pytest.approx(run(vectors), abs=1e-6)
    assert run(vectors @ turn) == before
    assert run(vectors * 1e-12) == before
    assert run(vectors * r.uniform(0.1, 10, (len(vectors), 1))) == before
    assert run(vectors[order], [table.tokens[i] for i in order]) == before


def test_a_shift_of_all_rows_makes_no_separation(few_draws, made, rng):
    """A vector common to all rows raises every cosine, within and between alike: the difference stays near zero."""
    table, categories = made((30, 30, 30))
    shifted = table.with_vectors(table.vectors + 2.0)
    assert abs(measures.category_separation(shifted, categories, rng=rng).value) < 0.02


def test_planted_categories_hold_and_noise_does_not(lexicon_table):
    """A direction for each of the eight categories is found; without it the claim does not hold."""

    def plant(vectors, at):
        for k, group in enumerate(EIGHT.groups):
            vectors[at(group.words), k] += 3.0

    assert evaluate(check(categories=EIGHT), lexicon_table(plant), Settings()).verdict is Verdict.HOLDS
    assert evaluate(check(categories=EIGHT), lexicon_table(), Settings()).verdict is not Verdict.HOLDS


def test_the_drawn_matrix_bears_its_own_labels(tmp_path):
    """After a report was written and read, each cell of the heatmap has the mean of the categories that it names."""
    run = embcheck.check("demo", properties="semantic_categories[eight]")
    run.save(tmp_path / "report.json")
    (result,) = json_file.read(tmp_path / "report.json").results
    figure, *_ = pictures.draw_each(pictures.Shown("demo", 0, (30522, 384), result))
    tips = set(re.findall(r'data-tip="([^"]+)"', str(figure.body)))
    table = embcheck.load("demo")
    for group in EIGHT.groups:
        rows = [row for row in table.rows(group.words) if row is not None]
        unit = table.vectors[rows].double().numpy()
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        mean = (np.sum(unit @ unit.T) - len(rows)) / (len(rows) * (len(rows) - 1))
        name = vega.token(group.name, 12)
        assert f"{name}, {name}: {number(round(mean, 4))}" in tips, (group.name, mean)
