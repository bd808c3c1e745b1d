"""The report for a terminal: at most 80 columns, plain ASCII of its own, failures first.

``lines`` gives text and the name of a style; who prints them knows what colours there are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from embcheck.checks.record import parameters_of
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
    is_description,
    is_known_exception,
    ladder_text,
    urgency,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        shown += [
            *_header(model, encoding),
            *_results(model, report.run.seed, details=show == "all", encoding=encoding),
        ]
        shown.append(Line(""))
    return [*shown, counts(report.results)]


def _results(model: ModelRecord, seed: int, *, details: bool, encoding: str) -> Iterator[Line]:
    """What fails and what is claimed, a row for each property; what is not about the model; what is only described."""
    said: set[str] = set()
    measured = [result for result in model.results if details or not _is_aside(result)]
    totals = Counter(result.id for result in measured)
    described = [result for result in measured if is_description(result)]
    claimed = sorted((result for result in measured if not is_description(result)), key=urgency)

    def rows(results: Iterable[ResultRecord]) -> Iterator[Line]:
        for group in _groups(results, apart=details):
            if len(group) == 1:
                yield from _check(group[0], seed, said, details=details, encoding=encoding)
            else:
                yield from _together(group, totals[group[0].id], encoding)

    yield from rows(claimed)
    if aside := [result for result in model.results if _is_aside(result)]:
        yield _not_applicable(aside, encoding)
    if described:
        yield Line("descriptions, of which no verdict fails, only a change from the baseline:", "title")
        yield from rows(described)


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
    estimate, change = result.estimate, result.change
    details = details or not result.passes
    known = is_known_exception(result)
    name = safe(result.label, WIDTH - _WORD - 12, encoding=encoding) + (" (expected)" if known else "")
    pieces = (
        [] if estimate is None else [*_measured(result, estimate), *_bounds([result]), *_remarks([result], encoding)]
    )
    if change and (change.state != "match" or details):
        pieces += [text] if (text := change_text(change)) else []
    first = f"{_headline(result):<{_WORD}}{name}"
    rows = [Line(text, _style(result)) for text in wrap(pieces, width=WIDTH, first=first, indent=_INDENT)]
    blocks: list[list[str]] = []
    if result.ladder:
        blocks.append(_block("rests on", ladder_text(result.ladder).split(" "), gap=" "))
    if reason := _reason(result):
        blocks.append(_prose("why", reason, encoding))
    if change and change.reason and change.state != "match":
        blocks.append(_prose(change.state, change.reason, encoding))
    if estimate and details:
        if result.id not in said:
            blocks.append(_prose("says", result.sentence, encoding))
        said.add(result.id)
        blocks += _details(result, estimate, seed, encoding)
    return [*rows, *(Line(text) for block in blocks for text in block)]


def _reason(result: ResultRecord) -> str | None:
    """Why there is no other verdict; of a known exception that was measured, the configuration tells."""
    return None if is_known_exception(result) and result.estimate else result.reason


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
    return "dim" if is_known_exception(result) or is_description(result) else "warn" if undecided else "pass"


def _measured(result: ResultRecord, estimate: EstimateRecord) -> Iterator[str]:
    """Value with its interval, and how many of what it rests on."""
    apart = ends(result.claims)
    value, low, high = (number(end, apart) for end in (estimate.value, estimate.low, estimate.high))
    yield f"{value} (exact)" if estimate.exact else f"{value} [{low}, {high}]"
    yield f"n = {estimate.n} {estimate.unit}"


def _bounds(results: Sequence[ResultRecord]) -> Iterator[str]:
    """The claims' bounds, where all results share them; of the nulls to beat, the strongest and its p-value."""
    stated = [tuple(bound_text(claim) for claim in result.claims if claim.op != "beats") for result in results]
    yield from stated[0] if len(set(stated)) == 1 else ()
    beating = [claim for result in results for claim in result.claims if claim.op == "beats"]
    beaten = {str(claim.null) for claim in beating}
    chances = [
        (null.p_value, null.value or 0, null.name)
        for result in results
        for null in result.nulls
        if null.name in beaten and null.p_value is not None
    ]
    if chances:
        chance, _, strongest = max(chances, key=lambda entry: entry[:2])
        word = "beats" if all(claim.verdict == "holds" for claim in beating) else "against"
        yield f"{word} {strongest}: p {'=' if len(results) == 1 else '<='} {chance:.2g}"
    elif beaten:
        yield f"beats {', '.join(sorted(beaten))}"


def _remarks(results: Sequence[ResultRecord], encoding: str) -> Iterator[str]:
    """What the measure has to say beside the numbers, and of how many results."""
    remarks = Counter(text for result in results if isinstance(text := result.details.get("remark"), str))
    for text, n in remarks.most_common():
        yield safe(text, WIDTH, encoding=encoding) + ("" if n == len(results) else f" ({n} of {len(results)})")


# --- several checks of one property -----------------------------------------------------------------------------


def _groups(results: Iterable[ResultRecord], *, apart: bool) -> Iterable[list[ResultRecord]]:
    """The results that share a row: of one property, passing with one verdict, and with nothing to say for itself."""
    groups: dict[object, list[ResultRecord]] = {}
    for result in results:
        change = result.change
        is_own = apart or not result.passes or (change and change.state not in {"match", "new"})
        alike = (result.id, result.verdict, result.expected, _reason(result), change and (change.state, change.reason))
        groups.setdefault((alike, result.key if is_own else ""), []).append(result)
    return groups.values()


def _together(group: Sequence[ResultRecord], total: int, encoding: str) -> list[Line]:
    """One row for checks that differ in their parameters: how many there are, and the value of each."""
    first, change = group[0], group[0].change
    known = " (expected)" if is_known_exception(first) else ""
    name = safe(first.id, WIDTH - _WORD - 12, encoding=encoding) + known
    pieces = [f"{len(group)} of {total} {'hold' if first.verdict == 'holds' else first.verdict}"]
    if values := [number(r.estimate.value, ends(r.claims)) for r in group if r.estimate]:
        pieces += [" ".join(values), *_bounds(group), *_remarks(group, encoding)]
    start = f"{_headline(first):<{_WORD}}{name}"
    rows = [Line(text, _style(first)) for text in wrap(pieces, width=WIDTH, first=start, indent=_INDENT)]
    blocks = [_block("rests on", said.split(" "), gap=" ") for said in _ladders(group, encoding)]
    if reason := _reason(first):
        blocks.append(_prose("why", reason, encoding))
    if change and change.reason and change.state != "match":
        blocks.append(_prose(change.state, change.reason, encoding))
    return [*rows, *(Line(text) for block in blocks for text in block)]


def _ladders(group: Sequence[ResultRecord], encoding: str) -> Iterator[str]:
    """What the claims rest on: said once where they agree, else with the parameters of those that do."""
    resting: dict[str, list[str]] = {}
    for result in group:
        if result.ladder:
            resting.setdefault(ladder_text(result.ladder, numbers=False), []).append(parameters_of(result.params))
    for said, names in resting.items():
        listed = "" if len(names) == len(group) else f" ({safe(', '.join(names), 10 * WIDTH, encoding=encoding)})"
        yield said + listed


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
