import json

import pytest

from embcheck.config.options import OPTIONS

TOYS = "properties"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_there(alone, option):
    """Every option of the command line is pytest's too, with ``--embcheck-`` in front."""
    alone("--help").stdout.fnmatch_lines([f"*--embcheck-{option.flag}*"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--embcheck-model="], "empty"),
        (["--embcheck-model=./nowhere/x.npy"], "./nowhere/x.npy"),
        (["--embcheck-model=nosuch:thing"], "unknown scheme 'nosuch'"),
        (["--embcheck-model=a=random:30x4", "--embcheck-model=a=random:40x4"], "two models are called 'a'"),
        (["--embcheck-device=tpu"], "tpu"),
        (["--embcheck-dtype=int8"], "int8"),
        (["--embcheck-seed=x"], "x"),
        (["--embcheck-seed=-1"], "seed must not be negative"),
        (["--embcheck-confidence=2"], "confidence level must lie between"),
        (["--embcheck-probes=1"], "at least 2 probes"),
        (["--embcheck-population=some"], "some"),
        (["--embcheck-show=everything"], "everything"),
        (["--embcheck-json=nowhere/out.json"], "does not exist"),
    ],
    ids=lambda value: value[0].removeprefix("--embcheck-") if isinstance(value, list) else "",
)
def test_wrong_values(alone, toys, usage_error, arguments, says):
    """A wrong value is answered with one line that names it and exit code 4, before anything is collected."""
    assert says in usage_error(alone(*arguments, TOYS))


@pytest.mark.parametrize(
    ("table", "says"),
    [("sede = 1", "did you mean 'seed'?"), ("seed = 'x'", "seed"), ("models = ['nosuch:x']", "unknown scheme")],
)
def test_wrong_configuration(run, toys, write, usage_error, table, says):
    """An unknown key or wrong value in ``[tool.embcheck]`` is wrong usage, with workers too."""
    write("pyproject.toml", f"[tool.embcheck]\n{table}\n")
    assert says in usage_error(run(TOYS))


def test_unknown_variable(alone, toys, usage_error, monkeypatch):
    """An unknown ``EMBCHECK_*`` variable is wrong usage."""
    monkeypatch.setenv("EMBCHECK_SEDE", "1")
    assert "EMBCHECK_SEDE" in usage_error(alone(TOYS))


@pytest.mark.parametrize(
    ("environment", "arguments", "seed"), [(None, [], 1), ("2", [], 2), ("2", ["--embcheck-seed=3"], 3)]
)
def test_precedence(  # noqa: PLR0917 - fixtures and cases
    alone, toys, write, report, monkeypatch, environment, arguments, seed
):
    """The command line goes before the environment, and that before ``[tool.embcheck]``."""
    write("pyproject.toml", "[tool.embcheck]\nmodels = ['random:300x16']\nseed = 1\njson = 'out.json'\n")
    if environment:
        monkeypatch.setenv("EMBCHECK_SEED", environment)
    alone(*arguments, TOYS)
    assert report()[0]["run"]["seed"] == seed


def test_options_reach_the_run(run, write, model, report):
    """Confidence, probes, population, type and device are those of the options, in workers too."""
    write(
        "properties/p.py",
        "from embcheck import Estimate, above, claim\n"
        "@claim(above(0))\n"
        "def how(table):\n"
        "    '''How it is measured.'''\n"
        "    details = {'dtype': str(table.vectors.dtype), 'probes': len(table.probes())}\n"
        "    return Estimate.exact(1.0, details=details)\n",
    )
    options = ["confidence=0.9", "probes=10", "population=all", "dtype=float16", "device=cpu", "json=out.json"]
    run(model, *(f"--embcheck-{option}" for option in options), "properties")
    document, results = report()
    result = results["random-300x16", "how"]
    assert result["details"] == {"dtype": "torch.float16", "probes": 10}
    assert result["estimate"]["confidence_level"] == 0.9
    assert document["models"][0]["population"]["kind"] == "all"
    assert document["run"]["device"] == "cpu"


def test_control(alone, toys, model, report):
    """``--embcheck-control`` fails a check that holds on random tables as well, and says so."""
    result = alone(model, "--embcheck-control", "--embcheck-json=out.json", "--embcheck-property=rows", TOYS)
    result.assert_outcomes(failed=1, deselected=3)
    assert report()[1]["random-300x16", "rows"]["control"]["vacuous"]
    result.stdout.fnmatch_lines(["*vacuous: it also holds on 20 of 20 random tables*"])


@pytest.mark.parametrize(("show", "times"), [("none", 0), ("fail", 0), ("all", 1)])
def test_show(alone, toys, model, show, times):
    """``--embcheck-show`` says of which checks the summary gives details; those of failures stand above it."""
    result = alone(model, f"--embcheck-show={show}", "--embcheck-property=rows", TOYS)
    assert str(result.stdout).count("The table has some rows.") == times


def test_details_stand_in_the_summary_where_pytest_gives_none(alone, toys, model):
    """With ``--tb=no`` the summary says why a check failed."""
    result = alone(model, "--tb=no", TOYS)
    assert str(result.stdout).count("Draws around zero lie above a half.") == 1


def test_json_is_written_where_no_check_ran(alone, toys, project):
    """The file is written even where nothing ran, so that no report of an earlier run is taken for this one's."""
    alone("--embcheck-json=out.json", "properties/toys.py", "-k", "nothing")
    assert json.loads((project.path / "out.json").read_text(encoding="ascii"))["models"] == []


def test_json_is_not_written_for_a_listing(alone, toys, model, project):
    """``--collect-only`` writes no report."""
    alone(model, "--embcheck-json=out.json", "--collect-only", TOYS)
    assert not (project.path / "out.json").exists()


def test_json_that_can_not_be_written(alone, toys, write, model, usage_error, project):
    """A report that can't be written in the end is an error, not a loss in silence."""
    (project.path / "gone").mkdir()
    write("conftest.py", "import os\ndef pytest_runtestloop():\n    os.rmdir('gone')\n")
    assert "gone" in usage_error(alone(model, "--embcheck-json=gone/out.json", TOYS))


def test_configured_models_matter_only_to_properties(run, toys, write, usage_error):
    """A configured model that is not there stops properties with one line, and plain tests not at all."""
    write("pyproject.toml", "[tool.embcheck]\nmodels = ['./nowhere']\n")
    write("test_plain.py", "def test_plain(): pass")
    run("test_plain.py").assert_outcomes(passed=1)
    assert "nowhere" in usage_error(run())
