"""What an update of a baseline writes, and what it says of it: which entries are new, changed or gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.baseline.file import path_of
from embcheck.baseline.gate import Gate
from embcheck.baseline.tokens import NOT_APPLICABLE
from embcheck.reports.text import number, safe
from embcheck.run.session import known_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from embcheck.baseline.file import Baseline, Entry
    from embcheck.checks.record import State
    from embcheck.config.config import Config

_NAMED = 20


def write_baseline(
    config: Config, alias: str, entries: Iterable[tuple[Entry, State]], ran: Collection[str] = ()
) -> list[str]:
    """Write what ``update`` accepts to a model's baseline, and say what that did to it: a line, then one an entry."""
    gate = Gate(config.baseline_dir, "both", "fail", config.update)
    return list(_said(*gate.write(alias, entries, known_keys(config, alias, ran))))


def _said(then: Mapping[str, Entry], new: Baseline) -> Iterator[str]:
    now = new.entries
    changed = [key for key in now if key in then and then[key] != now[key]]
    parts = [key for key in now if key not in then], changed, [key for key in then if key not in now]
    same = len(now) - len(parts[0]) - len(changed)
    counts = [f"{len(keys)} {word}" for keys, word in zip(parts, ("new", "changed", "removed"), strict=True) if keys]
    counts += [f"{same} as they were"] if same else []
    yield f"{new.alias}: {', '.join(counts) or 'no entries'} in {path_of(new.path.parent, new.alias)}"
    if not then:
        return
    lines = [
        *(f"changed {then[key].label} {_value(then[key])} -> {_value_now(now[key])}" for key in changed),
        *(f"new {now[key].label} {_value(now[key])}" for key in parts[0]),
        *(f"removed {then[key].label} {_value(then[key])}" for key in parts[2]),
    ]
    yield from (f"{new.alias}: {safe(line, 200)}" for line in lines[:_NAMED])
    if len(lines) > _NAMED:
        yield f"{new.alias}: and {len(lines) - _NAMED} more"


def _value(entry: Entry) -> str:
    if entry.snapshot is not None:
        return number(entry.snapshot.value)
    return "n/a" if (entry.reason or "").startswith(NOT_APPLICABLE) else "no value"


def _value_now(entry: Entry) -> str:
    """The value that an entry has changed to; where it has none any more why, and what that means for the gate."""
    if entry.snapshot is not None:
        return _value(entry)
    state = "n/a now, so it" if _value(entry) == "n/a" else "no value, so its change"
    return f"{state} no longer gates: {(entry.reason or '').removeprefix(NOT_APPLICABLE)}"
