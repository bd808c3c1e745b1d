"""The documents of ``inspect``, ``probe``, ``neighbors`` and ``analogy`` as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.text import columns, number, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import Json

_TOKEN = 30
_QUESTION = 60
_MOST_RUNS = 40
_MOST_TOKENS = 60


def described(alias: str, source: Json, *, encoding: str = "utf-8") -> list[Line]:
    """What would be read of a spec, said before anything large is."""
    size, whole = (f"{value:,}" if value is not None else "?" for value in (source["bytes"], source["bytes_total"]))
    files = ", ".join(safe(name, 60, encoding=encoding) for name in source["files"])
    tensor = [f"tensor {safe(source['tensor'], 60, encoding=encoding)}"] if source["tensor"] else []
    return [
        Line(safe(alias, 40, encoding=encoding), "title"),
        *_block("read", [*tensor, f"{size} of {whole} bytes"]),
        *_block("files", [files] if files else []),
    ]


def inspect(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """What a spec holds."""
    rows, width = document["shape"]
    scale, lengths = document["scale"], document["norms"]
    population = document["population"]
    out = [f"{n} {reason}" for reason, n in sorted(population["excluded"].items())]
    return [
        *_block("matrix", [f"{rows} x {width} {document['dtype']}"]),
        *_block("population", [f"{population['kind']}: {population['rows']} rows"]),
        *_block("left out", out or ["nothing"]),
        *_block("lengths", [f"{_level(level)} {number(value)}" for level, value in lengths.items()]),
        *_block("scaled", [f"{_level(k)} {number(v * scale)}" for k, v in lengths.items()] if scale != 1 else []),
        *_block("tokens", [f"{n} {kind}" for kind, n in document["token_kinds"].items() if n]),
        *_block("notes", [safe(note, 400, encoding=encoding) for note in document["notes"]]),
        *_block("sha256", [f"weights {document['weights_sha256'][:16]}", f"tokens {document['tokens_sha256'][:16]}"]),
    ]


def probe(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """One token against all others."""
    anchor, negative = document["anchor"], document["negative_tokens"]
    outside = "" if anchor["in_population"] else " (itself outside the population)"
    runs = [f"#{first}" if first == last else f"#{first}-{last}" for first, last in document["negative_runs"]]
    tokens = [_token(entry, encoding) for entry in negative]
    statistics = [f"{name} {number(document[name])}" for name in ("min", "max", "mean", "median")]
    return [
        Line(f"{_token(anchor, encoding)} #{anchor['id']} against {document['others']} rows{outside}", "title"),
        *_block("cosine", statistics),
        *_block("signs", [f"{document[key]} {key.replace('_', '-')}" for key in ("non_negative", "negative")]),
        *_block("share", [f"{number(document['share'])} non-negative"]),
        *_block("negative", _first(runs, _MOST_RUNS, "runs")),
        *_block("decoded", _first(tokens, _MOST_TOKENS, "tokens")),
    ]


def neighbors(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """The rows nearest to a word."""
    variants = ", variants counted once" if document["merged"] else ""
    title = f"nearest to {_word(document['word'], encoding)} by cosine{variants}"
    return [*_titled(title), *_ranked(document["neighbors"], encoding)]


def analogy(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """The rows nearest to a - b + c, and where the words themselves rank."""
    a, b, c, *target = (_word(word, encoding) for word in document["words"])
    ranks = [
        f"{safe(text, _TOKEN, encoding=encoding)}: "
        f"{rank['sources_kept'] or 'not a word of this vocabulary'} with sources kept"
        + (f", {rank['sources_excluded']} excluded" if rank["sources_excluded"] else "")
        for text, rank in document["ranks"].items()
    ]
    return [
        *_titled(f"{a} - {b} + {c}" + (f" = {target[0]}" if target else "")),
        Line("source words excluded"),
        *_ranked(document["sources_excluded"], encoding),
        Line("source words kept"),
        *_ranked(document["sources_kept"], encoding),
        *_block("ranks", ranks),
    ]


def answers(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """How many questions are answered rightly, by section."""
    rules = document["rules"]
    notes = [
        f"{document['words']} words",
        "case folded" if rules["fold_case"] else "case kept",
        f"source words {'kept' if rules['keep_sources'] else 'excluded'}",
    ]
    total = {
        "section": "all sections",
        "questions": sum(section["questions"] for section in document["sections"]),
        "asked": document["asked"],
        "correct": sum(section["correct"] for section in document["sections"]),
        "accuracy": document["accuracy"],
    }
    return [
        *_titled(f"{safe(document['questions'], _TOKEN, encoding=encoding)}  {', '.join(notes)}"),
        Line(f"{'section':<32}{'questions':>12}{'asked':>10}{'correct':>10}{'accuracy':>12}"),
        *(_section(section, encoding) for section in (*document["sections"], total)),
        *_block("wrong", [_wrong(entry, encoding) for entry in document["wrong"]]),
    ]


def _section(section: Json, encoding: str) -> Line:
    name = safe(section["section"], _TOKEN, encoding=encoding)
    counts = f"{section['questions']:>12}{section['asked']:>10}{section['correct']:>10}"
    return Line(f"{name}{' ' * (32 - columns(name))}{counts}{number(section['accuracy']):>12}")


def _wrong(entry: Json, encoding: str) -> str:
    answer = "none" if entry["answer"] is None else f"'{safe(entry['answer'], _TOKEN, encoding=encoding)}'"
    return f"{safe(entry['token'], _QUESTION, encoding=encoding)}, not {answer}"


def _titled(text: str) -> list[Line]:
    return [Line(line, "title") for line in wrap([text], width=WIDTH, indent="  ")]


def _ranked(entries: Sequence[Json], encoding: str) -> list[Line]:
    rows = []
    for rank, entry in enumerate(entries, 1):
        token = _token(entry, encoding)
        gap = " " * (_TOKEN + 4 - columns(token))
        rows.append(Line(f"{rank:>4}  {entry['cosine']:7.4f}  {token}{gap}#{entry['id']}"))
    return rows


def _block(name: str, pieces: Iterable[str]) -> list[Line]:
    return [
        Line(text) for text in wrap(pieces, width=WIDTH, first=f"  {name:<12}", indent=" " * 14) if text.strip() != name
    ]


def _first(pieces: Sequence[str], most: int, what: str) -> list[str]:
    more = len(pieces) - most
    return [*pieces[:most], f"and {more} more {what} (--json has all)"] if more > 0 else list(pieces) or ["none"]


def _token(entry: Json, encoding: str) -> str:
    return f"'{safe(entry['token'], _TOKEN, encoding=encoding)}'"


def _word(word: Json, encoding: str) -> str:
    text = safe(word["text"], _TOKEN, encoding=encoding)
    if len(word["ids"]) > 1:
        return f"{text} (mean of {len(word['ids'])} tokens)"
    if text.startswith("#"):  # asked for by its row
        return f"{text} ('{safe(word['tokens'][0], _TOKEN, encoding=encoding)}')"
    return f"{text} (#{word['ids'][0]})"


def _level(level: str) -> str:
    return {"0": "min", "0.5": "median", "1": "max"}.get(level, f"{float(level):.0%}")
