import math

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.measures.cosines import non_negative_share
from embcheck.measures.kernels import all_pairs, probe_cosines
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(150, 10, shift=0.2, gaps=True)


def row_shares(cosine):
    return (cosine >= 0).sum(1) / (len(cosine) - 1)


def test_all_probes_give_the_exact_share_over_all_pairs(table, cosines):
    """With every row probed, the value is the share over all pairs, and exact."""
    found = measures.non_negative_share(table)
    cosine = cosines(table)
    pairs = cosine[np.triu_indices(len(cosine), 1)]
    assert found.value == pytest.approx((pairs >= 0).mean(), abs=1e-12)
    assert (found.is_exact, found.low, found.high) == (True, found.value, found.value)
    assert found.n == len(table.population)


def test_a_sample_has_the_t_interval_of_its_probes(table, cosines):
    """A sample's value is its probes' mean share; its interval is t with the finite-population correction."""
    with using(Settings(probes=40, confidence_level=0.9)):
        found = measures.non_negative_share(table)
        probes = table.probes()
    x = row_shares(cosines(table))[np.searchsorted(table.population, probes)]
    half = stats.t.ppf(0.95, 39) * math.sqrt((1 - 40 / len(table.population)) * x.var(ddof=1) / 40)
    assert found.value == pytest.approx(x.mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=1e-12)
    assert (found.n, found.unit, found.is_exact) == (40, "probe tokens", False)


@pytest.mark.parametrize("probes", ["all", "auto", 60])
def test_details_are_of_the_probes_that_were_asked_for(monkeypatch, table, cosines, probes):
    """Share, columns, centred share and effect are all of the probes that were asked for, however many they are."""
    monkeypatch.setattr(non_negative_share, "DETAIL_PROBES", 10)
    with using(Settings(probes=probes)):
        found = measures.non_negative_share(table)
        rows = np.searchsorted(table.population, table.probes(found.n))
    columns, others = found.details["published_columns"], len(table.population) - 1
    cosine, mean = cosines(table)[rows], table.vectors.double().numpy()[table.population].mean(0)
    share, centred = (((c >= 0).sum(1) / others).mean() for c in (cosine, cosines(table, mean)[rows]))
    assert (columns["probes"], columns["non_negative"] / others) == (found.n, pytest.approx(found.value, abs=1e-12))
    assert found.value == pytest.approx(share, abs=1e-12)
    assert columns["max"] == pytest.approx(np.nanmax(cosine, 1).mean(), abs=1e-6)
    assert found.details["centred_share"] == pytest.approx(centred, abs=1e-12)
    assert found.effect["value"] == pytest.approx((share - centred) / (share - 0.5))


def test_details_of_the_default_census_are_of_its_first_probes(monkeypatch, table, cosines):
    """By default the value is of all rows and the details of a prefix, which the effect is of on both sides."""
    monkeypatch.setattr(non_negative_share, "DETAIL_PROBES", 10)
    found = measures.non_negative_share(table)
    rows = np.searchsorted(table.population, table.probes(10))
    mean = table.vectors.double().numpy()[table.population].mean(0)
    assert (found.is_exact, found.details["published_columns"]["probes"]) == (True, 10)
    assert found.value == pytest.approx(row_shares(cosines(table)).mean(), abs=1e-12)
    share, centred = (row_shares(c)[rows].mean() for c in (cosines(table), cosines(table, mean)))
    assert found.effect["value"] == pytest.approx((share - centred) / (share - 0.5))


def test_published_columns_are_means_over_probes(table, cosines):
    """Each published column is a row statistic averaged over rows."""
    found = measures.non_negative_share(table).details["published_columns"]
    cosine = cosines(table)
    expected = {
        "min": np.nanmin(cosine, 1).mean(),
        "max": np.nanmax(cosine, 1).mean(),
        "mean": np.nanmean(cosine, 1).mean(),
        "median": np.mean([np.quantile(r[~np.isnan(r)], 0.5, method="inverted_cdf") for r in cosine]),
        "non_negative": (cosine >= 0).sum(1).mean(),
        "negative": (cosine < 0).sum(1).mean(),
    }
    assert {k: found[k] for k in expected} == pytest.approx(expected, abs=1e-3)
    assert found["largest_positive_exceeds_largest_negative"] == (expected["max"] > -expected["min"])


def test_the_centred_share_is_that_of_rows_minus_their_mean(table, cosines):
    """The centred share, and the part of the effect that goes with the mean, follow from their definitions."""
    found = measures.non_negative_share(table)
    rows = table.vectors.double().numpy()[table.population]
    centred = row_shares(cosines(table, rows.mean(0))).mean()
    assert found.details["centred_share"] == pytest.approx(centred, abs=1e-12)
    assert found.effect["value"] == pytest.approx((found.value - centred) / (found.value - 0.5))


def test_all_of_a_shifted_cloud_is_explained_by_its_mean(gaussian_table):
    """Beside the value and in the note stands how much of the bias is left without the mean, never less than none."""
    found = measures.non_negative_share(gaussian_table(400, 12, shift=0.6))
    assert found.effect["value"] > 1
    assert found.details["remark"] == "none of it is left without the mean"
    assert f"{found.details['centred_share']:.4f}: none of the bias is left." in found.details["summary"]


def test_a_bias_without_a_mean_is_not_explained_by_one(words):
    """Nine in ten rows one way, the others nine times as far the other way: 82% non-negative, with a mean of zero."""
    rows = np.array([[1.0, 0.0]] * 90 + [[-9.0, 0.0]] * 10)
    rows[:, 1] = np.tile([0.01, -0.01], 50)
    found = measures.non_negative_share(EmbeddingTable.from_arrays(rows, words(100)))
    assert found.value == pytest.approx((90 * 89 + 10 * 9) / (100 * 99))
    assert found.details["remark"] == "all of it is left without the mean"


@pytest.mark.parametrize(("explained", "left"), [(0.417, "58%"), (0.004, "all"), (0.996, "none"), (-1.0, "all")])
def test_a_part_is_said_in_whole_percent(explained, left):
    """What is left and rounds to nothing is none, and what rounds to a hundred is all."""
    assert non_negative_share._said(explained, 0.52)["remark"] == f"{left} of it is left without the mean"


def test_a_share_of_one_half_has_no_effect_to_explain(gaussian_table):
    """Where the share is one half, the part explained by the mean is not a number, and none is given."""
    table = gaussian_table(600, 300)
    found = measures.non_negative_share(table)
    assert abs(found.value - 0.5) < 0.005
    assert found.effect["value"] is None
    assert "remark" not in found.details


def test_rayleigh_has_the_mean_cosine_of_all_pairs(table, cosines):
    """The O(N d) mean cosine is that of all pairs; the statistic is d R^2 / N on d degrees of freedom."""
    found = non_negative_share.rayleigh(table)
    assert found["mean_cosine"] == pytest.approx(np.nanmean(cosines(table)), abs=1e-7)
    rows = table.vectors.double().numpy()[table.population]
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    statistic = 10 * (units.sum(0) ** 2).sum() / len(units)
    assert found["rayleigh"]["statistic"] == pytest.approx(statistic, rel=1e-6)
    assert found["rayleigh"]["p_value"] == pytest.approx(stats.chi2.sf(statistic, 10), rel=1e-4)


def test_rayleigh_p_values_are_uniform_on_the_sphere(gaussian_table):
    """On isotropic tables Rayleigh's p-values pass a Kolmogorov-Smirnov test against the uniform distribution."""
    p = [non_negative_share.rayleigh(gaussian_table(300, 4, seed=seed))["rayleigh"]["p_value"] for seed in range(150)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_rank_one_tables_have_a_closed_form():
    """Half the rows along v and half along -v: (n/2 - 1)/(n - 1) of the cosines are non-negative, all are 1 or -1."""
    v = np.arange(1, 6, dtype=np.float32)
    table = EmbeddingTable.from_arrays(np.array([v if i % 2 else -v for i in range(40)]), [f"t{i}" for i in range(40)])
    found = measures.non_negative_share(table)
    assert found.value == pytest.approx(19 / 39)
    assert found.details["mean_cosine"] == pytest.approx(-1 / 39, abs=1e-6)
    assert found.details["published_columns"]["min"] == pytest.approx(-1)
    assert found.details["published_columns"]["max"] == pytest.approx(1)


def test_one_direction_only_gives_one(words):
    """Rows that are positive multiples of one vector have non-negative cosines only, even with few probes."""
    rows = np.outer(np.arange(1, 51), [3.0, -4.0]).astype(np.float32)
    with using(Settings(probes=10)):
        found = measures.non_negative_share(EmbeddingTable.from_arrays(rows, words(50)))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.5 < found.low < 1.0  # ten equal probes do not prove that all rows are equal


def test_counterexamples_are_the_lowest_shares(table, cosines):
    """The tokens named against the claim are those with the smallest share, lowest first."""
    found = measures.non_negative_share(table).counterexamples
    expected = np.sort(row_shares(cosines(table)))[:10]
    assert [c["value"] for c in found] == pytest.approx(expected.tolist())
    assert [c["token"] for c in found] == [table.token(c["id"]) for c in found]


def test_exact_and_probed_counts_agree(gaussian_table):
    """The half-product kernel over all pairs and the probe kernel count the same cosines."""
    table = gaussian_table(1500, 24, shift=0.05)
    probed = probe_cosines.probe_statistics(table, table.population).non_negative
    assert all_pairs.all_pairs_counts(table).tolist() == probed.tolist()
