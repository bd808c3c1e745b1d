"""Estimates, results and runs in a notebook."""

from __future__ import annotations

import re
import sys

import html5lib
import numpy as np
import pytest

import embcheck
from embcheck import EmbeddingTable, Estimate, NotMeasurable, above, beats, claim, nulls

XHTML = "{http://www.w3.org/1999/xhtml}"
EVIL = "</td><script>alert(1)</script>\x1b\u202e\ud800"


@pytest.fixture
def run():
    @claim(above(0.5))
    def toy(table):
        """Everything is a toy."""
        worst = [{"token": EVIL, "id": 1, "value": 0.25}]
        histogram = {"low": 0.0, "high": 1.0, "counts": [1, 2, 3], "below": 0, "above": 0}
        values = [0.70, 0.75, 0.80, 0.75]
        return Estimate.from_units(
            values, unit="toys", name=EVIL, counterexamples=worst, details={"histogram": histogram}
        )

    @claim(above(0.5))
    def absent(table):
        """Something is never there."""
        raise NotMeasurable("no toys")

    table = EmbeddingTable.from_arrays(np.eye(4, 3) + 1, list("abcd"))
    return embcheck.check(table, properties=[toy, absent])


def parsed(fragment):
    """The fragment's elements: well-formed, without scripts, with styles that reach no further than itself."""
    tree = html5lib.HTMLParser(strict=True).parseFragment(fragment)
    assert not list(tree.iter(f"{XHTML}script"))
    assert all(character.isprintable() or character == "\n" for character in fragment)
    for style in tree.iter(f"{XHTML}style"):
        assert ":root" not in style.text
        assert not re.search(r"(?<!t)body", style.text)
    return tree


def words(tree):
    return " ".join("".join(tree.itertext()).split())


def test_colours_do_not_depend_on_the_system(run):
    """Paper and ink are both set, for light and for dark, and what the system prefers is not asked."""
    for value in (run, run.results[0], run.results[0].estimate, run.results[0].plot()):
        (style,) = parsed(value._repr_html_()).iter(f"{XHTML}style")
        assert "prefers-color-scheme" not in style.text
        assert "background: var(--paper); color: var(--ink)" in style.text
        assert all(mark in style.text for mark in ('[data-jp-theme-light="false"]', ".vscode-dark"))
        assert style.text.count("--paper:") == style.text.count("--ink:") == 2


def test_every_rule_stays_inside_the_fragment(run):
    """A notebook's own elements keep their looks: a rule is for the fragment, or nested in one that is."""
    (style,) = parsed(run._repr_html_()).iter(f"{XHTML}style")
    depth, outermost = 0, [""]
    for character in style.text:
        depth += (character == "{") - (character == "}")
        if character == "}" and depth == 0:
            outermost.append("")
        elif depth == 0:
            outermost[-1] += character
    assert len(outermost) == 3
    assert all(selector.split()[-1].startswith(".embcheck") for selector in outermost[:2])
    assert not outermost[2].strip()


def test_an_estimate(run):
    """An estimate shows its value, interval, units and method."""
    shown = words(parsed(run.results[0].estimate._repr_html_()))
    for said in ("0.75 (0.69 to 0.81)", "4 toys", "Student t"):
        assert said in shown


def test_a_result(run):
    """A result shows its verdict and the tokens against it, inert."""
    tree = parsed(run.results[0]._repr_html_())
    assert "holds" in words(tree)
    assert "</td><script>alert(1)</script>\\x1b" in words(tree)
    assert words(parsed(run.results[1]._repr_html_())).count("no toys") == 1


def test_a_failed_result_says_what_was_claimed():
    """Beside value and interval stand their level, the bounds, whose p-value it is, and the measure's note."""

    @claim(above(0.9), beats(nulls.gaussian))
    def toy(table):
        """Everything is a toy."""
        return Estimate.from_units(
            [0.70, 0.75, 0.80, 0.75],
            unit="toys",
            draws={"gaussian": np.linspace(0, 1, 100)},
            details={"summary": "The control is there already."},
        )

    table = EmbeddingTable.from_arrays(np.eye(4, 3) + 1, list("abcd"))
    shown = words(parsed(embcheck.check(table, properties=toy, confidence_level=0.9)["toy"]._repr_html_()))
    for said in (
        "value (90% interval)",
        "above 0.9, beats gaussian at p <= 0.01 (p = 0.",
        "The control is there already.",
    ):
        assert shown.count(said) == 1


def test_a_description_does_not_look_like_a_failed_claim():
    """Of a run and of its result: no mark and no colour of a verdict, and the word for it."""

    @claim(above(7), kind="description")
    def many(table):
        """There are many rows."""
        return Estimate.exact(4.0, unit="rows")

    run = embcheck.check(EmbeddingTable.from_arrays(np.eye(4, 3) + 1, list("abcd")), properties=many)
    for shown in (run._repr_html_(), run[0]._repr_html_()):
        assert "refuted (describes)" in words(parsed(shown))
        assert not re.search(r'class="v refuted"', shown)


def test_a_run(run):
    """A run shows a row a result, and the pictures of a small one."""
    tree = parsed(run._repr_html_())
    (table,) = tree.iter(f"{XHTML}table")
    assert len(table.findall(f"{XHTML}tbody/{XHTML}tr")) == 2
    assert "1 holds, 1 skipped" in words(tree).replace("1 hold,", "1 holds,")
    charts = [element for element in tree.iter() if str(element.get("class")) == "chart"]
    assert len(charts) == 2


def test_a_run_without_the_library_that_draws(run, monkeypatch):
    """Without the extra a run shows its table all the same."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    tree = parsed(run._repr_html_())
    assert not [element for element in tree.iter() if str(element.get("class")) == "chart"]
    assert "toy" in words(tree)


def test_a_run_saves_its_page(run, tmp_path):
    """``save_html`` writes the page."""
    run.save_html(tmp_path / "run.html")
    assert "Everything is a toy." in (tmp_path / "run.html").read_text(encoding="utf-8")
