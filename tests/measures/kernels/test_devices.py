"""Counts and lists on an accelerator equal those on the CPU. Skipped where there is none."""

import numpy as np
import pytest
import torch

from embcheck.measures.kernels import all_pairs, probe_cosines
from embcheck.measures.kernels.nearest import nearest

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(params=[torch.float32, torch.float16, torch.bfloat16], ids=str)
def tables(request, gaussian_table):
    """The same table on the CPU and on the device."""
    table = gaussian_table(2_000, 200, shift=0.1, gaps=True, dtype=request.param)
    return table, table.with_vectors(table.vectors.cuda())


def test_counts_are_the_same(tables):
    """Signs of all pairs, of probes with everything, and of everything with anchors."""
    here, there = tables
    probes = here.probes(120)
    assert all_pairs.all_pairs_counts(there).tolist() == all_pairs.all_pairs_counts(here).tolist()
    assert probe_cosines.row_counts(there, probes).tolist() == probe_cosines.row_counts(here, probes).tolist()
    found, expected = (probe_cosines.probe_statistics(table, probes, median=True) for table in (there, here))
    assert found.non_negative.tolist() == expected.non_negative.tolist()
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-6)
    np.testing.assert_allclose(found.median, expected.median, atol=1e-4)


@pytest.mark.parametrize("by", ["cosine", "distance"])
def test_neighbors_are_the_same(tables, by):
    """And in the same order."""
    here, there = tables
    rows = here.probes(150)
    assert nearest(there, rows, 10, by).tolist() == nearest(here, rows, 10, by).tolist()
