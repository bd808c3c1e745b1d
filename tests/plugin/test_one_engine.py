"""Command line, pytest and Python run the same engine: what one says of a project, the others say."""

import json
import re

import pytest

import embcheck
from embcheck.cli import main

TWO = '''
from embcheck import Estimate, above, claim


@claim(above(0), margin=0.5)
def alpha(table):
    """There are rows."""
    return Estimate.exact(float(len(table.vectors)), name="rows")


@claim(above(0), margin=0.5)
def beta(table):
    """There are columns."""
    return Estimate.exact(float(table.vectors.shape[1]), name="columns")
'''
MOVED = '''
import os
from embcheck import Estimate, above, claim


@claim(above(-9), margin=0.5, size=[1, 2, 3])
def moving(table, size):
    """It stays where it is."""
    moved = float(os.environ.get("TOY", "0"))
    units = [x + moved * (1 + x / (4 * size)) for x in (1.0, 2.0, 3.0, 4.0)]
    return Estimate.from_units(units, unit="toys", labels=["a", "b", "c", "d"], name="toy")
'''
FLOAT = '''
from embcheck import Estimate, above, claim


@claim(above(0), margin=0.5)
def right(table):
    """It is one."""
    return Estimate.exact(1.0)


@claim(above(0), margin=0.5)
def wrong(table):
    """It is no estimate."""
    return 1.0
'''


@pytest.fixture
def command(project, capfd):
    """Run the command line in the project: its exit code and what it printed, on both streams."""

    def run(*arguments):
        code = main(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run


def configure(write, text, model="m=random:300x16"):
    write("pyproject.toml", f'[tool.embcheck]\nmodels = ["{model}"]\n{text}')


@pytest.fixture(params=["", "[tool.embcheck.model.m]\n"], ids=["for all models", "for one"])
def unused(request, write, command, monkeypatch):
    """A project whose baseline has an entry of ``beta``, which the files do not select any more; in CI."""
    write("properties/two.py", TWO)
    configure(write, request.param + 'property = ["alpha", "beta"]\n')
    assert command("baseline", "update")[0] == 0
    configure(write, request.param + 'property = ["alpha"]\n')
    monkeypatch.setenv("CI", "1")


def entries(project):
    return sorted(json.loads((project.path / "embcheck-baselines" / "m.json").read_text())["entries"])


UNUSED = (
    "fails: 1 baseline entry that no check uses (beta); prune it with: embcheck baseline prune m, or select it again"
)


def test_unused_entries_fail_in_both(unused, command, run, monkeypatch):
    """An entry of the baseline that no check uses is named, and fails in CI, under both: each says so."""
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("CI")
        code, printed = command("check")
        assert (code, UNUSED.removeprefix("fails: ") in printed, "fails:" in printed) == (0, True, False)
    code, printed = command("check")
    assert (code, f"1 hold; {UNUSED}" in " ".join(printed.split())) == (1, True)
    result = run("properties")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert UNUSED in " ".join(str(result.stdout).split())


def test_unused_entries_fail_wherever_a_verdict_is(unused, command, alone, monkeypatch, project):
    """Headline, annotation, page, JUnit and the report that is shown again say that unused entries fail the run."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, printed = command("check", "--summary", "s.md", "--html", "s.html", "--json", "s.json")
    assert f"::error title=m::{UNUSED}" in printed
    page, summary = (" ".join((project.path / f"s.{kind}").read_text().split()) for kind in ("html", "md"))
    assert summary.replace("`", "").startswith(f"### embcheck: {UNUSED} ")
    assert f"Fails: {UNUSED.removeprefix('fails: ')}." in page
    assert "check passes" not in page + summary
    assert command("report", "s.json")[1].rstrip().endswith("again")
    alone("properties", "--junit-xml=j.xml", "-q")
    assert UNUSED.removeprefix("fails: ") in (project.path / "j.xml").read_text()


SIDES = '''
from embcheck import Estimate, above, claim

@claim(above(0), margin=0.5, side=["kinds"], by=["causal"])
def gamma(table, side, by):
    """A check of two parameters, whose names are not in order."""
    return Estimate.exact(1.0)
'''


def test_an_unused_entry_is_named_as_its_check_is(write, command, monkeypatch):
    """The label of an unused entry is the one that ``--property`` takes: parameters in the order of the property."""
    write("properties/sides.py", SIDES + TWO.partition("claim\n")[2])
    configure(write, 'property = ["gamma", "alpha"]\n')
    assert command("baseline", "update")[0] == 0
    configure(write, 'property = ["alpha"]\n')
    monkeypatch.setenv("CI", "1")
    assert "(gamma[kinds-causal])" in " ".join(command("check")[1].split())


def test_a_selection_of_one_run_leaves_nothing_unused(unused, command, write):
    """What the files select decides which entries are unused, not what a single run is asked for."""
    configure(write, "")
    assert command("check", "--property", "alpha")[0] == 0
    assert "removed" not in command("baseline", "prune", "--update", "prune")[1]


def test_both_prune_the_same(unused, command, alone, project):
    """What the command prunes, pytest prunes."""
    assert alone("properties", "--embcheck-update", "prune").ret == pytest.ExitCode.OK
    by_pytest = entries(project)
    assert command("baseline", "update", "--property", "alpha", "--update", "new,changed")[0] == 0
    assert command("baseline", "prune", "--update", "prune")[0] == 0
    assert by_pytest == entries(project) == ["alpha {}"]


def test_a_property_written_wrongly_is_one_error_everywhere(write, command, alone, project):
    """One property returns a float: its check is an error, the other holds, by whatever it is run."""
    write("properties/p.py", FLOAT)
    configure(write, '[tool.embcheck.model.m]\nproperty = ["right", "wrong"]\n')
    code, printed = command("check")
    assert (code, "1 hold, 1 error" in printed) == (1, True)
    code, printed = command("compare", "m", "m", "--property", "right", "--property", "wrong")
    assert (code, "property wrong returned float" in printed, "match" in printed) == (1, True, True)
    alone("properties").assert_outcomes(passed=1, failed=1)
    run = embcheck.check("random:300x16", properties=["right", "wrong"])
    assert {r.check.label: str(r.verdict) for r in run.results} == {"right": "holds", "wrong": "error"}


def test_an_alias_means_its_model_in_every_command(write, command, alone):
    """The name of a configured model is that model, to check, inspect, probe, compare and pytest."""
    write("properties/two.py", TWO)
    configure(write, '[tool.embcheck.model.m]\nproperty = ["alpha"]\n')
    assert command("check", "m")[0] == 0
    assert command("inspect", "m")[0] == 0
    assert command("probe", "m", "#3")[0] == 0
    assert command("compare", "m", "m", "--property", "alpha")[0] == 0
    assert command("baseline", "update", "m")[0] == 0
    alone("--embcheck-model=m", "properties").assert_outcomes(passed=1)


def test_the_device_of_a_model_is_obeyed_by_every_command(write, command, alone):
    """A device that is configured for one model, and not there, is refused by all that read it."""
    write("properties/two.py", TWO)
    configure(write, '[tool.embcheck.model.m]\nproperty = ["alpha"]\ndevice = "cuda:99"\n')
    for arguments in (["check"], ["inspect", "m"], ["probe", "m", "#3"], ["compare", "m", "random:300x16"]):
        code, printed = command(*arguments, *(["--property", "alpha"] if arguments[0] in {"check", "compare"} else []))
        assert (code, "device 'cuda:99'" in printed) == (4, True), arguments
    result = alone("properties")
    result.assert_outcomes(failed=1)
    assert "device 'cuda:99'" in str(result.stdout)


def test_the_margin_of_a_model_is_that_of_every_comparison(write, command, tmp_path):
    """A configured margin is what compare, check and the baseline hold a change against."""
    write("properties/two.py", TWO)
    configure(
        write, '[tool.embcheck.model.m]\nproperty = ["alpha"]\n[tool.embcheck.model.m.claims]\nalpha = {margin = 7}\n'
    )
    out = tmp_path / "compared.json"
    assert command("compare", "m", "random:304x16", "--property", "alpha", "--json", str(out))[0] == 0
    (row,) = json.loads(out.read_text())["changes"]
    assert (row["change"]["margin"], row["change"]["state"], row["change"]["value"]) == (7, "match", 4)


def test_options_are_parsed_without_a_network(write, command, alone, monkeypatch):
    """What needs no model reads none: a configured one that only a hub can expand is asked for when it is needed."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    configure(write, "", model="hidden:someorg/some-model@layer=all")
    write("test_plain.py", "def test_one():\n    assert True\n")
    code, printed = command("list", "--property", "isotropy")
    assert (code, "hidden:someorg/some-model" in printed) == (0, True)
    assert command("inspect", "random:300x8")[0] == 0
    alone("test_plain.py").assert_outcomes(passed=1)
    code, printed = command("check", "--property", "isotropy")
    assert (code, "someorg/some-model" in printed) == (4, True)


def test_a_change_has_one_p_value_at_every_door(write, command, run, monkeypatch):
    """The command line, a diff and pytest, which judges each check alone, say the same p-value of the same family."""
    write("properties/toys.py", MOVED)
    configure(write, 'property = ["moving"]')
    assert command("baseline", "update")[0] == 0
    monkeypatch.setenv("TOY", "-1")

    def chances(text):
        return sorted(re.findall(r"p = (\S+) \(Holm: of 3\)", " ".join(text.split())))

    expected = chances(command("baseline", "diff")[1])
    assert len(set(expected)) == 3
    assert chances(command("check", "--show", "all")[1]) == expected
    assert chances(run("properties/toys.py").stdout.str()) == expected
