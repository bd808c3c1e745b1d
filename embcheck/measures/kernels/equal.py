"""Rows with the same numbers, found by a hash of each row: no row is compared with more than its like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.measures.kernels.blocks import per_row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["equal_groups"]

_HASHED = 2**18  # numbers hashed at once: 2 MB
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def equal_groups(table: EmbeddingTable) -> list[Ints]:
    """Groups of two and more rows of the population that have the same numbers, in order of their first rows.

    Numbers are compared as they are stored, bit for bit, but that 0.0 and -0.0 are one number; a NaN is only the NaN of
    the same bits.
    """
    hashes = per_row(table, _hashes)
    order = np.argsort(hashes, kind="stable")
    is_next = hashes[order[1:]] == hashes[order[:-1]]
    repeated = np.zeros(len(hashes), dtype=np.bool_)
    repeated[order[1:][is_next]] = repeated[order[:-1][is_next]] = True
    candidates = table.population[repeated]
    if not len(candidates):
        return []
    bits = np.ascontiguousarray(_bits(table, candidates))
    whole = bits.view(np.dtype((np.void, bits.shape[1] * bits.itemsize)))[:, 0]
    _, inverse, counts = np.unique(whole, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    groups = np.split(candidates[order], np.cumsum(counts)[:-1])
    return sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))


def _hashes(part: EmbeddingTable) -> NDArray[np.uint64]:
    factors = np.random.default_rng(0).integers(0, 2**64, part.width, dtype=np.uint64) | np.uint64(1)
    rows, step = part.population, max(1, _HASHED // part.width)
    some = (_bits(part, rows[start : start + step]).astype(np.uint64) for start in range(0, len(rows), step))
    return np.concatenate([(bits * factors).sum(1, dtype=np.uint64) for bits in some])


def _bits(table: EmbeddingTable, rows: Ints) -> NDArray[Any]:
    """(n, d) numbers as integers of their bits, -0.0 as 0.0."""
    block: Tensor = table.stored(rows) + 0.0
    bits: NDArray[Any] = block.cpu().contiguous().view(_INTEGERS[block.element_size()]).numpy()
    return bits
