"""Where tasks run: processes, threads, Dask, Ray, or any `concurrent.futures.Executor` that is handed in."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from embcheck.errors import EmbcheckError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Pool", "UnfinishedError", "pool_of"]


_SILENT = 10.0  # seconds after which Dask is asked about a task that it has not told of


class UnfinishedError(EmbcheckError):
    """Where a sweep's tasks ran is gone: what is finished is kept, and the same sweep goes on from there."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; what is finished is kept, and the same sweep goes on from there")


@dataclass(frozen=True, slots=True)
class Pool:
    """How to get an executor, again if need be, and how many tasks it runs at once."""

    make: Callable[[], Executor]
    slots: int
    owned: bool = True
    """Whether it is ours to shut down, and to make anew when its workers died."""
    close: Callable[[], None] = lambda: None
    here: bool = True
    """Whether its workers share this machine's cores and memory."""
    near: Callable[[], Sequence[Mapping[str, Any]]] = lambda: [{}]
    """What to tell the executor of each worker, that it may be the one to do what it did parts of before."""
    is_gone: Callable[[], bool] = lambda: False
    """Whether there is nothing left that tasks could be tried again on."""
    takes: Callable[[], int] | None = None
    """Of an engine, which does again what a worker died over and sees to memory: how many tasks it is given now."""
    needs: Callable[[int], Mapping[str, Any]] | None = None
    """What to tell an engine of a task that takes so many bytes, where it takes such a thing into account."""

    @property
    def threads(self) -> int | None:
        """How many of its own a task may have where all share this machine's cores; elsewhere others say."""
        return max(1, (os.cpu_count() or 1) // self.slots) if self.here and self.owned else None


def pool_of(executor: str | Executor, workers: int | None) -> Pool:
    """The pool that a name or an executor stands for."""
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(executor, Executor):
        if type(executor).__module__ == "distributed.cfexecutor":
            return _on_dask(executor._client, workers, executor._kwargs)  # type: ignore[attr-defined]  # noqa: SLF001
        return Pool(lambda: executor, workers or int(getattr(executor, "_max_workers", cores)), owned=False)
    count = workers or cores
    if executor == "process":
        fresh = multiprocessing.get_context("spawn")
        return Pool(lambda: ProcessPoolExecutor(count, mp_context=fresh, initializer=_leave_with_parent), count)
    if executor == "thread":
        return Pool(lambda: ThreadPoolExecutor(count), count)
    if executor.startswith("dask://"):
        return _dask(executor.removeprefix("dask://"), workers)
    if executor == "ray" or executor.startswith("ray://"):
        return _ray(None if executor == "ray" else executor, workers)
    raise UsageError(f"unknown executor {executor!r}; choose process, thread, dask://HOST:PORT, ray or ray://HOST:PORT")


def _leave_with_parent() -> None:
    """In a worker: end when the sweep that started it is gone, killed too, rather than hold its memory for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _dask(address: str, workers: int | None) -> Pool:
    try:
        import distributed
    except ImportError:
        raise EmbcheckError("executor dask:// needs the package distributed: pip install 'embcheck[dask]'") from None
    try:
        dask: Any = distributed
        client = dask.Client(f"tcp://{address}", timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise EmbcheckError(
            f"no Dask scheduler answers at {address!r} ({type(error).__name__}); start one, and name its HOST:PORT"
        ) from error

    try:
        return replace(_on_dask(client, workers, {}), close=client.close)
    except EmbcheckError:
        client.close()
        raise


def _on_dask(client: Any, workers: int | None, wishes: Mapping[str, Any]) -> Pool:
    """A cluster of Dask; the wishes are what a user's own executor of it says with each task, such as its resources."""

    def threads() -> int:
        with suppress(OSError, AttributeError):  # a client that is closed, or a scheduler that is gone
            return sum(client.nthreads().values())
        return 0

    running = threads()
    if not running:
        raise EmbcheckError(f"the Dask cluster of {client!r} has no workers; start some")

    def near() -> Sequence[Mapping[str, Any]]:
        names = () if _is_bound(wishes) else sorted(client.scheduler_info(n_workers=-1).get("workers", ()))
        return [{"workers": [name], "allow_other_workers": True} for name in names] or [{}]

    return Pool(
        partial(_sure_executor, client, wishes),
        workers or running,
        here=False,
        near=near,
        is_gone=lambda: client.status != "running",
        takes=lambda: workers or threads(),
    )


def _is_bound(wishes: Mapping[str, Any]) -> bool:
    """Whether a user has said where tasks may go: Dask knows no second say, and waits for such a worker."""
    return not wishes.keys().isdisjoint(("workers", "resources"))


def _sure_executor(client: Any, wishes: Mapping[str, Any]) -> Executor:
    """Dask's executor, but that a task whose result was lost with a worker is told: Dask's own waits for ever then."""
    from distributed.cfexecutor import ClientExecutor

    class SureExecutor(ClientExecutor):
        def _wrap_future(self, future: Any) -> Future[Any]:
            wrapped: Future[Any] = Future()
            wrapped.add_done_callback(lambda done: done.cancelled() and future.cancel())
            client.loop.add_callback(_settle, future, wrapped, may_wait=_is_bound(wishes))
            return wrapped

    make: Any = SureExecutor
    executor: Executor = make(client, **{**wishes, "pure": False})
    return executor


async def _settle(future: Any, wrapped: Future[Any], *, may_wait: bool = False) -> None:
    """Give what a future of Dask comes to, whatever that is, to one of Python's."""
    outcome = asyncio.ensure_future(future._result(raiseit=False))  # noqa: SLF001 - as Dask's executor does
    try:
        while not (await asyncio.wait([outcome], timeout=_SILENT))[0]:
            if await _is_stranded(future, may_wait=may_wait):
                outcome.cancel()
                wrapped.set_exception(BrokenExecutor("a task was left behind by its worker"))
                return
        result = outcome.result()
    except Exception as lost:  # noqa: BLE001 - whatever Dask raises: a worker took a result along, or nobody can be asked
        wrapped.set_exception(BrokenExecutor(f"a result was lost with its worker ({type(lost).__name__})"))
        return
    if future.status == "finished":
        wrapped.set_result(result)
    elif future.status == "error":
        wrapped.set_exception(result[1])
    else:
        wrapped.cancel()
        wrapped.set_running_or_notify_cancel()


async def _is_stranded(future: Any, *, may_wait: bool) -> bool:
    """Whether a task waits for ever, as Dask (2026.8) leaves some.

    One that was near to a worker, which died while no other could take it on: Dask has leave to take it elsewhere, but
    looks at it again only if that worker comes back. And one that a worker was given, which then paused, since it held
    most of its memory, and which does nothing that would free some. One that may wait for a worker to come is none.
    """
    key, scheduler = future.key, future.client.scheduler
    try:
        state = (await scheduler.get_task_status(keys=[key]))[key]
        given = await scheduler.processing(workers=None)
        workers = (await scheduler.identity(n_workers=-1))["workers"]
    except OSError:  # a scheduler that is gone ends the future by itself
        return False
    if state == "processing":
        its = next((workers[name] for name, keys in given.items() if key in keys and name in workers), None)
        return its is not None and its["status"] == "paused" and not its["metrics"]["task_counts"].get("executing")
    if state == "no-worker":
        return not may_wait and any(worker["status"] == "running" for worker in workers.values())
    return state is None


def _ray(address: str | None, workers: int | None) -> Pool:
    """Ray: at the address, or at the environment's, as in a job of Ray, or else started on this machine.

    One that runs on this machine for others is not taken by surprise.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise EmbcheckError("executor ray needs the package ray: pip install 'embcheck[ray]'") from None
    address, is_ours = address or os.environ.get("RAY_ADDRESS"), not ray.is_initialized()
    try:
        started = {} if address else {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray.init(address or "local", ignore_reinit_error=True, log_to_driver=False, **started)
    except (OSError, RuntimeError, ValueError) as error:
        raise EmbcheckError(
            f"no Ray cluster answers at {address or 'this machine'!r} ({type(error).__name__}); start one, and name it"
        ) from error

    def places() -> int:
        return int(ray.cluster_resources().get("CPU", 1))

    def needs(size: int) -> Mapping[str, Any]:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        most = max((node.get("memory", 0) for node in nodes), default=0)
        return {"memory": min(size, int(most))}  # more than any node has that runs tasks would wait for ever

    return Pool(
        lambda: _RayExecutor(ray),
        workers or places(),
        close=ray.shutdown if is_ours else lambda: None,
        here=address is None,
        takes=lambda: workers or places(),
        needs=needs,
    )


class _RayExecutor(Executor):
    """Ray's tasks as an executor's."""

    def __init__(self, ray: Any) -> None:
        self._call = ray.remote(_call)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As every executor does; with ``memory``, where there are so many bytes of it left."""
        ours: Future[Any] = Future()
        task = self._call.options(memory=kwargs.pop("memory")) if "memory" in kwargs else self._call
        # Nothing else may refer to what the task gives: it would stay in Ray's store, and in every worker's count.
        task.remote(fn, args, kwargs).future().add_done_callback(partial(_unpack, ours))
        return ours


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return pickle.dumps(function(*args, **kwargs), protocol=5)


def _unpack(ours: Future[Any], theirs: Future[bytes]) -> None:
    """What a task of Ray gave, copied out of its store: arrays that stayed there would fill it, page by page."""
    if ours.set_running_or_notify_cancel():
        try:
            result = pickle.loads(theirs.result())  # noqa: S301 - made by a worker of ours
        except Exception as error:  # noqa: BLE001 - of the task, of Ray, or of what can't be read here: never silence
            ours.set_exception(error)
        else:
            ours.set_result(result)
