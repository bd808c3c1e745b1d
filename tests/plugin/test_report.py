import json
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import embcheck
from embcheck.reports import html, json_file

HOSTILE = """
from embcheck import Estimate, above, claim


@claim(above(5))
def hostile(table):
    '''Tokens do no harm.'''
    worst = [{{"token": token, "id": i, "value": 0.5}} for i, token in enumerate({tokens})]
    return Estimate.from_units([1.0, 1.1, 0.9], unit="toys", counterexamples=worst)
"""


def without_timing(path):
    document = json.loads(path.read_text(encoding="ascii"))
    del document["timing"]
    return json_file.dumps(document)


@pytest.mark.slow
def test_equal_runs_give_equal_bytes(toys, project, model, second):
    """Two runs with one seed give the same bytes, timings aside; so do two workers; another seed does not."""
    common = ["-p", "no:cacheprovider", second, model, "properties"]
    for name, how in {"a": ["-p", "no:xdist"], "b": ["-p", "no:xdist"], "c": ["-n2"]}.items():
        project.runpytest_subprocess(*how, *common, f"--embcheck-json={name}.json")
    project.runpytest_inprocess(*common, "-p", "no:xdist", "--embcheck-json=d.json", "--embcheck-seed=1")
    a, b, c, d = (without_timing(project.path / f"{name}.json") for name in "abcd")
    assert a == b
    assert a == c
    assert a != d


def test_same_as_the_python_api(alone, toys, model, project):
    """Pytest's report is that of ``embcheck.check`` on the same model and properties, timings aside."""
    alone(model, "--embcheck-json=out.json", "properties")
    names = {}
    exec(compile((project.path / "properties/toys.py").read_text(encoding="utf-8"), "toys", "exec"), names)  # noqa: S102
    functions = [names[name] for name in ("unmeasurable", "drawn", "rows")]
    embcheck.check("random:300x16", properties=functions).save(project.path / "api.json")
    assert without_timing(project.path / "out.json") == without_timing(project.path / "api.json")


def test_order_and_schema(alone, toys, model, second, report):
    """Models stand in the order given, results by property and parameters; the document keeps to its schema."""
    alone(second, model, "--embcheck-json=out.json", "properties", "-p", "no:randomly")
    document, results = report()
    jsonschema.validate(document, json_file.schema())
    labels = ["drawn[one]", "drawn[two]", "rows", "unmeasurable"]
    assert list(results) == [(alias, label) for alias in ("small", "random-300x16") for label in labels]
    assert set(document["timing"]["models"]["small"]["results"]) == set(labels)


def test_tokens_that_are_no_text(run, toys, model, report):
    """Tokens with lone surrogates come through, workers or not."""
    run(model, "--embcheck-json=out.json", "properties").assert_outcomes(passed=1, failed=2, skipped=1)
    record = report()[1]["random-300x16", "drawn[one]"]
    assert record["counterexamples"] == [{"token": "worst one \ud800", "id": 7, "value": -0.25}]


@pytest.mark.slow
def test_worker_that_dies(toys, write, project, model, report):
    """The check on which a worker dies fails, and is an error in the report; the others run."""
    write(
        "properties/p.py",
        "import os\n"
        "from embcheck import Estimate, above, claim\n"
        "@claim(above(0))\n"
        "def deadly(table):\n"
        "    '''It ends the process.'''\n"
        "    os._exit(1)\n",
    )
    globs = ["--embcheck-property=deadly", "--embcheck-property=rows"]
    result = project.runpytest_subprocess("-n2", model, *globs, "--embcheck-json=out.json", "properties")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    record = report()[1]["random-300x16", "deadly"]
    assert (record["verdict"], record["outcome"]) == ("error", "fail")
    assert "died" in record["reason"]
    assert report()[1]["random-300x16", "rows"]["outcome"] == "pass"


def test_stopping_early(alone, toys, model, report):
    """With ``-x`` the report has the checks that ran, and no others, and says that it is partial."""
    alone(model, "-x", "--embcheck-json=out.json", "properties")
    assert report()[0]["run"]["partial"]
    assert set(report()[1]) == {("random-300x16", "rows"), ("random-300x16", "drawn[one]")}


@pytest.mark.slow
def test_interrupted_check(project, write, model, report):
    """A check that was interrupted is not measured, and no failure: the report is partial, the code pytest's."""
    write(
        "properties/p.py",
        "from embcheck import above, claim\n"
        "@claim(above(0))\n"
        "def endless(table):\n"
        "    '''It is interrupted.'''\n"
        "    raise KeyboardInterrupt\n",
    )
    result = project.runpytest_subprocess(model, "--embcheck-json=out.json", "properties")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert report()[1] == {}
    assert "fail" not in result.stdout.str()
    assert report()[0]["run"]["partial"]


# --- the terminal summary and the exit code -------------------------------------------------------------------------


def test_summary(alone, toys, model, second):
    """The summary has a table of the models, then what needs looking at in each and is new, in 80 columns."""
    result = alone(model, second, "properties")
    summary = str(result.stdout).partition("= embcheck =")[2].partition("short test summary")[0].splitlines()[1:-1]
    assert max(map(len, summary)) <= 80
    words = [line.split()[0] for line in summary if line[:1].strip()]
    assert words == ["drawn", "rows", "unmeasurable", "random-300x16:", "skipped", "small:", "skipped", "4"]
    assert summary[-1] == "4 of 8 checks fail: 2 hold, 4 refuted, 2 skipped"


def test_summary_when_quiet(alone, toys, model):
    """With ``-q`` there is one line where all is well."""
    result = alone("-q", model, "--embcheck-property=rows", "properties")
    result.stdout.fnmatch_lines(["embcheck: 1 hold"])
    assert "= embcheck =" not in str(result.stdout)


def test_no_summary_where_unused(run, write):
    """A run without declared properties has no word of embcheck in it."""
    write("test_plain.py", "def test_plain(): pass")
    result = run("-vv", "-W", "error")
    result.assert_outcomes(passed=1)
    assert not [line for line in result.outlines + result.errlines if "embcheck" in line and "plugins:" not in line]


@pytest.mark.parametrize(
    ("globs", "plain", "code"),
    [
        (["rows"], False, pytest.ExitCode.OK),
        (["unmeasurable"], False, pytest.ExitCode.NO_TESTS_COLLECTED),
        (["unmeasurable"], True, pytest.ExitCode.OK),
        (["unmeasurable", "rows"], False, pytest.ExitCode.OK),
        (["drawn", "unmeasurable"], False, pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_exit_code(alone, toys, write, model, globs, plain, code):
    """0 where all hold, 1 where one does not, 5 where all were skipped and nothing else ran."""
    if plain:
        write("test_plain.py", "def test_plain(): pass")
    assert alone(model, *(f"--embcheck-property={glob}" for glob in globs)).ret == code


def test_page(run, toys, project, model, second):
    """``--embcheck-html`` writes the page of the report, by the controlling process, workers or not."""
    run(model, second, "--embcheck-json=out.json", "--embcheck-html=out.html", "properties")
    document = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    assert (project.path / "out.html").read_text(encoding="utf-8") == html.render(document)


def test_page_that_cannot_be_written(alone, toys, model, usage_error):
    """A folder that is missing is wrong usage, told before anything runs."""
    assert "does not exist" in usage_error(alone(model, "--embcheck-html=none/out.html", "properties"))


def test_hostile_tokens_in_junit_xml(run, toys, project, model, write):
    """Tokens that hold markup, escapes or no text leave JUnit's XML well-formed, and are seen in it."""
    hostile = ["</failure><x>", "]]>", "\x1b[31m", "\u202e", "\ud800", "\x00", "&amp;", "y" * 10_000]
    write("properties/hostile.py", HOSTILE.format(tokens=ascii(hostile)))
    run(model, "--junitxml=out.xml", "properties/hostile.py")
    (case,) = ET.parse(project.path / "out.xml").getroot().iter("testcase")  # noqa: S314 - what pytest wrote
    (failure,) = case.iter("failure")
    assert "</failure><x>" in failure.text
    assert "y" * 1_000 not in failure.text
