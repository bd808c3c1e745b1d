import importlib
import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.cosines import metric_agreement
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(150, 10, shift=0.2, gaps=True)


def verdict(table):
    function = importlib.import_module("embcheck.properties.metric_agreement").metric_agreement
    return evaluate(Check(function), table, Settings()).verdict


def naive(table, cosine):
    """Spearman of each row's cosines with its negated distances to all others."""
    rows = table.vectors.double().numpy()[table.population]
    found = []
    for i, row in enumerate(rows):
        others = np.delete(np.arange(len(rows)), i)
        distance = np.linalg.norm(rows[others] - row, axis=1)
        found.append(stats.spearmanr(cosine[i, others], -distance).statistic)
    return np.array(found)


def test_a_small_table_is_measured_whole(table, cosines):
    """Up to 1,000 rows the value is the mean over all rows against all others, and exact."""
    expected = naive(table, cosines(table))
    found = measures.metric_agreement(table)
    assert (found.value, found.is_exact) == (pytest.approx(expected.mean(), abs=1e-9), True)
    assert [c["value"] for c in found.counterexamples] == pytest.approx(np.sort(expected)[:10], abs=1e-9)
    assert found.details["others"] == len(expected) - 1


def test_a_large_table_is_sampled(monkeypatch, table, cosines):
    """Above the limit each probe ranks others of its own; the value is near the exact one, with a t interval."""
    monkeypatch.setattr(metric_agreement, "PROBES", 60)
    monkeypatch.setattr(metric_agreement, "OTHERS", 50)
    found = measures.metric_agreement(table)
    assert (found.n, found.unit, found.is_exact, found.details["others"]) == (60, "probe tokens", False, 50)
    assert found.value == pytest.approx(naive(table, cosines(table)).mean(), abs=0.05)
    assert found.method == "Student t"


def test_the_correlation_of_a_sample_is_freed_of_its_bias(rng):
    """Averaged over all samples of 5 of 9 others the corrected correlation is that over all 9; the raw one is not."""
    x = rng.standard_normal(9)
    y = x + 0.7 * rng.standard_normal(9)
    truth = stats.spearmanr(x, y).statistic
    drawn = np.array(list(itertools.combinations(range(9), 5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "clip", lambda values, low, high: values)
        corrected = metric_agreement._spearman(torch.from_numpy(x[drawn]), torch.from_numpy(y[drawn]), 9)
    raw = [stats.spearmanr(x[part], y[part]).statistic for part in drawn]
    assert corrected.mean() == pytest.approx(truth, abs=1e-12)
    assert np.mean(raw) < truth - 0.01


def test_kendall_is_scipys(rng):
    """Each row's tau is scipy's where there are no ties."""
    x, y = rng.standard_normal((2, 4, 15))
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert metric_agreement._kendall(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("size", "count", "each"), [(150, 60, 50), (1000, 60, 50), (1001, 60, 200), (40, 40, 39)])
def test_no_probe_ranks_itself(monkeypatch, size, count, each):
    """Every probe has its full number of others, all distinct, itself never among them."""
    monkeypatch.setattr(metric_agreement, "PROBES", count)
    monkeypatch.setattr(metric_agreement, "OTHERS", each)
    order = np.random.default_rng(0).permutation(size)
    others = metric_agreement._others(order, count)
    assert others.shape == (count, each)
    assert all(len(set(row)) == each and probe not in row for probe, row in zip(order, others, strict=False))
    if size > count + count * each:
        assert len(np.unique(others)) == others.size


def test_unit_rows_agree_entirely(table):
    """On rows of length 1 the squared distance is 2 - 2 cos: agreement is 1, and there is nothing to explain."""
    unit = table.vectors / table.norms[:, None]
    unit[~unit.isfinite()] = 0
    found = measures.metric_agreement(table.with_vectors(unit.double()))
    assert found.value == pytest.approx(1, abs=1e-6)
    assert (found.effect["value"], found.details["top"]["overlap"]) == (None, pytest.approx(1, abs=0.01))


def test_all_disagreement_is_due_to_lengths(table):
    """Scaled to length 1 the same rows agree entirely, so lengths explain all of the disagreement."""
    found = measures.metric_agreement(table)
    assert found.value < 0.95
    assert found.details["at_unit_length"] == pytest.approx(1, abs=1e-6)
    assert found.effect["value"] == pytest.approx(1, abs=1e-5)


def test_the_overlap_is_that_of_both_lists(table, cosines):
    """The overlap is the mean share of the ten nearest by cosine that are among the ten nearest by distance."""
    cosine = np.nan_to_num(cosines(table), nan=-np.inf)
    rows = table.vectors.double().numpy()[table.population]
    distance = np.linalg.norm(rows[:, None] - rows, axis=2)
    np.fill_diagonal(distance, np.inf)
    lists = zip(np.argsort(-cosine, axis=1)[:, :10], np.argsort(distance, axis=1)[:, :10], strict=True)
    expected = np.mean([len(set(a) & set(b)) / 10 for a, b in lists])
    found = measures.metric_agreement(table).details["top"]
    assert found["overlap"] == pytest.approx(expected, abs=1e-9)
    assert found["overlap_by_chance"] == pytest.approx(10 / (len(rows) - 1))


def test_lengths_apart_from_directions_refute(gaussian_table):
    """Noise of even length holds; lengths spread over three orders of magnitude decide distance, and refute."""
    noise = gaussian_table(400, 30)
    spread = noise.vectors.numpy() * 10 ** np.random.default_rng(0).uniform(-1.5, 1.5, (400, 1))
    spread = noise.with_vectors(torch.from_numpy(spread).float())
    assert verdict(noise) is Verdict.HOLDS
    assert verdict(spread) is Verdict.REFUTED
    details = measures.metric_agreement(spread).details
    assert details["distance_with_length"] > 0.5
    assert details["top"]["shorter_than_probe"]["distance"] > details["top"]["shorter_than_probe"]["cosine"]


def test_what_can_not_be_ranked_is_not_measured(words):
    """Along one direction all cosines are equal, and three rows have too few others."""
    with pytest.raises(NotMeasurable, match="no finite value"):
        measures.metric_agreement(EmbeddingTable.from_arrays(np.outer([1.0, 2, 4, 8, 16], [1.0, 0.0]), words(5)))
    with pytest.raises(NotMeasurable, match="3 rows"):
        measures.metric_agreement(EmbeddingTable.from_arrays(np.eye(3), words(3)))
