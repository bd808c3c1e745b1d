"""The report for a terminal: at most 80 columns, plain ASCII of its own, failures first.

``lines`` gives text and the name of a style; who prints them knows what colours there are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from embcheck.reports import published
from embcheck.reports.text import number, safe, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["WIDTH", "Line", "Style", "bound_text", "change_text", "counts", "describe", "label", "lines"]

WIDTH = 80
_WORD = 14  # columns of the verdict before a check's name
_INDENT = " " * _WORD
_TOKEN = 24
_WORST = 5
_STATES = ("regressed", "undecided", "stale", "new", "improved")

Style = Literal["title", "pass", "fail", "warn", "plain", "dim"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, and how it may be coloured."""

    text: str
    style: Style = "plain"


def lines(
    document: Mapping[str, Any], *, show: Literal["fail", "all", "none"] = "fail", encoding: str = "utf-8"
) -> list[Line]:
    """The report, line by line.

    Parameters
    ----------
    document
        The report document.
    show
        ``fail`` gives details of what does not hold and one line for each check that does; ``all`` details of
        everything; ``none`` only the counts.
    encoding
        Of the terminal: characters of tokens that it lacks are escaped.
    """
    found: list[Line] = []
    if show != "none":
        for model in document["models"]:
            found += _header(model, encoding)
            said: set[str] = set()
            for result in sorted(model["results"], key=_urgency):
                found += _check(result, document["run"]["seed"], said, details=show == "all", encoding=encoding)
            found.append(Line(""))
    results = [result for model in document["models"] for result in model["results"]]
    return [*found, counts(results)]


def counts(results: Sequence[Mapping[str, Any]]) -> Line:
    """The final line: how many checks hold, and how many do not."""
    verdicts = Counter(result["verdict"] for result in results)
    words = {"holds": "hold", "error": "errors" if verdicts["error"] > 1 else "error"}
    order = ("holds", "refuted", "inconclusive", "skipped", "error")
    parts = [f"{verdicts[v]} {words.get(v, v)}" for v in order if verdicts[v]]
    known = sum(not result.get("expected", True) and result["outcome"] == "pass" for result in results)
    vacuous = sum(bool(result["control"] and result["control"]["vacuous"]) for result in results)
    extra = [f"{known} known exception{'s' if known > 1 else ''}"] if known else []
    extra += [f"{vacuous} vacuous"] if vacuous else []
    states = Counter(result["change"]["state"] for result in results if result["change"])
    extra += [f"{n} {state}" for state in _STATES if (n := states[state])]
    text = ", ".join(parts) or "no checks ran"
    failed = any(result["outcome"] == "fail" for result in results)
    style: Style = "fail" if failed else "pass" if verdicts["holds"] else "warn"
    return Line(text + (f" ({', '.join(extra)})" if extra else ""), style)


def describe(result: Mapping[str, Any], seed: int, *, encoding: str = "utf-8") -> list[Line]:
    """Everything about one check: the row, then the claim, nulls, worst tokens and reason."""
    return _check(result, seed, set(), details=True, encoding=encoding)


def _urgency(result: Mapping[str, Any]) -> int:
    if result["outcome"] == "fail":
        return 0
    return 2 if result["verdict"] == "holds" else 1


def _header(model: Mapping[str, Any], encoding: str) -> list[Line]:
    name = safe(model["alias"], 40, encoding=encoding)
    if model["population"] is None:
        return [Line(f"{name}: not loaded", "title")]
    rows, width = model["shape"]
    population = model["population"]
    out = ", ".join(f"{n} {reason}" for reason, n in sorted(population["excluded"].items()))
    pieces = [f"{rows} x {width} {model['dtype']}", f"population {population['kind']}: {population['rows']} rows"]
    pieces += [f"(left out: {out})"] if out else []
    return [Line(text, "title") for text in wrap(pieces, width=WIDTH, first=f"{name}: ", indent="  ")]


# --- one check --------------------------------------------------------------------------------------------------


def _check(result: Mapping[str, Any], seed: int, said: set[str], *, details: bool, encoding: str) -> list[Line]:
    """The row of a check, and why where it does not hold. ``said`` holds the properties whose claim was spelt out."""
    known = not result.get("expected", True) and result["outcome"] == "pass"
    failed = result["outcome"] == "fail"
    word = _headline(result)
    name = safe(label(result), WIDTH - _WORD - 12, encoding=encoding) + (" (expected)" if known else "")
    measured = result["estimate"] is not None
    pieces = [*_measured(result), *_bounds(result)] if measured else []
    pieces += _moved_by(result["change"], details=details or failed)
    style = _style(result, known=known)
    rows = [Line(t, style) for t in wrap(pieces, width=WIDTH, first=f"{word:<{_WORD}}{name}", indent=_INDENT)]
    blocks: list[list[str]] = []
    if result["reason"] and not (known and measured):
        blocks.append(_prose("why", result["reason"], encoding))
    if result["change"] and result["change"]["reason"] and result["change"]["state"] != "match":
        blocks.append(_prose(result["change"]["state"], result["change"]["reason"], encoding))
    if measured and (details or failed):
        if result["property"] not in said:
            blocks.append(_prose("says", result["sentence"], encoding))
        said.add(result["property"])
        blocks += _details(result, seed, encoding)
    return [*rows, *(Line(text) for block in blocks for text in block)]


def _headline(result: Mapping[str, Any]) -> str:
    """The verdict, or the change's state where it is the change that fails; in capitals where it fails."""
    if result["outcome"] != "fail":
        return str(result["verdict"])
    change = result["change"]
    excused = result["verdict"] == "holds" or not result.get("expected", True)
    word = change["state"] if change and not change["passes"] and excused else result["verdict"]
    return str(word).upper()


def _moved_by(change: Mapping[str, Any] | None, *, details: bool) -> list[str]:
    """The change, where it is news or details are asked for."""
    if not change or (change["state"] == "match" and not details):
        return []
    return [text] if (text := change_text(change)) else []


def change_text(change: Mapping[str, Any] | None) -> str:
    """The change in words: how far it moved from where, and how that was found."""
    if not change or change["value"] is None:
        return ""
    apart = [change["margin"], -change["margin"]]
    value, low, high = (number(change[key], apart) for key in ("value", "low", "high"))
    interval = "" if change["low"] == change["high"] else f" [{low}, {high}]"
    margin = {"both": "margin", "down": "margin down", "up": "margin up"}[change["bad"]]
    added = ", shared tokens only" if change["tokens"] == "added" else ""
    how = f"{change['comparison']}{added}; {margin} {number(change['margin'])}"
    return f"moved {value}{interval} from {number(change['before'])} ({how})"


def _style(result: Mapping[str, Any], *, known: bool) -> Style:
    undecided = result["verdict"] in {"inconclusive", "skipped"}
    if result["outcome"] == "fail":
        return "warn" if undecided else "fail"
    return "dim" if known else "warn" if undecided else "pass"


def label(result: Mapping[str, Any]) -> str:
    """``analogy_rank[king]``: property and parameters as a person writes them."""
    inside = "-".join(str(value) for value in result["params"].values())
    return f"{result['property']}[{inside}]" if inside else str(result["property"])


def _measured(result: Mapping[str, Any]) -> Iterator[str]:
    """Value with its interval, and how many of what it rests on."""
    estimate = result["estimate"]
    if estimate is None:
        return
    bounds = [
        claim[key] for claim in result["claims"] for key in ("bound", "low", "high") if claim.get(key) is not None
    ]
    value, low, high = (number(estimate[key], bounds) for key in ("value", "low", "high"))
    yield f"{value} (exact)" if estimate["exact"] else f"{value} [{low}, {high}]"
    yield f"n = {estimate['n']} {estimate['unit']}"


def _bounds(result: Mapping[str, Any]) -> Iterator[str]:
    """The claims' bounds; of the nulls to beat, the strongest and its p-value."""
    for claim in result["claims"]:
        if claim["op"] != "beats":
            yield bound_text(claim)
    beaten = {claim["null"] for claim in result["claims"] if claim["op"] == "beats"}
    if not beaten:
        return
    measured = [null for null in result["nulls"] if null["name"] in beaten and null["p_value"] is not None]
    if not measured:
        yield f"beats {', '.join(sorted(beaten))}"
        return
    strongest = max(measured, key=lambda null: (null["p_value"], null["value"]))
    word = "beats" if all(c["verdict"] == "holds" for c in result["claims"] if c["op"] == "beats") else "against"
    yield f"{word} {strongest['name']}: p = {strongest['p_value']:.2g}"


def bound_text(claim: Mapping[str, Any]) -> str:
    """A claim's bound in words."""
    if claim["op"] == "within" and claim["low"] is None:
        return f"agrees with {claim['null']}"
    if claim["op"] == "within":
        null = f" ({claim['null']})" if claim["null"] else ""
        return f"within {number(claim['low'])} to {number(claim['high'])}{null}"
    if claim["op"] == "beats":
        return f"beats {claim['null']} at p <= {number(claim['bound'])}"
    return f"{claim['op']} {number(claim['bound'])}"


# --- why --------------------------------------------------------------------------------------------------------


def _details(result: Mapping[str, Any], seed: int, encoding: str) -> Iterator[list[str]]:
    """Blocks of lines: claims, method, nulls, the tokens that weigh most against it."""
    if len(result["claims"]) > 1:
        yield _block("claims", [f"{bound_text(claim)} ({claim['verdict']})" for claim in result["claims"]])
    estimate = result["estimate"]
    level = "" if estimate["exact"] else f"{number(100 * estimate['confidence_level'])}% interval"
    how = [f"{level} by {estimate['method']}" if level else "", f"seed {seed}"]
    yield _block("how", [piece for piece in how if piece])
    if (change := result["change"]) and change["value"] is not None:
        chance = (
            "" if change["p_adjusted"] is None else f"p = {change['p_adjusted']:.2g} of {change['family']} compared"
        )
        yield _block("change", [piece for piece in (f"{change['state']}: {change['method']}", chance) if piece])
        if moved := [_counterexample(entry, encoding) for entry in change["moved"][:_WORST]]:
            yield _block("moved", moved)
    if nulls := [_null(null) for null in result["nulls"]]:
        yield _block("nulls", nulls)
    if result["control"]:
        yield _block("control", ["holds on {holds} of {tables} random tables".format(**result["control"])])
    if worst := [_counterexample(entry, encoding) for entry in result["counterexamples"][:_WORST]]:
        yield _block("worst", worst)
    if published.of(result):
        yield published.lines(result, indent=_INDENT, encoding=encoding)
    if isinstance(summary := result["details"].get("summary"), str):
        yield _prose("note", summary, encoding)


def _block(name: str, pieces: Sequence[str]) -> list[str]:
    return wrap(pieces, width=WIDTH, first=f"{_INDENT}{name}: ", indent=_INDENT + "  ")


def _prose(name: str, text: str, encoding: str) -> list[str]:
    """Sentences, which may quote tokens."""
    words = safe(text, 10 * WIDTH, encoding=encoding).split(" ")
    return wrap(words, width=WIDTH, first=f"{_INDENT}{name}: ", indent=_INDENT + "  ", gap=" ")


def _null(null: Mapping[str, Any]) -> str:
    chance = "" if null["p_value"] is None else f", p = {null['p_value']:.2g}"
    return f"{null['name']} {number(null['value'])}{chance}"


def _counterexample(entry: Mapping[str, Any], encoding: str) -> str:
    """``'token' #id value``; other keys by their name."""
    parts = []
    for key in sorted(entry, key=lambda key: ({"token": 0, "id": 1, "ids": 1, "value": 3}.get(key, 2), key)):
        value = entry[key]
        name = "" if key in {"token", "id", "ids", "value"} else f"{safe(key, _TOKEN, encoding=encoding)} "
        if key in {"id", "ids"}:
            parts.append(" ".join(f"#{row}" for row in (value if isinstance(value, list) else [value])))
        elif isinstance(value, float | int) and not isinstance(value, bool):
            parts.append(name + number(value))
        else:
            text = (
                value
                if isinstance(value, str)
                else ", ".join(map(str, value))
                if isinstance(value, list)
                else str(value)
            )
            parts.append(name + (f"'{safe(text, _TOKEN, encoding=encoding)}'" if value is not None else "none"))
    return " ".join(parts)
