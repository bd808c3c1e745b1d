"""A store of documents on clusters: Dask's with a worker that is killed, and Ray's where it is installed.

``EMBCHECK_STORE_ROWS=20000000`` takes a store of 2.5 GB in 40 files.
"""

import os
import signal
import time
from contextlib import suppress
from threading import Thread

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
    """Looks at what memory the workers of a cluster take, and kills the first after some seconds."""

    def __init__(self, cluster, after):
        super().__init__(daemon=True)
        self.cluster, self.until, self.most, self.killed = cluster, time.monotonic() + after, 0, None

    def run(self):
        """Until the cluster closes."""
        while not self.cluster.status.name.startswith("clos"):
            pids = [nanny.pid for nanny in self.cluster.workers.values() if nanny.pid]
            if self.killed is None and time.monotonic() > self.until:
                self.killed = pids[0]
                os.kill(self.killed, signal.SIGKILL)
            for pid in pids:
                with suppress(psutil.NoSuchProcess):
                    self.most = max(self.most, psutil.Process(pid).memory_info().rss)
            time.sleep(0.1)


def test_on_dask_with_a_worker_that_is_killed(store, whole):
    """Its parts are done again by the other; no worker takes more than 600 MB."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=MEMORY, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        watch = Watch(cluster, after=5)
        watch.start()
        run = embcheck.check(store, executor=client.get_executor(pure=False))
    assert_equal(run, whole)
    assert watch.killed
    assert watch.most < MEMORY


def test_on_ray(store, whole):
    """The same numbers."""
    pytest.importorskip("ray")
    assert_equal(embcheck.check(store, executor="ray"), whole)
