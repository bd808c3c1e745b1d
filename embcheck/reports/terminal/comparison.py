"""What ``embcheck compare`` prints: how far each check moved from one model to another, and how far the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import WIDTH, Line, change_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from embcheck.checks.record import Change, Json
    from embcheck.reports.wording import Style


@dataclass(frozen=True, slots=True)
class Compared:
    """One check on both models: how its estimate changed, or the reason why that is not known."""

    check: str
    change: Change | None
    reason: str | None = None
    has_failed: bool = False
    """Whether it could not be run."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second of two models against the first."""

    models: tuple[str, str]
    same_tokens: bool | None
    """None where that is not known: of two reports."""
    drift: Json
    """What became of the tokens, and statistics of how far they moved, or the reason why there are none."""
    changes: tuple[Compared, ...]

    @property
    def fails(self) -> bool:
        """Whether a check regressed, is undecided or could not be run."""
        return any(row.has_failed or (row.change is not None and not row.change.passes) for row in self.changes)


def lines(comparison: Comparison, encoding: str = "utf-8") -> Iterator[Line]:
    """A line for each check, then what became of the tokens, and the drift."""
    first, second = (safe(name, 60, encoding=encoding) for name in comparison.models)
    yield Line(f"{second} against {first}", "title")
    for row in comparison.changes:
        change = row.change
        says = change_text(change) if change else safe(row.reason or "", 300, encoding=encoding)
        style: Style = "plain" if not change else "pass" if change.passes else "fail"
        word = f"{change.state if change else '-':<12}"
        yield from (Line(text, style) for text in wrap([row.check, says], width=WIDTH, first=word, indent=" " * 12))
    if tokens := comparison.drift.get("tokens"):
        yield Line("tokens", "title")
        yield from _tokens(tokens, encoding)
    yield Line("drift", "title")
    pieces = list(_drift(comparison.drift, encoding))
    yield from (Line(text) for text in wrap(pieces, width=WIDTH, first="  ", indent="  "))


_FATES: Mapping[str, tuple[str, Style]] = {
    "died": ("zero or not finite in the second only", "fail"),
    "went": ("of the first only", "warn"),
    "came": ("of the second only", "warn"),
    "moved_id": ("under another id", "warn"),
    "ambiguous": ("left out: several rows have the text, and others in the second", "warn"),
}


def _tokens(tokens: Json, encoding: str) -> Iterator[Line]:
    yield Line(f"  {tokens['paired']:,} paired by their text")
    for fate, (said, style) in _FATES.items():
        if count := tokens[fate]["rows"]:
            pieces = [f"{count:,} {said}:", *(_named(token, encoding) for token in tokens[fate]["first"])]
            pieces += ["..."] if count > len(tokens[fate]["first"]) else []
            yield from (Line(text, style) for text in wrap(pieces, width=WIDTH, first="  ", indent="    "))


def _named(token: Json, encoding: str) -> str:
    new_id = f" -> #{token['new_id']}" if "new_id" in token else ""
    return f"'{safe(token['token'], 24, encoding=encoding)}' #{token['id']}{new_id}"


def _drift(drift: Json, encoding: str) -> Iterator[str]:
    for key, value in drift.items():
        name = key.replace("_", " ")
        if key == "tokens":
            continue
        if isinstance(value, dict):
            yield f"{name} " + ", ".join(f"{level} {number(v)}" for level, v in value.items())
        elif key != "moved":
            yield f"{name} {value if isinstance(value, str) else number(value)}"
    for token in drift.get("moved", ()):
        yield f"{_named(token, encoding)} {token['value']:.4f}"
