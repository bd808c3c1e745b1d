"""``embcheck report`` and ``--html``: a page from a report, without the model."""

from __future__ import annotations

import json
import shlex
import sys

import html5lib
import pytest

from embcheck.reports import json_file
from embcheck.reports.html import rows

MODEL = "random:300x16"
WANTED = ("--property", "toy_*", "--show", "none")


@pytest.fixture
def written(embcheck, project):
    """A report of the toys, as a file."""
    embcheck("check", MODEL, "noise=random:200x8", *WANTED, "--json", "out.json")
    return project / "out.json"


def test_a_page_again_is_the_page_of_the_run(embcheck, project, written):
    """``report --html`` makes from the JSON the page that ``check --html`` made, and exits 0 whatever failed."""
    found = embcheck("check", MODEL, "noise=random:200x8", *WANTED, "--html", "one.html")
    again = embcheck("report", str(written), "--html", "two.html", "--show", "none")
    assert (found.code, again.code) == (1, 0)
    assert (project / "one.html").read_bytes() == (project / "two.html").read_bytes()
    html5lib.HTMLParser(strict=True).parse((project / "one.html").read_text(encoding="utf-8"))
    assert again.out == found.out


def test_a_report_is_shown_and_summed_up_again(embcheck, project, written):
    """Without ``--html`` a report is shown as it was; ``--summary`` writes the Markdown of it."""
    assert "toy_refuted" in embcheck("report", str(written)).out
    embcheck("report", str(written), "--summary", "out.md", "--show", "none")
    assert (project / "out.md").read_text(encoding="utf-8").startswith("### embcheck")


def test_the_page_replaces_a_whole_file_or_none(embcheck, project, written):
    """An old page is replaced; nothing else is left in the folder."""
    (project / "page.html").write_text("old", encoding="utf-8")
    embcheck("report", str(written), "--html", "page.html")
    assert "toy_sizes" in (project / "page.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in project.iterdir()) == ["out.json", "page.html", "properties"]


BROKEN = {
    "no file": None,
    "not UTF-8": b"\xff\xfe{}",
    "not JSON": b"{",
    "NaN": b'{"schema": NaN}',
    "a list": b"[]",
    "nested": b"[" * 100_000,
    "another schema": b'{"schema": "embcheck-baseline/1"}',
    "a wrong verdict": "verdict",
    "a huge text": "huge",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_report_is_refused_on_one_line(embcheck, project, written, content):
    """A file that is no report costs one line and exit code 4, and no page is written."""
    file = project / "bad.json"
    document = json.loads(written.read_text(encoding="utf-8"))
    if content == "verdict":
        document["models"][0]["results"][0]["verdict"] = "perhaps\x1b[31m"
    if content == "huge":
        document["run"]["seed"] = "x" * 100_000
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(document).encode())
    found = embcheck("report", str(file), "--html", "page.html")
    assert found.code == 4
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("embcheck: error: ")
    assert "bad.json" in line
    assert len(line) < 600
    assert line.isprintable()
    assert not (project / "page.html").exists()


@pytest.mark.parametrize("command", [("check", MODEL), ("report", "out.json")], ids=["check", "report"])
def test_where_no_page_can_be_made_nothing_is_done(embcheck, written, monkeypatch, command):
    """A folder as the page's path, a folder that is missing, or no library to draw with: told before any work."""
    for path, said in {".": "it is a folder", "none/page.html": "does not exist"}.items():
        found = embcheck(*command, "--html", path)
        assert (found.code, found.out) == (4, "")
        assert said in found.err
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    found = embcheck(*command, "--html", "page.html")
    assert (found.code, found.out) == (4, "")
    assert "pip install 'embcheck[html]'" in found.err
    assert len(found.err.splitlines()) == 1


def test_the_page_s_command_measures_the_same_again(embcheck, project, written):
    """The command that the page gives for a result is one that runs, and finds the same."""
    report = json_file.read(written)
    for model in report.models[:2]:
        for result in model.results[-2:]:
            words = shlex.split(rows.command(report, model, result))
            assert words[0] == "embcheck"
            embcheck(*words[1:], "--json", "again.json")
            (again,) = json_file.read(project / "again.json").models
            assert again.alias == model.alias
            assert again.results == (result,)


def test_a_section_of_a_model_card_is_made_of_a_report(embcheck, project, written):
    """``report --card`` puts the section behind what the card says, and in its own place the next time."""
    (project / "README.md").write_text("# Mine\n")
    for _ in range(2):
        assert embcheck("report", "out.json", "--card", "README.md", "--show", "none").code == 0
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Mine\n\n<!-- embcheck: begin -->\n")
    assert text.count("img.shields.io") == 2
    assert text.count("toy_refuted") == 2
    assert embcheck("report", "out.json", "--card", "none/README.md").code == 4
