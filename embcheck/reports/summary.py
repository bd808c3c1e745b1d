"""The summary as Markdown: what a reviewer reads in ten seconds. Tokens in it are inert, whatever they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from embcheck import files
from embcheck.reports import published
from embcheck.reports.text import number, safe
from embcheck.reports.wording import bound_text, change_text, counts, is_description, urgency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from embcheck.checks.record import ModelRecord, Report, ResultRecord

_TOKEN = 24
_MOVED = 5
_ROOM = 1_000  # bytes of the lines at the top


def write(report: Report, path: Path) -> None:
    """Write the summary to a file."""
    files.write(path, markdown(report))


def markdown(report: Report, *, most: int | None = None) -> str:
    """The summary of a report; where it has more than ``most`` bytes, that of its most urgent checks, and how many."""
    whole = _document(report, report.models)
    if most is None or len(whole.encode()) <= most:
        return whole
    return _document(report, _most_urgent(report.models, most - _ROOM))


def _document(report: Report, models: Sequence[ModelRecord]) -> str:
    """What is said of a report, with the results of these models only."""
    results, shown = report.results, [result for model in models for result in model.results]
    failed = sum(not result.passes for result in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks pass"
    parts = [f"### embcheck: {verdict}", counts(results).text]
    if left := len(results) - len(shown):
        failing = failed - sum(not result.passes for result in shown)
        parts.append(
            f"**{left} checks are left out here, {failing} of them failed**, the least urgent: GitHub shows 1 MiB a "
            "step. All are in what `--summary PATH`, `--json PATH` and `--html PATH` write."
        )
    for model in models:
        parts += [_heading(model), *_checks(model)]
    return "\n\n".join(parts) + "\n"


def _most_urgent(models: Sequence[ModelRecord], room: int) -> Sequence[ModelRecord]:
    """The models with as many of their results, the most urgent of all first, as take no more bytes than there are."""
    results = [(model, result) for model in models for result in model.results]
    kept: dict[str, list[ResultRecord]] = {}
    for model, result in sorted(results, key=lambda pair: urgency(pair[1])):
        room -= len("".join(_checks(structs.replace(model, results=(result,)))).encode())
        room -= 0 if model.alias in kept else len(_heading(model).encode()) + 4
        if room < 0:
            break
        kept.setdefault(model.alias, []).append(result)
    fitting = [structs.replace(model, results=tuple(kept.get(model.alias, ()))) for model in models]
    return [model for model in fitting if model.results]


def _heading(model: ModelRecord) -> str:
    shape = "not loaded" if model.shape is None else "{} x {} {}".format(*model.shape, _inert(str(model.dtype)))
    unused = f"\n\nUnused baseline entries: {', '.join(map(_code, model.unused))}" if model.unused else ""
    return f"**{_inert(model.alias)}** ({_code(model.spec)}, {shape}){unused}"


def _checks(model: ModelRecord) -> Iterator[str]:
    if bad := [result for result in model.results if not result.passes]:
        yield _table(bad)
    if good := [result for result in model.results if result.passes]:
        yield f"<details><summary>{len(good)} passing</summary>\n\n{_table(good)}\n\n</details>"
    for result in model.results:
        if compared := published.of(result):
            yield _figures(compared)


def _table(results: Sequence[ResultRecord]) -> str:
    rows = ["| Check | | Value | Claim | Change | Why |", "|---|---|---|---|---|---|"]
    for result in results:
        cells = [
            _code(result.label),
            _verdict(result),
            _inert(_value(result)),
            _inert(", ".join(map(bound_text, result.claims))),
            _inert(change_text(result.change)),
            "; ".join(part for part in (_inert(why(result), 300), _moved(result)) if part),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _figures(compared: Sequence[published.Compared]) -> str:
    rows = ["| Figure | Ours | Published | Tolerance | | Source |", "|---|---|---|---|---|---|"]
    for row in compared:
        within = "within" if row.within else "**outside**"
        cells = [_code(row.name), *map(_inert, (row.ours, row.published, row.tolerance)), within, _inert(row.source)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def statistics_line(result: ResultRecord) -> str:
    """Verdict, value, interval, n, claim and change on one line."""
    claims = ", ".join(map(bound_text, result.claims)) if result.estimate else ""
    return "; ".join(part for part in (_verdict(result), _value(result), claims, change_text(result.change)) if part)


def why(result: ResultRecord) -> str:
    """The reasons that the check and its comparison state."""
    return "; ".join(part for part in (result.reason, result.change and result.change.reason) if part)


def _verdict(result: ResultRecord) -> str:
    verdict = f"{result.verdict} (description)" if is_description(result) else str(result.verdict)
    return f"{verdict}, {result.change.state}" if result.change else verdict


def _value(result: ResultRecord) -> str:
    estimate = result.estimate
    if estimate is None:
        return ""
    interval = "(exact)" if estimate.exact else f"[{number(estimate.low)}, {number(estimate.high)}]"
    return f"{number(estimate.value)} {interval}, n = {estimate.n}"


def _moved(result: ResultRecord) -> str:
    """The tokens that moved most, or those that weigh most against the claim."""
    if result.passes:
        return ""
    change = result.change
    entries = change.moved if change and change.moved and not change.passes else result.counterexamples
    tokens = [entry["token"] for entry in entries if isinstance(entry.get("token"), str)]
    return " ".join(map(_code, tokens[:_MOVED]))


def _code(text: str) -> str:
    return f"<code>{_inert(text)}</code>"


def _inert(text: str, width: int = 10 * _TOKEN) -> str:
    """The text with every control character visible, and every punctuation mark as an entity."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in safe(text, width))
