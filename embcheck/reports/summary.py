"""The summary as Markdown: what a reviewer reads in ten seconds. Tokens in it are inert, whatever they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import files
from embcheck.reports import published
from embcheck.reports.text import number, safe
from embcheck.reports.wording import bound_text, change_text, counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from embcheck.checks.record import ModelRecord, Report, ResultRecord

_TOKEN = 24
_MOVED = 5


def write(report: Report, path: Path) -> None:
    """Write the summary to a file."""
    files.write(path, markdown(report))


def markdown(report: Report) -> str:
    """The summary of a report."""
    results = report.results
    failed = sum(not result.passes for result in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks pass"
    parts = [f"### embcheck: {verdict}", counts(results).text]
    for model in report.models:
        parts += _model(model)
    return "\n\n".join(parts) + "\n"


def _model(model: ModelRecord) -> Iterator[str]:
    shape = "not loaded" if model.shape is None else "{} x {} {}".format(*model.shape, _inert(str(model.dtype)))
    yield f"**{_inert(model.alias)}** ({_code(model.spec)}, {shape})"
    if bad := [result for result in model.results if not result.passes]:
        yield _table(bad)
    if model.unused:
        yield f"Unused baseline entries: {', '.join(map(_code, model.unused))}"
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
    return f"{result.verdict}, {result.change.state}" if result.change else str(result.verdict)


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
