"""A sweep on a real Dask scheduler: a worker is killed, the client interrupted, and the end is complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pyarrow.parquet as pq
import pytest
import training_runs

from embcheck.sweep import sweep
from embcheck.sweep.store import read

pytestmark = pytest.mark.slow
FULL = bool(os.environ.get("TEST_EMBCHECK_FULL"))
CHECKPOINTS, ROWS, WIDTH = (200, 26_000, 96) if FULL else (24, 2_000, 32)  # 10 MB each
FREE = {"seconds"}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(host="127.0.0.1", **options) as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    steps = list(range(0, CHECKPOINTS * 10, 10))
    return training_runs.write(tmp_path_factory.mktemp("dask") / "a", steps, steps[-5], rows=ROWS, width=WIDTH)


def finished(parts):
    """Results in the parts."""
    return sum(pq.read_metadata(part).num_rows for part in parts.glob("*.parquet"))


def wait_for(parts, count, process):
    while finished(parts) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)


def test_killed_worker_and_interrupted_client(cluster, runs, tmp_path):
    """Nothing finished is computed twice, nothing is missing, and the numbers are those of one task after the other."""
    out = tmp_path / "sweep.parquet"
    parts = tmp_path / "sweep.parquet.parts"
    address = cluster.scheduler_address.removeprefix("tcp://")
    pattern, names = str(runs / "checkpoint-*"), (training_runs.PROPERTY, "isotropy")
    selection = [word for name in names for word in ("--property", name)]
    arguments = ["sweep", "--glob", pattern, *selection, "--executor", f"dask://{address}", "--out", str(out)]
    command = [sys.executable, "-m", "embcheck", *arguments]

    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # where this process ignores it, its children would
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)  # noqa: PLW1509
    wait_for(parts, CHECKPOINTS // 4, first)
    os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
    wait_for(parts, CHECKPOINTS // 2, first)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)[1]
    assert first.returncode == 2, said
    assert "goes on from there" in said
    kept = finished(parts)
    assert CHECKPOINTS // 2 <= kept < 2 * CHECKPOINTS

    found = sweep(globs=[pattern], out=out, executor=f"dask://{address}", properties=names)
    assert found.computed == 2 * CHECKPOINTS - kept
    assert not parts.exists()
    rows = read(out)
    assert len({row["key"] for row in rows}) == len(rows) == 2 * CHECKPOINTS

    serial = sweep(globs=[pattern], out=tmp_path / "serial.parquet", executor="thread", workers=1, properties=names)
    assert [{k: v for k, v in row.items() if k not in FREE} for row in rows] == [
        {k: v for k, v in row.items() if k not in FREE} for row in serial.rows
    ]


CLUSTER = """
import time
from distributed import LocalCluster

options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
with LocalCluster(host="127.0.0.1", protocol="tcp://", **options) as own:
    print(own.scheduler_address, flush=True)
    time.sleep(600)
"""


def test_killed_scheduler(runs, tmp_path):
    """The sweep ends with exit code 1 and one line, and what was finished is kept for the next."""
    pytest.importorskip("distributed")
    out, parts = tmp_path / "sweep.parquet", tmp_path / "sweep.parquet.parts"
    cluster = subprocess.Popen([sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, text=True)
    address = cluster.stdout.readline().strip().removeprefix("tcp://")
    arguments = ["sweep", "--glob", str(runs / "checkpoint-*"), "--property", training_runs.PROPERTY]
    command = [sys.executable, "-m", "embcheck", *arguments, "--executor", f"dask://{address}", "--out", str(out)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(parts, 3, first)
        cluster.kill()
        said = first.communicate(timeout=120)[1]
    finally:
        cluster.kill()
        cluster.wait()
        first.kill()
        cluster.stdout.close()
    assert first.returncode == 1, said
    assert "what is finished is kept" in said
    assert "internal error" not in said
    kept = finished(parts)
    assert kept >= 3
    again = sweep(globs=[str(runs / "checkpoint-*")], out=out, executor="thread", properties=[training_runs.PROPERTY])
    assert again.computed == CHECKPOINTS - kept
