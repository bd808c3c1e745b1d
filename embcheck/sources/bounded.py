"""Work on what nobody vouches for that may take so much time and memory, in a process or a thread of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_SECONDS = 60
_BYTES = 4 * 2**30  # of heap; imports of torch map more, so the address space can't be what is bounded
_RUN = (
    "import json, sys; from importlib import import_module; from embcheck.sources.bounded import limit; limit(); "
    "module, name, arguments = json.load(sys.stdin.buffer); out = sys.stdout; sys.stdout = sys.stderr; "
    "json.dump(getattr(import_module(module), name)(*arguments), out)"
)


def call(module: str, name: str, *arguments: Any) -> Any:
    """What a function gives on arguments that are JSON, as JSON; ``None`` where it fails or takes too much."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _RUN]
    given = json.dumps([module, name, arguments]).encode()
    with suppress(subprocess.SubprocessError, OSError, ValueError):
        done = subprocess.run(  # noqa: S603 - this interpreter
            command, input=given, capture_output=True, timeout=_SECONDS, check=True, env=environment
        )
        return json.loads(done.stdout)
    return None


def limit() -> None:
    """Bound this process, where the system can."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, but the time
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class LateError(TimeoutError):
    """Work that took longer than it may."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of some work, which is left to itself when it takes longer: names and routes have no time limit.

    Raises
    ------
    LateError
        The time is over.
    """
    outcome = _Outcome()

    def run() -> None:
        with outcome:
            outcome.value = work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise LateError(f"no answer in {seconds:.0f} s")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


class _Outcome:
    """What work in another thread came to; what it raised is raised again where it is waited for."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, _: TracebackType | None) -> bool:
        """Keep the error."""
        self.error = error
        return True
