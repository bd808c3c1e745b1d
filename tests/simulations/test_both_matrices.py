"""The property of a model's two matrices on unrelated ones, and its interval where they are related."""

import importlib

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

pytestmark = pytest.mark.slow
TABLES, FALSE_PASSES, REDRAWS = 200, 18, 2_000


def test_false_passes_are_rare_and_p_values_uniform():
    """On 200 models whose matrices share nothing but a direction, at most 18 hold, and p-values pass a KS test."""
    function = importlib.import_module("embcheck.properties.matrix_alignment").matrix_alignment
    found = []
    for seed in range(TABLES):
        rng = np.random.default_rng([seed, 5])
        e, u = rng.standard_normal((2, 150, 12)).astype(np.float32) + 0.4
        table = EmbeddingTable.from_arrays(e, [f"t{i}" for i in range(150)])
        table = table.with_tensors({("output", 0): torch.from_numpy(u)})
        found.append(evaluate(Check(function), table, Settings(seed=seed, probes=60 if seed % 2 else None)))
    verdicts = [result.verdict for result in found]
    assert set(verdicts) <= {Verdict.HOLDS, Verdict.REFUTED, Verdict.INCONCLUSIVE}
    assert verdicts.count(Verdict.HOLDS) <= FALSE_PASSES
    p = np.array([result.nulls[0].p_value for result in found])
    smooth = p - np.random.default_rng(0).uniform(0, 1 / 1_000, TABLES)
    assert stats.kstest(smooth, "uniform").pvalue > 0.001


def test_intervals_cover(demo):
    """Over redrawn tokens the interval covers the mean cosine of all of them 92 to 98% of the time."""
    rows = np.sort(demo.probes(3_000))
    e = demo.gather(rows)
    u = e.roll(1, dims=0) + 0.3 * e  # another token's row, and some of its own
    table = EmbeddingTable.from_arrays(e, [demo.token(int(row)) for row in rows]).with_tensors({("output", 0): u})
    truth = measures.matrix_alignment(table, rng=np.random.default_rng(0))
    assert truth.is_exact
    covered = 0
    for seed in range(REDRAWS):
        with using(Settings(seed=seed, probes=100, draws=1)):
            found = measures.matrix_alignment(table, rng=np.random.default_rng(0))
        covered += found.low <= truth.value <= found.high
    assert 0.92 <= covered / REDRAWS <= 0.98
