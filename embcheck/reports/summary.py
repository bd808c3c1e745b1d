"""The summary as Markdown: what a reviewer reads in ten seconds. Tokens in it are inert, whatever they hold."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

from msgspec import structs

from embcheck import files
from embcheck.reports import published
from embcheck.reports.comparison import Comparison
from embcheck.reports.diagnosis import Diagnosis
from embcheck.reports.markdown import code, inert, prose, table
from embcheck.reports.text import number
from embcheck.reports.wording import (
    STATES,
    change_number,
    change_of,
    claims_text,
    counts,
    fails_by_change,
    headline,
    headline_of,
    how_text,
    is_aside,
    is_description,
    measured_text,
    moved_most,
    named_tokens,
    reasons,
    state_word,
    urgency,
    verdict_word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from embcheck.checks.record import Change, ModelRecord, Report, ResultRecord
    from embcheck.reports.comparison import Compared

_MOVED = 5
_ROOM = 1_000  # bytes of the lines at the top
_ALL_ARE_WRITTEN = "GitHub shows 1 MiB a step. All are in what `--summary PATH`, `--json PATH` and `--html PATH` write."
_TABLES = 400  # bytes of a model's two tables without their rows


def write(document: Report | Comparison | Diagnosis, path: Path) -> None:
    """Write the summary to a file."""
    files.write(path, markdown(document))


def markdown(document: Report | Comparison | Diagnosis, *, most: int | None = None) -> str:
    """The summary; where it has more than ``most`` bytes, that of the most urgent checks, and how many are left out."""
    if isinstance(document, Comparison):
        return _comparison(document, most)
    return _diagnosis(document) if isinstance(document, Diagnosis) else _report(document, most)


def _report(report: Report, most: int | None) -> str:
    whole = _document(report, report.models)
    if most is None or len(whole.encode()) <= most:
        return whole
    return _document(report, _most_urgent(report.models, most - _ROOM))


def _document(report: Report, models: Sequence[ModelRecord]) -> str:
    """What is said of a report, with the results of these models only."""
    results, shown = report.results, [result for model in models for result in model.results]
    failed = sum(not result.passes for result in results)
    early = "; the run ended early, and this is what was measured until then" if report.run.partial else ""
    parts = [f"### embcheck: {prose(headline_of(report.models), 600)}{early}", counts(results).text]
    if left := len(results) - len(shown):
        failing = failed - sum(not result.passes for result in shown)
        parts.append(
            f"**{left} checks are left out here, {failing} of them failed**, the least urgent: {_ALL_ARE_WRITTEN}"
        )
    for model in models:
        parts += [_heading(model), *_checks(model)]
    return "\n\n".join(parts) + "\n"


def _most_urgent(models: Sequence[ModelRecord], room: int) -> Sequence[ModelRecord]:
    """The models with as many of their results, the most urgent of all first, as take no more bytes than there are."""
    results = [(model, result) for model in models for result in model.results]
    kept: dict[str, list[ResultRecord]] = {}
    for model, result in sorted(results, key=lambda pair: urgency(pair[1])):
        *_, row = _results([result]).splitlines()
        figures = published.of(result)
        room -= len(row.encode()) + 1 + (len(_figures(figures).encode()) + 2 if figures else 0)
        room -= 0 if model.alias in kept else len(_heading(model).encode()) + _TABLES
        if room < 0:
            break
        kept.setdefault(model.alias, []).append(result)
    fitting = [structs.replace(model, results=tuple(kept.get(model.alias, ()))) for model in models]
    return [model for model in fitting if model.results]


def _heading(model: ModelRecord) -> str:
    shape = "not loaded" if model.shape is None else "{} x {} {}".format(*model.shape, inert(str(model.dtype)))
    unused = f"\n\nUnused baseline entries: {', '.join(map(code, model.unused))}" if model.unused else ""
    notes = "".join(f"\n\n{prose(note, 600)}" for note in (model.lost, model.likely) if note)
    return f"**{inert(model.alias)}** ({code(model.spec)}, {shape}){notes}{unused}"


def _checks(model: ModelRecord) -> Iterator[str]:
    if bad := sorted((result for result in model.results if not result.passes), key=urgency):
        yield _results(bad)
    if good := [result for result in model.results if result.passes]:
        aside = sum(map(is_aside, good))
        yield folded(f"{len(good) - aside} passing" + (f", {aside} n/a" if aside else ""), _results(good))
    for result in model.results:
        if compared := published.of(result):
            yield _figures(compared)


def folded(title: str, text: str) -> str:
    """Text that is shown when its title is clicked."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _results(results: Sequence[ResultRecord]) -> str:
    rows = []
    for result in results:
        said = [inert(value_text(result)), inert(claims_text(result))]
        whys = "; ".join(part for part in (prose(why(result), 300), _moved(result)) if part)
        rows.append([code(result.label), _verdict(result), *said, inert(change_of(result)), whys])
    return table(["Check", "Verdict", "Value", "Claim", "Change", "Why"], rows)


def _figures(compared: Sequence[published.Compared]) -> str:
    rows = [
        [
            code(row.name),
            *map(inert, (row.ours, row.published, row.tolerance)),
            "within" if row.within else "**outside**",
            inert(row.source),
        ]
        for row in compared
    ]
    return table(["Figure", "Ours", "Published", "Tolerance", "", "Source"], rows)


def statistics_line(result: ResultRecord) -> str:
    """Verdict, value, interval, n, claim and change on one line; a change that fails stands before the numbers.

    Where it is the change alone that fails, its state stands for the verdict.
    """
    numbers = [value_text(result), claims_text(result) if result.estimate else ""]
    change = change_of(result)
    said = [change, *numbers] if result.change and not result.change.passes else [*numbers, change]
    first = headline(result) if fails_by_change(result) else _verdict(result)
    return "; ".join(filter(None, (first, *said)))


def failure_line(result: ResultRecord) -> str:
    """The statistics and the reasons on one line."""
    return "; ".join(part for part in (statistics_line(result), why(result)) if part)


def why(result: ResultRecord) -> str:
    """The reasons that the check and its comparison state."""
    return "; ".join(reasons(result))


def _verdict(result: ResultRecord) -> str:
    verdict = f"{result.verdict} (description)" if is_description(result) else verdict_word(result)
    return f"{verdict}, {state_word(result.change)}" if result.change else verdict


def value_text(result: ResultRecord) -> str:
    """The estimate with its interval and how many units it rests on; empty where there is none."""
    return f"{measured_text(result)}, n = {result.estimate.n}" if result.estimate else ""


def _moved(result: ResultRecord) -> str:
    """The tokens that moved most, or those that weigh most against the claim."""
    if result.passes:
        return ""
    change = result.change
    entries = change.moved if change and change.moved and not change.passes else result.counterexamples
    tokens = [entry["token"] for entry in entries if isinstance(entry.get("token"), str)]
    return " ".join(map(code, tokens[:_MOVED]))


# --- changes ----------------------------------------------------------------------------------------------------------


def changes(rows: Iterable[tuple[str, Change | None, str, str | None, Sequence[str]]]) -> str:
    """A table of changes: each check with change and state, or why there is no change, and tokens it is refuted by."""
    cells = []
    for label, change, state, reason, tokens in rows:
        if change is None:
            cells.append([code(label), state, "", "", "", "", prose(reason or "", 300)])
            continue
        numbers = [_shown(value, change) for value in (change.before, change.after)]
        value, low, high = (change_number(end, change) for end in (change.value, change.low, change.high))
        interval = f"{value} ({low} to {high})" if change.low != change.high else value
        numbers.append("" if change.value is None else interval)
        what = _units(change) or " ".join(code(token, 40) for token in tokens)
        said = [prose(change.reason or "", 300), inert(how_text(change)), what]
        margin = "" if change.margin is None else f"{number(change.margin)} ({change.bad})"
        cells.append([code(label), state, *numbers, margin, "; ".join(filter(None, said))])
    return table(["Check", "State", "Before", "Now", "Change", "Margin", "Why, what moved most"], cells)


def _shown(value: float | None, change: Change) -> str:
    apart = () if change.margin is None else (change.margin, -change.margin)
    return "" if value is None else number(value, apart)


def _units(change: Change) -> str:
    moved, more = moved_most(change, _MOVED)
    named = [code(unit["token"], 40) for unit in moved if isinstance(unit.get("token"), str)]
    return " ".join([*named, *filter(None, [more])])


def changed(report: Report) -> str:
    """What changed of each model against its baseline: worst first, what did not change folded away."""
    parts = []
    for model in report.models:
        rows = sorted(
            (r for r in model.results if r.change), key=lambda r: STATES.index(str(r.change and r.change.state))
        )
        said = [(r.label, r.change, r.change.state if r.change else "", None, named_tokens(r)) for r in rows]
        still = [row for row in said if row[1] and row[1].state == "match"]
        moved = [row for row in said if row not in still]
        states = Counter(str(change.state) for _, change, *_ in said if change)
        counted = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
        parts.append(f"### {inert(model.alias)} against its baseline: {counted or 'nothing was compared'}")
        parts += [prose(note, 600) for note in (model.lost, model.likely) if note]
        parts += [changes(moved)] if moved else []
        parts += [folded(f"{len(still)} did not change", changes(still))] if still else []
        parts += [f"Unused entries: {', '.join(map(code, model.unused))}"] if model.unused else []
    return "\n\n".join(parts) + "\n"


def _comparison(compared: Comparison, most: int | None) -> str:
    rows = compared.by_urgency
    whole = _with_checks(compared, rows)
    if most is None or len(whole.encode()) <= most:
        return whole
    room = most - _ROOM - len(_with_checks(compared, []).encode())
    sizes = accumulate(len(changes([_cells(row)]).splitlines()[-1].encode()) + 1 for row in rows)
    return _with_checks(compared, rows[: sum(size <= room for size in sizes)])


def _cells(row: Compared) -> tuple[str, Change | None, str, str | None, Sequence[str]]:
    return row.check, row.change, row.state, row.reason, ()


def _with_checks(compared: Comparison, shown: Sequence[Compared]) -> str:
    """Counts, drift, then these checks, those that need a look first."""
    first, second = map(code, compared.models)
    parts = [f"### embcheck: {second} against {first} {compared.counts}"]
    parts += [prose(compared.likely, 600)] if compared.likely else []
    parts += [f"**{inert(limit.text, 300)}**" for limit in compared.limits]
    parts += [inert(compared.populations)] if compared.populations else []
    drift = compared.drift
    rows = [["rows that both have", f"{drift.rows:,}, {drift.identical_rows or 0:,} equal"]] if drift.rows else []
    rows += [[inert(name), inert(value)] for name, value in drift.statistics()]
    rows += [["why there is no more", inert(drift.reason, 300)]] if drift.reason else []
    rows += [["moved farthest", " ".join(code(token.token, 40) for token in drift.farthest)]] if drift.farthest else []
    parts.append(table(["Drift", ""], rows))
    if left := len(compared.changes) - len(shown):
        parts.append(f"**{left} checks are left out here**, the least urgent: {_ALL_ARE_WRITTEN}")
    still = [_cells(row) for row in shown if row.state == "match"]
    moved = [_cells(row) for row in shown if row.state != "match"]
    parts += [changes(moved)] if moved else []
    parts += [folded(f"{len(still)} did not change", changes(still))] if still else []
    return "\n\n".join(parts) + "\n"


def _diagnosis(diagnosis: Diagnosis) -> str:
    """Each cause with its evidence and what to do, and what is left: a few lines, whatever fits."""
    rows = [
        [code(cause.cause), prose(cause.sentence, 600), prose(cause.evidence, 600), prose(cause.remedy, 600)]
        for cause in diagnosis.causes
    ]
    left = [f"Left over: {number(diagnosis.residual)} of the rows' spread, in the median."]
    left += [f"Why no cause stands: {prose(diagnosis.abstained, 600)}."] if diagnosis.abstained else []
    left += [f"Next best account: {prose(diagnosis.runner_up, 600)}."] if diagnosis.runner_up else []
    parts = [
        f"### embcheck: {code(diagnosis.candidate)} against {code(diagnosis.reference)}: {inert(diagnosis.verdict)}"
    ]
    parts += [table(["Cause", "What happened", "Evidence", "What now"], rows)] if rows else []
    return "\n\n".join([*parts, *left]) + "\n"
