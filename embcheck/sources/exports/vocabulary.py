"""The tokens of an exported model: a tokenizer beside it, a list of its own, or what a spec's options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.sources.files import local_file
from embcheck.sources.tokenizers.load import given_vocabulary, load_vocabulary
from embcheck.sources.words.lists import read_words, vocabulary_of
from embcheck.spec import NO_VOCABULARY
from embcheck.table.vocabulary import NamedRows, RowNumbers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from embcheck.sources.tokenizers.lookup import LookupVocabulary
    from embcheck.sources.tokenizers.vocabulary import TokenizerVocabulary
    from embcheck.spec import ModelSpec
    from embcheck.table.vocabulary import WordVocabulary

    AnyVocabulary = TokenizerVocabulary | WordVocabulary | LookupVocabulary | NamedRows

OPTIONS = ("tensor", "tokenizer", "vocab")


def find_vocabulary(spec: ModelSpec, folders: Iterable[Path], rows: int, lists: Iterable[str] = ()) -> AnyVocabulary:
    """What rows are called: by ``tokenizer=DIR`` or ``vocab=FILE``, else by what the first of the folders has.

    A tokenizer.json is taken before ``lists``, which are names of files with a token for each row. Rows past the tokens
    are padding.
    """
    tokenizer, vocab = spec.option("tokenizer"), spec.option("vocab")
    if tokenizer is not None and vocab is not None:
        raise SpecError(f"spec {spec.text!r}: rows are named by tokenizer= or by vocab=; give one of them")
    if (given := given_vocabulary(spec, rows=rows)) is not None:
        return given
    if vocab is not None:
        is_none = ("vocab", vocab) == NO_VOCABULARY
        return NamedRows(RowNumbers(rows)) if is_none else _read_list(local_file(spec, vocab), rows)
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return load_vocabulary(folder, rows=rows)
        for name in lists:
            if (folder / name).is_file():
                return _read_list(folder / name, rows)
    raise SourceError(
        f"spec {spec.text!r}: no {' or '.join(('tokenizer.json', *lists))} is beside the model; "
        "say where its tokens are: tokenizer=DIR, vocab=FILE, or vocab=none for rows without words"
    )


def _read_list(path: Path, rows: int) -> WordVocabulary | LookupVocabulary:
    words = read_words(path, column=None)
    if len(words) > rows:
        raise SourceError(
            f"{path} has {len(words)} tokens but the matrix only {rows} rows; give the list of this model"
        )
    return vocabulary_of(words)
