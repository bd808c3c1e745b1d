"""``campaign.py FOLDER KIND,KIND COUNT SEED``: load mutations of each kind of file, and print what came of it as JSON.

Kinds share a process: to write a file of each and to import what reads it takes longer than to read mutations.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import files

from embcheck.sources.naming.model_code import held_as_input

MORE_BYTES = 2**30
_HUNG = 30  # seconds, after which the process shows where it is and dies


def main(folder: str, kinds: list[str], count: int, seed: int) -> dict[str, list[tuple[str, object, int]]]:
    """Outcomes by kind, each with its number, by which it can be made again."""
    made = files.write_all(Path(folder))
    wholes = {kind: (*made[kind], files.whole(*made[kind]), Path(made[kind][0]).read_bytes()) for kind in kinds}
    held_as_input({"model_type": "llama"}, [])  # imports what some mutated configs ask for
    refuse_code()
    return {kind: _of_kind(kind, *wholes[kind], count, seed) for kind in kinds}


def _of_kind(
    kind: str, path: str, spec: str, before: object, content: bytes, count: int, seed: int
) -> list[tuple[str, object, int]]:
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MORE_BYTES, resource.RLIM_INFINITY))
    found = []
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, number])
        Path(path).write_bytes(files.mutate(content, rng))
        faulthandler.dump_traceback_later(_HUNG, exit=True)
        found.append((*files.outcome(kind, path, spec, before), number))
        faulthandler.cancel_dump_traceback_later()
    Path(path).write_bytes(content)
    return found


def refuse_code() -> None:
    """End the process where anything is run: files hold no code."""

    def audit(event: str, _: object) -> None:
        if event in {"os.system", "os.exec", "os.posix_spawn", "pty.spawn", "socket.connect"}:
            raise SystemExit(f"code ran: {event}")

    sys.addaudithook(audit)


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])), sys.stdout)
