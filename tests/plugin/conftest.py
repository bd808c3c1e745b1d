import json
import os

import hypothesis.strategies  # noqa: F401 - pytester forgets what a run in this process imports, and NumPy loads only once
import numpy.fft  # noqa: F401 - same
import pytest
import scipy.stats  # noqa: F401 - same
import torch  # noqa: F401 - same
import vl_convert  # noqa: F401 - same

import embcheck.api
import embcheck.cli.program  # click is not to be there twice
import embcheck.measures
import embcheck.plugin  # noqa: F401 - same

MODEL = "--embcheck-model=random:300x16"
SECOND = "--embcheck-model=small=random:200x8"

TOY = '''
from embcheck import Estimate, NotMeasurable, above, below, claim


@claim(above(10), below(1000))
def rows(table):
    """The table has some rows."""
    return Estimate.exact(float(len(table.vectors)), unit="tables", name="rows")


@claim(above(0.5), word=["one", "two"])
def drawn(table, word, rng):
    """Draws around zero lie above a half."""
    worst = [{"token": f"worst {word} \\ud800", "id": 7, "value": -0.25}]
    return Estimate.from_units(rng.normal(0, 1, 50), unit="draws", counterexamples=worst)


@claim(above(0))
def unmeasurable(table):
    """Something that no table has."""
    raise NotMeasurable("the table has no such words")
'''


@pytest.fixture
def project(pytester, monkeypatch):
    """An empty project, outside continuous integration, on a terminal of 80 columns."""
    for name in [name for name in os.environ if name.startswith("EMBCHECK_")]:
        monkeypatch.delenv(name)
    for name in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return pytester


@pytest.fixture
def toys(project):
    """A project with the toy properties, which uses embcheck only where a test says so."""
    write(project, "properties/toys.py", TOY)
    return project


@pytest.fixture(params=["alone", pytest.param("xdist", marks=pytest.mark.slow)])
def run(request, project):
    """Run pytest in the project, in one process or in an xdist worker."""
    if request.param == "alone":
        return lambda *args: project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *args)
    return lambda *args: project.runpytest_subprocess("-p", "no:cacheprovider", "-n1", *args)


@pytest.fixture
def alone(project):
    """Run pytest in the project, in this process."""
    return lambda *args: project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *args)


def write(project, name, text):
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(name="write")
def write_fixture(project):
    """Write a file of the project."""
    return lambda name, text: write(project, name, text)


@pytest.fixture
def report(project):
    """Read the report that a run wrote, and its results by label."""

    def read(name="out.json"):
        document = json.loads((project.path / name).read_text(encoding="utf-8"))
        results = {}
        for model in document["models"]:
            for result in model["results"]:
                inside = "-".join(map(str, result["params"].values()))
                results[model["alias"], result["property"] + (f"[{inside}]" if inside else "")] = result
        return document, results

    return read


@pytest.fixture
def model():
    """The option that names a small random model."""
    return MODEL


@pytest.fixture
def second():
    """The option that names another one, as ``small``."""
    return SECOND


def usage_error(result):
    """The one line that a wrong usage is answered with."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("ERROR: ")
    assert "Traceback" not in str(result.stdout)
    return lines[0].removeprefix("ERROR: ")


@pytest.fixture(name="usage_error")
def usage_error_fixture():
    """Check that a run ended as wrong usage, and give its one line."""
    return usage_error
