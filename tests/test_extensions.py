"""A package that adds a source and a pack of properties: really installed, run from the shell, pytest and Python."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

import embcheck
from embcheck import extensions
from embcheck.checks.collect import functions
from embcheck.errors import EmbcheckError, UsageError
from embcheck.sources import describe
from embcheck.spec import parse

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''
"""Vectors of words as lines of text."""
from pathlib import Path

import numpy as np

from embcheck import EmbeddingTable
from embcheck.errors import SourceError


def read(spec):
    lines = [line.split() for line in Path(spec.target).read_text().splitlines()]
    if not lines:
        raise SourceError(f"{spec.target} is empty")
    rows = np.array([[float(cell) for cell in row] for _, *row in lines])
    return EmbeddingTable.from_arrays(rows, [word for word, *_ in lines])
'''
PACK = '''
from embcheck import Estimate, above, claim


@claim(above(0.5))
def toy_positive(table, rng):
    """Most rows have a positive first number."""
    signs = (table.gather(table.population)[:, 0] > 0).double().tolist()
    return Estimate.from_units(signs, unit="rows", rng=rng, name="share")
'''
TABLE = "".join(f"word{i} {i % 10 - 0.5} {i % 7 - 2}\n" for i in range(40))


ENTRY_POINTS = "[embcheck.sources]\ntoytxt = toy_vectors.lines\n[embcheck.properties]\ntoy = toy_vectors.claims\n"
MODULES = {"__init__": "", "lines": SOURCE, "claims": PACK, "broken": "1 / 0"}


def wheel(folder: Path, entry_points: str = ENTRY_POINTS, name: str = "toy_vectors") -> Path:
    """A wheel of a package in pure Python."""
    files = {f"{name}/{module}.py": text for module, text in MODULES.items()}
    path, about = folder / f"{name}-1.5-py3-none-any.whl", f"{name}-1.5.dist-info"
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.5\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": entry_points,
    }
    files[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of its kind, and the package installed in ``site``."""
    folder = tmp_path_factory.mktemp("extended")
    (folder / "table.txt").write_text(TABLE)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    subprocess.run([*command, str(folder / "site"), str(wheel(folder))], check=True, capture_output=True)
    return folder


@pytest.fixture
def run(folder):
    """Run a module in that folder, beside everything else that is installed: exit status and what was printed."""
    environment = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith(("EMBCHECK_", "PYTEST_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), environment.get("PYTHONPATH", "")])

    def run(*command: str) -> tuple[int, str]:
        command = (sys.executable, *command)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_the_command_line_reads_its_source_and_runs_its_property(run, folder):
    """The report names the package beside the model and beside the result, and `list` beside the property."""
    check = ("check", "toytxt:table.txt", "--property", "toy_positive", "--json", "report.json")
    status, said = run("-m", "embcheck", *check)
    assert status == 0, said
    (model,) = json.loads((folder / "report.json").read_text())["models"]
    (result,) = model["results"]
    assert (model["spec"], model["package"], model["shape"]) == ("toytxt:table.txt", "toy-vectors 1.5", [40, 2])
    assert (result["property"], result["package"], result["estimate"]["value"]) == (
        "toy_positive",
        "toy-vectors 1.5",
        0.9,
    )
    _, said = run("-m", "embcheck", "list")
    assert "toy_positive\n  Most rows have a positive first number.\n" in said
    assert "  from: toy-vectors 1.5\n" in said
    assert said.endswith("added sources\n  toytxt: from toy-vectors 1.5\n")


@pytest.mark.slow
def test_pytest_runs_its_property_on_its_source(run, folder):
    """`pytest --pyargs` with the pack's module runs the property, and its report names the package."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = ("--embcheck-model", "toytxt:table.txt", "--embcheck-json", "pytest.json")
    status, said = run("-m", "pytest", "-q", "--pyargs", "toy_vectors.claims", *options)
    assert (status, "1 passed" in said) == (0, True), said
    (model,) = json.loads((folder / "pytest.json").read_text())["models"]
    assert [model["package"], model["results"][0]["package"]] == ["toy-vectors 1.5", "toy-vectors 1.5"]


@pytest.mark.slow
def test_python_runs_its_property_on_its_source(run):
    """`embcheck.check` and `embcheck.load` know both."""
    status, said = run(
        "-c",
        "import embcheck; run = embcheck.check('toytxt:table.txt', properties=['toy_positive']);"
        "print(len(run), run.passed, embcheck.load('toytxt:table.txt').provenance.source)",
    )
    assert (status, said.split()) == (0, ["1", "True", "toytxt"])


# --- within this process: what pip unpacks, on the path ---------------------------------------------------------------


@pytest.fixture
def have(tmp_path, monkeypatch):
    """A function that installs the package with entry points of its own, for one test."""

    def have(entry_points: str = ENTRY_POINTS, name: str = "toy_vectors") -> None:
        with zipfile.ZipFile(wheel(tmp_path, entry_points, name)) as archive:
            archive.extractall(tmp_path / "site")

    def forget() -> None:
        extensions.installed.cache_clear()
        extensions._package_of.cache_clear()
        for module in [each for each in sys.modules if each.startswith("toy_vectors")]:
            del sys.modules[module]

    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    forget()
    yield have
    forget()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "table is empty"),
        ("word 1 x\n", "toy-vectors 1.5 failed to read it (ValueError: could not convert string to float: 'x')"),
        (None, "no such file"),
    ],
)
def test_what_its_source_cannot_read_is_one_line(have, tmp_path, text, says):
    """A missing file, an error of its own and one that it did not foresee are a line that names file and package."""
    have()
    if text is not None:
        (tmp_path / "table").write_text(text)
    with pytest.raises(EmbcheckError) as error:
        embcheck.load(f"toytxt:{tmp_path / 'table'}")
    assert says in str(error.value)
    assert "table" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_source_that_gives_no_table_is_named(have, tmp_path, monkeypatch):
    """What is no table is refused by type and package."""
    have()
    (tmp_path / "table").write_text(TABLE)
    monkeypatch.setattr(importlib.import_module("toy_vectors.lines"), "read", lambda spec: [spec])
    with pytest.raises(EmbcheckError, match=r"toy-vectors 1.5 gave list, which is no embcheck.EmbeddingTable"):
        embcheck.load(f"toytxt:{tmp_path / 'table'}")


def test_a_source_without_a_description_has_one(have, tmp_path):
    """`inspect` says what it can before reading."""
    have()
    (tmp_path / "table").write_text(TABLE)
    assert describe(parse(f"toytxt:{tmp_path / 'table'}")).shape == (None, None)


@pytest.mark.parametrize(
    ("entry_points", "says"),
    [
        ("[embcheck.sources]\nnpy = toy_vectors.lines\n", "adds a source called 'npy', but embcheck has one"),
        ("[embcheck.sources]\nUP = toy_vectors.lines\n", "adds a source called 'UP', but a scheme has small letters"),
        ("[embcheck.properties]\ntoy = toy_vectors.none\n", "offers 'toy' to embcheck, but it can't be imported"),
        ("[embcheck.properties]\ntoy = toy_vectors.broken\n", "can't be imported (ZeroDivisionError"),
        ("[embcheck.properties]\ntoy = toy_vectors.broken.claims\n", "can't be imported (ZeroDivisionError"),
    ],
)
def test_a_name_that_is_taken_or_leads_nowhere_is_refused(have, entry_points, says):
    """The error names the distribution, and is one of use."""
    have(entry_points)
    with pytest.raises(UsageError) as error:
        embcheck.check("random:50x4")
    assert says in str(error.value)
    assert "toy-vectors 1.5" in str(error.value)


def test_a_pack_that_breaks_is_no_internal_error_of_pytest(have, pytester):
    """Where finding a pack already fails, pytest says whose it is, as wrong usage."""
    have("[embcheck.properties]\ntoy = toy_vectors.broken.claims\n")
    found = pytester.runpytest("--pyargs", "embcheck.properties", "--embcheck-model", "random:50x4")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    said = "\n".join([*found.outlines, *found.errlines])
    assert "toy-vectors 1.5 offers 'toy' to embcheck, but it can't be imported (ZeroDivisionError" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", ["sources", "properties"])
def test_two_packages_with_one_name_are_refused(have, kind):
    """Whichever was installed first, neither is taken."""
    points = f"[embcheck.{kind}]\ntoy = toy_vectors.claims\n"
    have(points)
    have(points.replace("claims", "lines"), "other_vectors")
    with pytest.raises(UsageError, match=rf"vectors 1.5 both offer {kind} called 'toy' to embcheck; uninstall one"):
        embcheck.check("random:50x4")


def test_a_property_that_two_declare_is_refused(have, tmp_path):
    """A pack's property and one of your own by that name are an error that names both files."""
    have()
    (tmp_path / "mine.py").write_text(PACK + "# mine\n")  # a copy to the byte would be the same property
    with pytest.raises(UsageError, match=r"two .* called 'toy_positive': .*claims.py:\d+ and .*mine.py:\d+"):
        functions([tmp_path / "mine.py"])
