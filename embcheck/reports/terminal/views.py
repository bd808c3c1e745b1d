"""The documents of `embcheck.explore` as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.text import columns, number, quoted, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import Json

_TOKEN = 30
_QUESTION = 60
_PARTS = 6  # tokens of a word that are named


def described(alias: str, source: Json, *, encoding: str = "utf-8") -> list[Line]:
    """What would be read of a spec, said before anything large is."""
    size, whole = (f"{value:,}" if value is not None else "?" for value in (source["bytes"], source["bytes_total"]))
    files = ", ".join(safe(name, 60, encoding=encoding) for name in source["files"])
    tensor = [f"tensor {safe(source['tensor'], 60, encoding=encoding)}"] if source["tensor"] else []
    return [
        Line(safe(alias, 40, encoding=encoding), "title"),
        *_block("read", [*tensor, f"{size} of {whole} bytes"]),
        *_block("files", [files] if files else []),
        *([Line(f"  {'in':<12}{safe(source['folder'], 400, encoding=encoding)}")] if source.get("folder") else []),
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
    """One token against all others, and those nearest to it and farthest from it."""
    anchor = document["anchor"]
    outside = "" if anchor["in_population"] else " (itself outside the population)"
    statistics = [f"{name} {number(document[name])}" for name in ("min", "max", "mean", "median")]
    signs = [f"{document[key]} {key.replace('_', '-')}" for key in ("non_negative", "negative")]
    return [
        Line(f"{_token(anchor, encoding)} #{anchor['id']} against {document['others']} rows{outside}", "title"),
        *_block("cosine", statistics),
        *_block("signs", [*signs, f"share {number(document['share'])}"]),
        Line("nearest by cosine"),
        *_ranked(document["nearest"], encoding),
        Line("farthest by cosine"),
        *_ranked(document["farthest"], encoding),
    ]


_COLUMNS = {"min": 9, "max": 9, "mean": 9, "median": 9, "non_negative": 14, "negative": 11, "share": 9}


def probe_random(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """Random tokens against all others: their statistics, averaged, and which tokens they are."""
    drawn, averaged = document["drawn"], document["averaged"]
    digits = {"non_negative": ".2f", "negative": ".2f"}
    names = "".join(f"{name.replace('_', '-'):>{width}}" for name, width in _COLUMNS.items())
    values = "".join(f"{averaged[name]:>{width}{digits.get(name, '.4f')}}" for name, width in _COLUMNS.items())
    title = (
        f"{len(drawn)} tokens drawn with seed {document['seed']}, each against the {document['others']} other rows; "
        "averaged"
    )
    return [
        *_titled(title),
        Line(names.rstrip()),
        Line(values.rstrip()),
        *_block("drawn", [f"{_token(entry, encoding)} #{entry['id']}" for entry in drawn]),
    ]


def tokens(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """How words split, and which row a claim would use."""
    shown = []
    for word in document["words"]:
        shown += _titled(safe(word["text"], _QUESTION, encoding=encoding))
        split = [
            f"{_token(part, encoding)} #{part['id']}" + (f" ({part['left_out']})" if part["left_out"] else "")
            for part in word["tokens"]
        ]
        shown += _block("tokens", split or ["none"])
        shown += _block("claims use", [f"#{word['row']}" if word["row"] is not None else f"none: {word['why']}"])
        shown += _block("spelt alike", [f"{_token(entry, encoding)} #{entry['id']}" for entry in word["spellings"]])
    return shown


def similarity(document: Json, *, encoding: str = "utf-8") -> list[Line]:
    """Two words by three measures, each with where it stands among random pairs."""
    first, second = (_word(word, encoding) for word in document["words"])
    percentiles = document["percentiles"]
    pairs = f"{document['random_pairs']:,} random pairs of rows, seed {document['seed']}"
    than = {name: "farther apart" if name == "distance" else "smaller" for name in percentiles}
    rows = [
        Line(f"  {name:<10}{number(document[name]):>10}   {number(percentile)}% of random pairs are {than[name]}")
        for name, percentile in percentiles.items()
    ]
    ranks = [
        f"{b} is {a}'s neighbor number {rank}"
        for rank, a, b in zip(document["ranks"], ("the first", "the second"), ("the second", "the first"), strict=True)
        if rank is not None
    ]
    others = [f"of {document['rows']} rows"] if ranks else []
    return [
        *_titled(f"{first} and {second}"),
        *rows,
        *_block("among", [pairs]),
        *_block("by cosine", [*ranks, *others]),
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
        + (f"{rank['sources_kept']} with sources kept" if rank["sources_kept"] else "more than one token, so no rank")
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
    answer = "none" if entry["answer"] is None else quoted(safe(entry["answer"], _TOKEN, encoding=encoding))
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


def _token(entry: Json, encoding: str) -> str:
    return quoted(safe(entry["token"], _TOKEN, encoding=encoding))


def _word(word: Json, encoding: str) -> str:
    text = safe(word["text"], _TOKEN, encoding=encoding)
    parts = [quoted(safe(token, _TOKEN, encoding=encoding)) for token in word["tokens"]]
    if len(parts) > 1:
        more = f" and {len(parts) - _PARTS} more" if len(parts) > _PARTS else ""
        return f"{text} (mean of {' '.join(parts[:_PARTS])}{more})"
    if text.startswith("#"):  # asked for by its row
        return f"{text} ({parts[0]})"
    return f"{text} ({parts[0]} #{word['ids'][0]})"  # a word may be a token with a leading space, or another case


def _level(level: str) -> str:
    return {"0": "min", "0.5": "median", "1": "max"}.get(level, f"{float(level):.0%}")
