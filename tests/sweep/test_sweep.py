"""Sweeps: every result once, whatever dies on the way."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import training_runs
from training_runs import NAMES, numbers, swept

from embcheck import sources
from embcheck.checks.check import checks_of
from embcheck.checks.collect import collect
from embcheck.checks.collect import functions as collect_functions
from embcheck.checks.evaluate import evaluate
from embcheck.cli import main
from embcheck.config.per_model import PerModel
from embcheck.errors import EmbcheckError, UsageError
from embcheck.settings import Settings
from embcheck.spec import parse
from embcheck.sweep import checkpoints, drive, sweep
from embcheck.sweep.state import KNOWN_TABLES, Sweep
from embcheck.sweep.store import read
from embcheck.sweep.worker import How, key_of, measure


def test_rows_are_what_single_checks_find(run, serial):
    """One row for each checkpoint and check; the numbers are those of checking one checkpoint."""
    assert serial.computed == len(serial.rows) == 24
    row = next(r for r in serial.rows if r["step"] == 70 and r["property"] == training_runs.PROPERTY)
    (check,) = collect(globs=[training_runs.PROPERTY])
    table = sources.load(parse(row["spec"]), device="cpu")
    alone = evaluate(check, table, Settings()).record
    assert row["value"] == pytest.approx(alone.estimate.value, abs=1e-12)
    assert (row["verdict"], row["outcome"]) == (alone.verdict, "fail")
    assert json.loads(row["claims"])[0]["bound"] == 0.51
    assert [r["verdict"] for r in serial.rows if r["property"] == row["property"]] == ["holds"] * 7 + ["refuted"] * 5


def test_file_is_what_was_returned(serial):
    """The Parquet file holds the same rows, and no parts are left."""
    assert numbers(read(serial.path)) == numbers(serial.rows)
    assert [file.name for file in serial.path.parent.iterdir()] == ["sweep.parquet"]


@pytest.mark.parametrize("executor", [pytest.param("process", marks=pytest.mark.slow), "thread"])
def test_executors_give_the_same_numbers(run, serial, tmp_path, executor):
    """Two tasks at once, in groups of one check: nothing but the seconds differs."""
    found = swept(run, tmp_path / "sweep.parquet", executor=executor, workers=2, group=1)
    assert numbers(found.rows) == numbers(serial.rows)


@pytest.mark.slow
def test_nothing_finished_is_computed_again(run, serial, tmp_path):
    """A second sweep computes nothing; a copied checkpoint is known by its tensor; another seed is another result."""
    out = tmp_path / "sweep.parquet"
    shutil.copy(serial.path, out)
    assert swept(run, out).computed == 0
    copy = shutil.copytree(run / "checkpoint-0", tmp_path / "b" / "checkpoint-7")
    os.utime(copy / "model.safetensors", ns=(1, 1))
    again = sweep(globs=[str(copy)], out=out, executor="thread", properties=NAMES)
    assert again.computed == 0
    assert len(again.rows) == 26  # what the file had stays in it
    assert swept(run, out, settings=Settings(seed=1), properties=NAMES[:1]).computed == 12


class Interrupting(ThreadPoolExecutor):
    """Runs some tasks, then behaves as if Ctrl-C was pressed."""

    def submit(self, function, /, *arguments):  # noqa: D102
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().submit(function, *arguments)


def test_interrupted_sweep_goes_on(run, serial, tmp_path):
    """What was finished before the interruption is not computed again, and nothing is missing."""
    out = tmp_path / "sweep.parquet"
    pool = Interrupting(1)
    pool.left = 5
    with pytest.raises(KeyboardInterrupt):
        swept(run, out, executor=pool)
    kept = sum(pq.read_metadata(part).num_rows for part in (tmp_path / "sweep.parquet.parts").glob("*.parquet"))
    assert kept in {8, 10}  # the task that was running may be lost
    found = swept(run, out)
    assert found.computed == 24 - kept
    assert numbers(found.rows) == numbers(serial.rows)


class Dying(ThreadPoolExecutor):
    """Loses the first ``losses`` tasks of one checkpoint, as a cluster whose worker was killed does."""

    def submit(self, function, task, /):  # noqa: D102
        if task.spec.text.endswith("checkpoint-30") and self.losses:
            self.losses -= 1
            lost = Future()
            lost.set_exception(RuntimeError("worker died"))
            return lost
        return super().submit(function, task)


@pytest.mark.slow
@pytest.mark.parametrize(("losses", "errors"), [(2, 0), (3, 1), (4, 2)])
def test_dead_tasks_are_tried_again(run, serial, tmp_path, losses, errors):
    """Up to three times, the last each check alone; then they are errors, never passes, which a later sweep mends."""
    pool = Dying(2)
    pool.losses = losses
    out = tmp_path / "sweep.parquet"
    found = swept(run, out, executor=pool)
    assert len(found.errors) == errors
    assert all("died each time it was tried: RuntimeError: worker died" in row["reason"] for row in found.errors)
    assert found.computed == 24 - errors
    again = swept(run, out)
    assert again.computed == errors
    assert numbers(again.rows) == numbers(serial.rows)


KILLER = '''
import os, signal
from pathlib import Path
from embcheck import Estimate, above, claim

@claim(above(0.0), on_noise="any")
def deadly(table):
    """Its first run in a process kills it."""
    mark = Path({mark!r})
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Estimate.exact(1.0)
'''


@pytest.mark.slow
def test_killed_process_is_replaced(run, tmp_path):
    """A worker process that is killed breaks its pool; the sweep makes a new one and ends complete."""
    file = tmp_path / "deadly.py"
    file.write_text(KILLER.format(mark=str(tmp_path / "mark")))
    found = swept(run, tmp_path / "out.parquet", executor="process", property_files=[file], properties=["deadly"])
    assert [row["verdict"] for row in found.rows] == ["holds"] * 12
    assert (tmp_path / "mark").exists()


OWN = """
import os
from embcheck import Estimate, above, claim

@claim(above(0.0), on_noise="any")
def divides(table):
    \"\"\"It divides by nothing.\"\"\"
    return Estimate.exact(1 / 0)

@claim(above(0.0), on_noise="any")
def kills(table):
    \"\"\"It takes its process with it.\"\"\"
    os._exit(9)

@claim(above(0.0), on_noise="any")
def works(table):
    \"\"\"It works.\"\"\"
    return Estimate.exact(1.0)
"""


@pytest.mark.parametrize(
    ("bad", "executor", "says"),
    [
        ("divides", "thread", "division by zero"),
        pytest.param("kills", "process", "died each time", marks=pytest.mark.slow),
    ],
)
def test_one_bad_property_is_an_error_of_its_own(run, tmp_path, bad, executor, says):
    """Its neighbours in the task have their results, whether it raises or takes its process with it."""
    file = tmp_path / "own.py"
    file.write_text(OWN)
    options = {"executor": executor, "property_files": [file], "properties": [bad, "works"], "workers": 1}
    found = sweep([str(run / "checkpoint-0")], out=tmp_path / "out.parquet", **options)
    assert [(row["label"], row["verdict"]) for row in found.rows] == [(bad, "error"), ("works", "holds")]
    assert says in found.rows[0]["reason"]


DRIVER = """
import sys
from embcheck.sweep import sweep

if __name__ == "__main__":
    sweep([sys.argv[1]], out=sys.argv[2], property_files=[sys.argv[3]], properties=["waits"], workers=1)
"""
WAITING = '''
import os, time
from pathlib import Path
from embcheck import Estimate, above, claim

@claim(above(0.0))
def waits(table):
    """It says which process it runs in, and takes its time."""
    Path({mark!r}).write_text(str(os.getpid()))
    time.sleep(60)
    return Estimate.exact(1.0)
'''


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are looked for as POSIX has them")
def test_workers_leave_with_the_driver(run, tmp_path):
    """A driver that is killed leaves no process behind."""
    mark, script, file = (tmp_path / name for name in ("mark", "driver.py", "own.py"))
    script.write_text(DRIVER)
    file.write_text(WAITING.format(mark=str(mark)))
    command = [sys.executable, str(script), str(run / "checkpoint-0"), str(tmp_path / "out.parquet"), str(file)]
    driver = subprocess.Popen(command)
    until = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()):
        assert driver.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    worker = int(mark.read_text())
    until = time.monotonic() + 10
    while (is_left := _is_alive(worker)) and time.monotonic() < until:
        time.sleep(0.05)
    if is_left:
        os.kill(worker, signal.SIGKILL)
    assert not is_left


def _is_alive(process):
    """Whether there is such a process, other than one that ended and nobody has asked after."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_driver_costs_the_same_for_each_task(run, tmp_path):
    """With thousands of finished tables a task is worked out in milliseconds, and its message stays small."""
    checks = {check.label: check for check in checks_of(collect_functions(()))[:10]}
    (one,) = checkpoints([str(run / "checkpoint-0")])
    with drive.Store(tmp_path / "out.parquet") as store:
        state = Sweep((one,), checks, How(Settings()), store, {})
        (job,) = state.lacking(len(checks))
        for i, check in ((i, check) for i in range(3_000) for check in checks.values()):
            row = {"table": f"{i:064}:{i:064}", "verdict": "skipped", "value": None}
            store.finished[key_of(row["table"], check, state.how, PerModel())] = row
        first = pickle.dumps(list(state.tasks(job)))
        started = time.perf_counter()
        for _ in range(100):
            tasks = list(state.tasks(job))
        assert time.perf_counter() - started < 1.0
    assert len(tasks[0].known) == KNOWN_TABLES
    assert len(pickle.dumps(tasks)) == len(first) < 100_000


def test_checkpoint_that_cannot_be_read_is_an_error(run, tmp_path, capsys):
    """The others are measured; the command exits 4 and names it."""
    bad = tmp_path / "r" / "checkpoint-1"
    shutil.copytree(run / "checkpoint-0", bad)
    (bad / "model.safetensors").unlink()
    (bad / "model.safetensors").write_bytes(b"\0" * 9)
    shutil.copytree(run / "checkpoint-10", tmp_path / "r" / "checkpoint-2")
    out = tmp_path / "out.parquet"
    arguments = ["sweep", "--glob", str(tmp_path / "r" / "*"), "--property", "isotropy", "--executor", "thread"]
    assert main([*arguments, "--out", str(out)]) == 4
    first, second = read(out)
    assert (first["verdict"], second["verdict"]) == ("error", "holds")
    assert "model.safetensors" in first["reason"]
    assert "error" in capsys.readouterr().out


def test_tasks_wait_for_memory(run, tmp_path, monkeypatch):
    """No two tasks run at once where memory holds one table; all do in the end."""
    running, most = set(), []

    def counted(task):
        running.add(task.spec.text)
        most.append(len(running))
        try:
            return measure(task)
        finally:
            running.remove(task.spec.text)

    monkeypatch.setattr(drive, "measure", counted)
    found = swept(run, tmp_path / "out.parquet", workers=4, memory=1, properties=NAMES[1:])
    assert found.computed == 12
    assert max(most) == 1


@pytest.mark.slow
def test_shards_add_to_one_file(run, serial, tmp_path):
    """Three parts, two of them at once, then one sweep that computes nothing and has them all."""
    out = tmp_path / "sweep.parquet"
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda i: swept(run, out, shard=(i, 3)), (1, 2)))
    parts.append(swept(run, out, shard=(3, 3)))
    assert [part.computed for part in parts] == [8, 8, 8]
    assert not out.exists()
    gathered = swept(run, out)
    assert gathered.computed == 0
    assert numbers(gathered.rows) == numbers(serial.rows)
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.parquet"]


@pytest.mark.slow
def test_what_a_shard_adds_meanwhile_is_kept(run, tmp_path):
    """A part that came after the gathering sweep had read stays, and is gathered by the next."""
    out = tmp_path / "sweep.parquet"
    swept(run, out, shard=(1, 2))
    with drive.Store(out) as store:
        swept(run, out, shard=(2, 2))
        store.finish([])
    assert len(read(out)) == 12
    assert swept(run, out).computed == 0


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b"])
def test_a_shard_that_is_none_is_refused(run, capsys, text):
    """One line that says what it takes."""
    arguments = ["sweep", str(run / "checkpoint-0"), "--property", "isotropy", "--shard", text]
    assert main(arguments) == 4
    assert "shard must be" in capsys.readouterr().err


def test_two_sweeps_do_not_share_a_file(run, tmp_path):
    """The second is told of the first."""
    out = tmp_path / "sweep.parquet"
    with drive.Store(out), pytest.raises(EmbcheckError, match="another sweep is writing"):
        swept(run, out)


@pytest.mark.parametrize("text", [b"", b"PAR1 nothing", None])
def test_file_that_is_no_sweep_is_left_alone(run, tmp_path, text):
    """It may be somebody's data."""
    out = tmp_path / "other.parquet"
    if text is None:
        import pyarrow as pa

        pq.write_table(pa.table({"a": [1]}), out)
    else:
        out.write_bytes(text)
    before = out.read_bytes()
    with pytest.raises(EmbcheckError, match=r"other\.parquet"):
        swept(run, out)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"executor": "rays"}, "unknown executor 'rays'"),
        pytest.param({"executor": "dask://127.0.0.1:1"}, "no Dask scheduler answers", marks=pytest.mark.slow),
        ({"workers": 0}, "at least 1"),
        ({"group": 0}, "at least 1"),
        ({"properties": ["nothing"]}, "no property matches"),
    ],
)
def test_wrong_options_are_refused(run, tmp_path, options, says):
    """One line each, and no file is left."""
    with pytest.raises((UsageError, EmbcheckError), match=says):
        swept(run, tmp_path / "out.parquet", **options)
    assert not (tmp_path / "out.parquet").exists()


def test_missing_folder_is_refused(run, tmp_path, capsys):
    """Before anything is measured."""
    out = tmp_path / "no" / "sweep.parquet"
    assert main(["sweep", str(run / "checkpoint-0"), "--property", "isotropy", "--out", str(out)]) == 4
    assert "can't write beside" in capsys.readouterr().err


WATCHED = """
import re, sys, threading, time
import torch, numpy, scipy.stats
from embcheck.settings import Settings
from embcheck.spec import parse
from embcheck.sweep.worker import How, Task, measure

def held():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def watch():
    while True:
        most[-1] = max(most[-1], held())
        time.sleep(0.002)

before, most = held(), [0]
threading.Thread(target=watch, daemon=True).start()
how = How(Settings(), population="all")
for text in sys.argv[2:]:
    most.append(0)
    assert measure(Task(parse(text), tuple(sys.argv[1].split()), how))[0].error is None
print(*(one - before for one in most[1:]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from Linux's /proc")  # noqa: PTH110
@pytest.mark.slow
def test_a_worker_holds_one_table_and_the_budget(tmp_path):
    """Of three checkpoints of 103 MB one after the other, never two; with what it works with, less than was stated."""
    rows, width = 200_000, 128
    folder = training_runs.write(tmp_path / "a", [0, 10, 20], 30, rows=rows, width=width)
    specs = [str(folder / f"checkpoint-{step}") for step in (0, 10, 20)]
    command = [sys.executable, "-c", WATCHED, f"{training_runs.PROPERTY} isotropy hubness", *specs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table, most = 4 * rows * width, [int(number) for number in done.stdout.split()]
    assert max(most) < table + drive.WORKING_BYTES
    assert max(most[1:]) < most[0] + table
