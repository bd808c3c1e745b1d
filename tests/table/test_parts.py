"""A table in parts: the same numbers whatever the parts, wherever and in whatever order they are worked on."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import time
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

import embcheck
from embcheck.errors import ChecksFailed, EmbcheckError, SourceError
from embcheck.measures.kernels import blocks, equal, nearest, probe_cosines, spectrum
from embcheck.table import pools
from embcheck.table.parts import Parts, as_tensor
from embcheck.table.pools import Pool, pool_of
from embcheck.table.spool import Spool
from embcheck.table.table import weights_sha256
from embcheck.table.tasks import Part


def _rows(matrix):
    return [matrix]


def _dies_once(path, matrix):
    """Ends its process the first time, where that is a worker."""
    if path.exists():
        return [matrix]
    if multiprocessing.parent_process() is not None:
        path.touch()
    return _dies(matrix)


def _dies(matrix):
    """Ends every worker; this process reads the same rows, to hash them."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return [matrix]


def _first_columns(rows):
    return rows[:, :4]


def _is_damaged():
    raise SourceError("part 1 is damaged; get it again")


def in_parts(table, count, reading=None, executor=None):
    """The table cut into so many parts; ``reading`` has other ways to read some of them."""
    cuts = np.linspace(0, len(table.vectors), count + 1).astype(int).tolist()
    parts = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        read = (reading or {}).get(number, partial(_rows, table.vectors[start:stop]))
        shape = (stop - start, table.width)
        parts.append(Part(f"part {number}", shape, f"{id(table)} {number}", read))
    laid_out = Parts(parts, str(table.vectors.dtype).removeprefix("torch."))
    if executor is not None:
        laid_out.pool = pool_of(executor, None)
    return replace(table, vectors=as_tensor(laid_out), memo={})


class Backwards(Executor):
    """Does what it is given when it is asked for, the last of all first."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args, **kwargs):
        """As every executor does."""
        future = Future()
        future.result = partial(self._result, future, Future.result)
        self.waiting.append((future, fn, args, kwargs))
        return future

    def _result(self, future, result, timeout=None):
        while self.waiting:
            done, fn, args, kwargs = self.waiting.pop()
            done.set_result(fn(*args, **kwargs))
        return result(future, timeout)


@pytest.fixture(scope="module", params=[torch.float32, torch.float16], ids=str)
def table(request, gaussian_table):
    made = gaussian_table(1_300, 24, shift=0.2, gaps=True, dtype=request.param)
    vectors = made.vectors.clone()
    vectors[900], vectors[1_200] = vectors[30], vectors[30]
    return made.with_vectors(vectors)


@pytest.mark.parametrize("executor", [None, Backwards], ids=["in order", "backwards"])
@pytest.mark.parametrize("count", [1, 7, 64])
def test_integers_are_the_same_and_sums_nearly(table, count, executor):
    """Counts, lists and copies equal those of the table in memory, sums to 1e-12 of what is summed."""
    cut = in_parts(table, count, executor=executor and executor())
    probes = table.probes(70)
    ours, theirs = (probe_cosines.probe_statistics(t, probes, median=True) for t in (cut, table))
    np.testing.assert_array_equal(cut.norms, table.norms)
    assert cut.probes(70).tolist() == probes.tolist()
    assert ours.non_negative.tolist() == theirs.non_negative.tolist()
    assert probe_cosines.row_counts(cut, probes).tolist() == probe_cosines.row_counts(table, probes).tolist()
    for by in ("cosine", "distance"):
        assert nearest.nearest(cut, probes, 9, by).tolist() == nearest.nearest(table, probes, 9, by).tolist()
    assert (
        nearest.top_k(cut, table.units(probes), 9)[0].tolist()
        == nearest.top_k(table, table.units(probes), 9)[0].tolist()
    )
    assert [g.tolist() for g in equal.equal_groups(cut)] == [g.tolist() for g in equal.equal_groups(table)] != []
    for sum_of in (blocks.unit_sum, blocks.mean_vector):
        np.testing.assert_allclose(sum_of(cut), sum_of(table), rtol=0, atol=1e-12 * len(table.population))
    np.testing.assert_allclose(
        [ours.minimum, ours.maximum, ours.mean], [theirs.minimum, theirs.maximum, theirs.mean], atol=2e-7
    )
    np.testing.assert_allclose(ours.median, theirs.median, atol=1 / 32_767)
    ours, theirs = spectrum.spectrum_of(cut), spectrum.spectrum_of(table)
    np.testing.assert_allclose(ours.centred, theirs.centred, rtol=1e-6)


def test_neighbors_of_encoded_rows_where_a_part_becomes_zero(gaussian_table):
    """They are those of the encoded table in memory; rows that became zero are nobody's."""
    table = gaussian_table(300, 8)
    vectors = table.vectors.clone()
    vectors[60:130, :4] = 0
    table, encoded = table.with_vectors(vectors), table.with_vectors(vectors[:, :4].clone())
    probes = np.concatenate([np.arange(20), np.arange(140, 160)])
    expected = encoded.population[nearest.nearest(encoded, probes, 9)]
    assert not set(expected.ravel()) & set(range(60, 130))
    for some in (table, in_parts(table, 6)):
        assert nearest.nearest(some, probes, 9, encode=_first_columns).tolist() == expected.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_default_check_says_the_same(lexicon_table, count):
    """Verdicts, exact values and units are those of the table in memory."""
    table = lexicon_table()
    table = table.with_vectors(table.vectors.float() + 0.2)
    whole, cut = embcheck.check(table), embcheck.check(in_parts(table, count))
    assert [(r.check.label, r.verdict) for r in cut] == [(r.check.label, r.verdict) for r in whole]
    for ours, theirs in zip(cut, whole, strict=True):
        if theirs.estimate is not None:
            assert ours.estimate.value == pytest.approx(theirs.estimate.value, rel=1e-6, abs=1e-7), ours.check.label


@pytest.fixture(scope="module")
def many(gaussian_table):
    """As many rows as a large vocabulary has, and how checks of them come out in memory."""
    rows = gaussian_table(262_144, 64, shift=0.2, dtype=torch.float16)
    return rows, embcheck.check(rows)


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 64])
def test_a_large_matrix_says_the_same(many, count):
    """Verdicts are those of the matrix in memory, and values to the rounding of float32 products, last part first."""
    table, whole = many
    cut = embcheck.check(in_parts(table, count, executor=Backwards()))
    assert [(r.check.label, r.verdict) for r in cut] == [(r.check.label, r.verdict) for r in whole]
    for ours, theirs in zip(cut, whole, strict=True):
        if theirs.estimate is not None:
            assert ours.estimate.value == pytest.approx(theirs.estimate.value, rel=1e-6, abs=1e-7), ours.check.label


def test_parts_travel_together_to_where_they_were(gaussian_table):
    """A message has several parts, and the same ones always go to the same worker."""
    table, sent = gaussian_table(640, 8), []

    class Executor(Backwards):
        def submit(self, fn, tasks, *, worker):
            sent.extend((task.number, worker) for task in tasks)
            return super().submit(fn, tasks)

    executor = Executor()
    cut = in_parts(table, 64)
    cut.parts.pool = Pool(lambda: executor, 2, near=lambda: [{"worker": "a"}, {"worker": "b"}])
    assert cut.norms.tolist() == table.norms.tolist()
    assert len(executor.waiting) == 0 < len(sent) == 64
    first = dict(sent)
    assert list(first.values()) == (["a"] * 8 + ["b"] * 8) * 4
    blocks.unit_sum(cut)
    assert dict(sent[64:]) == first


def test_rows_are_hashed_while_others_are_waited_for(table):
    """A pass whose answers are long in coming leaves nothing to hash."""
    cut, executor = in_parts(table, 7), Backwards()
    cut.parts.pool = Pool(lambda: executor, 1)
    assert len(cut.norms) == len(table.norms)
    assert not cut.parts.hashing.step()
    assert weights_sha256(cut.vectors) == weights_sha256(table.vectors)


def test_a_full_disk_costs_no_number(table, monkeypatch):
    """Rows that can't be kept in a file are read again."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embcheck.table.tasks._spool", Spool())
    monkeypatch.setattr(Spool, "_keep", full)
    cut = in_parts(table, 7)
    np.testing.assert_array_equal(cut.norms, table.norms)
    assert torch.equal(cut.stored(np.array([5, 1_299])), table.vectors[[5, 1_299]])


def test_rows_are_those_of_the_matrix(table):
    """By slices and by ids, in any order and repeated, also where some were asked for before."""
    cut = in_parts(table, 7)
    assert torch.equal(cut.vectors[100:900].nan_to_num(), table.vectors[100:900].nan_to_num())
    for ids in ([5, 1_299, 5, 0], [3, 2, 1], [5, 1_000, 4, 3]):
        assert torch.equal(cut.stored(np.array(ids)), table.vectors[torch.tensor(ids)])
    assert cut.provenance.weights_sha256 == table.provenance.weights_sha256


@pytest.mark.slow
def test_the_work_of_a_process_that_died_is_done_again(gaussian_table, tmp_path):
    """Another process reads the part; nothing is lost or counted twice."""
    table = gaussian_table(400, 8)
    once = partial(_dies_once, tmp_path / "died", table.vectors[100:200].clone())
    cut = in_parts(table, 4, {1: once}, executor="process")
    assert cut.norms.tolist() == table.norms.tolist()
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_a_part_that_kills_every_process_is_named(gaussian_table):
    """After some tries the run ends with the part's name."""
    table = gaussian_table(40, 8)
    cut = in_parts(table, 2, {1: partial(_dies, table.vectors)}, executor="process")
    with pytest.raises(EmbcheckError, match=r"part 1: no worker got through it in 3 tries \(BrokenProcessPool"):
        _ = cut.norms


class Losing(ThreadPoolExecutor):
    """Loses some tasks, and says so in words of its own, as engines do."""

    def __init__(self, losses, error):
        super().__init__(1)
        self.losses, self.error, self.sizes = losses, error, []

    def submit(self, fn, tasks):  # noqa: D102
        self.sizes.append(len(tasks))
        if self.losses:
            self.losses -= 1
            if isinstance(self.error, OSError):
                raise self.error
            lost = Future()
            if self.error is None:
                lost.cancel()
            else:
                lost.set_exception(self.error)
            return lost
        return super().submit(fn, tasks)


@pytest.mark.parametrize("error", [RuntimeError("Worker 7 crashed"), OSError("no scheduler"), None])
def test_what_an_executor_loses_is_done_again(gaussian_table, error):
    """Whatever it calls that, and where it takes no task too: each part alone; after three tries the part is named."""
    cut, executor = in_parts(gaussian_table(64, 8), 8), Losing(1, error)
    cut.parts.pool = Pool(lambda: executor, 1)
    assert cut.norms.tolist() == gaussian_table(64, 8).norms.tolist()
    assert executor.sizes == [2, 2, 2, 2, 1, 1]
    cut = in_parts(gaussian_table(64, 8), 2)
    cut.parts.pool = Pool(lambda: Losing(99, error), 1)
    with pytest.raises(
        EmbcheckError, match=r"part 0: no worker got through it in 3 tries \((Runtime|OS|Cancelled)Error"
    ):
        _ = cut.norms


def test_an_executor_that_is_gone_is_not_asked_again(gaussian_table):
    """The run ends and says so."""
    cut, executor = in_parts(gaussian_table(64, 8), 2), Losing(99, RuntimeError("closed"))
    cut.parts.pool = Pool(lambda: executor, 1, is_gone=lambda: True)
    with pytest.raises(EmbcheckError, match=r"the executor is gone or broken \(RuntimeError: closed\)"):
        _ = cut.norms
    assert executor.sizes == [1, 1]


def _fails(*_):
    raise ZeroDivisionError("of the work's own")


@pytest.mark.parametrize("executor", ["thread", pytest.param("process", marks=pytest.mark.slow)])
def test_what_the_work_raises_is_raised_here(gaussian_table, executor):
    """At once, as what it is, with where it arose: no worker is asked again."""
    cut = in_parts(gaussian_table(64, 8), 2, executor=executor)
    with pytest.raises(ZeroDivisionError, match="of the work's own") as raised:
        cut.parts.over(np.arange(64), _fails, ())
    (note,) = raised.value.__notes__
    assert "in _fails" in note


def test_a_damaged_part_is_named_and_the_others_are_measured(gaussian_table):
    """The run fails, with results of the rows that can be read; a table outside a run refuses."""
    table = gaussian_table(400, 8, shift=1.0)
    with pytest.raises(SourceError, match="part 1 is damaged"):
        _ = in_parts(table, 4, {1: _is_damaged}).population
    run = embcheck.check(in_parts(table, 4, {1: _is_damaged}), properties="isotropy")
    (model,) = run.report.models
    assert model.damaged == {"part 1": "part 1 is damaged; get it again"}
    assert model.population.rows == run[0].estimate.n == 300
    assert run[0].passed
    assert not run.passed
    with pytest.raises(ChecksFailed, match="part 1 is damaged"):
        run.raise_if_failed()


def test_another_dtype_reaches_every_part(gaussian_table):
    """A cast is that of the whole matrix."""
    table = gaussian_table(60, 8)
    cut = in_parts(table, 3)
    assert torch.equal(cut.vectors.to(torch.device("cpu"), torch.float16)[:], table.vectors.half())


@pytest.fixture
def dask_client():
    """Of a scheduler and a worker in this process; the worker takes no task on before it is told to."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "memory_limit": 0}
    with (
        distributed.LocalCluster(host="127.0.0.1", protocol="tcp://", dashboard_address=":0", **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        (client.worker,) = cluster.workers.values()
        client.worker.status = distributed.Status.paused
        yield client


def test_a_task_that_dask_forgot_is_done_again(dask_client, table, monkeypatch):
    """Its worker died while no other could take it on: then it waits, also once others run."""
    import distributed

    monkeypatch.setattr(pools, "_SILENT", 0.2)
    cut, tried = in_parts(table, 3), []

    def near():
        tried.append(dask_client.worker.address)
        if len(tried) == 1:  # the pass has begun: its tasks wait for a worker that is gone, and this one comes back
            dask_client.loop.call_later(0.5, setattr, dask_client.worker, "status", distributed.Status.running)
            return [{"workers": ["tcp://127.0.0.1:9"], "allow_other_workers": True}]
        return [{"workers": [dask_client.worker.address]}]

    cut.parts.pool = replace(pool_of(dask_client.get_executor(), 1), near=near)
    np.testing.assert_array_equal(cut.norms, table.norms)
    assert len(tried) == 2


def test_a_scheduler_that_is_gone_is_told(dask_client, gaussian_table):
    """Between two passes: nobody waits, and the error says what is gone."""
    cut = in_parts(gaussian_table(64, 8), 2)
    cut.parts.pool = pool_of(dask_client.get_executor(), 1)
    dask_client.cluster.close()
    with pytest.raises(EmbcheckError, match="the executor is gone or broken"):
        _ = cut.norms


@pytest.mark.slow
def test_a_task_of_a_worker_that_paused_is_done_again(dask_client, tmp_path, monkeypatch):
    """It was given one while it did another, and then had no memory for more."""
    import distributed

    monkeypatch.setattr(pools, "_SILENT", 2.0)  # a worker says every half second what it does
    dask_client.worker.status = distributed.Status.running
    begun, may_end = tmp_path / "begun", tmp_path / "may end"

    def first():
        begun.touch()
        while not may_end.exists():
            time.sleep(0.05)

    executor = pool_of(dask_client.get_executor(), 1).make()
    futures = [executor.submit(first), executor.submit(int)]
    while not begun.exists():
        time.sleep(0.05)
    dask_client.loop.call_later(0, setattr, dask_client.worker, "status", distributed.Status.paused)
    time.sleep(3)
    assert not any(future.done() for future in futures)  # one is at work, and the other may still have its turn
    may_end.touch()
    assert futures[0].result(10) is None
    with pytest.raises(BrokenExecutor, match="left behind"):
        futures[1].result(10)


def test_a_result_that_dask_lost_breaks_the_executor():
    """Where a worker took a result along, the future says so: then it is worked out again, and not waited for."""
    pytest.importorskip("distributed")
    wrapped = Future()

    class Lost:
        status, key = "finished", "part-3"

        async def _result(self, raiseit):
            raise KeyError("part-3")

    asyncio.run(pools._settle(Lost(), wrapped))
    with pytest.raises(BrokenExecutor, match=r"a result was lost with its worker \(KeyError\)"):
        wrapped.result(timeout=1)


def test_what_ray_gives_is_an_answer_whatever_it_is():
    """A result, an error of the task, one that was cancelled, and bytes that can't be read here: nothing waits."""
    given, failed, cancelled, unreadable = theirs = [Future() for _ in range(4)]
    ours = [Future() for _ in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        other.add_done_callback(partial(pools._unpack, mine))
    given.set_result(pickle.dumps([1, 2]))
    failed.set_exception(ZeroDivisionError())
    cancelled.cancel()
    unreadable.set_result(b"no pickle")
    assert ours[0].result(0) == [1, 2]
    assert [type(mine.exception(0)) for mine in ours[1:]] == [ZeroDivisionError, CancelledError, pickle.UnpicklingError]
