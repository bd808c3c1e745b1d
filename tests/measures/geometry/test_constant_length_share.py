import importlib

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.measures.geometry.constant_length_share import chi_departure
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

LEVELS = (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1)


def scaled_to(lengths, words, width=8):
    rows = np.random.default_rng(3).standard_normal((len(lengths), width))
    rows *= np.asarray(lengths)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
    return EmbeddingTable.from_arrays(rows, words(len(lengths)))


def verdict(table):
    function = importlib.import_module("embcheck.properties.normalization").normalization
    return evaluate(Check(function), table, Settings()).verdict


def test_the_share_counts_lengths_within_the_tolerance(words):
    """Lengths L (1 +- 0.009) count as L, L (1 +- 0.011) do not: 3 of 5 rows, exact, whatever L."""
    for scale in (1, 1.031, 1e-3):
        lengths = scale * np.array([1, 1.009, 0.991, 1.011, 0.989])
        found = measures.constant_length_share(scaled_to(lengths, words))
        assert (found.value, found.is_exact, found.n) == (pytest.approx(0.6), True, 5)
        assert found.details["length"] == pytest.approx(scale, rel=1e-6)


def test_the_share_at_unit_length_stays(words):
    """What the source counts, the rows within 0.01 of length 1, is the effect, and the value where 1 is asked for."""
    table = scaled_to([1, 1.009, 0.991, 1.011, 0.989, 2, 2, 2, 2, 2, 2], words)
    assert measures.constant_length_share(table).value == pytest.approx(6 / 11)
    assert measures.constant_length_share(table).effect["value"] == pytest.approx(3 / 11)
    assert measures.constant_length_share(table, length=1).value == pytest.approx(3 / 11)


def test_rows_normalised_to_another_length_refute_the_claim(words):
    """Lengths of 1.031 +- 0.0005, none of which is 1, are those of a matrix stored normalised."""
    table = scaled_to(1.031 + np.linspace(-5e-4, 5e-4, 60), words)
    assert verdict(table) is Verdict.REFUTED
    assert measures.constant_length_share(table).effect["value"] == 0


def test_the_tolerances_are_parameters(gaussian_table):
    """A wider tolerance counts more rows as unit and more columns as centred."""
    table = gaussian_table(200, 4, shift=0.1)
    narrow = measures.constant_length_share(table)
    wide = measures.constant_length_share(table, tolerance=5.0, mean_tolerance=1.0)
    assert (wide.value, wide.details["columns"]["within_tolerance"]) == (1.0, 1.0)
    assert narrow.value < 0.1
    assert narrow.details["columns"]["within_tolerance"] < 1


def test_column_means_and_quantiles_are_those_of_the_population(gaussian_table):
    """Means of columns and quantiles of lengths are NumPy's, over known rows only."""
    table = gaussian_table(150, 10, shift=0.2, gaps=True)
    rows = table.vectors.double().numpy()[table.population]
    details = measures.constant_length_share(table).details
    means, norms = rows.mean(0), np.linalg.norm(rows, axis=1)
    assert details["columns"]["largest"]["mean"] == pytest.approx(means[np.abs(means).argmax()], abs=1e-6)
    assert details["columns"]["root_mean_square"] == pytest.approx(np.sqrt((means**2).mean()), rel=1e-5)
    assert details["columns"]["within_tolerance"] == (np.abs(means) <= 0.05).mean()
    assert details["norm_quantiles"]["all"]["norms"] == pytest.approx(np.quantile(norms, LEVELS), rel=1e-6)
    assert details["mean_norm"] == pytest.approx(norms.mean(), rel=1e-6)


def test_rows_left_out_have_quantiles_of_their_own(gaussian_table):
    """Reserved and special rows are described by their class, and are not in the share."""
    table = gaussian_table(150, 10, gaps=True)
    found = measures.constant_length_share(table)
    groups = found.details["norm_quantiles"]
    assert (groups["left out: special"]["rows"], groups["left out: unused"]["rows"]) == (1, 1)
    assert groups["word_start"]["rows"] == found.n == len(table.population)


def test_gaussian_rows_have_chi_distributed_lengths():
    """The distance to the chi distribution is Kolmogorov's statistic, and near what noise has on average."""
    norms = np.linalg.norm(3 * np.random.default_rng(1).standard_normal((5000, 20)), axis=1)
    found = chi_departure(norms, 20)
    scale = np.sqrt((norms**2).mean() / 20)
    assert found["ks_distance"] == pytest.approx(stats.kstest(norms / scale, stats.chi(20).cdf).statistic, abs=1e-12)
    assert found["ks_distance"] < 2 * found["ks_distance_of_noise"]
    assert found["variation"] == pytest.approx(found["variation_of_noise"], rel=0.05)
    assert found["scale"] == pytest.approx(3, rel=0.01)


def test_spread_lengths_depart_from_chi():
    """Lengths spread over a factor of two are far from the chi distribution of noise."""
    rows = np.random.default_rng(1).standard_normal((5000, 20)) * np.random.default_rng(2).uniform(1, 2, (5000, 1))
    found = chi_departure(np.linalg.norm(rows, axis=1), 20)
    assert found["ks_distance"] > 8 * found["ks_distance_of_noise"]


def test_normalised_rows_refute_the_claim(words, gaussian_table):
    """A table of unit rows is refuted and names ten of them; a Gaussian one holds, and names the few of its median."""
    normalised = scaled_to(np.ones(60), words)
    assert verdict(normalised) is Verdict.REFUTED
    assert len(measures.constant_length_share(normalised).counterexamples) == 10
    noise = gaussian_table(60, 40)
    assert verdict(noise) is Verdict.HOLDS
    assert len(measures.constant_length_share(noise).counterexamples) == round(
        60 * measures.constant_length_share(noise).value
    )


def test_half_precision_unit_rows_still_count(words):
    """Rounding unit rows to bfloat16 moves their lengths by less than the tolerance."""
    table = scaled_to(np.ones(60), words, width=64)
    assert measures.constant_length_share(table.with_vectors(table.vectors.to(torch.bfloat16))).value > 0.95


def test_the_means_of_columns_and_a_slice_of_the_matrix(gaussian_table):
    """The histogram counts each column's mean once; the slice has the stored numbers of the rows it names."""
    table = gaussian_table(301, 70, shift=0.2)
    found = measures.constant_length_share(table).details
    rows = table.vectors.double().numpy()
    histogram, means = found["columns"]["histogram"], rows[table.population].mean(0)
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == 70
    assert means.min() <= histogram["low"] < histogram["high"] <= means.max()
    assert np.shape(found["slice"]["values"]) == (40, 64)
    expected = [rows[table.tokens.index(token), :64] for token in found["slice"]["tokens"]]
    assert found["slice"]["values"] == pytest.approx(np.array(expected), rel=6e-3)
