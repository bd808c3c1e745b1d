"""What describes rather than claims: its verdict is stated, and only a change against a baseline fails it."""

import json

import pytest

from embcheck.cli import main

DESCRIBES = '''
from embcheck import Estimate, NotMeasurable, above, claim


@claim(above(100), kind="description", margin=0.5)
def width(table):
    """The table is wide."""
    return Estimate.exact(float(table.vectors.shape[1]), name="columns")


@claim(above(100), kind="description")
def unseen(table):
    """The table has what it lacks."""
    raise NotMeasurable("it lacks it")


@claim(above(100), kind="description")
def broken(table):
    """The table is broken."""
    raise ValueError("it is")


@claim(above(100))
def claimed(table):
    """The table is wide."""
    return Estimate.exact(float(table.vectors.shape[1]), name="columns")


@claim(above(0), needs=lambda table, params: "it has no such thing")
def never(table):
    """It has such a thing."""
'''


@pytest.fixture
def command(write, capfd):
    """Run the command line in a project with these properties: its exit code and what it printed."""
    write("properties/p.py", DESCRIBES)

    def run(*arguments):
        code = main(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run


def configure(write, text, model="m=random:300x16"):
    write("pyproject.toml", f'[tool.embcheck]\nmodels = ["{model}"]\nproperty = ["width"]\n{text}')


def test_a_refuted_description_passes_and_says_so(command, project):
    """Its verdict is stated, said to describe, and in the report, and fails nothing; a claim's would."""
    code, printed = command("check", "random:300x16", "--property", "width", "--json", "out.json")
    assert code == 0
    assert "refuted       width (describes)  16 (exact)" in printed
    assert printed.strip().endswith("1 described")
    (result,) = json.loads((project.path / "out.json").read_text())["models"][0]["results"]
    assert (result["kind"], result["verdict"], result["outcome"]) == ("description", "refuted", "pass")
    code, printed = command("check", "random:300x16", "--property", "claimed", "--json", "out.json")
    assert code == 1
    assert "kind" not in json.loads((project.path / "out.json").read_text())["models"][0]["results"][0]


def test_a_description_that_cannot_be_run_fails(command):
    """An error is no description."""
    code, printed = command("check", "random:300x16", "--property", "broken")
    assert (code, "ERROR" in printed) == (1, True)


@pytest.mark.parametrize(("bound", "code"), [(50, 1), (10, 0)])
def test_a_project_that_sets_its_bound_claims_it(write, command, bound, code):
    """Bounds that a project sets for a model make a claim of it there, which fails and is listed as others are."""
    configure(write, f"[tool.embcheck.model.m.claims]\nwidth = {{ above = {bound} }}\n")
    got, printed = command("check")
    assert (got, "described" in printed) == (code, False)


def test_a_margin_alone_leaves_it_a_description(write, command):
    """How far it may move says nothing of where it must be."""
    configure(write, "[tool.embcheck.model.m.claims]\nwidth = { margin = 0.1 }\n")
    assert command("check")[0] == 0


def test_a_configured_exception_still_means_what_it_says(write, command):
    """A description that is expected not to hold is a known exception, as it was before it was a description."""
    configure(write, '[tool.embcheck.model.m]\nexceptions = ["width"]\n')
    code, printed = command("check")
    assert (code, "1 known exception" in printed) == (0, True)


def test_init_excuses_no_description_and_its_baseline_gates_it(write, command, project):
    """``init`` writes no exception for it; the next checkpoint fails where it moved, whatever its verdict."""
    write("pyproject.toml", '[tool.embcheck]\nproperty = ["width", "unseen", "claimed"]\n')
    assert command("init", "m=random:300x16")[0] == 0
    project_file = (project.path / "pyproject.toml").read_text()
    assert '"claimed"' in project_file.partition("exceptions")[2]
    assert '"width"' not in project_file.partition("exceptions")[2]
    assert '"unseen"' not in project_file.partition("exceptions")[2]
    assert command("check", "--property", "width")[0] == 0
    code, printed = command("check", "--property", "width", "m=random:300x20")
    assert code == 1
    assert "descriptions" not in printed  # what fails stands with what fails
    assert "width" in printed


@pytest.mark.parametrize("ci", ["", "1"])
def test_pytest_says_what_the_command_line_says(alone, command, monkeypatch, ci):
    """Refuted passes; what can't be measured, or is not about the model, is skipped, and fails in CI neither."""
    monkeypatch.setenv("CI", ci)
    assert (
        command("check", "random:300x16", "--property", "width", "--property", "unseen", "--property", "never")[0] == 0
    )
    alone("--embcheck-model=random:300x16", "-k", "width or unseen or never", "properties").assert_outcomes(
        passed=1, skipped=2, deselected=2
    )


def test_list_says_which_describe(command):
    """``embcheck list`` marks them."""
    printed = command("list", "--property", "width", "--property", "claimed")[1]
    assert printed.count("a description") == 1
