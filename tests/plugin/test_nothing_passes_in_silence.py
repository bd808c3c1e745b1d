"""What is missing, misnamed or skipped does not pass; and runs of other tests are not held to what is ours."""

import pytest

from embcheck.cli import main

PROPERTY = '''
from embcheck import Estimate, above, beats, claim, nulls
import pytest


@claim(above(0), margin=0.5)
def alpha(table):
    """There are rows."""
    return Estimate.exact(float(len(table.vectors)), name="rows")
'''
SKIPS = '''
from embcheck import Estimate, above, claim
import pytest


@claim(above(0))
def leaves_early(table):
    """It skips by itself."""
    pytest.skip("no reason")


@pytest.mark.skip(reason="not now")
@claim(above(0))
def marked(table):
    """It is skipped."""
    return Estimate.exact(1.0)
'''
PLAIN = "def test_one():\n    assert True\n"


@pytest.fixture
def command(project, capfd):
    """Run the command line in the project: its exit code and what it printed, on both streams."""

    def run(*arguments):
        code = main(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.mark.parametrize(
    ("table", "variable"),
    [('property = ["nosuch*"]', None), ("", "EMBCHECK_PROPERTY=nosuch*"), ("", "EMBCHECK_FOO=1"), ("sede = 1", None)],
)
def test_runs_of_other_tests_are_not_held_to_our_configuration(write, alone, usage_error, monkeypatch, table, variable):
    """A wrong setting fails a run that collects a property, and no other."""
    write("pyproject.toml", f'[tool.embcheck]\nmodels = ["m=random:30x4"]\njson = "out.json"\n{table}\n')
    write("properties/p.py", PROPERTY)
    write("test_plain.py", PLAIN)
    if variable:
        monkeypatch.setenv(*variable.split("="))
    result = alone("test_plain.py")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert usage_error(alone("properties"))


def test_a_run_of_other_tests_writes_no_report(project, write, alone):
    """A report that the configuration names is not overwritten by a run without properties."""
    write("pyproject.toml", '[tool.embcheck]\nmodels = ["m=random:30x4"]\njson = "out.json"\n')
    write("out.json", "mine")
    write("test_plain.py", PLAIN)
    alone("test_plain.py").assert_outcomes(passed=1)
    assert (project.path / "out.json").read_text() == "mine"


def test_a_glob_without_properties_says_where_they_are(write, alone, usage_error):
    """Asked for by option where none was collected, a property is wrong usage that names the way to collect them."""
    write("test_plain.py", PLAIN)
    said = usage_error(alone("test_plain.py", "--embcheck-property=isotropy"))
    assert "--pyargs embcheck.properties" in said


@pytest.mark.parametrize(("table", "says"), [("A", "did you mean 'a'"), ("zzz", "known: a")])
def test_settings_of_a_model_that_is_not_there(write, command, alone, usage_error, table, says):
    """A table for a misspelt alias is an error, in both: its bounds would be ignored."""
    write(
        "pyproject.toml",
        f'[tool.embcheck]\nmodels = ["a=random:30x4"]\n[tool.embcheck.model.{table}]\ndtype = "float32"\n',
    )
    write("properties/p.py", PROPERTY)
    code, printed = command("check", "--property", "alpha")
    assert (code, says in printed) == (4, True)
    assert says in usage_error(alone("properties"))


def test_a_setting_of_a_claim_deletes_no_other(write, command):
    """A configured margin leaves every bound, several of one kind too."""
    write(
        "properties/p.py", PROPERTY.replace("@claim(above(0), margin=0.5)", "@claim(above(100), above(0), margin=0.5)")
    )
    write(
        "pyproject.toml",
        '[tool.embcheck]\nmodels = ["a=random:30x4"]\n[tool.embcheck.model.a.claims]\nalpha = {margin = 0.1}\n',
    )
    code, printed = command("check", "--property", "alpha")
    assert (code, "above 100" in printed) == (1, True)


def test_a_model_that_is_left_without_checks(write, command):
    """A selection that leaves one of two models without any check is an error, not a pass."""
    write("properties/p.py", PROPERTY)
    models = 'models = ["a=random:30x4", "b=random:40x4"]\nproperty = ["alpha"]\n'
    write("pyproject.toml", f'[tool.embcheck]\n{models}[tool.embcheck.model.b]\nproperty = ["isotropy"]\n')
    code, printed = command("check")
    assert (code, "[tool.embcheck.model.b] leaves no check" in printed) == (4, True)


def test_a_baseline_folder_that_is_not_there(write, command):
    """A named folder of baselines that does not exist is an error, unless something says what is missing does."""
    write("properties/p.py", PROPERTY)
    code, printed = command("check", "random:30x4", "--property", "alpha", "--baseline-dir", "nowhere")
    assert (code, "no such folder" in printed) == (4, True)


def test_the_gate_of_regressions_needs_a_baseline(write, command):
    """With nothing to regress from, nothing passes; --missing-baseline says otherwise."""
    write("properties/p.py", PROPERTY.replace("above(0)", "above(100)"))
    given = ("check", "random:30x4", "--property", "alpha", "--gate", "regressions")
    code, printed = command(*given)
    assert (code, "has no baseline" in printed) == (4, True)
    assert command(*given, "--missing-baseline", "warn")[0] == 0


def test_a_configuration_that_cannot_be_read(project, command):
    """A pyproject.toml that is no file is an error, not an absence."""
    (project.path / "pyproject.toml").mkdir()
    code, printed = command("check", "random:30x4", "--property", "isotropy")
    assert (code, "pyproject.toml" in printed) == (4, True)


@pytest.mark.parametrize("ci", [False, True])
def test_what_skips_itself_fails_in_ci(write, alone, monkeypatch, ci):
    """A skip that a property's code or mark makes passes outside continuous integration only, as any other does."""
    write("properties/p.py", SKIPS)
    if ci:
        monkeypatch.setenv("CI", "1")
    result = alone("--embcheck-model=random:30x4", "properties")
    result.assert_outcomes(**({"failed": 1, "errors": 1} if ci else {"skipped": 2}))


@pytest.mark.parametrize(
    ("null", "says"), [("'text'", "needs a null"), ("nulls.shuffled_pairs", "no parameter 'relation'")]
)
def test_a_null_that_cannot_be_drawn(write, command, null, says):
    """A null that is none, or that changes a parameter which the property lacks, is named."""
    write("properties/p.py", PROPERTY.replace("above(0)", f"beats({null})"))
    code, printed = command("check", "random:30x4", "--property", "alpha")
    assert (code, says in " ".join(printed.split())) == ((4 if "text" in null else 1), True)


LISTED = '[tool.embcheck]\nmodels = ["m=random:300x16"]\n[tool.embcheck.model.m]\nproperty = ["rows"]\n'


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_property_that_the_models_list_leaves_out_is_named(run, toys, write, quiet, monkeypatch):
    """What is not among the ``property`` of its model in the configuration is said once, under xdist too."""
    monkeypatch.setenv("CI", "1")
    write("pyproject.toml", LISTED)
    done = run(*quiet, "properties")
    assert done.ret == 0
    said = "embcheck: drawn, unmeasurable are left out by property = [...] of [tool.embcheck.model.m]; add them there"
    assert " ".join(" ".join(done.outlines).split()).count(said) == 1
    assert max(len(line) for line in done.outlines if "left out" in line) <= 100


def test_a_glob_of_what_the_models_list_leaves_out_names_that_list(alone, toys, write, usage_error):
    """``--embcheck-property`` selects within the model's own list, and says which list holds nothing of it."""
    write("pyproject.toml", LISTED)
    said = usage_error(alone("--embcheck-property", "draw*", "properties"))
    assert said == "drawn is left out by property = [...] of [tool.embcheck.model.m]; add it there"
