"""The texts that an encoder is asked for: a list of the user's, or every word of embcheck's lexicons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.files import local_file
from embcheck.sources.tokenizers.lookup import token_marks
from embcheck.sources.words.lists import read_words

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec

_MOST_TEXTS = 1_000_000


def read_texts(spec: ModelSpec) -> tuple[list[str], str]:
    """The texts of ``words=FILE`` (and ``column=NAME``), each once, and what they are called in the provenance."""
    given = spec.option("words")
    if given is None:
        from embcheck import lexicons

        words = list(lexicons.words())
        return words, f"the {len(words)} words of embcheck's lexicons"
    words = read_words(local_file(spec, given), column=spec.option("column"))
    if token_marks(words) is not None:
        raise SourceError(f"{given} lists a tokenizer's tokens, which mark where words begin; give words as texts have")
    words = [word for word in dict.fromkeys(words) if word.strip()]
    if not 2 <= len(words) <= _MOST_TEXTS:
        raise SourceError(f"{given} has {len(words)} different words; from 2 to {_MOST_TEXTS} can be encoded")
    return words, f"the {len(words)} words of {given}"


def prefix_option(spec: ModelSpec) -> str | None:
    """The text of ``prefix=TEXT``, around which double quotes may stand to keep spaces."""
    given = spec.option("prefix")
    is_quoted = given is not None and len(given) > 1 and given[0] == given[-1] == '"'
    return given[1:-1] if is_quoted and given is not None else given
