"""What made a model that regressed of its baseline's checkpoint, where that can still be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.baseline.gate import Gate
    from embcheck.checks.record import ModelRecord
    from embcheck.table import EmbeddingTable

REMOTE = frozenset({"api", "hf", "hidden"})
"""Sources that ask a network, or run a model."""


def since_baseline(gate: Gate, record: ModelRecord, load: Callable[[], EmbeddingTable]) -> str | None:
    """What happened since the baseline's checkpoint, in a line; None where nothing regressed or its rows are gone.

    ``record`` has the model's results, settled; ``load`` gives its table, and is called only where it is needed.
    """
    regressed = [r.key for r in record.results if r.change is not None and r.change.state == "regressed"]
    known = gate.baseline(record.alias) if regressed else None
    if known is None:
        return None
    before = known.entries[regressed[0]].checkpoint
    if before.spec == record.spec or before.weights_sha256 == record.weights_sha256:
        return None  # the old rows are gone
    from embcheck.diagnosis.diagnose import likely

    try:
        old_spec = parse(before.spec)
        if old_spec.scheme in REMOTE or not Path(old_spec.target).exists():
            return None  # a baseline is a file that others may have written: it opens no connection and runs no model
        table = load()
        old = sources.load(old_spec, device=str(table.vectors.device))
        is_same = old.provenance.weights_sha256 == before.weights_sha256
        return likely(old, table, (before.spec, record.spec)) if is_same else None
    except Exception:  # noqa: BLE001 - what was measured counts for more than why, and is still to be reported
        return None
