"""The properties of geometry on tables without structure, and their intervals on real ones."""

import importlib
import math

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.claims import Verdict
from embcheck.measures import agreement, background, frequency, hubness
from embcheck.run import Check, evaluate
from embcheck.settings import Settings, using

pytestmark = pytest.mark.slow
TABLES = 200
FALSE_PASSES = 18  # of 200: what a true rate of 5% stays under in all but one of 1,000 runs
FAILS = ["hubness", "effective_dimension", "isotropy", "frequency_norm"]
LOW, HIGH = 0.92, 0.98


def check_of(name):
    parameters = {"frequency": "id"} if name == "frequency_norm" else {}
    return Check(getattr(importlib.import_module(f"embcheck.properties.{name}"), name), parameters)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Samples of 60 rows for hubness, and few probes for details."""
    monkeypatch.setattr(hubness, "SAMPLE", 60)
    monkeypatch.setattr(hubness, "EXACT_ROWS", 10)
    monkeypatch.setattr(hubness, "QUERIES", 20)
    monkeypatch.setattr(background, "PROBES", 2)
    monkeypatch.setattr(agreement, "TOP_PROBES", 2)


@pytest.fixture(scope="module")
def subset(demo):
    """3,000 rows of the demo model, as a population of their own."""
    return demo.subset(np.sort(demo.probes(3_000)))


@pytest.mark.parametrize("name", FAILS)
def test_false_passes_are_rare(noise, name):
    """On 200 Gaussian tables a property that noise must fail holds at most 18 times, and is measured every time."""
    found = [evaluate(check_of(name), noise(seed), Settings(seed=seed)).verdict for seed in range(TABLES)]
    assert set(found) <= {Verdict.HOLDS, Verdict.REFUTED, Verdict.INCONCLUSIVE}
    assert found.count(Verdict.HOLDS) <= FALSE_PASSES


@pytest.mark.parametrize("name", ["background_similarity", "metric_agreement", "normalization", "untrained_tokens"])
def test_what_holds_on_noise_holds_on_all_of_it(noise, name):
    """Near orthogonality holds on each of 50 Gaussian tables; so do the claims that may."""
    found = [evaluate(check_of(name), noise(seed, 32), Settings(seed=seed)).verdict for seed in range(50)]
    assert found == [Verdict.HOLDS] * 50


@pytest.mark.parametrize("name", ["hubness", "effective_dimension", "isotropy"])
def test_p_values_are_uniform(noise, name):
    """On Gaussian tables the null's p-values pass a Kolmogorov-Smirnov test against the uniform distribution."""
    p = []
    for seed in range(TABLES):
        (null,) = evaluate(check_of(name), noise(1000 + seed), Settings(seed=seed)).nulls
        p.append(null["p_value"])
    smooth = np.array(p) - np.random.default_rng(0).uniform(0, 1 / 200, len(p))
    assert stats.kstest(smooth, "uniform").pvalue > 0.001


def coverage(measure, truth, draws=400):
    covered = 0
    for seed in range(draws):
        with using(Settings(seed=seed)):
            found = measure()
        covered += found.low <= truth <= found.high
    return covered / draws


def test_background_intervals_cover(monkeypatch, subset):
    """Over redrawn pairs of real rows the interval covers the mean over all pairs 92 to 98% of the time."""
    monkeypatch.setattr(background, "PAIRS", 150)
    truth = math.sqrt(subset.width) * measures.background_cosine(subset).details["exact_mean_cosine"]
    assert LOW <= coverage(lambda: measures.background_cosine(subset), truth) <= HIGH


def test_frequency_intervals_cover(monkeypatch, demo):
    """Over redrawn words of the demo model the interval covers the correlation over all words 92 to 98%."""
    monkeypatch.setattr(frequency, "WORDS", 10**6)
    monkeypatch.setattr(frequency, "spearman_jackknife", lambda x, y: (stats.spearmanr(x, y).statistic, x))
    truth = measures.norm_frequency_correlation(demo).value
    monkeypatch.undo()
    monkeypatch.setattr(frequency, "WORDS", 200)
    assert LOW <= coverage(lambda: measures.norm_frequency_correlation(demo), truth) <= HIGH


def test_agreement_intervals_cover(monkeypatch, demo):
    """Over redrawn probes and others the interval covers the agreement over all rows 92 to 98% of the time."""
    table = demo.subset(np.sort(demo.probes(990)))
    truth = measures.metric_agreement(table)
    assert truth.is_exact
    monkeypatch.setattr(agreement, "PROBES", 60)
    monkeypatch.setattr(agreement, "OTHERS", 40)
    assert LOW <= coverage(lambda: measures.metric_agreement(table), truth.value) <= HIGH
