import importlib
import itertools

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.geometry import neighbor_count_skewness
from embcheck.settings import Settings, using


@pytest.fixture
def small(monkeypatch):
    """Samples of 100 rows."""
    monkeypatch.setattr(neighbor_count_skewness, "SAMPLE", 100)


def naive_counts(cosine, k=10):
    """N_k from the definition: how often each column is among a row's k largest."""
    filled = np.nan_to_num(cosine, nan=-np.inf)
    lists = np.argsort(-filled, axis=1)[:, :k]
    return np.array([(lists == j).sum() for j in range(len(cosine))])


def find(table, seed=0):
    return measures.neighbor_count_skewness(table, rng=np.random.default_rng(seed))


def verdict(table):
    function = importlib.import_module("embcheck.properties.hubness").hubness
    return evaluate(Check(function), table, Settings()).verdict


def test_one_sample_is_the_whole_population(small, gaussian_table, cosines):
    """Below two samples' rows the skewness is that of N_10 over all rows, and exact; the vocabulary's is the same."""
    table = gaussian_table(150, 10, shift=0.2, gaps=True)
    counts = naive_counts(cosines(table))
    found = find(table)
    assert (found.value, found.is_exact, found.n) == (pytest.approx(stats.skew(counts)), True, len(counts))
    whole = found.details["whole_vocabulary"]
    assert (whole["exact"], whole["skewness"]) == (True, pytest.approx(found.value))
    assert whole["antihub_share"] == (counts == 0).mean()
    assert [hub["in_lists"] for hub in whole["largest_hubs"]] == sorted(counts.tolist(), reverse=True)[:10]
    assert whole["largest_hubs"][0]["token"] == table.token(whole["largest_hubs"][0]["id"])


def test_samples_are_disjoint_and_in_hash_order(small, gaussian_table, cosines):
    """The value is the mean skewness over consecutive runs of 100 rows in hash order, with their t interval."""
    table = gaussian_table(390, 10, shift=0.2)
    found = find(table)
    order = np.searchsorted(table.population, table.probes(390))
    cosine = cosines(table)
    runs = [order[i * 100 : i * 100 + 100] for i in range(3)]
    x = np.array([stats.skew(naive_counts(cosine[np.ix_(run, run)])) for run in runs])
    half = stats.t.ppf(0.975, 2) * x.std(ddof=1) / np.sqrt(3)
    assert (found.low, found.value, found.high) == pytest.approx((x.mean() - half, x.mean(), x.mean() + half))
    assert (found.n, found.unit, len(found.draws["gaussian"])) == (3, "samples of 100 rows", 199)


@pytest.mark.parametrize("width", [5, 60, 200])
def test_simulated_directions_have_the_cosines_of_gaussian_rows(width, rng):
    """Both ways of drawing directions, plain and by Bartlett's triangle, give iid cosines of d-dimensional noise."""
    rows = [neighbor_count_skewness.gaussian_directions(60, width, rng) for _ in range(30)]
    assert all(r.shape == (60, min(width, 60)) for r in rows)
    cosine = np.concatenate([(r @ r.T)[np.triu_indices(60, 1)] for r in rows]).astype(np.float64)
    squared = stats.beta(0.5, (width - 1) / 2)  # of the cosine between directions uniform on the sphere
    assert stats.kstest(cosine**2, squared.cdf).pvalue > 0.001
    assert abs(cosine.mean()) < 4 / np.sqrt(width * len(cosine))


def test_counts_of_noise_do_not_depend_on_how_it_is_drawn(rng):
    """Skewness from Bartlett's triangle has the distribution of that from plain Gaussian rows."""
    triangle = [
        stats.skew(neighbor_count_skewness._counts(_tensor(neighbor_count_skewness.gaussian_directions(60, 61, rng))))
        for _ in range(150)
    ]
    plain = []
    for _ in range(150):
        x = rng.standard_normal((60, 61)).astype(np.float32)
        plain.append(stats.skew(neighbor_count_skewness._counts(_tensor(x / np.linalg.norm(x, axis=1, keepdims=True)))))
    assert stats.ks_2samp(triangle, plain).pvalue > 0.001


def _tensor(rows):
    import torch

    return torch.from_numpy(rows)


def test_equal_counts_have_no_hubs():
    """Where all rows stand in k lists, skewness, Robin Hood index and antihub share are zero."""
    assert neighbor_count_skewness.count_statistics(np.full(20, 4), 4) == {
        "skewness": 0.0,
        "robin_hood": 0.0,
        "antihub_share": 0.0,
    }


def test_one_row_in_every_list_has_a_closed_form():
    """Of n rows k are in every list: the Robin Hood index is (n - k)/n and all others are antihubs."""
    counts = np.array([100] * 5 + [0] * 95)
    found = neighbor_count_skewness.count_statistics(counts, 5)
    assert (found["robin_hood"], found["antihub_share"]) == (pytest.approx(0.95), pytest.approx(0.95))
    assert found["skewness"] == pytest.approx(stats.skew(counts))


def test_moments_from_sampled_queries_are_unbiased(rng):
    """Over all 70 ways to draw 4 of 8 queries, estimated second and third moments average to the true ones."""
    lists = np.argsort(rng.random((8, 8)) * np.arange(1, 9), axis=1)[:, :3]
    counts = np.bincount(lists.ravel(), minlength=8).astype(float)
    drawn = [list(part) for part in itertools.combinations(range(8), 4)]
    found = [neighbor_count_skewness.raw_moments(np.bincount(lists[part].ravel(), minlength=8), 4, 3) for part in drawn]
    assert np.mean(found, axis=0) == pytest.approx([(counts**2).mean(), (counts**3).mean()], abs=1e-12)


def test_skewness_from_all_queries_is_exact(rng):
    """With every query sampled the estimate is the skewness itself."""
    counts = np.bincount(rng.integers(0, 50, (60, 10)).ravel(), minlength=60)
    assert neighbor_count_skewness.sampled_skewness(counts, 60, 10) == pytest.approx(stats.skew(counts))


def test_a_large_vocabulary_is_sampled_and_says_so(monkeypatch, small, gaussian_table):
    """Above the limit 1,000 queries stand for all; with all probes asked for, the figures are exact again."""
    monkeypatch.setattr(neighbor_count_skewness, "EXACT_ROWS", 300)
    monkeypatch.setattr(neighbor_count_skewness, "QUERIES", 200)
    table = gaussian_table(390, 6, shift=0.3)
    sampled = find(table).details["whole_vocabulary"]
    with using(Settings(probes="all")):
        exact = find(table).details["whole_vocabulary"]
    assert (sampled["exact"], sampled["queries"], sampled["antihub_share"]) == (False, 200, None)
    assert (exact["exact"], exact["queries"]) == (True, 390)
    assert abs(sampled["skewness"] - exact["skewness"]) < 4 * sampled["standard_error"] < 4


def test_planted_hubs_hold_and_noise_does_not(small, gaussian_table):
    """Rows near the centre of the others are in most lists: it holds; without them it is noise."""
    noise = gaussian_table(400, 30, seed=5)
    vectors = noise.vectors.clone() + 0.8
    vectors[::20] = 0.8 + 0.1 * vectors[::20]
    assert verdict(noise.with_vectors(vectors)) is Verdict.HOLDS
    assert verdict(noise) is not Verdict.HOLDS


def test_thirty_rows_are_too_few(gaussian_table):
    """Lists of 10 among 30 rows are not measured; among 31 they are."""
    with pytest.raises(NotMeasurable, match="30 rows are too few"):
        find(gaussian_table(30, 4))
    assert find(gaussian_table(31, 4)).is_exact


def test_draws_hold_the_measured_samples_too(rng):
    """On noise, measured and simulated samples are exchangeable: among all choices of them p-values are uniform."""
    p = []
    for _ in range(400):
        values, simulated = rng.standard_normal(10), rng.standard_normal(99)
        draws = neighbor_count_skewness._means(list(values), simulated, rng)
        assert len(draws) == 99
        p.append(((draws >= values.mean()).sum() + rng.uniform()) / 100)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_draws_are_means_of_samples(rng):
    """With all samples equal but one measured, a draw is the mean of those without it or with it."""
    draws = neighbor_count_skewness._means([5.0, 0.0], np.zeros(99), rng)
    assert set(draws.tolist()) <= {0.0, 2.5}
