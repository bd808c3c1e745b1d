"""Needs: what a property asks of a model. Of one that cannot have it the property is not asked, and is no failure.

Given to ``@claim(needs=...)``. A need is called with a table and a check's parameters, and says in a few words what the
table lacks, or nothing; a function of one's own serves as well. Importing this module imports neither torch nor numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck import lexicons
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from embcheck.table import EmbeddingTable

    Need = Callable[[EmbeddingTable, Mapping[str, Any]], str | None]

__all__ = [
    "a_vocabulary", "groups", "kinds", "language", "layers", "numbers", "output", "pairs", "scripts", "stems",
    "tied_output", "token_class", "variants", "words",
]  # fmt: skip


NO_WEIGHTS = ("no layers", "no output matrix that is tied", "no output matrix of its own")
"""What a file lacks that carries an embedding alone: it says nothing of the model that the embedding came from."""

_DECISIVE = 20  # pairs or words that a verdict takes
_NAMED = 3  # words that are missing


class _OfWords:
    """A need of words, which a table whose rows are none has in no case."""

    def __call__(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        """What is lacking."""
        return self._lacking(table, parameters) if table.vocabulary.has_words else "its rows have no words"

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        """What a table of words lacks."""
        return None


@dataclass(frozen=True, slots=True)
class a_vocabulary(_OfWords):  # noqa: N801 - reads as a word in a claim: needs=needs.a_vocabulary()
    """The rows are tokens or words, as those of a store of documents are not; ``once`` each, not in many contexts."""

    once: bool = False

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        return "its rows are words in contexts" if self.once and table.vocabulary.in_contexts else None


@dataclass(frozen=True, slots=True)
class layers:  # noqa: N801 - reads as a word in a claim: needs=needs.layers()
    """The table belongs to a model whose other weights can be read."""

    def __call__(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        """What is lacking."""
        return None if table.layers is not None and table.layers.is_any else NO_WEIGHTS[0]


@dataclass(frozen=True, slots=True)
class tied_output:  # noqa: N801
    """The table is the input embedding of a model that has an output matrix, and says that it is the same matrix."""

    def __call__(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        """What is lacking."""
        return None if table.layers is not None and table.layers.has_tied_output else NO_WEIGHTS[1]


@dataclass(frozen=True, slots=True)
class output:  # noqa: N801
    """The table belongs to a model whose output matrix is another one than the table."""

    def __call__(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        """What is lacking."""
        from embcheck.errors import NotMeasurable
        from embcheck.table.layers import output_of

        try:
            output_of(table)
        except NotMeasurable:
            return NO_WEIGHTS[2]
        return None


@dataclass(frozen=True, slots=True)
class token_class(_OfWords):  # noqa: N801
    """The population has ``at_least`` so many tokens of the class that the parameter ``of`` names."""

    of: str = "token_class"
    at_least: int = 5

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        from embcheck.table.vocabulary import TokenKind

        name = str(parameters[self.of])
        kinds = [kind for kind in TokenKind if kind.name.lower() == name]  # what is no kind is the measure's to refuse
        count = len(table.of_kind(kinds[0])) if kinds else self.at_least
        return counted(count, f"{name} tokens") if count < self.at_least else None


@dataclass(frozen=True, slots=True)
class words(_OfWords):  # noqa: N801
    """Of the list that the parameter ``of`` holds, ``at_least`` words are single tokens; of an analogy all 4."""

    of: str
    at_least: int = 4

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        given = parameters[self.of]
        is_analogy = hasattr(given, "target")
        listed = given.words[:4] if is_analogy else given.words
        if said := _short(lexicons.enough(table, listed), len(listed), self.at_least, f"{given} words"):
            return said + _without(table, listed)
        return "two of its words have rows of one word" if is_analogy and _rows_of_one_word(table, listed) else None


@dataclass(frozen=True, slots=True)
class pairs(_OfWords):  # noqa: N801
    """Of the relation that the parameter ``of`` holds, ``at_least`` so many pairs are two single tokens."""

    of: str
    at_least: int = 3

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        given = parameters[self.of]
        listed = getattr(given, "poles", given).pairs
        said = _short(lexicons.enough(table, listed), len(listed), self.at_least, f"{given} pairs")
        return said and said + _without(table, [word for pair in listed for word in pair])


@dataclass(frozen=True, slots=True)
class groups(_OfWords):  # noqa: N801
    """Of the categories that the parameter ``of`` holds, two have ``at_least`` so many words that are single tokens.

    Where ``only`` names the parameter with one category's name, that one has, and the others ten words and one.
    """

    of: str
    at_least: int = 3
    only: str | None = None

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        counts = {group.name: lexicons.enough(table, group.words) for group in parameters[self.of].groups}
        if self.only is None:
            enough = sum(count >= self.at_least for count in counts.values())
            return _short(enough, len(counts), 2, f"{parameters[self.of]} categories")
        name = parameters[self.only]
        own, others = counts.get(name, self.at_least), sum(n for group, n in counts.items() if group != name)
        if own < self.at_least:
            return counted(own, f"{name} words")
        return f"{others} other words" if others <= 10 else None


@dataclass(frozen=True, slots=True)
class numbers(_OfWords):  # noqa: N801
    """Of the numbers from 0 to 999, ``at_least`` so many are single tokens."""

    at_least: int = 100

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        from embcheck.table.spelling import NUMBERS, numbers

        return _short(len(numbers(table)[0]), NUMBERS, self.at_least, "number tokens")


@dataclass(frozen=True, slots=True)
class stems(_OfWords):  # noqa: N801
    """``at_least`` so many words, each a token of ASCII letters that begins a word, no two of one stem."""

    at_least: int = 500

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        from embcheck.table.spelling import stems

        count = len(stems(table))
        return counted(count, "words of different stems") if count < self.at_least else None


@dataclass(frozen=True, slots=True)
class variants(_OfWords):  # noqa: N801
    """``at_least`` so many words that two tokens write, which differ by what the parameter ``of`` names."""

    of: str = "variant"
    at_least: int = 20

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        from embcheck.table.spelling import variants

        count = len(variants(table, parameters[self.of]))
        return f"{count} words with {parameters[self.of]} variants" if count < self.at_least else None


@dataclass(frozen=True, slots=True)
class scripts(_OfWords):  # noqa: N801
    """``count`` writing systems have ``at_least`` so many tokens each."""

    count: int = 3
    at_least: int = 50

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - a need's
        enough = sum(len(rows) >= self.at_least for rows in table.scripts.values())
        return counted(enough, f"scripts of {self.at_least} tokens") if enough < self.count else None


@dataclass(frozen=True, slots=True)
class kinds(_OfWords):  # noqa: N801
    """Of the taxonomy that the parameter ``of`` holds, ``at_least`` kinds and a sibling of each have three words."""

    of: str = "taxonomy"
    at_least: int = 6

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        trees = parameters[self.of].trees
        known = [[lexicons.enough(table, group.words) >= 3 for group in tree.groups] for tree in trees]
        count = sum(sum(siblings) for siblings in known if sum(siblings) > 1)
        return _short(count, sum(map(len, known)), self.at_least, str(parameters[self.of]))


@dataclass(frozen=True, slots=True)
class language(_OfWords):  # noqa: N801
    """The table has the language of the list that the parameter ``of`` holds, English always.

    It has another where half of the list's words, or pairs, and at least 20 are single tokens; where ``only`` names the
    parameter with one category's name, 20 of that one; of a sequence all. Fewer decide nothing, and every vocabulary
    has some names, cities and words that languages share.
    """

    of: str
    only: str | None = None

    def _lacking(self, table: EmbeddingTable, parameters: Mapping[str, Any]) -> str | None:
        given = parameters[self.of]
        if lexicons.language_of(given) == "en":
            return None
        units = getattr(given, "pairs", given.words)
        least = len(units) if isinstance(given, lexicons.OrderedWords) else max(_DECISIVE, len(units) / 2)
        asked = [group.words for group in getattr(given, "groups", ()) if group.name == parameters.get(self.only or "")]
        has_language = lexicons.enough(table, units) >= least
        has_language &= all(lexicons.enough(table, own) >= _DECISIVE for own in asked)
        return None if has_language else "few words of its language"


def _rows_of_one_word(table: EmbeddingTable, words: Sequence[str]) -> bool:
    """Whether two of these words lead to rows that write one word, as `LARGE` and `large` do where words share rows."""
    from embcheck.table.vocabulary import word_key

    keys = [word_key(table.token(row)) for row in table.rows(words) if row is not None]
    return len(set(keys)) < len(keys)


def _without(table: EmbeddingTable, words: Sequence[str]) -> str:
    """The first few of these words that are no single tokens of the population."""
    missing = list(dict.fromkeys(word for word, row in zip(words, table.rows(words), strict=True) if row is None))
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f": no {', '.join(missing[:_NAMED])}{more}" if missing else ""


def _short(count: int, of: int, at_least: int, what: str) -> str | None:
    return f"{count} of {of} {what}" if count < at_least else None
