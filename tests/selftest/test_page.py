"""The command, its lines and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from embcheck.checks.record import version
from embcheck.cli import main
from embcheck.reports import calibration
from embcheck.selftest import examine_ladder

DOCS = Path(__file__).parents[2] / "docs" / "calibration.md"
TOYS = '''
"""Toy properties."""
import dataclasses

from embcheck import Estimate, NotMeasurable, above, claim


def entries(table):
    return Estimate.from_units(table.vectors[:40, 0].tolist(), unit="rows")


@claim(above(0.3))
def sound(table):
    """The first entries are positive."""
    return entries(table)


@claim(above(-3))
def holds_on_any_table_whatsoever_and_says_so_at_length(table):
    """Something that noise has too."""
    return entries(table)


@claim(above(0.3))
def sure_of_itself(table):
    """The first entries are positive, beyond doubt."""
    found = entries(table)
    return dataclasses.replace(found, low=found.value - 0.05, high=found.value + 0.05)


@claim(above(0))
def never(table):
    """Nothing is there."""
    raise NotMeasurable("too few toys | to measure: 1, at least 2 are needed by this property to say anything")
'''


@pytest.fixture
def selftest(tmp_path, monkeypatch, capsys):
    """``selftest(*arguments)``: exit code and output of the command beside a file of toy properties."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "toys.py").write_text(TOYS)

    def run(*arguments):
        code = main(["selftest", "--tables", "20", "--redraws", "40", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_what_is_calibrated_exits_0(selftest):
    """A sound property is a row that says ok, and one that can't be simulated is no fault."""
    code, out, _ = selftest("--property", "sound", "--property", "never")
    assert code == 0
    assert re.search(r"^sound +0/20 +\d+\.\d%( wide)? +no null +nothing +ok$", out, re.MULTILINE)
    assert out.endswith("1 calibrated, 1 not simulated\n")


def test_what_is_not_calibrated_exits_1_and_is_named(selftest):
    """One property that holds on noise and one whose interval is too narrow are named with their faults."""
    code, out, _ = selftest("--property", "holds*", "--property", "sure*", "--property", "sound")
    assert code == 1
    assert "  holds on 20 of 20 tables of noise, more than 4\n" in out
    assert re.search(r"^  intervals cover \d+\.\d% of 40 redraws, less than \d+\.\d%$", out, re.MULTILINE)
    assert "1 calibrated, 2 not: holds_on_any_table_whatsoever_and_says_so_at_length," in out


def test_lines_fit_a_terminal(selftest):
    """Names, reasons and faults of any length stay within 80 columns."""
    _, out, _ = selftest("--property", "holds*", "--property", "never", "--property", "sure*")
    assert max(map(len, out.splitlines())) <= 80
    assert "never                        not simulated: skipped: too few toys | to measure:" in out


def test_json_and_markdown_hold_what_is_shown(selftest, tmp_path):
    """The JSON has the rows and the page a table of them, with cells that no name or reason breaks."""
    selftest("--property", "sound", "--property", "never", "--json", "o.json", "--markdown", "o.md", "--seed", "3")
    document = json.loads((tmp_path / "o.json").read_text())
    assert (document["schema"], document["tables"], document["seed"]) == ("embcheck-selftest/1", 20, 3)
    assert [row["property"] for row in document["properties"]] == ["sound", "never"]
    page = (tmp_path / "o.md").read_text()
    assert "embcheck selftest --tables 20 --redraws 40 --seed 3" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.count("|") for row in rows] == [7, 7]
    assert page == calibration.markdown(document, version("embcheck"))


def test_shapes_are_rows_of_their_own_and_no_fault(selftest, tmp_path):
    """With --shapes each of four shapes has a row in the table, the page and the JSON; what it covers is no fault."""
    code, out, _ = selftest("--property", "sure*", "--shapes", "--json", "o.json", "--markdown", "o.md")
    (row,) = json.loads((tmp_path / "o.json").read_text())["properties"]
    assert (code, len(row["faults"])) == (1, 1)
    assert set(row["shapes"]) == {"heterogeneous", "heavy lengths", "clustered", "shifted"}
    assert row["shapes"]["shifted"]["tables"] == 20
    assert row["shapes"]["shifted"]["holds"] > 10
    assert row["shapes"]["clustered"]["coverage"]["share"] < row["shapes"]["clustered"]["limits"][0]
    assert re.search(r"^  clustered +\d+/20 +\d+\.\d% low$", out, re.MULTILINE)
    rows = [
        line
        for line in (tmp_path / "o.md").read_text().splitlines()
        if re.match(r"\| (heavy|shifted|clust|heter)", line)
    ]
    assert [line.count("|") for line in rows] == [7, 7, 7, 7]


@pytest.mark.slow
def test_the_ladder_is_a_part_of_the_whole(selftest, tmp_path):
    """What was planted and how often it was named stands below the properties and on the page, with what else was."""
    selftest("--property", "sound", "--json", "o.json")
    document = json.loads((tmp_path / "o.json").read_text())
    named = {"planted": "mean", "tables": 10, "right": 9, "named": {"mean": 9, "covariance": 1}, "calibrated": False}
    document["ladder"] = [*examine_ladder(1)[:1], named]
    shown = [line.text for line in calibration.lines(document)]
    assert "ladder: gaussian" in shown[2]
    assert shown[2].endswith("ok")
    assert re.fullmatch(r"ladder: mean +9/10 \(1 c\w*\.\.\. +NO", shown[3])
    assert "| mean | 9/10 (1 covariance) |" in calibration.markdown(document, version("embcheck"))


def test_one_seed_one_document(selftest, tmp_path):
    """The same seed writes the same bytes, another seed others."""
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        selftest("--property", "sound", "--seed", seed, "--json", name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tables", "3"), "'--tables': 3 is not in the range"),
        (("--redraws", "many"), "'--redraws': 'many' is not a valid integer"),
        (("--property", "nothing*"), "no property matches 'nothing*'"),
        (("--seed", "-1"), "seed must not be negative, got -1"),
        (("--markdown", "none/page.md"), "the folder 'none' does not exist"),
        (("--json", "properties"), "it is a folder"),
    ],
)
def test_wrong_options_exit_4(selftest, arguments, message):
    """A wrong value is one line that names it, before anything is simulated."""
    code, out, err = selftest(*arguments)
    assert (code, out) == (4, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_page_in_docs_has_a_row_for_every_property(shipped):
    """docs/calibration.md was written by the command, for every property that ships, and finds them calibrated."""
    page = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\S+) \|$", page, re.MULTILINE))
    assert set(rows) == {check.declaration.id for check in shipped}
    assert set(rows.values()) <= {"ok", "-"}
