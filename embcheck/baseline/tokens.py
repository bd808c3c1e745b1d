"""The checkpoint behind a baseline's entries: which tokens it had, whether they are still there, what is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from embcheck.baseline.file import Checkpoint, Entry
from embcheck.checks.evaluate import evaluate
from embcheck.checks.record import version
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from embcheck.checks.check import Result
    from embcheck.checks.record import State
    from embcheck.estimate import Snapshot
    from embcheck.settings import Settings
    from embcheck.table import EmbeddingTable

NOT_APPLICABLE = "n/a: "
"""Before the reason of an entry that has no value because the check is not about the model."""
ADOPT = "adopt it with: embcheck baseline update"


# --- the same tokens ------------------------------------------------------------------------------------------------


def comparable(
    result: Result, entry: Entry, table: EmbeddingTable, settings: Settings
) -> tuple[Snapshot, Literal["same", "added"]]:
    """The new estimate, of the tokens that the old one is of, and whether tokens were added."""
    old, declaration = entry.checkpoint, result.check.declaration
    if declaration.margin is None:
        raise NotMeasurable("the property declares no margin any more")
    if entry.version != declaration.version:
        raise NotMeasurable(f"the property's version is {declaration.version}, the baseline's {entry.version}; {ADOPT}")
    if old.population != table.kind:
        raise NotMeasurable(f"the population is {table.kind!r}, the baseline's {old.population!r}")
    if result.estimate is None or not result.is_decided or entry.snapshot is None:
        raise NotMeasurable(f"the baseline has a value, but now it can't be decided: {result.undecided}")
    now = result.estimate.snapshot()
    if (now.scale, now.unit) != (entry.snapshot.scale, entry.snapshot.unit):
        before = f"{entry.snapshot.scale} over {entry.snapshot.unit}"
        raise NotMeasurable(f"it measures {now.scale} over {now.unit}, the baseline {before}; {ADOPT}")
    has_its_rows = len(table.vectors) == old.shape[0] or old.population == "known"
    if has_its_rows and table.tokens_sha256 == old.tokens_sha256:
        return now, "same"
    small = _shared(old, table)
    if small is None:
        raise NotMeasurable(f"tokens were removed, renamed or moved since the baseline; {ADOPT}")
    estimate = evaluate(result.check, small, settings).estimate
    if estimate is None or estimate.reason is not None:
        raise NotMeasurable("it can't be decided on the tokens that the baseline has")
    return estimate.snapshot(), "added"


def _shared(old: Checkpoint, table: EmbeddingTable) -> EmbeddingTable | None:
    """The rows of the baseline's checkpoint, where its tokens are all still there under their ids; else none.

    Rows that it did not know stay as well, such as reserved ones that others are compared with, unless they have become
    tokens since.
    """
    import numpy as np

    key = ("shared", old.id)
    if key not in table.memo:
        last = old.known_rows[-1][1] if old.known_rows else -1
        there = last < min(len(table.vectors), len(table.tokens))  # before runs of any length take memory
        known = _expand(old.known_rows if there else ())
        if there and table.sha256_of(known) == old.tokens_sha256:
            rows = np.arange(min(old.shape[0], len(table.vectors)), dtype=np.int64)
            new = np.isin(rows, table.ordinary) & ~np.isin(rows, known)
            table.memo[key] = table.subset(rows if old.population == "all" else rows[~new])
        else:
            table.memo[key] = None
    shared: EmbeddingTable | None = table.memo[key]
    return shared


def lost_rows(entry: Entry, table: EmbeddingTable) -> NDArray[np.int64]:
    """Rows that are broken and that a baseline's entry knew intact; none where the tokens are not comparable.

    An older file does not keep which were broken then. If its entry counts the whole population, none was.
    """
    import numpy as np

    from embcheck.baseline.pairing import is_broken

    old = entry.checkpoint
    size = known_rows(entry)
    if old.broken_rows is None and not _counts(entry, size):
        return np.zeros(0, dtype=np.int64)
    if table.tokens_sha256 == old.tokens_sha256 and len(table.ordinary) == size:
        rows = table.ordinary  # the same tokens in the same order, whatever their numbers are
    elif _shared(old, table) is not None:
        rows = _expand(old.known_rows)
    else:
        return np.zeros(0, dtype=np.int64)
    was_intact = ~np.isin(_expand(old.known_rows), _expand(old.broken_rows or ()))
    lost: NDArray[np.int64] = rows[was_intact & is_broken(table)[rows]]
    return lost


def known_rows(entry: Entry) -> int:
    """How many rows the tokenizer knew when the entry was measured."""
    return sum(last - first + 1 for first, last in entry.checkpoint.known_rows)


def _counts(entry: Entry, rows: int) -> bool:
    """Whether an entry is of so many rows of the population."""
    parts = () if entry.snapshot is None else entry.snapshot.parts
    return rows in {part.population for part in parts}


def _expand(runs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    import numpy as np

    parts = [np.arange(first, last + 1, dtype=np.int64) for first, last in runs]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


# --- entries --------------------------------------------------------------------------------------------------------


def checkpoint_of(table: EmbeddingTable, seed: int) -> Checkpoint:
    """What a baseline keeps of the table that its entries were measured on."""
    from embcheck.baseline.pairing import is_broken

    key = ("checkpoint", seed)
    if key not in table.memo:
        known = table.ordinary
        origin = table.provenance
        table.memo[key] = Checkpoint(
            spec=origin.spec,
            revision=origin.revision,
            weights_sha256=origin.weights_sha256 or "",
            tokens_sha256=table.tokens_sha256,
            shape=(int(origin.shape[0]), int(origin.shape[1])),
            dtype=origin.dtype,
            population=table.kind,
            known_rows=_runs(known),
            seed=seed,
            embcheck=version("embcheck"),
            broken_rows=_runs(known[is_broken(table)[known]]),
        )
    checkpoint: Checkpoint = table.memo[key]
    return checkpoint


def _runs(rows: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """First and last of every run of rows that ascend."""
    import numpy as np

    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []
    return tuple((int(run[0]), int(run[-1])) for run in runs)


def entry_of(result: Result, table: EmbeddingTable, settings: Settings) -> tuple[Entry, State] | None:
    """A result as the baseline would keep it, and its state; none where it declares no margin, or failed to run."""
    declaration, estimate = result.check.declaration, result.estimate
    never_applied = result.verdict is Verdict.NOT_APPLICABLE and result.change is None
    if declaration.margin is None or result.verdict is Verdict.ERROR or never_applied:
        return None
    snapshot = estimate.snapshot() if estimate is not None and result.is_decided else None
    reason = None if snapshot is not None else result.undecided or "it could not be decided"
    if result.verdict is Verdict.NOT_APPLICABLE:
        reason = f"{NOT_APPLICABLE}{reason}"
    checkpoint = checkpoint_of(table, settings.seed)
    entry = Entry(
        id=declaration.id,
        params=result.check.record,
        version=declaration.version,
        checkpoint=checkpoint,
        snapshot=snapshot,
        reason=reason,
    )
    return entry, result.change.state if result.change else "new"
