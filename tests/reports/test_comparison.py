"""What `embcheck compare` prints, and the page and the Markdown that are made of it."""

from __future__ import annotations

import html5lib
import msgspec
from markdown_it import MarkdownIt
from msgspec import structs

from embcheck.checks.record import Change
from embcheck.reports import json_file, outputs, summary
from embcheck.reports.comparison import Compared, Comparison, Drift, Limit
from embcheck.reports.html import asset, comparison
from embcheck.reports.terminal.comparison import lines
from embcheck.reports.text import columns

XHTML = "{http://www.w3.org/1999/xhtml}"
HOSTILE = "</script><img src=x onerror=alert(1)>|`[a](http://b)\n\u202e\x1b[31m"
NONE = {"rows": 0, "first": []}
TOKENS = {
    "paired": 8,
    **dict.fromkeys(("came", "went", "ambiguous"), NONE),
    "died": {"rows": 1_200, "first": [{"id": 4, "token": "\x1bdead"}]},
    "moved_id": {"rows": 1, "first": [{"id": 5, "token": "there", "new_id": 6}]},
}


def change(state="regressed", value=-0.06, **changes):
    about = {"low": value - 0.02, "high": value + 0.02, "margin": 0.02, "before": 0.5, "after": 0.5 + value}
    passes = state not in {"regressed", "undecided"}
    return Change(state=state, passes=passes, value=value, comparison="paired", **(about | changes))


def drift(**changes):
    measured = {
        "tokens": TOKENS,
        "rows": 9,
        "identical_rows": 2,
        "cosine": {"min": 0.5, "median": 1.0},
        "distance": {"median": 0.01, "max": 0.25},
        "moved": [{"token": "\x1bred", "id": 3, "value": 0.5}],
        "farthest": [{"token": HOSTILE, "id": 3, "value": 0.25}],
    }
    return msgspec.convert(measured | changes, Drift)


def compared(*rows, models=("old\n", "new"), limits=(), **changes):
    return Comparison(models=models, drift=drift(**changes), changes=rows, limits=limits)


def test_a_comparison_says_first_what_it_comes_to():
    """Counts first, then the drift with its labels and limits, then the checks and rows; names stay on their line."""
    rows = (Compared("toy", change()), Compared("lone", None, "no \u202etoys " + "x" * 99), Compared("still", None))
    limit = Limit("max-moved", 0.1, 0.25, passes=False, reason="'\x1bred' moved farthest, by 0.25 of its length")
    shown = list(lines(compared(*rows, limits=(limit,)), encoding="ascii"))
    assert max(len(line.text) for line in shown) <= 80
    text = "\n".join(line.text for line in shown)
    counted = "1,200 rows became zero or not finite, 1 regressed, 2 not compared"
    head = f"new against old\\n fails: drift beyond its limit, {counted} drift of 9 rows that both have, 2 equal "
    assert " ".join(text.split()).startswith(head)
    assert shown[0].style == "fail"
    assert "  distance of a row to itself, in its lengths  median 0.01, max 0.25\n" in text
    assert "  1,200 zero or not finite in the second only:  '\\x1bdead' #4  ...\n" in text
    assert "  1 under another id:  'there' #5 -> #6\n" in text
    assert "  fails --max-moved 0.1: '\\x1bred' moved farthest, by 0.25 of its length\nchecks, " in text
    assert "\nregressed     toy  moved -0.06 [-0.08, -0.04] from 0.5" in text
    assert text.index("\nregressed") < text.index("rows that turned most, by cosine\n  '\\x1bred' #3 0.5")
    assert all(columns(line.text) <= 80 and line.text.isprintable() and line.text.isascii() for line in shown)


def test_what_needs_a_look_stands_first():
    """Errors and regressions, then what is undecided, not compared, improved, still; by the margin used in a state."""
    rows = (
        Compared("still", change("match", 0.0)),
        Compared("far", change(value=-0.5)),
        Compared("open", change("undecided")),
        Compared("near", change()),
        Compared("broken", None, "error: no", has_failed=True),
        Compared("good", change("improved", 0.3)),
        Compared("none", None, "no layers"),
        Compared("tight", change("match", 0.019)),
        Compared("loose", change("match", 0.02, margin=0.5)),
    )
    found = compared(*rows)
    assert [row.check for row in found.by_urgency] == [
        *("broken", "far", "near", "open", "none", "good", "tight", "loose", "still")
    ]
    died = "1,200 rows became zero or not finite"
    assert found.counts == f"fails: {died}, 1 error, 2 regressed, 1 undecided, 1 not compared, 1 improved, 3 match"
    assert Comparison(models=("a", "b"), drift=Drift(), changes=rows[:1]).passes


def test_what_moved_most_of_a_check_is_on_every_page():
    """Five units with how far, and how many others moved as far as the fifth; on the terminal where all is shown."""
    moved = tuple({"token": f"w{i}", "value": 1.0 if i < 2 else -0.5} for i in range(10))
    found = compared(Compared("toy", change(moved=moved, as_far=7)), Compared("still", change("match", 0.0)))
    text = " ".join(" ".join(line.text for line in lines(found, show="all")).split())
    assert "moved most: 'w0' 1 'w1' 1 'w2' -0.5 'w3' -0.5 'w4' -0.5 and 12 more as far" in text
    assert "moved most" not in "".join(line.text for line in lines(found))
    page = "".join(html5lib.parse(comparison.render(found)).itertext())
    assert "moved most: w0 1, w1 1, w2 -0.5, w3 -0.5, w4 -0.5, and 12 more as far" in page
    assert "`w4` and 12 more as far" in summary.markdown(found)
    apart = compared(Compared("toy", change(moved=tuple({"token": t, "value": v} for v, t in enumerate("abcdef", 1)))))
    assert "more as far" not in " ".join(line.text for line in lines(apart, show="all"))


def test_the_scale_of_a_change_is_on_terminal_and_page():
    """A change that is of the reciprocal rank says so, on both."""
    found = compared(Compared("toy", change("improved", 0.08), scale="reciprocal rank"))
    page = "".join(html5lib.parse(comparison.render(found)).itertext())
    for text in (" ".join(line.text for line in lines(found)), page):
        assert "from 0.5 in reciprocal rank (" in " ".join(text.split())


def test_the_page_and_the_markdown_of_a_comparison_are_inert():
    """Hostile names of models, tokens, units and reasons make no element, link or row of theirs."""
    moved = ({"token": HOSTILE, "value": 1.0},)
    rows = (Compared("toy", change(moved=moved)), Compared(HOSTILE, None, HOSTILE))
    assert all(line.text.isprintable() for line in lines(compared(*rows), show="all"))
    limit = Limit("max-moved", 0.1, 0.25, passes=False, reason=HOSTILE)
    found = compared(*rows, models=(HOSTILE, f"x{HOSTILE}"), limits=(limit,), reason=HOSTILE)
    page = comparison.render(found)
    tree = html5lib.HTMLParser(strict=True).parse(page)
    assert [script.text for script in tree.iter(f"{XHTML}script")] == [asset("script.js")]
    assert not list(tree.iter(f"{XHTML}img"))
    assert not any(name.startswith("on") for element in tree.iter() for name in element.attrib)
    markdown = summary.markdown(found)
    assert all(line.isprintable() for line in markdown.splitlines())
    rendered = MarkdownIt("commonmark").enable("table").render(markdown)
    assert not any(bad in rendered for bad in ("<img", "<script", "<a "))
    rows_of_checks = [line for line in markdown.splitlines() if line.startswith("| ")][-2:]
    assert [line.replace("\\|", "").count("|") for line in rows_of_checks] == [8, 8]
    assert "0.44" in markdown


def test_a_comparison_is_read_as_it_was_written(tmp_path):
    """The JSON keeps its keys, and gives the comparison back, whose views are the same."""
    found = compared(Compared("toy", change()), Compared("lone", None, "why"))
    json_file.write(found, tmp_path / "out.json")
    again = json_file.read_any(tmp_path / "out.json")
    assert again == found
    assert {"schema", "models", "same_tokens", "drift", "changes"} <= set(json_file.strict_json(json_file.dumps(found)))


def test_what_made_it_is_said_in_markdown_and_annotations(monkeypatch):
    """What the terminal and the page say of the cause stands in the Markdown, above the table, and is an annotation."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    row = Compared("isotropy", change())
    told = structs.replace(compared(row), likely="looks like this: rows. See: embcheck diagnose A B")
    shown = MarkdownIt("js-default").render(summary.markdown(told))
    text = "".join(html5lib.parseFragment(shown).itertext())
    assert text.index("looks like this: rows. See: embcheck diagnose A B") < text.index("rows that both have")
    annotation, *checks = outputs.workflow_commands(told)
    assert annotation.startswith("::error title=new against old")
    assert annotation.endswith("::looks like this: rows. See: embcheck diagnose A B")
    assert len(checks) == 1


def test_the_json_says_whether_it_passes(tmp_path):
    """``passes`` is the verdict of the whole: worked out from checks and limits, also where a file says otherwise."""
    for state, passes in (("match", True), ("regressed", False)):
        found = compared(Compared("toy", change(state)))
        document = json_file.strict_json(json_file.dumps(found))
        assert (document["passes"], found.passes) == (passes, passes)
        for said in ({"passes": not passes}, {}):
            del document["passes"]
            document |= said
            (tmp_path / "out.json").write_text(json_file.dumps(document))
            assert json_file.read_any(tmp_path / "out.json").passes is passes
            document.setdefault("passes", passes)
