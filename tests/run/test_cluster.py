"""A store of documents on clusters: Dask's with a worker that is killed, and Ray's where it is installed.

``EMBCHECK_STORE_ROWS=20000000`` takes a store of 2.5 GB in 40 files.
"""

import math
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet

import embcheck

ROWS, WIDTH = int(os.environ.get("EMBCHECK_STORE_ROWS", "120000")), 64
FILES = 40 if ROWS > 10**6 else 10
MEMORY = 600 * 10**6

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    mean = 0.15 * rng.standard_normal(WIDTH)
    for number in range(FILES):
        rows = (rng.standard_normal((ROWS // FILES, WIDTH), dtype=np.float32) + mean).astype(np.float16)
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), WIDTH)
        parquet.write_table(pa.table({"vector": column}), folder / f"{number:02}.parquet")
    return f"parquet:{folder},vectors=vector"


@pytest.fixture(scope="module")
def whole(store):
    """The run in one piece."""
    return embcheck.check(store)


def assert_equal(run, whole):
    """Verdicts are equal, and values to the rounding of float32 products."""
    assert [(r.check.label, r.verdict) for r in run] == [(r.check.label, r.verdict) for r in whole]
    for ours, theirs in zip(run, whole, strict=True):
        if theirs.estimate is not None:
            assert ours.estimate.value == pytest.approx(theirs.estimate.value, rel=1e-6, abs=1e-7), ours.check.label
    assert run.report.models[0].weights_sha256 == whole.report.models[0].weights_sha256


class Watch(Thread):
    """Looks at what memory workers take, and kills the first after some seconds, if it is to."""

    def __init__(self, workers, after=math.inf):
        super().__init__(daemon=True)
        self.workers, self.until, self.most, self.killed = workers, time.monotonic() + after, 0, None
        self.done = Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()

    def run(self):
        """Until the block is left."""
        while not self.done.wait(0.1):
            with suppress(psutil.NoSuchProcess, OSError):
                workers = self.workers()
                self.most = max([self.most, *map(held, workers)])
                if self.killed is None and time.monotonic() > self.until:
                    self.killed = workers[0].pid
                    workers[0].kill()


def held(worker):
    """What is in memory of a process, but for pages that it shares with an engine's store of objects."""
    kilobytes = dict(re.findall(r"(VmRSS|RssShmem):\s+(\d+)", Path(f"/proc/{worker.pid}/status").read_text()))
    return 1024 * (int(kilobytes.get("VmRSS", 0)) - int(kilobytes.get("RssShmem", 0)))


def test_on_dask_with_a_worker_that_is_killed(store, whole):
    """Its parts are done again by the other; no worker takes more than 600 MB."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=MEMORY, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    )

    def workers():
        return [psutil.Process(nanny.pid) for nanny in cluster.workers.values() if nanny.pid]

    with cluster, distributed.Client(cluster) as client, Watch(workers, after=5) as watch:
        run = embcheck.check(store, executor=client.get_executor(pure=False))
    assert_equal(run, whole)
    assert watch.killed
    assert 0 < watch.most < MEMORY


def test_on_ray(store, whole):
    """The same numbers, and no worker takes more than 600 MB of its own."""
    pytest.importorskip("ray")

    def workers():
        return [it for it in psutil.process_iter(["name"]) if (it.info["name"] or "").startswith("ray::")]

    with Watch(workers) as watch:
        run = embcheck.check(store, executor="ray")
    assert_equal(run, whole)
    assert 0 < watch.most < MEMORY
