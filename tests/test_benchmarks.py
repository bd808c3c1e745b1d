import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks import tabulate
from benchmarks.machine import description
from benchmarks.processes import python
from benchmarks.registry import NAMES, Missing, Row, Run, alternative, rows_of

ROOT = Path(__file__).parents[1]
IN_PROCESS = ("probes", "all_pairs", "neighbors", "hubness", "similarity", "cuda")


@pytest.mark.parametrize("name", IN_PROCESS)
def test_answers_agree_at_a_small_size(name, tmp_path):
    """Each benchmark checks its answers against the alternative's before it times anything, and gives rows."""
    found = list(rows_of(name, Run(small=True, repeats=1, scratch=tmp_path)))
    assert found
    for row in found:
        assert row.benchmark == name
        assert (row.ratio is not None and row.ratio > 0) or row.note.startswith("not measured: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("memory", ["MB", "s"]),
        ("loading", ["s", "MB"]),
        ("catalogue", ["s", "s"]),
        ("startup", ["s", "ms"]),
        ("vocabularies", [*["s"] * 6, "MB"]),
    ],
)
def test_processes_of_their_own_report_figures(name, units, tmp_path):
    """What is measured in processes of its own gives a figure of the right kind for each row."""
    found = list(rows_of(name, Run(small=True, repeats=1, scratch=tmp_path)))
    assert [row.unit for row in found] == units
    assert all(min(row.ours) > 0 for row in found)


def test_code_in_a_process_of_its_own_reports_its_numbers():
    """The numbers printed last come back; memory of its own is watched."""
    work = "x = bytearray(40 * 2**20); time.sleep(0.1)"
    first, grown = python(f"watch = Watch(); watch.start(); {work}; print(1.5, watch.most - watch.before)")
    assert first == 1.5
    assert 35 < grown < 80


def test_every_module_is_listed():
    """The list of benchmarks holds every module that gives rows, and no other."""
    modules = {file.stem for file in (ROOT / "benchmarks").glob("*.py") if "def rows(" in file.read_text()}
    assert modules == set(NAMES)


def test_ratios_say_how_many_times_better_ours_is():
    """A ratio is the alternative's figure over ours; it meets a target that it reaches."""
    row = Row("x", "what", "other", ours=(2.0,), theirs=(5.0,), target=2.5)
    assert (row.ratio, row.met) == (2.5, True)
    assert Row("x", "what", "other", ours=(2.0,), theirs=(4.9,), target=2.5).met is False
    assert (Row("x", "what", "other", note="not measured").ratio, Row("x", "what", "other").met) == (None, None)


def test_figures_stand_with_their_spread():
    """The median of repeats, and the smallest and the largest."""
    row = Row("x", "what", "other", ours=(2.0, 1.5, 9.0), theirs=(4.0,))
    assert row.ratio == 2
    assert "| 2.000 (1.500 to 9.000) s | other | 4.000 s | 2 |" in tabulate.markdown(description(), [row])


def test_work_is_timed_in_turn():
    """After a warm-up of each, the two take turns, as often as asked."""
    calls = []
    Run(small=True, repeats=3, scratch=Path()).row(
        ("x", "what", "other"), lambda: calls.append("a"), lambda: calls.append("b")
    )
    assert calls == ["a", "b"] * 4


def test_a_missing_alternative_is_said():
    """What is not installed makes a line that names it and the way to get it."""
    with pytest.raises(Missing, match=re.escape("faiss-cpu is not installed (pip install 'embcheck[bench]')")):
        alternative("no_such_module_at_all", "faiss-cpu")


def test_the_runner_writes_rows_and_the_page(monkeypatch, tmp_path, capsys):
    """Rows are printed, written as JSON with the machine, and put between a page's markers."""
    row = Row("probes", "what", "other", ours=(2.0,), theirs=(5.0,), target=3, note="half of it")
    monkeypatch.setattr(runner, "rows_of", lambda name, run: iter([row]))
    page = tmp_path / "page.md"
    mark = tabulate.BEGIN.format(description()["processor"])
    page.write_text(f"before\n{mark}\nold\n{tabulate.END}\nafter\n")
    runner.main(["--only", "probes", "--json", str(tmp_path / "out.json"), "--markdown", str(page)])
    out = capsys.readouterr().out
    assert "2.000 s against 5.000 s, ratio 2.5, target 3: NOT MET" in out
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["schema"] == "embcheck-benchmarks/1"
    assert document["rows"] == [row.record]
    assert document["machine"]["threads"] > 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| what<br>*half of it* | 2.000 s | other | 5.000 s | 2.5 | 3 | NOT MET |" in text


def test_a_page_without_markers_is_left_alone(tmp_path):
    """Without markers there is no place for the table."""
    page = tmp_path / "page.md"
    page.write_text("text")
    with pytest.raises(ValueError, match="has no"):
        tabulate.replace_table(page, {"processor": "Z80"}, [])
    assert page.read_text() == "text"


def test_the_page_on_performance_has_a_table_for_every_benchmark():
    """Each of its tables, at least two, stands between the markers of its machine."""
    text = (ROOT / "docs" / "performance.md").read_text()
    tables = re.findall(tabulate.BEGIN.format("(.+?)") + r"\n(.+?)" + tabulate.END, text, re.DOTALL)
    assert len(dict(tables)) == len(tables) >= 2
    for processor, table in tables:
        assert f"Measured on {processor}, " in table
