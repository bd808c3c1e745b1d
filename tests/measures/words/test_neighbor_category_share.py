import importlib

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.words import neighbor_category_share
from embcheck.settings import Settings
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable

(KINDS,) = lexicons.categories("kinds")


def check(**parameters):
    return Check(importlib.import_module("embcheck.properties.nearest_neighbors").nearest_neighbors, parameters)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(permutations, "PERMUTATIONS", 60)
    monkeypatch.setattr(permutations, "CHUNK", 25)


@pytest.fixture
def made(made_categories):
    """``made(sizes, strength)``: categories in a table of other words too."""
    return lambda sizes=(22, 20, 9), **options: made_categories(sizes, 60, **options)


def excess(table, words, inside):
    """Share of the 10 nearest words of each word inside that are inside, minus (m - 1) / (L - 1); word by word."""
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    units = {w: rows[w] / np.sqrt(np.dot(rows[w], rows[w])) for w in words}
    shares = []
    for query in inside:
        others = sorted((w for w in words if w != query), key=lambda w, q=query: -np.dot(units[w], units[q]))
        shares.append(np.mean([w in inside for w in others[:10]]))
    return np.mean(shares) - (len(inside) - 1) / (len(words) - 1), shares


def test_the_value_is_the_mean_share_minus_its_expectation(few_draws, made, rng):
    """The value is the share of neighbors in the category, counted word by word, minus the hypergeometric mean."""
    table, categories = made(strength=1)
    found = measures.neighbor_category_share(table, categories, "c0", rng=rng)
    inside = list(categories.groups[0].words)
    expected, shares = excess(table, categories.words, inside)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.effect["value"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert (found.n, found.unit) == (22, "query words")
    worst = [inside[i] for i in np.argsort(shares, kind="stable")[:10] if shares[i] < 1]
    assert [c["token"] for c in found.counterexamples] == worst
    assert [c["id"] for c in found.counterexamples] == table.rows(worst)
    assert all(w not in inside for c in found.counterexamples for w in c["instead"])


def test_the_interval_is_the_jackknife_by_deletion(few_draws, made, rng, wilson):
    """Pseudo-values are those of taking away each word, as query and as neighbor; the interval is Wilson's of 22."""
    table, categories = made(strength=1)
    found = measures.neighbor_category_share(table, categories, "c0", rng=rng)
    inside = list(categories.groups[0].words)
    left_out = np.array(
        [
            excess(table, [w for w in categories.words if w != gone], [w for w in inside if w != gone])[0]
            for gone in inside
        ]
    )
    pseudo = 22 * found.value - 21 * left_out
    np.testing.assert_allclose(found.units, pseudo, atol=1e-10)
    expected = 21 / (len(categories.words) - 1)
    share = found.value + expected
    assert share * (1 - share) / (pseudo.var(ddof=1) / 22) > 22  # more than one answer a word
    low, high = wilson(share, 22, stats.t.ppf(0.975, 21))
    assert (found.low, found.high) == pytest.approx((low - expected, high - expected), abs=1e-10)


def test_draws_are_the_values_of_permuted_labels(few_draws, made):
    """Each draw of shuffled_categories is the value of the words that the permutation puts into the category."""
    table, categories = made(strength=1)
    words = categories.words
    units = table.directions(words).double().numpy()
    drawn = neighbor_category_share._shuffled(
        neighbor_category_share.nearest(units @ units.T), 22, np.random.default_rng(3)
    )
    r = np.random.default_rng(3)
    orders = np.concatenate([r.permuted(np.broadcast_to(np.arange(51), (count, 51)), axis=1) for count in (25, 25, 10)])
    expected = [excess(table, words, [words[i] for i in order[:22]])[0] for order in orders[:20]]
    np.testing.assert_allclose(drawn[:20], expected, atol=1e-12)


def test_the_null_function_draws_what_the_measure_draws(monkeypatch, made):
    """Measured on nulls.shuffled_categories the value has the distribution of the measure's own draws."""
    table, categories = made((20, 20), strength=0.5)
    r = np.random.default_rng(5)
    slow = []
    for _ in range(200):
        _, parameters = nulls.shuffled_categories(table, {"categories": categories, "category": "c0"}, r)
        slow.append(excess(table, categories.words, list(parameters["categories"].groups[0].words))[0])
    monkeypatch.setattr(permutations, "PERMUTATIONS", 1_000)
    units = table.directions(categories.words).double().numpy()
    fast = neighbor_category_share._shuffled(neighbor_category_share.nearest(units @ units.T), 20, r)
    assert stats.ks_2samp(slow, fast).pvalue > 0.001


def test_without_structure_the_mean_draw_is_zero(made):
    """The expected share is the hypergeometric mean: over permuted labels the excess averages zero."""
    table, categories = made()
    units = table.directions(categories.words).double().numpy()
    draws = neighbor_category_share._shuffled(
        neighbor_category_share.nearest(units @ units.T), 22, np.random.default_rng(0)
    )
    assert abs(draws.mean()) < 4 * draws.std() / np.sqrt(len(draws))


def test_a_share_of_one_still_has_an_interval(few_draws, made, rng):
    """Where every neighbor is of the category there is no spread, and the interval is not of zero width."""
    table, categories = made((40, 40), strength=30)
    found = measures.neighbor_category_share(table, categories, "c0", rng=rng)
    assert found.effect["value"] == 1
    assert found.low < found.value - 0.02
    assert found.high == pytest.approx(1 - 39 / 79)
    assert found.counterexamples == []


def test_too_few_words(few_draws, made, rng):
    """19 words decide nothing, 2 can't be measured, nor can 10 others; an unknown category is named as such."""
    table, categories = made((19, 20))
    found = measures.neighbor_category_share(table, categories, "c0", rng=rng)
    assert found.reason == "only 19 words are single tokens; 20 are needed to decide"
    assert measures.neighbor_category_share(table, categories, "c1", rng=rng).reason is None
    for sizes in ((2, 20), (20, 10)):
        table, categories = made(sizes)
        with pytest.raises(NotMeasurable, match="at least 3 and 11 are needed"):
            measures.neighbor_category_share(table, categories, "c0", rng=rng)
    with pytest.raises(UsageError, match="no category is named 'colours'; made up has c0, c1"):
        measures.neighbor_category_share(table, categories, "colours", rng=rng)


def test_variants_of_a_word_are_ranked_and_merged(few_draws, made, rng):
    """Case variants are told apart in the unmerged list, merged in the other, and reported as ranking first or not."""
    table, categories = made((20, 20))
    near, far = categories.groups[0].words[:2]
    vectors = table.vectors.numpy()
    rows = [vectors[table.rows([near])[0]] * 1.01, vectors[table.rows([near])[0]] * 0.99 + 0.01]
    rows.append(-vectors[table.rows([far])[0]])
    tokens = [*table.tokens, near.upper(), near.title(), far.title()]
    more = EmbeddingTable.from_arrays(np.vstack([vectors, rows]), tokens)
    details = measures.neighbor_category_share(more, categories, "c0", rng=rng).details
    assert details["variants"] == {
        "words_with_variants": 2,
        "one_ranks_first": 0.5,
        "all_rank_first": 0.5,
        "not_first": [far],
    }
    listed = details["neighbors"][near]
    assert {token for token, _ in listed["unmerged"][:2]} == {near.upper(), near.title()}
    assert not {near.upper(), near.title()} & {token for token, _ in listed["merged"]}
    assert listed["unmerged"][2:] == listed["merged"][:8]


def test_the_share_in_the_whole_vocabulary(few_draws, made, rng):
    """Among all rows, the share of the 10 nearest that are of the category is counted row by row."""
    table, categories = made(strength=1)
    inside = categories.groups[0].words
    rows = table.vectors.double().numpy()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = []
    for query in inside:
        own = table.rows([query])[0]
        nearest = [i for i in np.argsort(-(units @ units[own])) if i != own][:10]
        shares.append(np.mean([table.tokens[i] in inside for i in nearest]))
    found = measures.neighbor_category_share(table, categories, "c0", rng=rng).details["whole_vocabulary"]
    assert found["share_unmerged"] == found["share_merged"] == pytest.approx(np.mean(shares))
    assert found["expected_merged"] == pytest.approx(21 / (len(rows) - 1))


def test_the_source_query_is_the_word_without_a_space(few_draws, made, rng):
    """Where a word has a token with and one without a leading space, the source's list starts from the latter."""
    table, categories = made((20, 20))
    word = categories.groups[0].words[0]
    row = table.rows([word])[0]
    tokens = list(table.tokens)
    tokens[row] = f" {word}"
    vectors = np.vstack([table.vectors.numpy(), -table.vectors.numpy()[row]])
    both = EmbeddingTable.from_arrays(vectors, [*tokens, word])
    found = measures.neighbor_category_share(both, categories, "c0", rng=rng).details["as_source"]
    assert found["seed"] == word
    opposite = EmbeddingTable.from_arrays(table.vectors, table.tokens)
    near = measures.neighbor_category_share(opposite, categories, "c0", rng=rng).details["as_source"]
    assert found["neighbors"] != near["neighbors"]


def test_rotation_scale_lengths_and_row_order_change_nothing(few_draws, made):
    """Only directions count: an orthogonal map, a factor for each row and another order of rows change nothing."""
    table, categories = made(strength=1)
    vectors, r = table.vectors.numpy(), np.random.default_rng(1)
    turn, order = np.linalg.qr(r.standard_normal((12, 12)))[0], r.permutation(len(vectors))

    def run(vectors, tokens=None):
        other = EmbeddingTable.from_arrays(vectors, table.tokens if tokens is None else tokens)
        found = measures.neighbor_category_share(other, categories, "c0", rng=np.random.default_rng(0))
        return found.value, found.low, found.high

    before = pytest.approx(run(vectors), abs=1e-9)
    assert run(vectors @ turn) == before
    assert run(vectors * 1e-12) == before
    assert run(vectors * r.uniform(0.1, 10, (len(vectors), 1))) == before
    assert run(vectors[order], [table.tokens[i] for i in order]) == before


@pytest.mark.parametrize("category", KINDS.names)
def test_planted_kinds_hold_and_noise_does_not(lexicon_table, category):
    """A direction for each of the four kinds is found; without it the claim does not hold."""

    def plant(vectors, at):
        for k, group in enumerate(KINDS.groups):
            vectors[at(group.words), k] += 3.0

    asked = check(categories=KINDS, category=category)
    assert evaluate(asked, lexicon_table(plant), Settings()).verdict is Verdict.HOLDS
    assert evaluate(asked, lexicon_table(), Settings()).verdict is not Verdict.HOLDS


def test_one_common_direction_makes_no_neighbors(lexicon_table):
    """A shift of all rows makes hubs, which are of every kind: the claim does not hold."""

    def shift(vectors, at):
        vectors += 1.0

    found = evaluate(check(categories=KINDS, category="names"), lexicon_table(shift), Settings())
    assert found.verdict is not Verdict.HOLDS
