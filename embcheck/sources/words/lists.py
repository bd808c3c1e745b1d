"""Word lists beside a matrix: one word a row, from a text, JSON or parquet file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.files import one_line, printable, read_json, refuse_disguise
from embcheck.sources.tokenizers.lookup import LookupVocabulary, from_names, token_marks
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

_LARGEST = 512 * 2**20
_MOST_WORDS = 2**25
_COUNT = re.compile(r"\S+ (\d{1,18})", re.ASCII)
_READABLE = "a .txt with one word a line, a .json list or a .parquet with a column of words"


def read_words(path: Path, *, column: str | None) -> list[str]:
    """Read the words of a vocabulary file, in row order; a parquet file of several text columns needs ``column``."""
    refuse_disguise(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _from_parquet(path, column)
    if column is not None:
        raise SourceError(f"{path}: only parquet files have columns; leave out column={column}")
    if suffix == ".json":
        return _from_json(path)
    if suffix in {".txt", ""}:
        return _from_text(path)
    raise SourceError(f"{path}: can't read words from a {suffix} file; give {_READABLE}")


def vocabulary_of(words: list[str]) -> WordVocabulary | LookupVocabulary:
    """The vocabulary of a list of words or, where they are marked as such, of a tokenizer's tokens."""
    marks = token_marks(words)
    return WordVocabulary(words) if marks is None else from_names(words, marks)


def _from_text(path: Path) -> list[str]:
    try:
        raw = files.read(path, most=_LARGEST)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    # split at line feeds only: some vocabularies hold other characters that Python takes for line ends
    lines = raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    counts = [int(match[1]) for match in map(_COUNT.fullmatch, lines) if match]
    if len(lines) > 1 and len(counts) == len(lines) and counts == sorted(counts, reverse=True):
        raise SourceError(
            f"{path}: every line ends in a count, as those of GloVe's vocab.txt do; give the words alone: "
            f"cut -d' ' -f1 {path} > words.txt"
        )
    return lines


def _from_json(path: Path) -> list[str]:
    document = read_json(path)
    if isinstance(document, list) and all(isinstance(word, str) for word in document):
        return [_text(word) for word in document]
    if isinstance(document, dict) and all(type(row) is int for row in document.values()):
        if sorted(document.values()) != list(range(len(document))):
            raise SourceError(
                f"{path} gives {len(document)} words rows from {min(document.values())} to {max(document.values())}; "
                f"each row from 0 to {len(document) - 1} must have one word"
            )
        return [_text(word) for word, _ in sorted(document.items(), key=lambda item: item[1])]
    raise SourceError(f"{path} is neither a JSON list of words nor an object of word and row; give one of these")


def _text(word: str) -> str:
    """The word without lone surrogates, which JSON can write and nothing can print."""
    return word.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _from_parquet(path: Path, column: str | None) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        about = parquet.read_metadata(path)
        unpacked = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if about.num_rows > _MOST_WORDS or unpacked > _LARGEST:
            raise SourceError(f"{path} unpacks to {about.num_rows} rows, {unpacked} bytes: no list of words")
        name = pick_column(str(path), about.schema.to_arrow_schema(), column, "column", is_text, "text")
        words: list[Any] = []
        with parquet.ParquetFile(path) as file:  # in parts: Arrow keeps the memory of a whole column
            for batch in file.iter_batches(columns=[name]):
                words += batch.column(0).cast(pa.string()).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not a readable parquet file ({one_line(error)}); get it again") from None
    if None in words:
        raise SourceError(f"{path}: row {words.index(None)} has no word; give every row one")
    return words


def pick_column(
    origin: str,
    schema: pa.Schema,
    wanted: str | None,
    option: str,
    fits: Callable[[pa.DataType], bool],
    what: str,
) -> str:
    """The name of the column that is wanted, or of the only one that fits, of which there must be one by that name."""
    fields = list(schema)
    names = [field.name for field in fields if fits(field.type)]
    listed = one_line(", ".join(map(printable, names))) or "none"
    if wanted is None and len(names) != 1:
        raise SourceError(f"{origin} has {len(names)} columns of {what} ({listed}); choose one with {option}=NAME")
    name: str = names[0] if wanted is None else wanted
    same = [field for field in fields if field.name == name]
    if len(same) > 1:
        raise SourceError(f"{origin} has {len(same)} columns called {printable(name)!r}; rename all but one")
    if name not in names:
        held = f"; it holds {one_line(str(same[0].type))}" if same else ""
        raise SourceError(f"{origin} has no column of {what} called {name!r}{held}; it has {listed}")
    return name


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text, maybe as a dictionary and numbers that point into it."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))
