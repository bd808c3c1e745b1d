"""What a run's results mean beside the baseline: states, what passes, and the entries that an update writes.

==========  ==========================================================================================
match       the change's interval lies inside the property's margin, or nothing changed at all
improved    it lies beyond the margin in the good direction
regressed   it lies beyond the margin in a bad direction, at the level of the baseline file's family
undecided   it crosses the margin, or lies beyond it at its own level only, or it is that of what is left of a list
            which lost units: does not pass
new         the baseline has no value for the check
stale       the entry can't be compared any more (other tokens, version, population): does not pass
==========  ==========================================================================================
"""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import structs

from embcheck.baseline import file
from embcheck.baseline.file import Baseline
from embcheck.baseline.tokens import ADOPT, comparable, known_rows, lost_rows
from embcheck.checks.record import FAILING, Change, plain
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.estimate import KEPT
from embcheck.settings import in_ci

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from embcheck.baseline.change import Difference
    from embcheck.baseline.file import Entry
    from embcheck.checks.check import Check, GateMode, Result
    from embcheck.checks.record import State
    from embcheck.claims import Declaration
    from embcheck.estimate import Snapshot
    from embcheck.settings import Settings
    from embcheck.table import EmbeddingTable


NAMED = 10
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # of TOML


@dataclass(slots=True)
class Gate:
    """Holds results against the baselines in a folder, each read once."""

    folder: Path
    mode: GateMode = "claims"
    """Which decide what passes."""
    missing: Literal["fail", "warn", "ignore"] | None = None
    """What a check without a baseline value does; by default it fails in continuous integration."""
    update: tuple[str, ...] = ()
    """Which changes are going to be written, and so accepted: ``new``, ``changed``, ``prune``."""
    configured: Collection[str] | None = None
    """Aliases that commands know by themselves; any other is told them with its spec. None where that is no matter."""
    _read: dict[str, Baseline | None] = field(default_factory=dict)

    @classmethod
    def in_memory(cls, alias: str, entries: Iterable[Entry]) -> Gate:
        """A gate that holds a model's results against entries that are in no file."""
        held = Baseline(alias, Path(), {entry.key: entry for entry in entries})
        return cls(Path(), "both", update=("new",), _read={alias: held})

    @property
    def is_open(self) -> bool:
        """Whether baselines play no part."""
        return self.mode == "claims" and not self.update

    @property
    def says_what_is_missing(self) -> bool:
        """Whether it was said what happens to a check that the baseline lacks: it fails or not, or will be written."""
        return self.missing is not None or "new" in self.update

    @property
    def fails_missing(self) -> bool:
        """Whether what the baseline lacks fails."""
        return (self.missing or ("fail" if in_ci() else "warn")) == "fail"

    def baseline(self, alias: str) -> Baseline | None:
        """The baseline of a model, ``None`` where it has none; `EmbcheckError` where its file can't be read."""
        if alias not in self._read:
            self._read[alias] = file.load(self.folder, alias)
        return self._read[alias]

    def settings_for(self, alias: str, check: Check, settings: Settings) -> Settings:
        """The settings with the seed that the check's baseline value was measured with: both are of the same units.

        An update of what has changed keeps the run's own, and so takes the baseline over to it.
        """
        entry = self._repeated(alias).get(check.key)
        return settings if entry is None else replace(settings, seed=entry.checkpoint.seed)

    def on_seeds(self, alias: str, seed: int) -> str | None:
        """What to say where a model's baseline was measured with a seed that is not the run's."""
        others = sorted({entry.checkpoint.seed for entry in self._repeated(alias).values()} - {seed})
        seeds = ", ".join(map(str, others))
        return f"{alias}: measured with seed {seeds}, as its baseline was, not with {seed}" if others else None

    def on_rows(self, alias: str, table: EmbeddingTable) -> str | None:
        """What to say where a model's baseline was measured on another number of tokens than there are now."""
        baseline = None if self.is_open else self.baseline(alias)
        sizes = {known_rows(entry) for entry in baseline.entries.values()} if baseline else set()
        others = ", ".join(f"{size:,}" for size in sorted(sizes - {len(table.ordinary)}))
        return f"its baseline is of {others} tokens, and {len(table.ordinary):,} are known now" if others else None

    def _repeated(self, alias: str) -> Mapping[str, Entry]:
        """The entries whose seed a run takes over."""
        baseline = None if self.is_open or "changed" in self.update else self.baseline(alias)
        return baseline.entries if baseline else {}

    def apply(self, alias: str, result: Result, table: EmbeddingTable, settings: Settings) -> Result:
        """The result with its change against the baseline."""
        if self.is_open or result.verdict is Verdict.ERROR:
            return result
        change = _change(result, self.baseline(alias), table, settings)
        if change is None:
            return result
        if self._accepts(change.state):  # what is adopted needs no advice on how to
            reason = None if change.state == "new" else (change.reason or "").removesuffix(f"; {ADOPT}") or None
            change = structs.replace(change, reason=reason)
        elif change.state == "undecided" and not change.reason:
            change = structs.replace(change, reason=_what_decides(change, alias, result))
        elif change.reason and self.configured is not None and alias not in self.configured:
            named = f"{ADOPT} {shlex.quote(f'{alias}={table.provenance.spec}')}"
            change = structs.replace(change, reason=change.reason.replace(ADOPT, named))
        return replace(result, change=structs.replace(change, passes=self._passes(change.state)), gate=self.mode)

    def lost(self, alias: str, table: EmbeddingTable) -> str | None:
        """Which rows that all of a model's baseline knew intact are broken now, in words."""
        baseline = None if self.is_open else self.baseline(alias)
        by_checkpoint = {entry.checkpoint.id: entry for entry in baseline.entries.values()} if baseline else {}
        lost = [set(lost_rows(entry, table).tolist()) for entry in by_checkpoint.values()]
        rows = {table.token(row): row for row in sorted(set.intersection(*lost))} if lost else {}
        said = _said_of_rows(rows, table)
        return said and f"lost since the baseline: {said}"

    def unused(self, alias: str, known: frozenset[str], labels: Mapping[str, str]) -> tuple[str, ...]:
        """The baseline's entries that no known check uses, given the keys of those: by ``labels``, or their own."""
        baseline = None if self.is_open else self.baseline(alias)
        entries = sorted(baseline.entries.items()) if baseline else ()
        return tuple(labels.get(key, entry.label) for key, entry in entries if key not in known)

    def write(
        self, alias: str, entries: Iterable[tuple[Entry, State]], known: frozenset[str]
    ) -> tuple[Mapping[str, Entry], Baseline]:
        """Write the entries that ``update`` accepts, each with its state, and leave the others as they are.

        Returns the entries that were there, as nobody else changed them between, and the baseline as it is now.
        """
        accepted = [entry for entry, state in entries if self._accepts(state)]
        before: dict[str, Entry] = {}

        def updated(old: Mapping[str, Entry]) -> Mapping[str, Entry]:
            before.update(old)
            kept = {k: v for k, v in old.items() if "prune" not in self.update or k in known}
            return kept | {entry.key: entry for entry in accepted}

        written = file.rewrite(self.folder, alias, updated)
        return before, written

    def _accepts(self, state: State) -> bool:
        if state == "new":
            return "new" in self.update
        return "changed" in self.update and (state in FAILING or state == "improved")

    def _passes(self, state: State) -> bool:
        if self._accepts(state):
            return True
        return not self.fails_missing if state == "new" else state not in FAILING


# --- states ---------------------------------------------------------------------------------------------------------


def _said_of(old: Snapshot, lost: Sequence[str]) -> str | None:
    """Which units of an estimate are gone, in words."""
    if not lost:
        return None
    total = sum(len(part.labels) for part in old.parts)
    unit = old.unit if total == old.n else "units"
    return _said_gone(lost, f"{total} {unit}")


def _said_gone(lost: Sequence[str], of: str) -> str:
    named = _first_few([label.partition("\0")[0] for label in lost])
    return f"{len(lost):,} of {of} {'is' if len(lost) == 1 else 'are'} gone: {named}"


def _broken(lost: Sequence[str], table: EmbeddingTable) -> tuple[str | None, bool]:
    """Which words of units that are gone are tokens whose rows are broken, and whether that explains all of them."""
    words = {label: _words_of(label) for label in lost}
    named = list(dict.fromkeys(word for own in words.values() for word in own))
    from embcheck.baseline.pairing import is_broken

    row_of = {word: ids[0] for word, ids in zip(named, table.vocabulary.encode(named), strict=True) if len(ids) == 1}
    broken = {word: row for word, row in row_of.items() if row < len(table.status) and is_broken(table)[row]}
    return _said_of_rows(broken, table), all(broken.keys() & own for own in words.values())


def _words_of(label: str) -> list[str]:
    """The words that a unit's label may name: the label itself, or two that it joins, which may have hyphens too."""
    name = label.partition("\0")[0]
    cuts = re.finditer(r" < |[>-]", name)
    return [name, *(word for cut in cuts for word in (name[: cut.start()], name[cut.end() :]))]


def _said_of_rows(rows: Mapping[str, int], table: EmbeddingTable) -> str | None:
    """How the rows of some tokens are broken, in words."""
    from embcheck.table.vocabulary import RowStatus

    said = []
    for status, why in ((RowStatus.ZERO, "zero"), (RowStatus.NON_FINITE, "not finite")):
        tokens = [token for token, row in rows.items() if table.status[row] == status]
        text = "row of {} is {}" if len(tokens) == 1 else "rows of {} are {}"
        said += [text.format(_first_few(tokens), why) + " (see intact_rows)"] if tokens else []
    return "; ".join(said) or None


def _first_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _change(result: Result, baseline: Baseline | None, table: EmbeddingTable, settings: Settings) -> Change | None:
    """The change of a result; none where there is nothing to compare, then or now."""
    from embcheck.baseline.change import gone, is_of_lists

    declaration = result.check.declaration
    entry = baseline.entries.get(result.check.key) if baseline else None
    if entry is None and (declaration.margin is None or not result.is_decided):
        return None
    if entry is None:
        why = f"{'the baseline has no such check' if baseline else 'the model has no baseline'}; {ADOPT}"
        return _uncompared(declaration, "new", why)
    if entry.snapshot is None:
        if result.is_decided:
            why = f"it could not be decided in the baseline ({entry.reason}), and now can"
            return _uncompared(declaration, "new", why)
        return _uncompared(declaration, "match", "it can't be decided, as in the baseline")
    try:
        now, tokens = comparable(result, entry, table, settings)
    except NotMeasurable as why:
        parts = () if result.estimate is None else result.estimate.parts
        lost = gone(entry.snapshot.parts, parts)
        listed = [word for value in result.check.params.values() for word in getattr(value, "words", ())]
        reasons = (str(why), _said_of(entry.snapshot, lost), _broken([*lost, *listed], table)[0])
        return _uncompared(declaration, "stale", "; ".join(filter(None, reasons)))
    family = sum(known.snapshot is not None for known in baseline.entries.values()) if baseline else 1
    change = compare(entry.snapshot, now, declaration, settings, family=family, tokens=tokens)
    broken, is_explained = _broken(change.gone, table)
    if not (change.gone or is_of_lists(entry.snapshot.parts) or _sees_rows(baseline)):
        rows = {table.token(row): row for row in lost_rows(entry, table).tolist()}
        if rows:
            reason = _said_gone(list(rows), f"{len(table.ordinary):,} rows")
            change = _with_state(structs.replace(change, gone=tuple(rows), reason=reason), change)
            broken = _said_of_rows(rows, table)
    said = (change.reason, broken, ADOPT if change.reason and not is_explained else None)
    return structs.replace(change, seed=settings.seed, reason="; ".join(filter(None, said)) or None)


def _what_decides(change: Change, alias: str, result: Result) -> str:
    """Why a change is undecided, and what would decide it: a margin that it keeps to or, of a sample, more units."""
    from embcheck.baseline.change import is_of_lists

    low, high, margin = change.low or 0.0, change.high or 0.0, change.margin or 0.0
    reach = max(0.0 if change.bad == "up" else -low, 0.0 if change.bad == "down" else high)
    digits = 1 - math.floor(math.log10(reach))  # two that count, rounded up
    enough = math.ceil(reach * 10**digits) / 10**digits
    is_beyond = low > margin or high < -margin
    why = (
        f"not sure enough among {change.family} checks (Holm)"
        if is_beyond
        else "its interval reaches beyond the margin"
    )
    is_sample = result.estimate is not None and not is_of_lists(result.estimate.parts)
    more = "more --probes in the baseline and here, or " if is_sample and (change.n or 0) < KEPT else ""
    key, model = (text if _BARE_KEY.fullmatch(text) else json.dumps(text) for text in (result.check.label, alias))
    setting = f"{key} = {{ margin = {enough:g} }} under [tool.embcheck.model.{model}.claims]"
    return f"{why}; {more}where that is meant: {setting}"


def _sees_rows(baseline: Baseline | None) -> bool:
    """Whether the baseline has the check that regresses with the first row that breaks."""
    entries = baseline.entries.values() if baseline else ()
    return any(entry.id == "intact_rows" and entry.snapshot is not None for entry in entries)


def _uncompared(declaration: Declaration, state: State, reason: str) -> Change:
    return Change(
        state=state, passes=state not in FAILING, reason=reason, margin=declaration.margin, bad=declaration.bad
    )


def compare(
    old: Snapshot,
    new: Snapshot,
    declaration: Declaration,
    settings: Settings,
    *,
    family: int = 1,
    tokens: Literal["same", "added"] = "same",
) -> Change:
    """The change between two estimates of one property; its level is shared among the comparisons of a ``family``."""
    from embcheck.baseline.change import between

    difference = between(old, new, settings.confidence_level)
    p_value = _p_value(difference, declaration)
    change = Change(
        state="match",
        passes=True,
        value=plain(difference.value),
        low=plain(difference.low),
        high=plain(difference.high),
        confidence_level=settings.confidence_level,
        before=plain(old.value),
        after=plain(new.value),
        scale=new.scale,
        comparison=difference.comparison,
        method=difference.method,
        n=difference.n,
        tokens=tokens,
        margin=declaration.margin,
        bad=declaration.bad,
        p_value=p_value,
        p_adjusted=min(1.0, family * p_value),
        family=family,
        moved=tuple(plain(difference.moved)),
        as_far=difference.as_far,
        gone=tuple(difference.gone),
        reason=_said_of(old, difference.gone),
    )
    return change if difference.is_zero and not change.gone else _with_state(change, difference)


def _p_value(difference: Difference, declaration: Declaration) -> float:
    """How well the change agrees with one inside the margin, in the bad direction."""
    margin = declaration.margin or 0.0
    if declaration.bad != "both":
        return difference.tail(margin, declaration.bad)
    return min(1.0, 2 * min(difference.tail(margin, "down"), difference.tail(margin, "up")))


def _with_state(change: Change, ends: Difference | Change) -> Change:
    """The change with the state that its interval and its adjusted p-value give."""
    low, high = ends.low or 0.0, ends.high or 0.0
    margin, bad = change.margin or 0.0, change.bad
    level = change.confidence_level or 0.0
    state: State
    if (bad != "up" and high < -margin) or (bad != "down" and low > margin):
        state = "regressed" if (change.p_adjusted or 0.0) <= 1 - level else "undecided"
    elif (bad != "up" and low < -margin) or (bad != "down" and high > margin):
        state = "undecided"
    elif change.gone:
        state = "undecided"  # what is left may pass, and what went might not have: nothing passes for want of units
    else:
        state = "improved" if low > margin or high < -margin else "match"
    return structs.replace(change, state=state, passes=state not in FAILING)


def settle(changes: Sequence[Change | None]) -> list[Change | None]:
    """Holm's adjustment over the family, where all of a model's results are known. What passes stays as it is.

    A check by itself is judged by the family's first step, which is the strictest; later steps can only turn
    ``undecided`` into ``regressed``, and neither passes.
    """
    from embcheck.stats.permutations import holm

    changes = list(changes)
    tested = [(i, change, change.p_value) for i, change in enumerate(changes) if change and change.p_value is not None]
    p_values = [p_value for _, _, p_value in tested]
    family = max((change.family or 1 for _, change, _ in tested), default=1)
    adjusted = holm(p_values, family) if family > 1 else p_values  # two models beside each other are no family
    for (i, change, _), p_adjusted in zip(tested, adjusted, strict=True):
        settled = structs.replace(change, p_adjusted=p_adjusted)
        if change.state == "undecided":
            settled = structs.replace(_with_state(settled, settled), passes=change.passes)
            if settled.state != "undecided" and not change.gone:
                settled = structs.replace(settled, reason=None)  # what would have decided it
        changes[i] = settled
    return changes
