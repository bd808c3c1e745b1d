"""What is said of one check, or in one row of several checks of one property."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from embcheck.checks.record import parameters_of
from embcheck.claims import UNMEASURED, ends
from embcheck.reports import published
from embcheck.reports.text import columns, cut, number, quoted, safe, wrap
from embcheck.reports.wording import (
    WIDTH,
    Line,
    bound_text,
    change_of,
    control_text,
    fails_by_change,
    failure,
    how_text,
    in_order,
    is_description,
    is_known_exception,
    ladder_text,
    measured_text,
    moved_most,
    named_tokens,
    state_word,
    verdict_word,
)
from embcheck.text import noun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from embcheck.checks.record import EstimateRecord, NullResult, ResultRecord
    from embcheck.reports.wording import Style

_WORD = 14  # columns of the verdict before a check's name
_INDENT = " " * _WORD
_WIDEST = WIDTH - _WORD - 12  # columns of a check's name
_NAME = 36  # and where its value has to stand on the same line
_TOKEN = 24
_WORST = 5
_DEEPEST = 3
_SHORT = 3  # lines of each thing that is said of a problem, where not every detail is shown


def paragraph(text: str, encoding: str, style: Style = "plain") -> list[Line]:
    """Prose about a model as a whole, indented."""
    words = safe(text, 600, encoding=encoding).split()
    return [Line(line, style) for line in wrap(words, width=WIDTH, first="  ", indent="  ", gap=" ")]


def row(result: ResultRecord, *, is_short: bool = False, encoding: str = "utf-8") -> list[Line]:
    """The numbers of one check, such as one that has just been measured; a short row is one line, with what fits."""
    kind = " (describes)" if is_description(result) else ""
    rows = _row(result, encoding, kind=kind, widest=_NAME if is_short else _WIDEST, has_tokens=True)
    reasons = _lines_of(_reasons([result], encoding)) if result.ladder or not is_short else []
    return [*(rows[:1] if is_short else rows), *reasons]


def details(result: ResultRecord, seed: int, said: set[str], *, encoding: str = "utf-8") -> list[Line]:
    """Everything about one check: the row, then the claim, nulls, worst tokens and reason.

    ``said`` holds the properties whose claim was spelt out.
    """
    blocks = list(_reasons([result], encoding))
    if result.estimate:
        if result.id not in said:
            blocks.append(_prose("says", result.sentence, encoding))
        said.add(result.id)
        blocks += _details(result, result.estimate, seed, encoding)
    return [*_row(result, encoding, has_match=True), *_lines_of(blocks)]


def _row(
    result: ResultRecord,
    encoding: str,
    *,
    has_match: bool = False,
    has_tokens: bool = False,
    kind: str = "",
    widest: int = _WIDEST,
) -> list[Line]:
    """The numbers of a check, in a line or two; with the change where that is no match, or even then.

    Where it ``has_tokens``, it names the first few that a check is refuted by or regressed with.
    """
    estimate, change = result.estimate, result.change
    name = safe(result.label, widest, encoding=encoding) + (_beside(result) or kind)
    pieces = (
        [] if estimate is None else [*_measured(result, estimate), *_bounds([result]), *_remarks([result], encoding)]
    )
    if change and (change.state != "match" or has_match):
        text = change_of(result)
        pieces += [f"adopted: {text}" if state_word(change) == "adopted" else text] if text else []
    if has_tokens and (tokens := named_tokens(result)):
        pieces.append("such as " + ", ".join(quoted(safe(token, _TOKEN, encoding=encoding)) for token in tokens))
    first = f"{_headline(result):<{_WORD}}{name}"
    return [Line(text, _style(result)) for text in wrap(pieces, width=WIDTH, first=first, indent=_INDENT)]


def _beside(result: ResultRecord) -> str:
    """The verdict in brackets, where the headline is something else and the check does not hold; or that it should."""
    if is_known_exception(result):
        return " (expected)"
    is_said = result.passes or result.verdict == "holds" or _headline(result) == verdict_word(result).upper()
    return "" if is_said else f" ({verdict_word(result)}{'' if result.expected else ', expected'})"


def _reasons(group: Sequence[ResultRecord], encoding: str) -> Iterator[list[str]]:
    """What the claims rest on, why there is no other verdict, and why nothing was compared."""
    first, change = group[0], group[0].change
    if len(group) > 1:
        yield from (_block("rests on", said.split(" "), gap=" ") for said in _ladders(group, encoding))
    elif first.ladder:
        yield _block("rests on", ladder_text(first.ladder).split(" "), gap=" ")
    compared = change.reason if change and change.reason and change.state != "match" else ""
    if (reason := _reason(first)) and reason not in compared:
        yield _prose("why", reason, encoding)
    if change and compared:
        yield _prose(state_word(change), compared, encoding)


def _lines_of(blocks: Iterable[Sequence[str]]) -> list[Line]:
    return [Line(text) for block in blocks for text in block]


def _reason(result: ResultRecord) -> str | None:
    """Why there is no other verdict; of a known exception that was measured, the configuration tells."""
    return None if is_known_exception(result) and result.estimate else result.reason


def _headline(result: ResultRecord) -> str:
    """The verdict or, in capitals, what the check fails for."""
    kind = failure(result)
    if kind is not None:
        return {"exception": "HOLDS", "not_applicable": "N/A"}.get(kind, kind.upper())
    return verdict_word(result)


def _style(result: ResultRecord) -> Style:
    undecided = (failure(result) or result.verdict) in {"inconclusive", "undecided", *UNMEASURED}
    if not result.passes:
        return "warn" if undecided else "fail"
    return "dim" if is_known_exception(result) or is_description(result) else "warn" if undecided else "pass"


def _measured(result: ResultRecord, estimate: EstimateRecord) -> Iterator[str]:
    """Value with its interval, and how many of what it rests on."""
    yield measured_text(result)
    yield f"n = {estimate.n} {noun(estimate.n, estimate.unit)}"


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


def groups(results: Iterable[ResultRecord]) -> list[list[ResultRecord]]:
    """The results that share a row: of one property, with one verdict, and with nothing to say for itself."""
    shared: dict[object, list[ResultRecord]] = {}
    for result in results:
        change = result.change
        has_moved = change and change.state not in {"match", "new"}
        alike = (result.id, result.verdict, result.outcome, result.expected, _reason(result))
        state = change and (change.state, change.reason)
        shared.setdefault((*alike, state, result.key if has_moved else ""), []).append(result)
    return list(shared.values())


def together(group: Sequence[ResultRecord], total: int, encoding: str) -> list[Line]:
    """One row for checks that differ in their parameters, of so many in ``total``, and what is to be said of them."""
    return [*_shared_row(group, total, encoding), *_lines_of(_reasons(group, encoding))]


def _shared_row(group: Sequence[ResultRecord], total: int, encoding: str, *, has_tokens: bool = False) -> list[Line]:
    """How many checks there are, the value of each and, of those that fail, which ones."""
    first = group[0]
    if len(group) == 1:
        return _row(first, encoding, has_tokens=has_tokens)
    known = " (expected)" if is_known_exception(first) else ""
    name = safe(first.id, _WIDEST, encoding=encoding) + known
    pieces = [f"{len(group)} of {total} {'hold' if verdict_word(first) == 'holds' else verdict_word(first)}"]
    if any(result.estimate for result in group):
        pieces += [*(_named_value(result, encoding) for result in group), *_bounds(group), *_remarks(group, encoding)]
    elif not first.passes and len(group) < total:
        named = ", ".join(parameters_of(result.params) for result in group)
        pieces.append(f"({safe(named, WIDTH - _WORD - 2, encoding=encoding)})")
    start = f"{_headline(first):<{_WORD}}{name}"
    return [Line(text, _style(first)) for text in wrap(pieces, width=WIDTH, first=start, indent=_INDENT)]


def _named_value(result: ResultRecord, encoding: str) -> str:
    """The value of one of several checks, under its parameters."""
    value = number(result.estimate.value, ends(result.claims)) if result.estimate else "none"
    return f"{safe(parameters_of(result.params), _TOKEN, encoding=encoding)}: {value}"


def problem(group: Sequence[ResultRecord], total: int, said: set[str], *, depth: int, encoding: str) -> list[Line]:
    """What a person needs to see of checks that need looking at: the row, the reason, the claim, what weighs most.

    ``depth`` says how far down that list: from 0 for the row alone, which names tokens where they have no line of their
    own, to 3. ``said`` holds the properties whose claim was spelt out.
    """
    first = group[0]
    blocks: list[list[str]] = []
    if depth > 0:
        blocks += _reasons(group, encoding)
        if isinstance(summary := first.details.get("summary"), str) and not first.reason:
            blocks.append(_prose("note", summary, encoding))
        if first.control and first.control.vacuous:
            blocks.append(_block("control", [control_text(first.control)]))
    if depth > 1 and first.estimate and first.id not in said:
        blocks.append(_prose("says", first.sentence, encoding))
        said.add(first.id)
    if depth == _DEEPEST and (worst := _worst(first, encoding)):
        whole = cut(worst[0], WIDTH - columns(_label("worst")))
        blocks.append(_block("worst", [whole, *worst[1:]])[:1])
    rows = _shared_row(group, total, encoding, has_tokens=depth < _DEEPEST)
    return [*rows, *_lines_of(map(_shortened, blocks))]


def _shortened(block: Sequence[str]) -> list[str]:
    """The first lines of what is said; what is left out leaves a mark."""
    if len(block) <= _SHORT:
        return list(block)
    return [*block[: _SHORT - 1], cut(f"{block[_SHORT - 1]} {block[_SHORT].strip()}", WIDTH)]


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
        yield _block("change", [f"{state_word(change)}: {how_text(change)}"])
        moved, more = moved_most(change, _WORST)
        if moved:
            yield _block("moved", [*(counterexample(entry, encoding) for entry in moved), *filter(None, [more])])
    if result.nulls:
        yield _block("nulls", [_null(null) for null in result.nulls])
    if result.control:
        yield _block("control", [control_text(result.control)])
    if worst := _worst(result, encoding):
        yield _block("worst", worst)
    if figures := published.of(result):
        yield published.lines(figures, indent=_INDENT, encoding=encoding)
    if isinstance(summary := result.details.get("summary"), str):
        yield _prose("note", summary, encoding)


def _label(name: str) -> str:
    return f"{_INDENT}{name}: "


def _block(name: str, pieces: Sequence[str], gap: str = "  ") -> list[str]:
    """A label and what it is of; the first piece is broken at its spaces rather than leave the label alone."""
    (first, *others), indent = pieces, _INDENT + "  "
    is_long = columns(_label(name) + first) > WIDTH
    *lines, last = wrap(
        first.split(" ") if is_long else [first], width=WIDTH, first=_label(name), indent=indent, gap=" "
    )
    return [*lines, *wrap(others, width=WIDTH, first=last, indent=indent, gap=gap)]


def _prose(name: str, text: str, encoding: str) -> list[str]:
    """Sentences, which may quote tokens."""
    return _block(name, safe(text, 10 * WIDTH, encoding=encoding).split(" "), gap=" ")


def _null(null: NullResult) -> str:
    return f"{null.name} {number(null.value)}" + ("" if null.p_value is None else f", p = {null.p_value:.2g}")


def _worst(result: ResultRecord, encoding: str) -> list[str]:
    """What weighs most against the claim; of a change that fails it explains nothing."""
    return (
        [] if fails_by_change(result) else [counterexample(each, encoding) for each in result.counterexamples[:_WORST]]
    )


def counterexample(entry: Mapping[str, object], encoding: str) -> str:
    """``'token' #id value: why``; other keys by their name."""
    parts = []
    for key in in_order(entry.keys() - {"why"}):
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
            parts.append(name + quoted(safe(text, _TOKEN, encoding=encoding)))
    why = entry.get("why") or ""
    said = safe(", ".join(map(str, why)) if isinstance(why, list) else str(why), WIDTH, encoding=encoding)
    return " ".join(parts) + (f": {said}" if said else "")
