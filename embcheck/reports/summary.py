"""The summary as Markdown: what a reviewer reads in ten seconds. Tokens in it are inert, whatever they hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.errors import EmbcheckError
from embcheck.reports import published
from embcheck.reports.terminal import bound_text, change_text, counts, label
from embcheck.reports.text import number, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["deliver", "markdown", "statistics_line", "why", "write"]

_TOKEN = 24
_MOVED = 5


def deliver(document: Mapping[str, Any], path: Path | None) -> None:
    """Write the summary to a file, and append it to the job's summary where GitHub Actions names one.

    Raises
    ------
    EmbcheckError
        One of them can't be written.
    """
    job = os.environ.get("GITHUB_STEP_SUMMARY")
    if path is None and not job:
        return
    if path is not None:
        write(document, path)
    if job and document["models"]:
        try:
            with Path(job).open("a", encoding="utf-8", newline="\n") as file:
                file.write(markdown(document) + "\n")
        except OSError as error:
            raise EmbcheckError(f"can't append to GITHUB_STEP_SUMMARY {job!r}: {error.strerror or error}") from error


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write the summary to a file.

    Raises
    ------
    EmbcheckError
        It can't be written.
    """
    files.write(path, markdown(document))


def markdown(document: Mapping[str, Any]) -> str:
    """The summary of a report document."""
    results = [result for model in document["models"] for result in model["results"]]
    failed = sum(result["outcome"] == "fail" for result in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks pass"
    parts = [f"### embcheck: {verdict}", counts(results).text]
    for model in document["models"]:
        parts += _model(model)
    return "\n\n".join(parts) + "\n"


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    shape = "not loaded" if model["shape"] is None else "{} x {} {}".format(*model["shape"], model["dtype"])
    yield f"**{_inert(model['alias'])}** ({_code(model['spec'])}, {shape})"
    bad = [result for result in model["results"] if result["outcome"] == "fail"]
    if bad:
        yield _table(bad)
    if unused := model.get("unused"):
        yield f"Unused baseline entries: {', '.join(_code(name) for name in unused)}"
    good = [result for result in model["results"] if result["outcome"] == "pass"]
    if good:
        yield f"<details><summary>{len(good)} passing</summary>\n\n{_table(good)}\n\n</details>"
    for result in model["results"]:
        if compared := published.of(result):
            yield _figures(compared)


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    rows = ["| Check | | Value | Claim | Change | Why |", "|---|---|---|---|---|---|"]
    for result in results:
        change = result["change"]
        state = f", {change['state']}" if change else ""
        cells = [
            _code(label(result)),
            f"{result['verdict']}{state}",
            _inert(_value(result)),
            _inert(", ".join(f"{bound_text(claim)}" for claim in result["claims"])),
            _inert(change_text(change)),
            "; ".join(part for part in (_inert(why(result), 300), _moved(result)) if part),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _figures(compared: Sequence[published.Compared]) -> str:
    rows = ["| Figure | Ours | Published | Tolerance | | Source |", "|---|---|---|---|---|---|"]
    for one in compared:
        within = "within" if one.within else "**outside**"
        cells = [_code(one.name), *map(_inert, (one.ours, one.published, one.tolerance)), within, _inert(one.source)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def statistics_line(result: Mapping[str, Any]) -> str:
    """Verdict, value, interval, n, claim and change on one line."""
    change = result["change"]
    parts = [
        result["verdict"] + (f", {change['state']}" if change else ""),
        _value(result),
        ", ".join(bound_text(claim) for claim in result["claims"]) if result["estimate"] else "",
        change_text(change),
    ]
    return "; ".join(part for part in parts if part)


def why(result: Mapping[str, Any]) -> str:
    """The reasons that the check and its comparison state."""
    change = result["change"]
    return "; ".join(part for part in (result["reason"], change["reason"] if change else None) if part)


def _value(result: Mapping[str, Any]) -> str:
    estimate = result["estimate"]
    if estimate is None:
        return ""
    value, low, high = (number(estimate[key]) for key in ("value", "low", "high"))
    interval = "(exact)" if estimate["exact"] else f"[{low}, {high}]"
    return f"{value} {interval}, n = {estimate['n']}"


def _moved(result: Mapping[str, Any]) -> str:
    """The tokens that moved most, or those that weigh most against the claim."""
    change = result["change"]
    if result["outcome"] == "pass":
        return ""
    entries = change["moved"] if change and change["moved"] and not change["passes"] else result["counterexamples"]
    named = [entry for entry in entries if isinstance(entry.get("token"), str)][:_MOVED]
    return " ".join(_code(entry["token"]) for entry in named)


def _code(text: str) -> str:
    return f"<code>{_inert(text)}</code>"


def _inert(text: str, width: int = 10 * _TOKEN) -> str:
    """The text with every control character visible, and every punctuation mark as an entity."""
    shown = safe(text, width)
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in shown)
