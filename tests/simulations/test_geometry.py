"""The intervals of the properties of geometry on real tables; `test_selftest` has them on synthetic ones."""

import numpy as np
import pytest

from embcheck import measures
from embcheck.measures.cosines import metric_agreement
from embcheck.selftest.examine import coverage_limits
from embcheck.settings import Settings, using
from embcheck.table.vocabulary import TokenKind

pytestmark = pytest.mark.slow
REDRAWS = 200


@pytest.fixture(scope="module")
def subset(demo):
    """3,000 rows of the demo model, as a population of their own."""
    return demo.subset(np.sort(demo.probes(3_000)))


def assert_covered(measure, truth, probes):
    """In redraws of so many probes the interval covers the truth as often as a 95% interval does."""
    covered = 0
    for seed in range(REDRAWS):
        with using(Settings(seed=seed, probes=probes, draws=1, details=False)):
            found = measure()
        covered += found.low <= truth <= found.high
    low, high = coverage_limits(REDRAWS)
    assert low <= covered / REDRAWS <= high


def test_frequency_intervals_cover(subset):
    """Over redrawn words of the demo model the interval covers the correlation over all words."""
    whole = measures.norm_frequency_correlation(subset)
    words = subset.of_kind(TokenKind.WORD_START)
    assert whole.n == len(words) > 1_000
    covered = 0
    for seed in range(REDRAWS):
        drawn = np.sort(np.random.default_rng(seed).choice(words, 200, replace=False))
        found = measures.norm_frequency_correlation(subset.subset(drawn))
        covered += found.low <= whole.value <= found.high
    assert covered / REDRAWS >= coverage_limits(REDRAWS)[0]


def test_agreement_intervals_cover(monkeypatch, demo):
    """Over redrawn probes and others the interval covers the agreement over all rows."""
    table = demo.subset(np.sort(demo.probes(990)))
    truth = measures.metric_agreement(table)
    assert truth.is_exact
    monkeypatch.setattr(metric_agreement, "PROBES", 60)
    monkeypatch.setattr(metric_agreement, "OTHERS", 40)
    assert_covered(lambda: measures.metric_agreement(table), truth.value, probes=60)


def test_hubness_intervals_cover(demo):
    """Over redrawn samples of real rows the interval covers the mean skewness within samples."""
    found = []
    for seed in range(REDRAWS):
        with using(Settings(seed=seed, draws=1, details=False)):
            found.append(measures.neighbor_count_skewness(demo, rng=np.random.default_rng(seed)))
    truth = np.mean([one.value for one in found])
    low, high = coverage_limits(REDRAWS)
    assert low <= np.mean([one.low <= truth <= one.high for one in found]) <= high
