"""The report for a terminal: at most 80 columns, plain ASCII of its own, failures first.

``lines`` gives text and the name of a style; who prints them knows what colours there are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from embcheck.claims import UNMEASURED, ends
from embcheck.reports import published
from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import (
    WIDTH,
    Line,
    bound_text,
    change_text,
    control_text,
    counts,
    in_order,
    is_known_exception,
    ladder_text,
    urgency,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.checks.record import EstimateRecord, ModelRecord, NullResult, Report, ResultRecord
    from embcheck.reports.wording import Style

__all__ = ["describe", "lines"]

_WORD = 14  # columns of the verdict before a check's name
_INDENT = " " * _WORD
_TOKEN = 24
_WORST = 5


def lines(report: Report, *, show: Literal["fail", "all", "none"] = "fail", encoding: str = "utf-8") -> list[Line]:
    """The report: details of what fails and a line for each other check, of ``all`` or ``none``, and the counts."""
    shown: list[Line] = []
    for model in report.models if show != "none" else ():
        shown += _header(model, encoding)
        said: set[str] = set()
        own = model.results if show == "all" else [r for r in model.results if not _is_aside(r)]
        for result in sorted(own, key=urgency):
            shown += _check(result, report.run.seed, said, details=show == "all", encoding=encoding)
        if aside := [result for result in model.results if _is_aside(result)]:
            shown.append(_not_applicable(aside, encoding))
        shown.append(Line(""))
    return [*shown, counts(report.results)]


def describe(result: ResultRecord, seed: int, *, encoding: str = "utf-8") -> list[Line]:
    """Everything about one check: the row, then the claim, nulls, worst tokens and reason."""
    return _check(result, seed, set(), details=True, encoding=encoding)


def _is_aside(result: ResultRecord) -> bool:
    """Whether the model cannot have what is claimed, and nothing says that it could."""
    return result.verdict == "not_applicable" and result.passes


def _not_applicable(results: Sequence[ResultRecord], encoding: str) -> Line:
    """One line: which checks are not about the model, and why, as far as there is room."""
    ids: dict[str, Counter[str]] = {}
    for result in results:
        ids.setdefault(str(result.reason), Counter())[result.id] += 1
    named = [
        ", ".join(name if n == 1 else f"{name} x{n}" for name, n in names.items()) + f" ({reason})"
        for reason, names in ids.items()
    ]
    text = safe(f"n/a: {'; '.join(named)}", 4 * WIDTH, encoding=encoding)
    if len(text) >= WIDTH:
        text = f"n/a: {', '.join(f'{names.total()} ({reason})' for reason, names in ids.items())}"
    return Line(safe(text, WIDTH - 1, encoding=encoding), "dim")


def _header(model: ModelRecord, encoding: str) -> list[Line]:
    name = safe(model.alias, 40, encoding=encoding)
    population = model.population
    if population is None or model.shape is None:
        return [Line(f"{name}: not loaded", "title")]
    rows, width = model.shape
    out = ", ".join(f"{n} {reason}" for reason, n in sorted(population.excluded.items()))
    pieces = [f"{rows} x {width} {model.dtype}", f"population {population.kind}: {population.rows} rows"]
    pieces += [f"(left out: {out})"] if out else []
    return [Line(text, "title") for text in wrap(pieces, width=WIDTH, first=f"{name}: ", indent="  ")]


def _check(result: ResultRecord, seed: int, said: set[str], *, details: bool, encoding: str) -> list[Line]:
    """The row of a check, and why where it does not hold. ``said`` holds the properties whose claim was spelt out."""
    estimate, change, known = result.estimate, result.change, is_known_exception(result)
    details = details or not result.passes
    name = safe(result.label, WIDTH - _WORD - 12, encoding=encoding) + (" (expected)" if known else "")
    pieces = [] if estimate is None else [*_measured(result, estimate), *_bounds(result)]
    if change and (change.state != "match" or details):
        pieces += [text] if (text := change_text(change)) else []
    first = f"{_headline(result):<{_WORD}}{name}"
    rows = [Line(text, _style(result)) for text in wrap(pieces, width=WIDTH, first=first, indent=_INDENT)]
    blocks: list[list[str]] = []
    if result.ladder:
        blocks.append(_block("rests on", ladder_text(result.ladder).split(" "), gap=" "))
    if result.reason and not (known and estimate):
        blocks.append(_prose("why", result.reason, encoding))
    if change and change.reason and change.state != "match":
        blocks.append(_prose(change.state, change.reason, encoding))
    if estimate and details:
        if result.id not in said:
            blocks.append(_prose("says", result.sentence, encoding))
        said.add(result.id)
        blocks += _details(result, estimate, seed, encoding)
    return [*rows, *(Line(text) for block in blocks for text in block)]


def _headline(result: ResultRecord) -> str:
    """The verdict, or the change's state where it is the change that fails; in capitals where it fails."""
    if result.passes:
        return "n/a" if result.verdict == "not_applicable" else str(result.verdict)
    change = result.change
    excused = result.verdict == "holds" or not result.expected
    return (change.state if change and not change.passes and excused else result.verdict).upper()


def _style(result: ResultRecord) -> Style:
    undecided = result.verdict in {"inconclusive", *UNMEASURED}
    if not result.passes:
        return "warn" if undecided else "fail"
    return "dim" if is_known_exception(result) else "warn" if undecided else "pass"


def _measured(result: ResultRecord, estimate: EstimateRecord) -> Iterator[str]:
    """Value with its interval, and how many of what it rests on."""
    apart = ends(result.claims)
    value, low, high = (number(end, apart) for end in (estimate.value, estimate.low, estimate.high))
    yield f"{value} (exact)" if estimate.exact else f"{value} [{low}, {high}]"
    yield f"n = {estimate.n} {estimate.unit}"


def _bounds(result: ResultRecord) -> Iterator[str]:
    """The claims' bounds; of the nulls to beat, the strongest and its p-value."""
    yield from (bound_text(claim) for claim in result.claims if claim.op != "beats")
    beating = [claim for claim in result.claims if claim.op == "beats"]
    beaten = {str(claim.null) for claim in beating}
    chances = [
        (null.p_value, null.value or 0, null.name)
        for null in result.nulls
        if null.name in beaten and null.p_value is not None
    ]
    if chances:
        chance, _, strongest = max(chances, key=lambda entry: entry[:2])
        word = "beats" if all(claim.verdict == "holds" for claim in beating) else "against"
        yield f"{word} {strongest}: p = {chance:.2g}"
    elif beaten:
        yield f"beats {', '.join(sorted(beaten))}"


# --- why --------------------------------------------------------------------------------------------------------


def _details(result: ResultRecord, estimate: EstimateRecord, seed: int, encoding: str) -> Iterator[list[str]]:
    """Blocks of lines: claims, method, nulls, the tokens that weigh most against it."""
    if len(result.claims) > 1:
        yield _block("claims", [f"{bound_text(claim)} ({claim.verdict})" for claim in result.claims])
    level = f"{number(100 * estimate.confidence_level)}% interval by {estimate.method}"
    if result.change is not None and result.change.seed is not None:
        seed = result.change.seed
    yield _block("how", [*([] if estimate.exact else [level]), f"seed {seed}"])
    if (change := result.change) and change.value is not None:
        chance = [] if change.p_adjusted is None else [f"p = {change.p_adjusted:.2g} of {change.family} compared"]
        yield _block("change", [f"{change.state}: {change.method}", *chance])
        if moved := [_counterexample(entry, encoding) for entry in change.moved[:_WORST]]:
            yield _block("moved", moved)
    if result.nulls:
        yield _block("nulls", [_null(null) for null in result.nulls])
    if result.control:
        yield _block("control", [control_text(result.control)])
    if worst := [_counterexample(entry, encoding) for entry in result.counterexamples[:_WORST]]:
        yield _block("worst", worst)
    if figures := published.of(result):
        yield published.lines(figures, indent=_INDENT, encoding=encoding)
    if isinstance(summary := result.details.get("summary"), str):
        yield _prose("note", summary, encoding)


def _block(name: str, pieces: Sequence[str], gap: str = "  ") -> list[str]:
    return wrap(pieces, width=WIDTH, first=f"{_INDENT}{name}: ", indent=_INDENT + "  ", gap=gap)


def _prose(name: str, text: str, encoding: str) -> list[str]:
    """Sentences, which may quote tokens."""
    return _block(name, safe(text, 10 * WIDTH, encoding=encoding).split(" "), gap=" ")


def _null(null: NullResult) -> str:
    return f"{null.name} {number(null.value)}" + ("" if null.p_value is None else f", p = {null.p_value:.2g}")


def _counterexample(entry: Mapping[str, object], encoding: str) -> str:
    """``'token' #id value``; other keys by their name."""
    parts = []
    for key in in_order(entry):
        value = entry[key]
        name = "" if key in {"token", "id", "ids", "value"} else f"{safe(key, _TOKEN, encoding=encoding)} "
        if key in {"id", "ids"}:
            parts.append(" ".join(f"#{row}" for row in (value if isinstance(value, list) else [value])))
        elif isinstance(value, float | int) and not isinstance(value, bool):
            parts.append(name + number(value))
        elif value is None:
            parts.append(f"{name}none")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            parts.append(f"{name}'{safe(text, _TOKEN, encoding=encoding)}'")
    return " ".join(parts)
