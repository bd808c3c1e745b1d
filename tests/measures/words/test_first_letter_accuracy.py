import importlib
import math
from collections import Counter

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
from embcheck.table.spelling import stems

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def made_words(count):
    """Words of five letters of which no two share the first four; their first letters are all about as frequent."""
    numbers = (i * 99_991 % 26**4 for i in range(count))
    return ["".join(LETTERS[n // 26**k % 26] for k in range(4)) + "x" for n in numbers]


def letters_of(tokens):
    return np.array([LETTERS.index(token.strip()[0].lower()) for token in tokens])


def spelled(words, strength, *, width=30, seed=0):
    """Words around a centre for their first letter, the same for every seed, in noise of variance 1."""
    centres = np.random.default_rng(99).standard_normal((26, width))
    vectors = strength * centres[letters_of(words)] + np.random.default_rng(seed).standard_normal((len(words), width))
    return EmbeddingTable.from_arrays(vectors.astype(np.float32), list(words))


def measured(table, seed=0, draws=None):
    with using(Settings(draws=draws)):
        return measures.first_letter_accuracy(table, rng=np.random.default_rng(seed))


def verdict(table):
    return evaluate(Check(importlib.import_module("embcheck.properties.spelling").spelling, {}), table, Settings())


def naive(table):
    """Reference by densities: letter k is read where pi_k times a normal density around its mean is largest."""
    kept, known = [], set()
    for row in table.probes(len(table.tokens)):
        word = table.tokens[row].strip().lower()
        if word[:4] not in known and len(kept) < 5_000:
            known.add(word[:4])
            kept.append(int(row))
    made = len(kept) - len(kept) // 4
    units = table.vectors.double().numpy()
    units = units / np.sqrt((units**2).sum(1, keepdims=True))
    letters, frequent = letters_of(table.tokens), Counter(letters_of(table.tokens)[kept[:made]].tolist())
    means = {k: np.mean([units[row] for row in kept[:made] if letters[row] == k], axis=0) for k in frequent}
    within = sum(np.outer(units[row] - means[letters[row]], units[row] - means[letters[row]]) for row in kept[:made])
    within /= made
    covariance = 0.7 * within + 0.3 * np.trace(within) / len(within) * np.eye(len(within))
    likelihood = {
        k: stats.multivariate_normal(means[k], covariance).logpdf(units[kept[made:]]) + math.log(count / made)
        for k, count in frequent.items()
    }
    read = [max(likelihood, key=lambda k, i=i: likelihood[k][i]) for i in range(len(kept) - made)]
    return float(np.mean(np.array(read) == letters[kept[made:]]))


def test_the_value_is_that_of_normal_densities():
    """The share read right is what normal densities of one shrunken covariance read, over one word of each stem."""
    words = made_words(900)
    table = spelled([*words, *(word + "s" for word in words[:300])], 0.5)
    estimate = measured(table)
    assert estimate.value == naive(table)
    assert 0.2 < estimate.value < 0.9
    assert (estimate.n, estimate.details["words"], estimate.is_exact) == (225, 900, False)


def test_letters_far_apart_are_all_read():
    """Where a word's vector is its first letter, all held-out words are read right, and chance is one in 26."""
    table = EmbeddingTable.from_arrays(
        np.eye(26, dtype=np.float32)[letters_of(made_words(1_000))] + 0.01, made_words(1_000)
    )
    with pytest.raises(NotMeasurable, match="have the same direction"):
        measured(table)
    estimate = measured(spelled(made_words(1_000), 20))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.effect["value"] == pytest.approx(1 / 26, abs=0.01)


def test_a_vocabulary_of_one_letter_has_nothing_to_read():
    """All are right, and so are all shuffles: it does not hold."""
    words = ["a" + word for word in made_words(2_000)]
    estimate = measured(spelled(words, 1.0))
    assert (estimate.value, estimate.effect["value"], set(estimate.draws["shuffled_spellings"])) == (1.0, 1.0, {1.0})
    assert verdict(spelled(words, 1.0)).verdict is not Verdict.HOLDS


def test_knowing_stems_is_not_knowing_letters():
    """Where words share a vector with those of their stem, and stems nothing with each other, it does not hold."""
    words = made_words(1_500)
    vectors = np.random.default_rng(0).standard_normal((1_500, 30)).astype(np.float32)
    table = EmbeddingTable.from_arrays(
        np.repeat(vectors, 3, axis=0), [w + end for w in words for end in ("", "s", "er")]
    )
    assert verdict(table).verdict is Verdict.REFUTED


def test_no_two_words_share_a_stem():
    """Of words with the same first four letters, whatever their case, one is taken; of other tokens none."""
    tokens = ["house", "Houses", " housing", "hour", "of", "né", "été", "x1y", "12345", "the", "The", "then", "them"]
    table = EmbeddingTable.from_arrays(np.eye(len(tokens)), tokens)
    taken = [table.tokens[row].strip().lower()[:4] for row in stems(table)]
    assert sorted(taken) == ["hour", "hous", "the", "them", "then"]
    assert len(stems(spelled(made_words(6_000), 0))) == 5_000


def test_the_null_function_draws_what_the_measure_draws():
    """On tables whose held-out words nulls.shuffled_spellings moved, values have the distribution of the own draws."""
    table, rng = spelled(made_words(600), 1.0), np.random.default_rng(1)
    draws = measured(table).draws["shuffled_spellings"]
    slow = [measured(nulls.shuffled_spellings(table, {}, rng)[0], draws=1).value for _ in range(100)]
    assert len(draws) == 1_999
    assert stats.ks_2samp(slow, draws).pvalue > 0.001
    assert draws.mean() == pytest.approx(measured(table).effect["value"], abs=0.002)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_rotation_lengths_and_the_order_of_rows_change_nothing(seed, factor):
    """An orthogonal map, a factor for each row and another order of rows leave what is read."""
    rng, words = np.random.default_rng(seed), made_words(520)
    table = spelled(words, 1.0, seed=seed)
    turned = table.vectors.double().numpy() @ np.linalg.qr(rng.standard_normal((30, 30)))[0]
    moved, order = turned * rng.uniform(0.5, 2, (520, 1)) * factor, rng.permutation(520)
    after = EmbeddingTable.from_arrays(moved[order].astype(np.float32), [words[i] for i in order])
    assert measured(after, draws=1).value == pytest.approx(measured(table, draws=1).value, abs=1 / 130)


def test_planted_letters_hold_and_noise_does_not():
    """Words around centres of their first letters hold; the same noise alone does not."""
    results = [verdict(spelled(made_words(1_000), strength)) for strength in (0.6, 0.0)]
    assert [result.verdict for result in results] == [Verdict.HOLDS, Verdict.REFUTED]


def test_five_hundred_stems_are_needed():
    """Of 499 the property is not asked, and the measure says why; of 500 it is."""
    assert verdict(spelled(made_words(500), 1.0)).verdict is Verdict.HOLDS
    few = verdict(spelled(made_words(499), 1.0))
    assert (few.verdict, few.reason) == (Verdict.NOT_APPLICABLE, "499 words of different stems")
    with pytest.raises(NotMeasurable, match="499 words of different stems begin a token; at least 500 are needed"):
        measured(spelled(made_words(499), 1.0))


def test_the_sample_does_not_move_a_verdict():
    """Other seeds read other words of a table, to the same verdict, and agree within their intervals."""
    table = spelled(made_words(7_000), 0.35)
    function = importlib.import_module("embcheck.properties.spelling").spelling
    results = [evaluate(Check(function, {}), table, Settings(seed=seed)) for seed in range(3)]
    assert {result.verdict for result in results} == {Verdict.HOLDS}
    assert max(r.estimate.low for r in results) < min(r.estimate.high for r in results)
    assert len({r.estimate.value for r in results}) > 1
