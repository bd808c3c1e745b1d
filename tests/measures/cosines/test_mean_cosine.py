import importlib
import math

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.cosines import mean_cosine
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable


def find(table):
    return measures.mean_cosine(table, rng=np.random.default_rng(0))


def verdict(table):
    function = importlib.import_module("embcheck.properties.isotropy").isotropy
    return evaluate(Check(function), table, Settings()).verdict


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(600, 7, shift=0.3, gaps=True)


def naive_partition(rows):
    _, axes = np.linalg.eigh(rows.T @ rows)
    z = [np.exp(sign * rows @ c).sum() for c in axes.T for sign in (1, -1)]
    return min(z) / max(z)


def naive_isoscore(values):
    """Steps 4 to 7 of the paper."""
    d = len(values)
    normed = math.sqrt(d) * values / np.linalg.norm(values)
    defect = np.linalg.norm(normed - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    phi = (d - defect**2 * (d - math.sqrt(d))) ** 2 / d**2
    return (d * phi - 1) / (d - 1)


def test_the_mean_cosine_is_that_of_all_pairs(table, cosines):
    """The value, and that of centred rows beside it, are means over the whole matrix of cosines; exact."""
    rows = table.vectors.double().numpy()[table.population]
    found = find(table)
    assert (found.value, found.is_exact) == (pytest.approx(np.nanmean(cosines(table)), abs=1e-7), True)
    assert found.effect["value"] == pytest.approx(np.nanmean(cosines(table, rows.mean(0))), abs=1e-7)
    share = (rows.mean(0) ** 2).sum() / (rows**2).sum(1).mean()
    assert found.details["mean_vector_share"] == pytest.approx(share, rel=1e-5)


def test_partition_isotropy_is_the_definition(monkeypatch, table):
    """I(W), summed over several blocks, is the smallest over the largest partition function."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 4 * 7 * 256)
    rows = table.vectors.double().numpy()[table.population]
    assert mean_cosine.partition_isotropy(table) == pytest.approx(naive_partition(rows), rel=1e-4)


def test_partition_isotropy_has_closed_forms(words):
    """Rows +-e_i look the same from every axis: I(W) is 1; on a line it is n / sum of exponentials."""
    cross = EmbeddingTable.from_arrays(np.concatenate([np.eye(6), -np.eye(6)]), words(12))
    assert mean_cosine.partition_isotropy(cross) == pytest.approx(1, abs=1e-6)
    line = EmbeddingTable.from_arrays(np.outer([1.0, 2.0, 3.0], [0.6, 0.8]), words(3))
    smallest, largest = np.exp([-1.0, -2, -3]).sum(), np.exp([1.0, 2, 3]).sum()
    assert mean_cosine.partition_isotropy(line) == pytest.approx(smallest / largest, rel=1e-5)


def test_long_rows_overflow_nothing(gaussian_table):
    """Rows of length 1,000, whose exponentials no float holds, still have an I(W), near 0."""
    noise = gaussian_table(100, 5)
    found = mean_cosine.partition_isotropy(noise.with_vectors(400 * noise.vectors))
    assert 0 <= found < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_isoscore_is_the_papers_and_a_participation_ratio(seed):
    """The score equals the paper's steps, and (PR - 1)/(d - 1); 1 for equal eigenvalues, 0 for a single one."""
    values = np.random.default_rng(seed).pareto(1, 9)
    expected = (values.sum() ** 2 / (values**2).sum() - 1) / 8
    assert mean_cosine.isoscore(values) == pytest.approx(naive_isoscore(values), abs=1e-12)
    assert mean_cosine.isoscore(values) == pytest.approx(expected, abs=1e-12)
    assert mean_cosine.isoscore(np.ones(9)) == pytest.approx(1)
    assert mean_cosine.isoscore(np.eye(9)[0]) == pytest.approx(0, abs=1e-12)


def test_isoscore_does_not_see_a_mean_shift_and_the_others_do(gaussian_table):
    """A common vector leaves IsoScore as it is, raises the mean cosine and lowers I(W); the note says so."""
    here, moved = (find(gaussian_table(500, 20, shift=shift)) for shift in (0.0, 1.0))
    assert moved.details["isoscore"] == pytest.approx(here.details["isoscore"], abs=1e-4)
    assert moved.value > here.value + 0.3
    assert moved.details["partition_isotropy"] < here.details["partition_isotropy"] / 10
    assert moved.details["top_share"]["raw"] > here.details["top_share"]["raw"] + 0.3
    assert moved.details["top_share"]["centred"] == pytest.approx(here.details["top_share"]["centred"], abs=1e-4)
    assert "cannot see a shift of the mean" in moved.details["summary"]


@pytest.mark.parametrize(("rows", "width"), [(50, 3), (200, 40)])
def test_the_null_in_closed_form_is_that_of_gaussian_tables(rows, width):
    """Drawn mean cosines have the distribution, mean and variance of simulated ones."""
    rng = np.random.default_rng(2)
    units = rng.standard_normal((2000, rows, width))
    units /= np.linalg.norm(units, axis=2, keepdims=True)
    simulated = ((units.sum(1) ** 2).sum(1) - rows) / (rows * (rows - 1))
    drawn = mean_cosine.gaussian_mean_cosine(rows, width, 20_000, rng)
    assert stats.ks_2samp(simulated, drawn).pvalue > 0.001
    assert drawn.var() == pytest.approx(2 / (width * rows * (rows - 1)), rel=0.05)  # 2 / (d N (N - 1)), exactly


def test_a_shared_direction_holds_and_noise_does_not(gaussian_table):
    """A small common vector beats the null; noise does not, and centring the planted rows takes it away."""
    planted = gaussian_table(500, 30, shift=0.1)
    assert verdict(planted) is Verdict.HOLDS
    assert verdict(gaussian_table(500, 30)) is not Verdict.HOLDS
    centred = planted.with_vectors(planted.vectors - planted.vectors.mean(0))
    assert verdict(centred) is not Verdict.HOLDS


def test_a_mean_cosine_that_is_hardly_there_does_not_hold(gaussian_table):
    """A mean cosine of 0.001 among 5,000 rows is beyond chance and too small to be called a shared direction."""
    table = gaussian_table(5_000, 30, shift=0.0316)
    found = find(table)
    assert 5e-4 < found.value < 2e-3
    assert (found.draws["gaussian"] < found.value).all()
    assert verdict(table) is Verdict.REFUTED


def test_counterexamples_have_the_lowest_mean_cosine(table, cosines):
    """The tokens named are those with the smallest mean cosine to all others."""
    means = np.sort(np.nanmean(cosines(table), axis=1))[:10]
    assert [c["value"] for c in find(table).counterexamples] == pytest.approx(means.tolist(), abs=1e-6)


def test_one_column_has_no_directions(words):
    """A table of width 1 is not measured."""
    with pytest.raises(NotMeasurable, match="one column"):
        find(EmbeddingTable.from_arrays(np.arange(1.0, 31.0).reshape(30, 1), words(30)))
