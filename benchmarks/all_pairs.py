"""The exact share over all pairs, beside the machine's own rate at bare products of the same tiles."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from benchmarks.tables import noise
from embcheck.measures.kernels import all_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.registry import Row, Run

SHAPES = (
    ("Gemma 3 270M's width", 16_384, 640, torch.float32),
    ("Qwen3-0.6B's width", 32_768, 1_024, torch.bfloat16),
    ("gpt-oss's width", 16_384, 2_880, torch.bfloat16),
)


def bare_products(rows: torch.Tensor, tile: int) -> Callable[[], None]:
    """Products of all pairs of tiles, half of them by symmetry, and nothing done with them."""

    def run() -> None:
        for start in range(0, len(rows), tile):
            for other in range(start, len(rows), tile):
                torch.mm(rows[start : start + tile], rows[other : other + tile].T)

    return run


def rows(run: Run) -> Iterator[Row]:
    """One row a width and type."""
    for name, full, width, dtype in SHAPES:
        size = run.size(full, 300)
        table = noise(size, width, dtype)
        kind = str(dtype).removeprefix("torch.")
        pairs = size * (size - 1) // 2
        share = float(all_pairs.all_pairs_counts(table).sum()) / (2 * pairs)
        assert abs(share - 0.5) < 10 / size, share
        native = dtype if dtype == torch.float32 or all_pairs.bfloat16_pays() else torch.float32
        found = run.row(
            (
                "all_pairs",
                f"signs of {pairs / 1e6:.0f} million pairs, {size} x {width} {kind} ({name})",
                "bare products of the same tiles",
            ),
            lambda table=table: all_pairs.all_pairs_counts(table),
            bare_products(table.vectors.to(native), all_pairs.TILE),
            target=0.85,
        )
        rate = 2 * width * (pairs + size) / statistics.median(found.theirs) / 1e9
        note = f"bare products in {str(native).removeprefix('torch.')} at {rate:.0f} GFLOP/s"
        yield replace(found, note=note)
