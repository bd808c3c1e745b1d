"""On a CUDA device: the exact share over all pairs beside its own matrix products, and counts equal to the CPU's."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.registry import Row, Run
from benchmarks.tables import noise
from embcheck.measures.kernels import all_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPARED = 4_096  # rows whose counts the CPU works out too


def rows(run: Run) -> Iterator[Row]:
    """Rate, then agreement."""
    size, width = run.size((151_936, 1_024), (3_000, 64))
    about = ("cuda", f"exact share over all pairs, {size} x {width} bfloat16", "bare products of the same tiles")
    if not torch.cuda.is_available():
        yield Row(*about, note="not measured: no CUDA device here")
        return
    table = noise(size, width, torch.bfloat16)
    there = table.with_vectors(table.vectors.cuda())
    small = np.arange(min(size, COMPARED))
    agree = np.array_equal(*(all_pairs.all_pairs_counts(one.subset(small)) for one in (table, there)))
    assert agree, "CPU and GPU counts differ"
    tile = all_pairs.DEVICE_TILE

    def products() -> None:
        for start in range(0, size, tile):
            for other in range(start, size, tile):
                torch.mm(there.vectors[start : start + tile], there.vectors[other : other + tile].T)

    ours = _synchronised(lambda: all_pairs.all_pairs_counts(there))
    mine, other = run.alternate(ours, _synchronised(products))
    rate = width * size * (size + 1) / statistics.median(other) / 1e12
    card = torch.cuda.get_device_name()
    note = f"{card}: bare products at {rate:.0f} TFLOP/s; counts of {len(small)} rows equal the CPU's"
    yield Row(*about, ours=mine, theirs=other, target=0.7, note=note)


def _synchronised(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started

    return run
