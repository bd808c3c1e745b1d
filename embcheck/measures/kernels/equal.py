"""Rows with the same numbers, found by a hash of each row: no row is compared with more than its like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["equal_groups"]

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def equal_groups(table: EmbeddingTable, rows: Ints) -> list[Ints]:
    """Groups of two and more of some rows (ids, ascending) that have the same numbers, in order of their first rows.

    Numbers are compared as they are stored, bit for bit, but that 0.0 and -0.0 are one number; a NaN is only the NaN of
    the same bits.
    """
    factors = np.random.default_rng(0).integers(0, 2**64, table.width, dtype=np.uint64) | np.uint64(1)
    hashes = [
        (_bits(table, rows[s]).astype(np.uint64) * factors).sum(1, dtype=np.uint64) for s in table.slices(len(rows))
    ]
    _, inverse, counts = np.unique(np.concatenate(hashes), return_inverse=True, return_counts=True)
    candidates = rows[counts[inverse] > 1]
    if not len(candidates):
        return []
    bits = np.ascontiguousarray(_bits(table, candidates))
    whole = bits.view(np.dtype((np.void, bits.shape[1] * bits.itemsize)))[:, 0]
    _, inverse, counts = np.unique(whole, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    groups = np.split(candidates[order], np.cumsum(counts)[:-1])
    return sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))


def _bits(table: EmbeddingTable, rows: Ints) -> NDArray[Any]:
    """(n, d) numbers as integers of their bits, -0.0 as 0.0."""
    block: Tensor = table.stored(rows) + 0.0
    bits: NDArray[Any] = block.cpu().contiguous().view(_INTEGERS[block.element_size()]).numpy()
    return bits
