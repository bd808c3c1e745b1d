"""Memory beyond the mapped matrix while every default property is checked: at 262,144 x 640, and growth with rows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.processes import python
from benchmarks.registry import Row, Run
from embcheck import lexicons

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 512
CODE = """
import sys
from embcheck.settings import prepare_process
prepare_process()  # as the command and the plugin do
import torch, numpy, scipy.stats
import embcheck
watch = Watch()
watch.start()
started = time.perf_counter()
embcheck.check(sys.argv[1], device="cpu", properties=sys.argv[2:] or None)
spent = time.perf_counter() - started
watch.done = True
print(watch.most - watch.before, spent)
"""


def matrix(folder: Path, size: int, width: int) -> str:
    """Write noise under the lexicons' words and made-up ones; its spec."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(folder / "m.npy", mode="w+", dtype=np.float32, shape=(size, width))
    for start in range(0, size, 16_384):
        file[start : start + 16_384] = rng.standard_normal((min(16_384, size - start), width), dtype=np.float32)
    file.flush()
    os.utime(folder / "m.npy", (0, 0))  # as one that was there: what was written of late is copied, not mapped
    words = list(dict.fromkeys([*lexicons.words(), *(f"w{i}" for i in range(size))]))[:size]
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return f"npy:{folder / 'm.npy'},vocab={folder / 'words.txt'}"


def rows(run: Run) -> Iterator[Row]:
    """Peak memory against the limit; then time at twice the rows against twice the time."""
    size, width = run.size((262_144, 640), (4_000, 16))
    chosen = run.size((), ("positive_cosine_bias", "normalization"))
    specs = [matrix(run.scratch / f"matrix{n}", n, width) for n in (size // 2, size)]
    found = [[python(CODE, spec, *chosen) for spec in specs] for _ in range(run.few)]
    held, spent = [whole[0] for _, whole in found], [whole[1] for _, whole in found]
    about = ("memory", f"every default property, {size} x {width} float32", "the limit, 512 MB", "MB")
    yield Row(*about, held, (LIMIT,), 1.0, "memory of the process's own beyond its imports; mapped files left out")
    about = ("memory", f"every default property, {size} x {width} float32", f"twice the time at {size // 2} rows", "s")
    yield Row(*about, spent, [2 * half[1] for half, _ in found], 0.9, "cost linear in rows")
