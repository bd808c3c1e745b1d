"""Sweeps where an engine shares out the work: one that is made of threads here, Dask's, and Ray's."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from training_runs import numbers, swept

from embcheck import sources
from embcheck.errors import UsageError
from embcheck.spec import parse
from embcheck.sweep import drive
from embcheck.sweep.worker import measure
from embcheck.table import pools
from embcheck.table.pools import Pool, UnfinishedError, pool_of


class Engine(ThreadPoolExecutor):
    """Keeps what it is asked for, and how much is under way; loses the first tasks of one checkpoint."""

    def __init__(self, lost=()):
        super().__init__(16)
        self.lost, self.asked, self.under_way, self.most = list(lost), [], 0, []
        self.lock = threading.Lock()

    def submit(self, function, *tasks, **needs):  # noqa: D102
        (task,) = tasks
        self.asked.append((task.spec.text.rpartition("-")[2], task.labels, needs))
        if task.spec.text.endswith("checkpoint-30") and self.lost:
            future = Future()
            future.set_exception(self.lost.pop(0))
            return future
        with self.lock:
            self.under_way += 1
            self.most.append(self.under_way)
        return super().submit(self.run, function, tasks)

    def run(self, function, tasks):  # noqa: D102
        try:
            return function(*tasks)
        finally:
            with self.lock:
                self.under_way -= 1


def through(engine, monkeypatch, takes=lambda: 2, **more):
    """Sweeps go there from now on."""
    pool = Pool(lambda: engine, 1, here=False, takes=takes, **more)
    monkeypatch.setattr(drive, "pool_of", lambda *_: pool)


def test_an_engine_that_grows_is_given_more(run, serial, tmp_path, monkeypatch):
    """One at first, three later; the numbers are the same."""
    engine, held = Engine(), threading.Event()
    through(engine, monkeypatch, lambda: 1 if len(engine.asked) < 4 else 3)

    def three_at_once(*tasks):
        if len(engine.asked) > 4:
            held.wait(0.3)
        return measure(*tasks)

    monkeypatch.setattr(drive, "measure", three_at_once)
    found = swept(run, tmp_path / "sweep.parquet")
    assert max(engine.most[:4]) == 1
    assert max(engine.most) == 3
    assert numbers(found.rows) == numbers(serial.rows)


def test_an_engine_is_told_what_a_task_takes(run, tmp_path, monkeypatch):
    """Its table, and what a worker takes beside it."""
    engine = Engine()
    through(engine, monkeypatch, needs=lambda size: {"memory": size})
    swept(run, tmp_path / "sweep.parquet")
    (size,) = {needs["memory"] for _, _, needs in engine.asked}
    assert size == 2**30 + sources.describe(parse(str(run / "checkpoint-0"))).bytes > 2**30


@pytest.mark.parametrize(
    ("lost", "asked"),
    [
        ([RuntimeError("killed")], [2, 1, 1]),  # the engine tried: each check by itself now
        ([BrokenExecutor("lost")], [2, 2]),  # it did not: the same again
        ([BrokenExecutor("lost"), RuntimeError("killed")], [2, 2, 1, 1]),
    ],
)
def test_what_an_engine_tried_is_divided_at_once(run, serial, tmp_path, monkeypatch, lost, asked):
    """It did again by itself what a worker died over, so that only the checks at fault are left to be found."""
    engine = Engine(lost)
    through(engine, monkeypatch)
    found = swept(run, tmp_path / "sweep.parquet")
    assert [len(labels) for step, labels, _ in engine.asked if step == "30"] == asked
    assert numbers(found.rows) == numbers(serial.rows)


def test_a_check_that_dies_alone_is_an_error(run, tmp_path, monkeypatch):
    """The other of its checkpoint is measured."""
    through(Engine([RuntimeError("killed")] * 2), monkeypatch)
    found = swept(run, tmp_path / "sweep.parquet")
    assert [row["reason"] for row in found.errors] == ["the task died each time it was tried: RuntimeError: killed"]
    assert found.computed == 23


def test_memory_is_the_engines_own(run, tmp_path, monkeypatch):
    """What tasks may take on this machine says nothing to one."""
    through(Engine(), monkeypatch)
    with pytest.raises(UsageError, match="a cluster shares out its own"):
        swept(run, tmp_path / "sweep.parquet", memory=2**30)
    assert not (tmp_path / "sweep.parquet").exists()


def test_an_engine_that_is_gone_between_tasks_is_told(run, tmp_path, monkeypatch):
    """Where it is asked for its places, or told of a task: what is finished is kept, and no trace is shown."""

    def gone(*_):
        raise ConnectionError

    through(Engine(), monkeypatch, takes=gone)
    with pytest.raises(UnfinishedError, match=r"the executor is gone \(ConnectionError\); what is finished is kept"):
        swept(run, tmp_path / "sweep.parquet")
    through(Engine(), monkeypatch, needs=gone)
    with pytest.raises(UnfinishedError, match=r"the executor takes no tasks \(ConnectionError\)"):
        swept(run, tmp_path / "sweep.parquet")


def test_an_executor_of_dask_keeps_its_resources_and_its_cluster_is_followed(monkeypatch):
    """What its user says with each task, who may name workers, goes along; a worker that comes is given work."""
    distributed = pytest.importorskip("distributed")
    options = {
        "n_workers": 1,
        "threads_per_worker": 1,
        "processes": False,
        "memory_limit": 0,
        "resources": {"TABLE": 1},
    }
    with (
        distributed.LocalCluster(host="127.0.0.1", protocol="tcp://", dashboard_address=":0", **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pool = pool_of(client.get_executor(pure=False, resources={"TABLE": 1}), None)
        assert (pool.slots, pool.takes()) == (1, 1)
        executor = pool.make()
        assert executor.submit(int).result(20) == 0
        assert executor._kwargs["resources"] == {"TABLE": 1}
        (name,) = client.scheduler_info()["workers"]
        assert pool.near() == [{}]  # Dask's scheduler fails over both
        assert pool_of(client.get_executor(), None).near() == [{"workers": [name], "allow_other_workers": True}]
        assert pool_of(client.get_executor(workers=[name]), None).near() == [{}]
        monkeypatch.setattr(pools, "_SILENT", 0.2)
        waits = pool_of(client.get_executor(resources={"TABLE": 2}), None).make().submit(int)
        with pytest.raises(TimeoutError):  # for a worker that has it, as its user wishes
            waits.result(1)
        waits.cancel()
        cluster.scale(2)
        client.wait_for_workers(2)
        assert pool.takes() == 2
        assert pool_of(client.get_executor(), 3).takes() == 3


@pytest.mark.parametrize(
    ("environment", "named", "started"), [(None, "local", True), ("10.0.0.5:6379", "10.0.0.5:6379", False)]
)
def test_ray_is_started_here_or_is_the_jobs_own(monkeypatch, environment, named, started):
    """A Ray that others started on this machine would refuse a number of workers, and is theirs."""
    asked = []

    def init(address, **options):
        asked.append((address, "num_cpus" in options))

    ray = SimpleNamespace(
        init=init,
        is_initialized=lambda: False,
        shutdown=None,
        cluster_resources=lambda: {"CPU": 3.0},
        nodes=lambda: [
            {"Alive": True, "Resources": {"memory": 10.0**10}},  # a head that runs no tasks
            {"Alive": True, "Resources": {"CPU": 3.0, "memory": 5.0}},
            {"Alive": False, "Resources": {"CPU": 3.0, "memory": 10.0**10}},
        ],
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    pool = pool_of("ray", None)
    assert asked == [(named, started)]
    assert (pool.here, pool.slots, pool.takes()) == (started, 3, 3)
    assert [pool.needs(size) for size in (4, 8)] == [{"memory": 4}, {"memory": 5}]


@pytest.mark.slow
def test_on_ray(run, serial, tmp_path):
    """The same numbers; more memory than there is would wait for ever; one that runs already is left running."""
    ray = pytest.importorskip("ray")
    found = swept(run, tmp_path / "own.parquet", executor="ray", workers=2)
    assert numbers(found.rows) == numbers(serial.rows)
    assert not ray.is_initialized()
    ray.init("local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        pool = pool_of("ray", None)
        most = pool.needs(10**15)["memory"]
        assert 0 < most < 10**15
        assert pool.needs(1000) == {"memory": 1000}
        executor = pool.make()
        assert executor.submit(int, memory=most).result(60) == 0
        assert pool.takes() == 2
        pool.close()
        assert ray.is_initialized()
    finally:
        ray.shutdown()
