"""What continuous integration reads: JUnit against a schema, and Markdown as it is rendered, with hostile tokens."""

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
    message = cases["refuted[random-300x16]"].find("failure").get("message")
    assert "REFUTED refuted 2 [-0.4841, 4.484] n = 3 toys above 5" in message
    assert "<img src=x onerror=al..." in message
    text = path.read_text(encoding="utf-8")
    assert not any(bad in text for bad in ("<img", "<script", "\u202e", "\u2066", "\x1b", "\x00", "line\nbreak"))


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
