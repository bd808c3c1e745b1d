"""The page of a sweep: every check and run in it, well-formed and inert whatever paths are called."""

from __future__ import annotations

import html5lib
import pytest

from embcheck.cli import main
from embcheck.reports.html import asset, trends
from embcheck.sweep.store import Store, read

XHTML = "{http://www.w3.org/1999/xhtml}"
HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>\x1b[31m\u202e'


def row(step, value, *, model="runs/a", verdict="holds", label="positive_cosine_bias"):
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.01, "high": value + 0.01}
    return {
        "model": model,
        "step": step,
        "spec": f"./{model}/checkpoint-{step}",
        "property": "positive_cosine_bias",
        "params": "{}",
        "version": 1,
        "verdict": verdict,
        "outcome": "pass" if verdict == "holds" else "fail",
        "estimate": "share",
        "value": value,
        **ends,
        "confidence_level": 0.95,
        "method": "t",
        "n": 9,
        "unit": "probe tokens",
        "exact": False,
        "margin": 0.01,
        "sentence": "Most pairs of tokens have a cosine of zero or more.",
        "claims": '[{"op": "above", "bound": 0.51, "null": null, "verdict": "holds"}]',
        "nulls": "[]",
        "reason": None if value is not None else HOSTILE,
        "seconds": 0.1,
        "label": label,
        "table": f"{model}{step}",
        "fingerprint": None,
        "key": f"{model}{step}{label}",
    }


@pytest.fixture
def rows():
    found = [
        row(step, 0.9 if step < 30 else 0.5, verdict="holds" if step < 30 else "refuted") for step in range(0, 60, 10)
    ]
    return [*found, *(row(step, 0.8, model=HOSTILE) for step in (0, 10)), row(0, None, verdict="error", label=HOSTILE)]


def test_page_is_well_formed_and_inert(rows):
    """A strict parser finds the runs, the first failing step, a picture; and no script, handler or link of theirs."""
    page = trends.render(rows)
    tree = html5lib.HTMLParser(strict=True).parse(page)
    assert [script.text for script in tree.iter(f"{XHTML}script")] == [asset("script.js")]
    for element in tree.iter():
        if isinstance(element.tag, str):
            assert not [name for name in element.attrib if name.lower().startswith("on")]
            assert element.get("href", "#").startswith("#")
    assert not any(c in page for c in "\x1b\u202e")
    text = " ".join("".join(tree.itertext()).split())
    assert "first at step 30, passes at 20" in text
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}svg"))) == 1  # of what was measured


def test_an_estimate_of_any_name_is_drawn(rows):
    """A name with control characters, which the library that draws would end the process on, is drawn as escapes."""
    page = trends.render([{**row, "estimate": "share\x00\x1b[31m", "unit": "\x07"} for row in rows])
    assert "share" in page
    assert not any(c in page for c in "\x00\x1b\x07")


def test_command_shows_and_draws_a_sweep(rows, tmp_path, capsys):
    """From the Parquet file alone."""
    file, page = tmp_path / "sweep.parquet", tmp_path / "trends.html"
    with Store(file) as store:
        store.finish(rows)
    assert len(read(file)) == len(rows)
    assert main(["report", str(file), "--html", str(page)]) == 0
    assert "fails at step 30, after step 20" in " ".join(capsys.readouterr().out.split())
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("arguments", [["--summary", "s.md"], []])
def test_what_is_no_sweep_is_refused(tmp_path, capsys, arguments):
    """One line, exit code 4."""
    file = tmp_path / "x.parquet"
    file.write_bytes(b"PAR1")
    assert main(["report", str(file), *arguments]) == 4
    assert capsys.readouterr().err.count("\n") == 1
