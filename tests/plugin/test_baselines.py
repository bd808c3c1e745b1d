"""Baselines under pytest, in one process and with workers: the same states, files and exit codes as the program's."""

import json
import xml.etree.ElementTree as ET

import pytest

PROPERTIES = "properties"
TOY = '''
import os
from embcheck import Estimate, NotMeasurable, above, claim

V = lambda: float(os.environ.get("TOY", "0"))

@claim(above(-5), margin=0.5, bad="down", word=["one", "two"])
def moving(table, word):
    """It stays where it is."""
    units = [x + V() * (1 + x / 1000) for x in (1.0, 2.0, 3.0, 4.0)]
    return Estimate.from_units(units, unit="toys", labels=["a|`", "b", "c", "d"], name="toy")

@claim(above(0.5))
def refuted(table):
    """Never holds."""
    return Estimate.exact(0.0)
'''
CONFIG = """
[tool.embcheck]
models = ["m=random:30x4"]
[tool.embcheck.model.m]
exceptions = ["refuted"]
"""


@pytest.fixture
def ready(project, run, write, monkeypatch):
    """A project whose baseline a run has written."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "TOY"):
        monkeypatch.delenv(name, raising=False)
    write("properties/toys.py", TOY)
    write("pyproject.toml", CONFIG)
    assert run("--embcheck-update=new", PROPERTIES).ret == 0
    assert (project.path / "embcheck-baselines" / "m.json").is_file()
    return project


def states(report):
    return {label: result["change"] and result["change"]["state"] for (_, label), result in report()[1].items()}


def test_match_then_regression(ready, run, report, monkeypatch):
    """The same checkpoint matches; one that moved fails in its own test, with the change in JUnit."""
    assert run("--embcheck-json=out.json", PROPERTIES).ret == 0
    assert states(report) == {"moving[one]": "match", "moving[two]": "match", "refuted": None}
    monkeypatch.setenv("TOY", "-2")
    result = run("--embcheck-json=out.json", "--junit-xml=out.xml", PROPERTIES)
    assert result.ret == 1
    result.assert_outcomes(failed=2, xfailed=1)
    assert states(report) == {"moving[one]": "regressed", "moving[two]": "regressed", "refuted": None}
    failures = ET.parse(ready.path / "out.xml").findall(".//failure")  # noqa: S314 - our own file
    assert len(failures) == 2
    for failure in failures:
        assert failure.get("message").startswith("regressed; moved -2.0")
        assert "REGRESSED moving" in failure.text
        assert failure.get("message").endswith("margin down 0.5); 0.495 [-1.555, 2.545], n = 4; above -5")
        assert "(paired; margin down 0.5)" in " ".join(failure.text.split())
        assert "worst" not in failure.text
        assert max(map(len, failure.text.splitlines())) <= 100


def test_quiet_run_adds_one_line(ready, run):
    """Where all holds and matches, ``-q`` adds one line."""
    lines = [line for line in run("-q", PROPERTIES).outlines if "embcheck:" in line]
    assert lines == ["embcheck: 2 hold, 1 known exception"]


@pytest.mark.parametrize(("gate", "code"), [("claims", 0), ("regressions", 1), ("both", 1)])
def test_gate(ready, run, monkeypatch, gate, code):
    """--embcheck-gate chooses what decides."""
    monkeypatch.setenv("TOY", "-2")
    assert run(f"--embcheck-gate={gate}", PROPERTIES).ret == code


@pytest.mark.parametrize(("missing", "ci", "code"), [("fail", "", 1), ("warn", "1", 0), (None, "1", 1), (None, "", 0)])
def test_missing_baseline(ready, run, monkeypatch, missing, ci, code):
    """A missing baseline fails in CI, and where and only where --embcheck-missing-baseline says so otherwise."""
    monkeypatch.setenv("CI", ci)
    arguments = [f"--embcheck-missing-baseline={missing}"] if missing else []
    assert run("--embcheck-baseline-dir=elsewhere", "--embcheck-gate=both", *arguments, PROPERTIES).ret == code


def test_update_adopts_a_change_and_prunes(ready, run, write, report, monkeypatch):
    """An update writes what changed, is new or unused; a damaged file is never overwritten."""
    monkeypatch.setenv("TOY", "-2")
    assert run("--embcheck-update=changed", PROPERTIES).ret == 0
    assert run("--embcheck-json=out.json", PROPERTIES).ret == 0
    assert set(states(report).values()) == {"match", None}
    write("properties/toys.py", TOY.replace('["one", "two"]', '["one", "three"]'))
    assert run("--embcheck-json=out.json", PROPERTIES).ret == 0
    assert report()[0]["models"][0]["unused"] == ["moving[two]"]
    assert run("--embcheck-update=new,prune", PROPERTIES).ret == 0
    document = json.loads((ready.path / "embcheck-baselines" / "m.json").read_text())
    assert sorted(entry["params"]["word"] for entry in document["entries"].values()) == ["one", "three"]


def test_renamed_property_is_unused_and_new(ready, run, write, report, monkeypatch):
    """A renamed property is not passed in CI: it is new under its new name, and its entries are unused."""
    write("properties/toys.py", TOY.replace("def moving", "def going"))
    monkeypatch.setenv("CI", "1")
    result = run("--embcheck-json=out.json", PROPERTIES)
    result.assert_outcomes(failed=2, xfailed=1)
    assert states(report) == {"going[one]": "new", "going[two]": "new", "refuted": None}
    assert report()[0]["models"][0]["unused"] == ["moving[one]", "moving[two]"]


def test_an_update_says_what_it_changed(ready, run, monkeypatch):
    """Under pytest as on the command line: which entries changed, from what to what, with -q too."""
    monkeypatch.setenv("TOY", "-2")
    lines = run("-q", "--embcheck-update=changed", PROPERTIES).outlines
    assert [line for line in lines if line.startswith("m: changed")] == [
        "m: changed moving[one] 2.5 -> 0.495",
        "m: changed moving[two] 2.5 -> 0.495",
    ]


def test_update_in_ci_needs_the_flag(ready, run, usage_error, monkeypatch):
    """In CI the environment alone updates nothing."""
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("EMBCHECK_UPDATE", "changed")
    assert "--update on the command line" in usage_error(run(PROPERTIES))


def test_damaged_baseline(ready, run, usage_error):
    """A truncated baseline is wrong usage, in one line."""
    path = ready.path / "embcheck-baselines" / "m.json"
    path.write_text(path.read_text()[:99])
    assert "cut short" in usage_error(run(PROPERTIES))


def test_summary_and_annotations(ready, run, monkeypatch):
    """The Markdown goes to the file and to GitHub's, and each failure is annotated."""
    monkeypatch.setenv("TOY", "-2")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(ready.path / "step.md"))
    result = run("--embcheck-summary=out.md", PROPERTIES)
    text = (ready.path / "out.md").read_text()
    assert "2 of 3 checks fail" in text
    assert (ready.path / "step.md").read_text() == text + "\n"
    assert len([line for line in result.outlines if line.startswith("::error title=moving")]) == 2


def test_settings_of_one_model(ready, run, write, usage_error):
    """Bounds of one model apply under pytest too, and a misspelt name is wrong usage."""
    write("pyproject.toml", CONFIG.replace('exceptions = ["refuted"]', "claims = { refuted = { above = -1 } }"))
    assert run(PROPERTIES).ret == 0
    write("pyproject.toml", CONFIG.replace('"refuted"', '"refutd"'))
    assert "did you mean 'refuted'?" in usage_error(run(PROPERTIES))


def test_regression_of_an_exception_fails(ready, run, write, monkeypatch):
    """A known exception excuses a claim, never a regression."""
    write("properties/toys.py", TOY.replace("above(-5)", "above(500)"))
    write("pyproject.toml", CONFIG.replace('"refuted"', '"refuted", "moving"'))
    assert run(PROPERTIES).ret == 0
    monkeypatch.setenv("TOY", "-2")
    assert run(PROPERTIES).ret == 1


def test_the_seed_is_the_baselines(ready, run, report):
    """With another seed, checks are measured as the baseline's were; the summary says so in one line."""
    result = run("--embcheck-json=out.json", "--embcheck-seed=1", PROPERTIES)
    assert result.ret == 0
    assert set(states(report).values()) == {"match", None}
    assert str(result.stdout).count("m: measured with seed 0, as its baseline was, not with 1") == 1


def test_a_family_of_tests_is_judged_at_the_end(ready, run, write, report):
    """Two tests of p = 0.009 hold by themselves and not as a family, which the exit code says once all have run."""
    write(
        "properties/toys.py",
        """
import numpy as np
from embcheck import Estimate, beats, claim, nulls

@claim(beats(nulls.shuffled_pairs), size=[1, 2])
def tested(table, size):
    '''The value is larger than most draws.'''
    return Estimate.exact(1.0, draws={"shuffled_pairs": np.where(np.arange(999) < 8, 2.0, 0.0)})
""",
    )
    write("pyproject.toml", "[tool.embcheck]\nmodels = ['m=random:30x4']\n")
    assert run("--embcheck-gate=claims", PROPERTIES).ret == 0
    result = run("--embcheck-gate=claims", "--embcheck-family-wise", "--embcheck-json=out.json", PROPERTIES)
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    assert {r["outcome"] for r in report()[1].values()} == {"fail"}
