"""Work of other libraries on files that nobody vouches for, in a process that may take so much time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

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
