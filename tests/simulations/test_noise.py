"""On tables without structure p-values are uniform, and the control finds what says nothing.

How often each property passes there is simulated in `test_selftest`.
"""

import importlib
import math

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict, above, claim
from embcheck.estimate import Estimate
from embcheck.measures.pairs import offset_consistency
from embcheck.selftest.examine import coverage_limits
from embcheck.settings import Settings
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable

pytestmark = pytest.mark.slow
TABLES = 150


def check_of(name, file=None, **parameters):
    return Check(getattr(importlib.import_module(f"embcheck.properties.{file or name}"), name), parameters)


@pytest.fixture
def few_draws(monkeypatch):
    """499 permutations in place of 9,999: p-values as valid, and coarser."""
    monkeypatch.setattr(permutations, "PERMUTATIONS", 499)
    monkeypatch.setattr(offset_consistency, "SHUFFLES", 1)


def test_positive_bias_is_refuted_on_random_tables(noise):
    """The share of a Gaussian table is one half: above 0.51 is refuted each time."""
    check = check_of("positive_cosine_bias")
    found = [evaluate(check, noise(seed), Settings(seed=seed, probes=500)).verdict for seed in range(20)]
    assert found == [Verdict.REFUTED] * 20


def p_value(estimate, null):
    draws = estimate.draws[null]
    return ((draws >= estimate.value).sum() + 1) / (len(draws) + 1)


def assert_uniform(p):
    """Kolmogorov-Smirnov against the uniform; p-values of 499 draws are smoothed over their steps of 1/500."""
    smooth = np.array(p) - np.random.default_rng(0).uniform(0, 1 / 500, len(p))
    assert stats.kstest(smooth, "uniform").pvalue > 0.001


def test_p_values_of_shuffled_labels_are_uniform(few_draws, tokens):
    """On structureless tables shuffled_labels gives uniform p-values, for a class in strata of two lengths."""
    words = [token for token in tokens if len(token) in (1, 5)][:300]
    rows = [*range(40), *range(260, 280)]
    p = []
    for seed in range(TABLES):
        vectors = np.random.default_rng(seed).standard_normal((len(words), 8))
        table = EmbeddingTable.from_arrays(vectors, words)
        found = measures.negative_share_difference(table, rows, rng=np.random.default_rng([seed, 1]))
        p.append(p_value(found, "shuffled_labels"))
    assert len(found.details["strata"]) == 2
    assert_uniform(p)


@pytest.mark.parametrize("null", ["shuffled_pairs", "frequency_matched_pairs"])
def test_p_values_of_pairs_are_uniform(few_draws, tokens, null):
    """On structureless tables both nulls of the plural direction give uniform p-values, at 24 pairs and pools of 20."""
    words = [token for token in tokens if len(token) > 1][:700]
    pairs = lexicons.relation("made up", list(zip(words[0:480:20], words[10:490:20], strict=True)))
    p = []
    for seed in range(TABLES):
        vectors = np.random.default_rng([seed, 5]).standard_normal((len(words), 8))
        table = EmbeddingTable.from_arrays(vectors, words)
        p.append(p_value(measures.offset_consistency(table, pairs, rng=np.random.default_rng([seed, 1])), null))
    assert_uniform(p)


def test_the_consistency_of_noise_has_the_spread_its_interval_states(few_draws, tokens):
    """On noise, where consistency is degenerate around zero, the interval covers zero at least 92% of the time."""
    words = [token for token in tokens if len(token) > 1][:700]
    pairs = lexicons.relation("made up", list(zip(words[0:480:20], words[10:490:20], strict=True)))
    covered = 0
    for seed in range(TABLES):
        vectors = np.random.default_rng([seed, 6]).standard_normal((len(words), 16))
        found = measures.offset_consistency(
            EmbeddingTable.from_arrays(vectors, words), pairs, rng=np.random.default_rng(0)
        )
        covered += found.low <= 0 <= found.high
    assert covered / TABLES >= coverage_limits(TABLES)[0]


def shifted(table):
    return table.with_vectors(table.vectors + 1.0)


def test_control_finds_a_property_that_says_nothing(noise):
    """A claim that noise fulfils is found vacuous though it holds; a real one is not."""

    @claim(above(0.4))
    def mostly_not_negative(table):
        """Not nearly all cosines are negative."""
        return measures.non_negative_share(table)

    table = shifted(noise(0))
    empty = evaluate(Check(mostly_not_negative), table, Settings(), control=True)
    assert (empty.verdict, empty.control.holds, empty.passed) == (Verdict.HOLDS, 20, False)
    real = evaluate(check_of("positive_cosine_bias"), table, Settings(), control=True)
    assert (real.verdict, real.control.holds, real.passed) == (Verdict.HOLDS, 0, True)


def test_control_finds_pooling_that_makes_structure_of_noise(noise):
    """Plurals made of singular and one common suffix are consistent on any table: the control says so."""
    (pairs,) = lexicons.relations("plural")

    @claim(above(0.05))
    def pooled_plurals(table):
        """Plurals, written as singular and suffix, point the same way."""
        singulars = table.units(np.array([row for row in table.rows([a for a, _ in pairs.pairs]) if row is not None]))
        pooled = (singulars + table.units(np.array(table.rows(["s"])))) / 2
        return Estimate.exact(offset_consistency._consistency(offset_consistency._unit(pooled - singulars))[0])

    found = evaluate(Check(pooled_plurals), noise(0), Settings(), control=True)
    assert found.estimate.value == pytest.approx(
        0.5, abs=0.1
    )  # cosine of s - a and s - b, all orthogonal and of length 1
    assert found.control.vacuous


def test_a_real_plural_direction_passes_its_control(few_draws, noise):
    """A planted plural direction holds, and holds on none of the random tables."""
    (relation,) = lexicons.relations("plural")
    table = noise(0, 64)
    first, second = (np.array(table.rows([pair[k] for pair in relation.pairs])) for k in (0, 1))
    vectors = table.vectors.clone()
    vectors[second] = vectors[first] + 0.5 * vectors[second]
    vectors[second, 0] += 0.5 * math.sqrt(64)
    check = check_of("plural_direction_consistency", relation=relation)
    found = evaluate(check, table.with_vectors(vectors), Settings(), control=True)
    assert (found.verdict, found.control.holds, found.passed) == (Verdict.HOLDS, 0, True)
