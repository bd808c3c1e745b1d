"""Results come as they are settled, and an interruption (SIGINT) keeps those that have come."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from embcheck.reports import json_file

SLOW = '''
import sys, time
from embcheck import Estimate, above, claim

sys.stderr.write("collected\\n")
sys.stderr.flush()


@claim(above(0), on_noise="any")
def first(table):
    """It is there at once."""
    return Estimate.exact(float(len(table.vectors)))


@claim(above(0), on_noise="any")
def second(table):
    """It takes an hour on the table of 30 rows."""
    time.sleep(3600 if len(table.vectors) == 30 else 0)
    return Estimate.exact(1.0)
'''


@pytest.fixture
def slow(project: Path) -> Path:
    """A project with a property that is quick and one that is slow on one model."""
    (project / "properties" / "toys.py").write_text(SLOW)
    return project


def interrupted(*models: str, after: str) -> tuple[int, str, json_file.Report]:
    """Exit code, standard output and JSON of a check that is interrupted once a line with that text has come."""
    command = [sys.executable, "-u", "-m", "embcheck", "check", *models, "--json", "out.json"]
    command += [word for name in ("first", "second") for word in ("--property", name)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # where this process ignores it, its children would
    with subprocess.Popen(command, **pipes, env=environment, preexec_fn=heard) as process:  # noqa: PLW1509
        lines = []
        for line in process.stdout:
            lines.append(line)
            if after in line:
                process.send_signal(signal.SIGINT)
                break
        try:
            rest, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, "".join(lines) + rest, json_file.read(Path("out.json"))


@pytest.mark.parametrize(
    ("after", "models"),
    [
        ("collected", []),
        ("a: 20 x 4", None),
        ("holds         second", [("a", 2)]),
        ("b: 30 x 4", None),
        ("first  30", [("a", 2), ("b", 1)]),
    ],
    ids=["before the first model", "at its first check", "between models", "at the second", "in its slow check"],
)
def test_an_interruption_keeps_what_was_measured(slow, after, models):
    """Whenever it comes, the exit code is 2, and the JSON is a valid report, marked partial, of what had come."""
    code, printed, report = interrupted("a=random:20x4", "b=random:30x4", after=after)
    assert code == 2
    assert report.run.partial
    assert "ended early: this is what was measured until then" in printed
    kept = [(model.alias, len(model.results)) for model in report.models if model.results]
    assert models is None or kept[: len(models)] == models
    assert all(result.verdict == "holds" for result in report.results)


def test_a_partial_report_can_be_shown_again(slow, embcheck):
    """``embcheck report`` takes what an interruption left, and says that it is no whole run."""
    interrupted("b=random:30x4", after="first  30")
    again = embcheck("report", "out.json")
    assert again.code == 0
    assert "ended early: this is what was measured until then" in again.out
    assert again.out.splitlines()[-1] == "1 hold"


def test_a_whole_report_is_not_marked(embcheck):
    """The mark is absent from a run that went to its end."""
    embcheck("check", "random:30x4", "--property", "toy_holds", "--json", "out.json")
    assert "partial" not in json.loads(Path("out.json").read_text())["run"]


def test_an_interrupted_update_writes_no_baseline(project, embcheck, monkeypatch):
    """A baseline is of a whole run: one that was interrupted leaves it as it was."""
    monkeypatch.setattr("embcheck.run.session.evaluate", _interrupt)
    assert embcheck("baseline", "update", "random:30x4", "--property", "toy_holds").code == 2
    assert not list(project.glob("embcheck-baselines/*"))


def test_an_interrupted_init_changes_nothing(project, embcheck, monkeypatch):
    """A model that was not wholly measured is not taken into the project."""
    monkeypatch.setattr("embcheck.run.session.evaluate", _interrupt)
    assert embcheck("init", "random:30x4").code == 2
    assert not (project / "pyproject.toml").exists()


def _interrupt(*_args, **_options):
    raise KeyboardInterrupt
