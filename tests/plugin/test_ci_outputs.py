"""What continuous integration reads: JUnit against a schema, and Markdown as it is rendered, with hostile tokens."""

import re
import shlex
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xmlschema
from markdown_it import MarkdownIt

from embcheck.reports.text import safe

HOSTILE = [
    "a | b || \\|",
    "`code` ``` ~~~",
    "<img src=x onerror=alert(1)>",
    "</code></td><script>alert(1)</script>",
    "line\nbreak\r\n\n# title\n- item",
    "\u202eright to left\u2066\u200f",
    "[a](http://x) ![b](c) *d* _e_ ~f~ @g #1 https://h.example",
    "\x1b[31m\x00\ufffe]]>&amp;",
    "\ud800",
]
TOY = f'''
from embcheck import Estimate, NotMeasurable, above, claim

HOSTILE = {HOSTILE!r}

@claim(above(5))
def refuted(table):
    """Never holds."""
    worst = [{{"token": token, "id": i, "value": 0.25}} for i, token in enumerate(HOSTILE[:5])]
    return Estimate.from_units([1.0, 2.0, 3.0], unit="toys", counterexamples=worst)

@claim(above(5))
def undecided(table):
    """Hard to say."""
    worst = [{{"token": token, "id": i, "value": 0.25}} for i, token in enumerate(HOSTILE[5:])]
    return Estimate.from_units([1.0, 9.0], unit="toys", counterexamples=worst)

@claim(above(5))
def broken(table):
    """Written wrongly."""
    return 3

@claim(above(0))
def holds(table):
    """Holds."""
    return Estimate.exact(1.0)

@claim(above(0))
def skipped(table):
    """There is no such thing."""
    raise NotMeasurable("no " + "".join(HOSTILE))
'''


OUTPUTS = ("--junit-xml=out.xml", "--embcheck-summary=out.md", "properties")
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


@pytest.fixture
def hostile(project, write):
    """A project with checks of every outcome, whose tokens try to break out."""
    write("properties/p.py", TOY)
    return project.path


def test_outputs(hostile, run, model):
    """JUnit and Markdown are what their readers rely on, in one process and with workers."""
    assert run(model, *OUTPUTS).ret == 1
    validates_with_a_failure_for_each_failed_check(hostile / "out.xml")
    renders_intact_and_inert(hostile / "out.md")


def validates_with_a_failure_for_each_failed_check(path):
    """The file follows the schema; each failed check is one failure, whose message says its statistics, inert."""
    SCHEMA.validate(path)
    cases = {case.get("name"): case for case in ET.parse(path).iter("testcase")}  # noqa: S314 - ours
    outcomes = {name: [e.tag for e in case if e.tag != "properties"] for name, case in cases.items()}
    assert outcomes == {
        "refuted[random-300x16]": ["failure"],
        "undecided[random-300x16]": ["failure"],
        "broken[random-300x16]": ["failure"],
        "holds[random-300x16]": [],
        "skipped[random-300x16]": ["skipped"],
    }
    failure = cases["refuted[random-300x16]"].find("failure")
    assert failure.get("message") == "refuted; 2 [-0.4841, 4.484], n = 3; above 5"
    assert "REFUTED refuted 2 [-0.4841, 4.484] n = 3 toys above 5" in failure.text
    assert "says: Never holds." in failure.text
    assert "<img src=x onerror=al..." in failure.text
    text = path.read_text(encoding="utf-8")
    assert not any(bad in text for bad in ("<img", "<script", "\u202e", "\u2066", "\x1b", "\x00", "line\nbreak"))


def test_a_failure_is_told_once(hostile, alone, model, monkeypatch):
    """In CI each failure is told once in words; pytest's short summary has a line of at most 100 columns for each."""
    monkeypatch.setenv("CI", "true")
    told, _, summary = str(alone(model, "properties").stdout).partition("= short test summary info =")
    for name, row in (("refuted", "REFUTED refuted"), ("undecided", "INCONCLUSIVE  undecided"), ("broken", "ERROR")):
        assert len(re.findall(row.replace("  ", " +"), told)) == 1, row
        (line,) = [line for line in summary.splitlines() if line.startswith(f"FAILED properties/p.py::{name}[")]
        assert len(line) <= 100
        assert "\\n" not in line
    assert "p.py::refuted[random-300x16] - refuted; 2 [-0.4841, 4.484], n = 3; above 5\n" in summary


def test_junit_has_whole_what_the_short_summary_cuts(alone, write, project, monkeypatch):
    """A reason that leaves pytest's line stands whole in JUnit's message, and no printed line is over 100 columns."""
    monkeypatch.setenv("CI", "true")
    reason = " ".join(["it says why"] * 20)
    write(
        "properties/p.py",
        f'''
from dataclasses import replace
from embcheck import Estimate, above, claim

@claim(above(5))
def unsettled(table):
    """Hard to say."""
    return replace(Estimate.from_units([1.0, 9.0], unit="toys of a long name " * 5), reason={reason!r})
''',
    )
    printed = alone("--embcheck-model=m=random:300x16", "--junit-xml=out.xml", "properties").outlines
    (failure,) = ET.parse(project.path / "out.xml").iter("failure")  # noqa: S314 - ours
    assert failure.get("message").endswith(f"; {reason}")
    (numbers,) = [i for i, line in enumerate(printed) if line.startswith("INCONCLUSIVE unsettled 5 ")]
    (summary,) = [line for line in printed if line.startswith("FAILED ") and line.endswith("...")]
    assert max(map(len, [*printed[numbers : numbers + 4], summary])) <= 100


@pytest.mark.parametrize("more", [("--tb=no",), ("--tb=line",)])
def test_a_failure_that_pytest_does_not_tell_is_told(hostile, alone, model, more):
    """Where pytest is to leave out what failed, the rows of embcheck say it."""
    alone(model, *more, "properties").stdout.fnmatch_lines(["REFUTED       refuted  2 *"])


AWKWARD = ["two words", "it's", 'a "b" $HOME', "x::y[0]", "a - b", "-k", "\u202eevil", "::error::z\nq", "|*?"]


def test_printed_names_run_again(project, write, alone):
    """What is printed of each failed check, as a command and in pytest's summary, runs that check and no other."""
    write(
        "properties/p.py",
        f'''
from embcheck import Estimate, above, claim

@claim(above(5), word={AWKWARD!r})
def refuted(table, word):
    """Never holds."""
    return Estimate.exact(1.0)
''',
    )
    lines = alone("--embcheck-model=m=random:300x16", "properties").outlines
    printed = [line.partition("again: ")[2] for line in lines if line.strip().startswith("again: pytest ")]
    assert len(printed) == len(AWKWARD)
    for command in printed:
        name = shlex.split(command)[1]
        assert any(line.startswith(f"FAILED {name} - refuted; 1 (exact)") for line in lines), name
        again = alone(*shlex.split(command)[1:])
        again.assert_outcomes(failed=1)
        assert f"again: {command}" in str(again.stdout)


@pytest.mark.parametrize(
    ("good", "bad"),
    [("<failure message=", "<failure text="), ('failures="3"', 'failures="-1"'), ("testcase", "case")],
)
def test_junit_schema_refuses_what_is_not_so(hostile, alone, model, good, bad):
    """A failure without its message, a count that is none, or another element is not valid."""
    alone(model, *OUTPUTS)
    text = (hostile / "out.xml").read_text(encoding="utf-8")
    assert SCHEMA.is_valid(text)
    assert good in text
    assert not SCHEMA.is_valid(text.replace(good, bad))


class Rendered(HTMLParser):
    """Tags of a page, its rows' numbers of cells, and the text of each code."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.codes, self._inside = set(), [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note a tag, and begin a row, a cell or a code."""
        self.tags.add(tag)
        self._inside = tag == "code"
        if tag == "tr":
            self.rows.append(0)
        if tag in {"td", "th"}:
            self.rows[-1] += 1
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag):
        """End a code."""
        self._inside = False

    def handle_data(self, data):
        """Note the text of a code."""
        if self._inside:
            self.codes[-1] += data


def renders_intact_and_inert(path):
    """Rendered, every row has six cells, there are no tags but the summary's own, and each token reads as it is."""
    text = path.read_text(encoding="utf-8")
    page = Rendered(MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text))
    assert page.tags <= {"h3", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    assert len(page.rows) == 7  # two tables: the failed, with three rows, and the others, with two
    assert set(page.rows) == {6}
    assert {safe(token, 240) for token in HOSTILE} <= set(page.codes)
    assert not any(mark in text for mark in "\u202e\u2066\u200f\x1b\x00")
