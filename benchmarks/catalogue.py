"""The whole catalogue from process start, on the demo model and on GloVe 6B, beside vecscope's audit of the latter."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.memory import matrix
from benchmarks.processes import embcheck, seconds
from benchmarks.registry import Missing, Row, Run
from benchmarks.tables import glove_files

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED = (0, 1)  # some claims don't hold on these matrices, which is no matter here


def rows(run: Run) -> Iterator[Row]:
    """The demo model, GloVe, and GloVe beside vecscope. vecscope once, for it takes minutes."""
    folder = run.scratch / "catalogue"
    folder.mkdir()
    if not run.small:
        demo = [seconds(embcheck("check", "demo"), folder, FAILED) for _ in range(run.few)]
        yield Row("catalogue", "whole catalogue on demo, 30,522 x 384", "the limit, 45 s", "s", demo, (45.0,), 1.0)
    try:
        spec, file, size = _glove(run)
    except Missing as why:
        yield Row("catalogue", "whole catalogue on GloVe 6B, 400,000 x 50", "vecscope audit", note=str(why))
        return
    what = f"whole catalogue, {size[0]} x {size[1]}"
    chosen = run.size((), ("--property", "positive_cosine_bias"))
    ours = [seconds(embcheck("check", spec, *chosen), folder, FAILED) for _ in range(run.few)]
    yield Row("catalogue", what, "the limit, 120 s", "s", ours, (120.0,), 1.0)
    found = shutil.which("vecscope", path=str(Path(sys.executable).parent)) or shutil.which("vecscope")
    against = "vecscope audit, which samples 100,000 rows"
    if found is None:
        why = "not measured: vecscope is not installed (pip install 'embcheck[bench]')"
        yield Row("catalogue", what, against, "s", ours, note=why)
        return
    theirs = [seconds([found, "audit", str(file)], folder, FAILED)]
    yield Row("catalogue", what, against, "s", ours, theirs, 3.0)


def _glove(run: Run) -> tuple[str, Path, tuple[int, int]]:
    """Spec, matrix file and shape."""
    if run.small:
        spec = matrix(run.scratch / "small", 2_000, 16)
        return spec, run.scratch / "small" / "m.npy", (2_000, 16)
    file, words = glove_files()
    return f"npy:{file},vocab={words}", file, np.load(file, mmap_mode="r").shape
