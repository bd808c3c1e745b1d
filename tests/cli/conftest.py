from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from embcheck.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOYS = '''
"""Toy properties."""
from embcheck import Estimate, NotMeasurable, above, below, beats, claim, nulls, within


@claim(above(0.5), on_noise="any")
def toy_holds(table):
    """Everything is near one."""
    return Estimate.from_units([1.0, 1.1, 0.9, 1.0], unit="toy units")


@claim(above(5.0), within(2, 3))
def toy_refuted(table):
    """Everything is far above one."""
    worst = [{"id": 7, "token": "evil\\x1b[31m\\n", "value": 0.25}]
    return Estimate.from_units([1.0, 1.1, 0.9, 1.0], unit="toy units", counterexamples=worst)


@claim(above(0))
def toy_undecided(table):
    """Something crosses zero."""
    return Estimate.from_units([-1.0, 1.1, 0.2], unit="toy units")


@claim(above(0))
def toy_skipped(table):
    """Something is never there."""
    raise NotMeasurable("too few toys: 1, at least 2 are needed")


@claim(below(100), size=[1, 2])
def toy_sizes(table, size):
    """Every size is small."""
    return Estimate.exact(float(size), n=3, unit="sizes")
'''


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, outside continuous integration, with toys in properties/."""
    for name in [name for name in os.environ if name.startswith("EMBCHECK_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "toys.py").write_text(TOYS)
    return tmp_path


@pytest.fixture
def embcheck(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs the program in the project."""

    def run(*arguments: str) -> Finished:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return run


@pytest.fixture
def words(project: Path) -> str:
    """Spec of four words in the plane, at 0, 10, 90 and 180 degrees, one of them in two spellings."""
    (project / "words.vec").write_text("5 2\nking 1 0\nqueen 0.98 0.17\nKing 0.9 0.01\nup 0.001 1\nback -1 0\n")
    return "words=fasttext:words.vec"
