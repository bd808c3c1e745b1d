"""The README's examples are run as they stand, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
_FENCE = re.compile(r"(?:^`(?P<file>[\w./]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """One fenced block. ``file`` is set where the text above names a file that the block is the content of."""

    kind: str
    body: str
    file: str | None

    @property
    def command(self) -> str:
        """The command of a console block."""
        return self.body.partition("\n")[0].removeprefix("$ ")

    @property
    def output(self) -> str:
        """What a console block says the command prints."""
        return self.body.partition("\n")[2]


def examples() -> list[Example]:
    """All fenced blocks, in order."""
    return [Example(m["kind"], m["body"], m["file"]) for m in _FENCE.finditer(README.read_text(encoding="utf-8"))]


CONSOLE = [e for e in examples() if e.kind == "console"]
FILES = [e for e in examples() if e.file]
SECONDS = re.compile(r"in \d+\.\d+s(?: \(\d:\d\d:\d\d\))?")


def run(command: list[str] | str, where: Path) -> str:
    """Standard output of a command in a project folder, with the environment's own scripts first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith(("EMBCHECK_", "PYTEST_"))}
    done = subprocess.run(
        command,
        cwd=where,
        env=environment | {"PATH": path},
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return SECONDS.sub("in N s", done.stdout)


def lay_out(files: list[Example], where: Path) -> None:
    """Write the files that the README shows."""
    for example in files:
        assert example.file is not None
        target = where / example.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(example.body, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("example", CONSOLE, ids=[e.command for e in CONSOLE])
def test_each_command_prints_what_the_readme_shows(example: Example, tmp_path: Path) -> None:
    """Each command of the README, run in the project that it describes, prints the output that it shows."""
    configured = [e for e in FILES if e.file != "pyproject.toml" or "pytest" in example.command]
    lay_out(configured, tmp_path)
    assert run(example.command, tmp_path) == SECONDS.sub("in N s", example.output)


@pytest.mark.slow
def test_the_python_example_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The Python example prints the output shown below it."""
    blocks = examples()
    place = next(i for i, e in enumerate(blocks) if e.kind == "python" and e.file is None)
    assert run([sys.executable, "-c", blocks[place].body], tmp_path) == blocks[place + 1].body


def test_the_readme_names_every_property_that_ships() -> None:
    """The README's table of properties is the list of those that ship."""
    from embcheck.collect import collect

    shipped = {check.declaration.id for check in collect([])}
    text = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == shipped
