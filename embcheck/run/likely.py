"""What made a model that fails against its baseline of that baseline's checkpoint, where that can still be read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.errors import EmbcheckError
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from embcheck.baseline.gate import Gate
    from embcheck.checks.record import ModelRecord
    from embcheck.table import EmbeddingTable

REMOTE = frozenset({"api", "hf", "hidden"})
"""Sources that ask a network, or run a model."""
_ASKED = ("regressed", "undecided")
"""States of changes that ask for a cause, the worst first."""


def since_baseline(gate: Gate, record: ModelRecord, load: Callable[[], EmbeddingTable]) -> str | None:
    """What happened since the baseline's checkpoint, in a line; None where nothing regressed or is undecided.

    Entries may be of several checkpoints, as updates leave them: asked is that of the worst change whose rows can still
    be read, else any that can; None where none can. ``record`` has the model's results, settled; ``load`` gives its
    table, and is called only where it is needed.
    """
    moved = {state: [r.key for r in record.results if r.change and r.change.state == state] for state in _ASKED}
    first = [key for keys in moved.values() for key in keys]
    known = gate.baseline(record.alias) if first else None
    if known is None:
        return None
    hashes: dict[str, set[str]] = {}
    for key in dict.fromkeys([*(key for key in first if key in known.entries), *known.entries]):
        before = known.entries[key].checkpoint
        if before.spec != record.spec and before.weights_sha256 != record.weights_sha256:  # else the old rows are gone
            hashes.setdefault(before.spec, set()).add(before.weights_sha256)
    said = (_of_checkpoint(spec, hashes[spec], record.spec, load) for spec in hashes)
    is_gone = not hashes and any(e.checkpoint.weights_sha256 != record.weights_sha256 for e in known.entries.values())
    gone = f"{record.spec} holds other weights than those of its baseline, so what made them can't be told from it"
    way_out = "with the old file kept beside it: embcheck diagnose OLD"
    return next(filter(None, said), f"{gone}; {way_out} {shlex.quote(record.spec)}" if is_gone else None)


def _of_checkpoint(spec: str, hashes: Collection[str], now: str, load: Callable[[], EmbeddingTable]) -> str | None:
    """What made a table of that of a spec, if it still has one of these hashes."""
    from embcheck.diagnosis.diagnose import likely

    try:
        old_spec = parse(spec)
        if old_spec.scheme in REMOTE or not Path(old_spec.target).exists():
            return None  # a baseline is a file that others may have written: it opens no connection and runs no model
        table = load()
        old = sources.load(old_spec, device=str(table.vectors.device))
        return likely(old, table, (spec, now)) if old.provenance.weights_sha256 in hashes else None
    except (EmbcheckError, OSError):  # the old rows can't be read any more
        return None
    except Exception as error:  # noqa: BLE001 - what was measured counts for more than why, and is still to be reported
        return f"what made it of {spec} could not be worked out ({type(error).__name__}: {error})"
