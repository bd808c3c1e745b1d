import importlib
import math

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.cosines import background_cosine
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable


def verdict(table):
    function = importlib.import_module("embcheck.properties.background_similarity").background_similarity
    return evaluate(Check(function), table, Settings()).verdict


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(301, 10, shift=0.2, gaps=True)


def test_the_mean_is_that_of_disjoint_pairs_in_hash_order(monkeypatch, table):
    """The value is sqrt(d) times the mean cosine of consecutive rows in hash order; the interval is Student's t."""
    monkeypatch.setattr(background_cosine, "PAIRS", 60)
    found = measures.background_cosine(table)
    rows = table.vectors.double().numpy()[table.probes(120)].reshape(60, 2, 10)
    x = np.array([math.sqrt(10) * a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in rows])
    half = stats.t.ppf(0.975, 59) * x.std(ddof=1) / math.sqrt(60)
    assert (found.low, found.value, found.high) == pytest.approx((x.mean() - half, x.mean(), x.mean() + half))
    assert (found.n, found.effect["value"]) == (60, pytest.approx(x.mean() / math.sqrt(10)))
    expected = np.quantile(np.linalg.norm(rows[:, 0] - rows[:, 1], axis=1), background_cosine.LEVELS)
    assert found.details["pairs"]["distance"]["quantiles"] == pytest.approx(expected, rel=1e-6)


def test_a_small_population_is_paired_up_once(table):
    """With fewer than 10,000 rows every row is in one pair at most: N // 2 pairs."""
    found = measures.background_cosine(table)
    assert found.n == len(table.population) // 2
    assert found.details["pairs"]["percentile"]["0.2"] < found.details["pairs"]["percentile"]["0.5"] < 100


def test_probes_see_the_quantiles_of_all_other_rows(monkeypatch, table, cosines):
    """Quantiles and percentiles from probes are those of the probes' rows of the whole matrix, to a bin."""
    monkeypatch.setattr(background_cosine, "PROBES", 50)
    found = measures.background_cosine(table).details["probes"]
    position = np.searchsorted(table.population, table.probes(50))
    cosine = cosines(table)[position]
    cosine = cosine[~np.isnan(cosine)]
    levels = background_cosine.LEVELS[1:-1]  # the outermost lie between too few values
    assert found["cosine"]["quantiles"][1:-1] == pytest.approx(np.quantile(cosine, levels), abs=2e-3)
    assert found["percentile"] == {str(t): pytest.approx(100 * (cosine < t).mean(), abs=0.02) for t in (0.2, 0.5)}
    rows = table.vectors.double().numpy()[table.population]
    distance = np.linalg.norm(rows[position][:, None] - rows, axis=2)
    distance = distance[distance > 0]
    assert found["distance"]["quantiles"][1:-1] == pytest.approx(np.quantile(distance, levels), abs=2e-2)


def test_the_interval_holds_the_exact_mean(gaussian_table):
    """In 95% of redraws, give or take 3%, the interval of sampled pairs covers the mean over all pairs."""
    table = gaussian_table(1500, 8, shift=0.3)
    covered = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background_cosine, "PAIRS", 60)
        patch.setattr(background_cosine, "PROBES", 2)
        for seed in range(400):
            with using(Settings(seed=seed)):
                found = measures.background_cosine(table)
            covered += found.low <= math.sqrt(8) * found.details["exact_mean_cosine"] <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_one_direction_has_a_closed_form(words):
    """Rows along one direction: every cosine is 1, so the value is sqrt(d); with no spread the interval stays wide."""
    table = EmbeddingTable.from_arrays(np.outer(np.arange(1, 41), [3.0, -4.0, 0, 0]), words(40))
    found = measures.background_cosine(table)
    assert (found.value, found.high) == (pytest.approx(2), pytest.approx(2))
    assert found.low < 2
    assert found.details["exact_mean_cosine"] == pytest.approx(1)


def test_noise_is_nearly_orthogonal_and_a_common_vector_is_not(gaussian_table):
    """Near orthogonality holds on noise, as it must, and is refuted where all rows share a direction."""
    assert verdict(gaussian_table(600, 100)) is Verdict.HOLDS
    assert verdict(gaussian_table(600, 100, shift=1.0)) is Verdict.REFUTED


def test_counterexamples_are_the_largest_cosines(table, cosines):
    """The pairs named are those whose cosine is largest in size, with their rows and tokens."""
    found = measures.background_cosine(table).counterexamples
    assert [abs(c["value"]) for c in found] == sorted((abs(c["value"]) for c in found), reverse=True)
    a, b = np.searchsorted(table.population, found[0]["ids"])
    assert found[0]["value"] == pytest.approx(cosines(table)[a, b], abs=1e-6)
    assert found[0]["token"] == " | ".join(table.token(row) for row in found[0]["ids"])


def test_three_rows_make_no_two_pairs(gaussian_table):
    """Fewer than two disjoint pairs are not measured."""
    with pytest.raises(NotMeasurable, match="1 disjoint pairs"):
        measures.background_cosine(gaussian_table(3, 4))
