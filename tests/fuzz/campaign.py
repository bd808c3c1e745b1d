"""``campaign.py FOLDER KIND COUNT SEED``: load mutations of one kind of file, and print what each came to as JSON."""

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


def main(folder: str, kind: str, count: int, seed: int) -> list[tuple[str, object, int]]:
    """Outcomes, each with its number, by which it can be made again."""
    path, spec = files.write_all(Path(folder))[kind]
    before, content = files.whole(path, spec), Path(path).read_bytes()
    held_as_input({"model_type": "llama"}, [])  # imports what some mutated configs ask for
    refuse_code()
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MORE_BYTES,) * 2)
    found = []
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, number])
        Path(path).write_bytes(files.mutate(content, rng))
        faulthandler.dump_traceback_later(_HUNG, exit=True)
        found.append((*files.outcome(kind, path, spec, before), number))
        faulthandler.cancel_dump_traceback_later()
    return found


def refuse_code() -> None:
    """End the process where anything is run: files hold no code."""

    def audit(event: str, _: object) -> None:
        if event in {"os.system", "os.exec", "os.posix_spawn", "pty.spawn", "socket.connect"}:
            raise SystemExit(f"code ran: {event}")

    sys.addaudithook(audit)


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])), sys.stdout)
