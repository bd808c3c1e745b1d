import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embcheck import measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable
from embcheck.table.spelling import variants

VARIANTS = ["case", "space"]


def spellings(count):
    """Words of five letters of which no two share the first four: bare, with a capital, and behind a space."""
    numbers = (i * 99_991 % 26**4 for i in range(count))
    words = ["".join(chr(97 + n // 26**k % 26) for k in range(4)) + "x" for n in numbers]
    return [form for word in words for form in (word, word.capitalize(), f" {word}")]


def made(count, strength, *, width=16, seed=0):
    """Three tokens a word that share a part of so much, in noise of variance 1."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.standard_normal((count, width)), 3, axis=0)
    vectors = strength * shared + rng.standard_normal((3 * count, width))
    return EmbeddingTable.from_arrays(vectors.astype(np.float32), spellings(count))


def measured(table, variant, draws=None):
    with using(Settings(draws=draws)):
        return measures.surface_variant_auc(table, variant, rng=np.random.default_rng(0))


def result(table, variant):
    function = importlib.import_module("embcheck.properties.surface_variants").surface_variants
    return evaluate(Check(function, {"variant": variant}), table, Settings())


def naive(table, variant):
    """Reference pair by pair: how often a token is nearer to the other of its word than to another word's."""
    by_token = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    words = sorted(token for token in by_token if token[0] != " " and token.islower())
    pairs = [(w, w.capitalize()) if variant == "case" else (f" {w}", w) for w in words]

    def cosine(a, b):
        x, y = by_token[a], by_token[b]
        return float(x @ y) / float(np.sqrt((x @ x) * (y @ y)))

    wins = count = 0.0
    for a, b in pairs:
        own = cosine(a, b)
        for c, _ in pairs:
            for _, d in pairs:
                if by_token[c] is not by_token[d] and (c.strip().lower() != d.lower()):
                    other = cosine(c, d)
                    wins += (own > other) + 0.5 * (own == other)
                    count += 1
    return wins / count


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_value_is_that_of_the_definition(variant):
    """The area equals the share of comparisons won, one by one, over all words and pairs of different words."""
    table = made(25, 0.8)
    estimate = measured(table, variant)
    assert estimate.value == pytest.approx(naive(table, variant), abs=1e-12)
    assert (estimate.n, estimate.unit, estimate.reason) == (25, "words", None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_variants_always_win(variant):
    """Where two tokens of a word are one vector the area is 1, and its interval is not of zero width."""
    table = made(40, 1.0)
    same = table.with_vectors(table.vectors[::3].repeat_interleave(3, dim=0))
    estimate = measured(same, variant)
    assert estimate.value == 1
    assert estimate.low < estimate.high == 1
    assert estimate.details["mean_cosine"]["variants"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_correlated_gaussian_words_have_the_area_of_their_cosines(variant):
    """In many columns cosines are normal: with correlation r the area is near Phi(r / sqrt((1 + (1 - r^2)^2) / d))."""
    r, width = 0.2, 64
    area = stats.norm.cdf(r / np.sqrt((1 + (1 - r**2) ** 2) / width))
    values = [measured(made(200, np.sqrt(r / (1 - r)), width=width, seed=seed), variant, 1).value for seed in range(8)]
    assert np.mean(values) == pytest.approx(area, abs=4 * np.std(values) / np.sqrt(8))


def test_which_tokens_are_variants():
    """Case: the first letter's alone, with or without a space on both sides. Space: a leading one alone."""
    tokens = ["house", "House", " house", " House", "HOUSE", "dog", " Dog", " cat", "cat", "Cats", "an", "An", " an"]
    table = EmbeddingTable.from_arrays(np.random.default_rng(0).standard_normal((13, 4)), tokens)
    pairs = {variant: {tuple(tokens[i] for i in pair) for pair in variants(table, variant)} for variant in VARIANTS}
    assert len(pairs["case"]) == 1  # one a stem
    assert pairs["case"] <= {("house", "House"), (" house", " House")}
    assert pairs["space"] - {(" cat", "cat")} <= {(" house", "house"), (" House", "House")}
    assert (" cat", "cat") in pairs["space"]
    assert len(pairs["space"]) == 2
    assert len(variants(made(500, 1.0), "case")) == 400


def test_a_broken_variant_is_no_variant():
    """A token whose row is zero has no direction, and its word is left out."""
    table = made(30, 1.0)
    vectors = table.vectors.clone()
    vectors[1] = 0
    assert len(variants(table.with_vectors(vectors), "case")) == 29


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_null_function_draws_what_the_measure_draws(variant):
    """On tables whose second tokens nulls.shuffled_variants moved, values have the distribution of the own draws."""
    table, rng = made(30, 1.0), np.random.default_rng(1)
    draws = measured(table, variant).draws["shuffled_variants"]
    moved = (nulls.shuffled_variants(table, {"variant": variant}, rng)[0] for _ in range(150))
    slow = [measured(other, variant, 1).value for other in moved]
    assert len(draws) == 9_999
    assert stats.ks_2samp(slow, draws).pvalue > 0.001


@pytest.mark.parametrize("variant", VARIANTS)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_rotation_lengths_and_the_order_of_rows_change_nothing(variant, seed, factor):
    """An orthogonal map, a factor for each row and another order of rows leave the area as it is."""
    rng, table = np.random.default_rng(seed), made(40, 1.0, seed=seed)
    turned = table.vectors.double().numpy() @ np.linalg.qr(rng.standard_normal((16, 16)))[0]
    moved, order = turned * rng.uniform(0.5, 2, (120, 1)) * factor, rng.permutation(120)
    after = EmbeddingTable.from_arrays(moved[order].astype(np.float32), [table.tokens[i] for i in order])
    assert measured(after, variant, 1).value == pytest.approx(measured(table, variant, 1).value, abs=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_planted_variants_hold_and_noise_does_not(variant):
    """Words whose tokens share a part hold; words whose tokens share nothing do not."""
    assert result(made(100, 1.5), variant).verdict is Verdict.HOLDS
    assert result(made(100, 0.0), variant).verdict is Verdict.REFUTED


def test_what_has_no_variants_is_not_asked():
    """An uncased list of words has neither case nor space; 19 words are too few, and 20 enough."""
    words = [token for token in spellings(100) if token.islower() and token[0] != " "]
    uncased = EmbeddingTable.from_arrays(np.random.default_rng(0).standard_normal((100, 8)), words)
    reasons = {v: (result(uncased, v).verdict, result(uncased, v).reason) for v in VARIANTS}
    assert reasons == {v: (Verdict.NOT_APPLICABLE, f"0 words with {v} variants") for v in VARIANTS}
    assert result(made(19, 1.5), "case").verdict is Verdict.NOT_APPLICABLE
    assert result(made(20, 1.5), "case").verdict is Verdict.HOLDS
    with pytest.raises(NotMeasurable, match="19 words have variants by space; at least 20 are needed"):
        measured(made(19, 1.5), "space")
