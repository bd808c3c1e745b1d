import subprocess
import sys

import pytest
import torch

from embcheck import sources

PLURAL = '''
from embcheck import Estimate, above, claim

@claim(above(0), relation=["a", "b"], size=[1, 2])
def plural_thing(table, relation, size, rng):
    """A claim."""
    return Estimate.exact(1.0)

@claim(above(0))
def other(table):
    """Another claim."""
    return Estimate.exact(1.0)
'''


PLAIN = '''
from embcheck import Estimate, above, claim

@claim(above(0), n=[1, 2])
def declared(table, n):
    """A claim."""
    return Estimate.exact(1.0)

def test_plain():
    assert True
'''


def collected(result):
    return [line for line in result.outlines if "::" in line]


def test_node_ids(alone, write, model, second):
    """A node id is the file, the property, the model's alias and the parameters in order; ``rng`` is hidden."""
    write("properties/p.py", PLURAL)
    result = alone(model, second, "--collect-only", "-q", "properties")
    names = [line.removeprefix("properties/p.py::") for line in collected(result)]
    assert sorted(names) == sorted(
        [
            *(f"plural_thing[{m}-{r}-{s}]" for m in ("random-300x16", "small") for r in "ab" for s in "12"),
            *(f"other[{m}]" for m in ("random-300x16", "small")),
        ]
    )


def test_keyword_selects(alone, write, model, second):
    """``-k`` selects by name: one item for each model and parameter."""
    write("properties/p.py", PLURAL)
    alone(model, second, "-k", "plural", "properties").assert_outcomes(passed=8)


@pytest.mark.parametrize(("expression", "passed"), [("embcheck", 2), ("not embcheck", 1)])
def test_marker(alone, write, model, expression, passed):
    """Declared properties carry the marker ``embcheck``, and nothing else does."""
    write("test_all.py", PLAIN)
    alone(model, "--strict-markers", "-m", expression).assert_outcomes(passed=passed, deselected=3 - passed)


def test_works_in_any_test_module(alone, write, model):
    """A declared property in an ordinary test module runs beside its tests, without a folder of properties."""
    write("test_any.py", PLAIN)
    alone(model).assert_outcomes(passed=3)


def test_items_are_grouped_by_model(alone, toys, write, model, second, monkeypatch):
    """Each model is loaded once, however many files have properties."""
    write("properties/p.py", PLURAL)
    loads = []
    load = sources.load
    monkeypatch.setattr(sources, "load", lambda spec, **how: loads.append(spec.alias) or load(spec, **how))
    alone(model, second, "properties")
    assert loads == ["random-300x16", "small"]


# --- which files ----------------------------------------------------------------------------------------------------


def test_folder_is_left_alone_where_embcheck_is_not_used(alone, write):
    """A stranger's folder of the name ``properties`` is not imported."""
    write("properties/house.py", "raise SystemExit('imported')")
    assert alone().ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("way", ["option", "environment", "file"])
def test_folder_is_found_where_embcheck_is_used(alone, write, model, monkeypatch, way):
    """``./properties`` is collected where a model is named by option or variable, or ``[tool.embcheck]`` stands."""
    write("properties/p.py", PLURAL)
    if way == "environment":
        monkeypatch.setenv("EMBCHECK_MODEL", "random:300x16")
    if way == "file":
        write("pyproject.toml", "[tool.embcheck]\nmodels = ['random:300x16']\n")
    alone(*([model] if way == "option" else [])).assert_outcomes(passed=5)


def test_project_below_a_folder_of_that_name(project, write, model):
    """Files of a project that lies below some folder ``properties`` are no property files for that."""
    write("properties/ours/setup.py", "raise SystemExit('imported')")
    write("properties/ours/properties/p.py", PLURAL)
    write("properties/ours/pyproject.toml", "[tool.embcheck]\n")
    command = [sys.executable, "-m", "pytest", model, "-q", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run(command, cwd=project.path / "properties/ours", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 tests collected" in done.stdout


@pytest.mark.parametrize("path", ["more", "more/p.py"])
def test_more_property_files(alone, write, model, path):
    """``--embcheck-properties`` names a folder or file, whose properties run beside the others."""
    write("more/p.py", PLURAL)
    write("test_plain.py", "def test_plain(): pass")
    alone(model, "--embcheck-properties", path, "test_plain.py").assert_outcomes(passed=6)


def test_more_property_files_in_the_configuration(alone, write):
    """Folders named in ``[tool.embcheck]`` are collected with the project, and not with a part that lies elsewhere."""
    write("checks/p.py", PLURAL)
    write("tests/test_plain.py", "def test_plain(): pass")
    write("pyproject.toml", "[tool.embcheck]\nmodels = ['random:300x16']\nproperties = ['checks']\n")
    alone().assert_outcomes(passed=6)
    alone("tests").assert_outcomes(passed=1)


def test_more_property_files_must_exist(alone, model, usage_error):
    """A path that does not exist is wrong usage."""
    assert "nowhere" in usage_error(alone(model, "--embcheck-properties", "nowhere"))


@pytest.mark.parametrize("target", ["embcheck.properties", "embcheck.properties.random_baseline"])
def test_shipped_properties(alone, model, target):
    """``pytest --pyargs embcheck.properties`` collects what ships with the package, from a checkout too."""
    result = alone(model, "--pyargs", target, "--embcheck-property", "random_baseline")
    assert result.parseoutcomes()["passed"] == 1


# --- which checks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("globs", "passed"),
    [(["plural_*"], 4), (["plural_thing[a-*]"], 2), (["other", "plural_thing[b-2]"], 2), (["*"], 5)],
)
def test_globs(alone, write, model, globs, passed):
    """``--embcheck-property`` selects checks by id, or id and parameters; plain tests run all the same."""
    write("properties/p.py", PLURAL)
    write("test_plain.py", "def test_plain(): pass")
    options = [f"--embcheck-property={glob}" for glob in globs]
    alone(model, *options).assert_outcomes(passed=passed + 1, deselected=5 - passed)


def test_glob_that_matches_nothing(run, write, model, usage_error):
    """A glob that matches no property is wrong usage: nothing passes because it is missing."""
    write("properties/p.py", PLURAL)
    line = usage_error(run(model, "--embcheck-property", "plurl", "properties"))
    assert "no property matches 'plurl'" in line


def test_two_properties_of_one_name(alone, write, model, usage_error):
    """Two files must not declare properties of one name; both are named."""
    write("properties/p.py", PLURAL)
    write("properties/q.py", PLURAL)
    line = usage_error(alone(model, "properties"))
    assert "two properties are called" in line
    assert "p.py" in line
    assert "q.py" in line


def test_an_imported_property_runs_once(alone, write, model):
    """A property that a second file imports is one check, not two."""
    write("p.py", PLURAL)
    write("test_a.py", "from p import other")
    write("test_b.py", "from p import other")
    alone(model, "--rootdir=.", "-p", "no:cacheprovider").assert_outcomes(passed=1, deselected=1)


def test_parametrize_mark(alone, write, model, usage_error):
    """Items that differ only in what pytest parametrizes would overwrite each other's result: wrong usage."""
    source = PLURAL.replace("@claim(above(0))", "@pytest.mark.parametrize('n', [1, 2])\n@claim(above(0))")
    write("properties/p.py", "import pytest\n" + source.replace("def other(table)", "def other(table, n)"))
    assert "are one check" in usage_error(alone(model, "properties"))


@pytest.mark.parametrize(
    "decorators",
    ["@claim(above(0))\n@given(x=st.integers())", "@given(x=st.integers())\n@claim(above(0))"],
    ids=["below", "above"],
)
def test_given_and_claim(alone, write, model, usage_error, decorators):
    """``@given`` below or above ``@claim`` is answered with what to write instead, and not passed over."""
    source = PLURAL.replace("@claim(above(0))\ndef other(table)", f"{decorators}\ndef other(table, x)")
    write("properties/p.py", "from hypothesis import given, strategies as st\n" + source)
    assert "@given does not work with @claim" in usage_error(alone(model, "properties"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
def test_missing_device(alone, write, model, usage_error):
    """A device that this machine lacks is wrong usage, before anything runs."""
    write("properties/p.py", PLURAL)
    assert "no CUDA device" in usage_error(alone(model, "--embcheck-device=cuda", "properties"))


def test_missing_device_matters_only_to_properties(alone, write, model):
    """Plain tests run whatever device is configured for properties."""
    write("test_plain.py", "def test_plain(): pass")
    alone(model, "--embcheck-device=cuda:99").assert_outcomes(passed=1)


# --- pytest's own means ---------------------------------------------------------------------------------------------

NATIVE = '''
import pytest
from embcheck import Estimate, above, claim

@pytest.fixture
def amount():
    return 3.0

@claim(above(2), n=[1])
def takes_a_fixture(table, amount, n, rng):
    """A fixture's value is used."""
    return Estimate.exact(amount)

class TestGroup:
    @claim(above(2))
    def method(self, table):
        """Methods work."""
        return Estimate.exact(self.value())

    def value(self):
        return 3.0

@pytest.mark.skipif(True, reason="not today")
@claim(above(0))
def skipped_by_a_mark(table):
    """Skipped."""
    raise AssertionError

@pytest.mark.usefixtures("broken")
@claim(above(0))
def without_its_fixture(table):
    """Not reached."""
    raise AssertionError

@pytest.fixture
def broken():
    raise RuntimeError("no such luck")
'''


def test_fixtures_marks_and_classes(run, write, model, report):
    """Fixtures, marks and classes work as in any test; the report has a record of each check, without fixtures."""
    write("test_native.py", NATIVE)
    run(model, "--embcheck-json=out.json").assert_outcomes(passed=2, skipped=1, errors=1)
    found = {label: (r["verdict"], r["outcome"], r["reason"]) for (_, label), r in report()[1].items()}
    assert found == {
        "takes_a_fixture[1]": ("holds", "pass", None),
        "method": ("holds", "pass", None),
        "skipped_by_a_mark": ("skipped", "pass", "not today"),
        "without_its_fixture": ("error", "fail", "RuntimeError: no such luck"),
    }


def test_a_run_that_asks_for_nothing_imports_nothing(pytester):
    """Without options, configuration, declared property or fixture, only the plugin's door is imported."""
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            loaded = {name for name in sys.modules if name.startswith("embcheck")}
            light = {"plugin", "config", "config.options", "spec", "errors"}
            assert loaded <= {"embcheck", *(f"embcheck.{name}" for name in light)}
        """
    )
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_declared_property_or_the_fixture_wakes_the_plugin(pytester):
    """A property or a test that takes the fixture is skipped for want of a model, in a project that configures none."""
    pytester.makepyfile(
        test_a="def test_fixture(embcheck_table):\n    pass\n",
        test_b="""
        from embcheck import above, claim, measures

        @claim(above(0.5))
        def share(table):
            "Most."
            return measures.non_negative_share(table)
        """,
    )
    result = pytester.runpytest_subprocess("-q", "-rs", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*no model to check*"])


OWN = """
from embcheck import Estimate, above, claim

@claim(above(10), margin=1.0)
def own(table):
    "Rows."
    return Estimate.exact(float(len(table.vectors)), name="rows")
"""
SAYS = "embcheck: no configured check ran; those of embcheck run by: pytest --pyargs embcheck.properties"


@pytest.mark.slow
def test_a_project_with_models_hears_how_its_checks_run(project, write):
    """Where pytest by itself collects no check of the configured models, one line says what does; else it is quiet."""
    write("pyproject.toml", '[tool.embcheck]\nmodels = ["random:300x16"]\n')
    write("tests/test_plain.py", "def test_plain(): pass\n")
    for whole in ([], ["tests"]):
        project.runpytest_subprocess("-q", *whole).stdout.fnmatch_lines([SAYS])
    for told in (["tests/test_plain.py"], ["-k", "plain"]):
        assert "--pyargs" not in str(project.runpytest_subprocess("-q", *told).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    ['property = ["isotropy", "hub*", "own"]', '[tool.embcheck.model.m]\nproperty = ["isotropy", "hub*", "own"]', ""],
    ids=["for all", "for a model", "by its baseline"],
)
def test_a_project_hears_which_part_of_its_checks_did_not_run(project, write, monkeypatch, config):
    """A project with a property of its own hears how many of the checks that it names are run by another command."""
    monkeypatch.setenv("CI", "1")
    write("pyproject.toml", f'[tool.embcheck]\nmodels = ["m=random:300x16"]\n{config}\n')
    write("properties/own.py", OWN)
    named = ("isotropy", "hubness", "own")
    if not config:
        models = ["m=random:300x16", *(f"--property={name}" for name in named), "--update=new"]
        assert project.run(sys.executable, "-m", "embcheck", "check", *models).ret in {0, 1}
    said = "embcheck: 2 of 3 configured checks did not run; they run by: pytest --pyargs embcheck.properties"
    for more in ([], ["-q"]):
        result = project.runpytest_subprocess("-p", "no:cacheprovider", *more)
        assert result.ret == 0
        result.stdout.fnmatch_lines([said])
    for told in (["properties"], ["-k", "own"], ["-m", "embcheck"], ["--embcheck-property=own"]):
        assert "did not run" not in str(project.runpytest_subprocess("-q", *told).stdout)


@pytest.mark.slow
def test_where_all_that_is_configured_ran_nothing_is_said(project, write):
    """A project whose lists and baseline name its own property only hears of no other; of a typing error it does."""
    write("properties/own.py", OWN)
    config = '[tool.embcheck]\nmodels = ["m=random:300x16"]\nproperty = '
    write("pyproject.toml", f'{config}["own"]')
    assert "did not run" not in str(project.runpytest_subprocess("-q").stdout)
    write("pyproject.toml", f'{config}["own", "isotrpy"]')
    result = project.runpytest_subprocess("-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no property matches 'isotrpy'" in str(result.stderr)


@pytest.mark.slow
def test_printed_names_of_shipped_checks_can_be_given(project, write):
    """What the summary calls a failed check that comes with embcheck runs that check, from there and from a folder."""
    write("pyproject.toml", '[tool.embcheck]\nmodels = ["m=random:300x16"]\nproperty = ["isotropy"]\n')

    def failed(result):
        assert result.parseoutcomes()["failed"] == 1
        (line,) = [line for line in result.outlines if line.startswith("FAILED ")]
        return line.split()[1]

    name = failed(project.runpytest_subprocess("-q", "--pyargs", "embcheck.properties"))
    assert name == "isotropy.py::isotropy[m]"
    again = failed(project.runpytest_subprocess("-q", name))
    assert again == name
    assert f"again: pytest '{name}'" in str(project.runpytest_subprocess("-q", again).stdout)
    assert "not found" in str(project.runpytest_subprocess("-q", "sotropy.py::isotropy[m]").stderr)
