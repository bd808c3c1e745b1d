"""Time the kernels side by side with what they replace: ``python -m benchmarks [--rows V] [--width D]``."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck import EmbeddingTable
from embcheck.measures import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5


def one_probe_at_a_time(matrix: torch.Tensor, probes: list[int]) -> list[float]:
    """Share of non-negative cosines as a notebook computes it: for each probe a copy of all other rows, then norms."""
    shares = []
    for probe in probes:
        rest = torch.cat([matrix[:probe], matrix[probe + 1 :]])
        cosine = (rest @ matrix[probe]) / (torch.linalg.vector_norm(rest, dim=1) * matrix[probe].norm())
        (cosine.min(), cosine.max(), cosine.mean(), cosine.median())
        shares.append(float((cosine >= 0).float().mean()))
    return shares


def side_by_side(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both over alternating repeats, after one warm-up of ours."""
    ours()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for run, times in zip((ours, theirs), spent, strict=True):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return statistics.median(spent[0]), statistics.median(spent[1])


def main() -> None:
    """Print one row a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=640)
    given = parser.parse_args()
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((given.rows, given.width), dtype=np.float32))
    table = EmbeddingTable.from_arrays(matrix, [f"t{i}" for i in range(given.rows)])
    probes = table.probes(50)
    small = table.subset(np.arange(min(given.rows, 16_384)))
    unit = small.units(small.population)
    out = torch.empty(1_024, 1_024)

    def product() -> None:
        for start in range(0, len(unit) - 1_023, 1_024):
            for other in range(start, len(unit) - 1_023, 1_024):
                torch.mm(unit[start : start + 1_024], unit[other : other + 1_024].T, out=out)

    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{given.rows} x {given.width} float32, medians of {REPEATS} alternating repeats\n")
    print(f"{'what':<34}{'embcheck':>10}{'other':>10}  ratio  against")
    for what, against, ours, theirs in (
        (
            "statistics of 50 probes",
            "one probe at a time",
            lambda: kernels.probe_statistics(table, probes, levels=(0.5,)),
            lambda: one_probe_at_a_time(matrix, probes.tolist()),
        ),
        ("all-pairs counts, 16,384 rows", "the bare products", lambda: kernels.all_pairs_counts(small), product),
    ):
        mine, other = side_by_side(ours, theirs)
        print(f"{what:<34}{mine:>9.3f}s{other:>9.3f}s {other / mine:>6.2f}  {against}")


if __name__ == "__main__":
    main()
