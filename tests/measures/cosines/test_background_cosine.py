import importlib
import math

import numpy as np
import pytest

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.cosines import background_cosine
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable


def verdict(table):
    function = importlib.import_module("embcheck.properties.background_similarity").background_similarity
    return evaluate(Check(function), table, Settings()).verdict


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(301, 10, shift=0.2, gaps=True)


def test_value_and_effect_are_of_all_pairs(monkeypatch, table, cosines):
    """The value is sqrt(d) times the root mean square cosine of all pairs, the effect their mean; both are exact."""
    monkeypatch.setattr(background_cosine, "PAIRS", 60)
    found = measures.background_cosine(table)
    every = cosines(table)
    every = every[~np.isnan(every)]
    assert found.is_exact
    assert found.n == len(table.population)
    assert found.value == pytest.approx(math.sqrt(10 * (every**2).mean()), rel=1e-6)
    assert found.effect["value"] == pytest.approx(every.mean(), abs=1e-7)
    rows = table.vectors.double().numpy()[table.probes(120)].reshape(60, 2, 10)
    expected = np.quantile(np.linalg.norm(rows[:, 0] - rows[:, 1], axis=1), background_cosine.LEVELS)
    assert found.details["pairs"]["distance"]["quantiles"] == pytest.approx(expected, rel=1e-6)


def test_a_small_population_is_paired_up_once(table):
    """With fewer than 10,000 rows every row is in one pair at most: N // 2 pairs."""
    found = measures.background_cosine(table)
    histogram = found.details["cosine_histogram"]
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == len(table.population) // 2
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


@pytest.mark.parametrize("signs", ["one side", "both sides"])
def test_one_line_has_a_closed_form_and_is_refuted(words, signs):
    """Rows on one line, to one side or both: every cosine is 1 or -1, and the value sqrt(d), which is refuted."""
    lengths = np.arange(1, 41) * (1 if signs == "one side" else np.tile([1, -1], 20))
    table = EmbeddingTable.from_arrays(np.outer(lengths, [3.0, -4.0, *[0] * 14]), words(40))
    found = measures.background_cosine(table)
    assert found.value == pytest.approx(4)
    assert found.details["exact_mean_cosine"] == pytest.approx(1 if signs == "one side" else -1 / 39)
    assert verdict(table) is Verdict.REFUTED


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


def test_the_histogram_of_distances_is_of_the_same_pairs(table):
    """As many distances as cosines are counted, between the smallest and the largest of the pairs drawn."""
    found = measures.background_cosine(table).details
    histogram = found["distance_histogram"]
    count = len(table.population) // 2
    rows = table.vectors.double().numpy()[table.probes(2 * count)].reshape(count, 2, 10)
    distances = np.linalg.norm(rows[:, 0] - rows[:, 1], axis=1)
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == count
    assert distances.min() <= histogram["low"] < histogram["high"] <= distances.max()
