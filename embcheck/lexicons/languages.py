"""Lists in other languages than English, and how many words of a list a table has."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from embcheck.errors import UsageError
from embcheck.lexicons.groups import Categories, Category, OrderedWords, categories, sequences
from embcheck.lexicons.relations import Relation, load, related, relations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LANGUAGES", "enough", "in_languages", "language_of"]

LANGUAGES = ("de", "fr", "es", "it", "pt", "ru", "zh", "ja")
_List = TypeVar("_List", Relation, OrderedWords, Categories)
_AnyList = Relation | OrderedWords | Categories


class _Table(Protocol):
    """An ``EmbeddingTable``, which lies no lower than lexicons do."""

    def rows(self, words: Sequence[str]) -> list[int | None]: ...


def in_languages(lists: Iterable[_List], *languages: str) -> tuple[_List, ...]:
    """Return what stands for these English lists in other languages, or in all of them, language by language.

    A list keeps its name, with the language behind it: ``plural_de``. A language that lacks one, as Chinese lacks
    plurals, is passed over. Of categories the groups keep their names.

    Raises
    ------
    UsageError
        A language is none of ``LANGUAGES``.
    """
    english = tuple(lists)
    for language in languages:
        if language not in LANGUAGES:
            raise UsageError(f"no lists are in {language!r}; there are some in {', '.join(LANGUAGES)}")
    chosen = [_counterparts(language) for language in languages or LANGUAGES]
    return tuple(counterparts[entry] for counterparts in chosen for entry in english if entry in counterparts)


def enough(table: _Table, words: Iterable[str | tuple[str, ...]]) -> int:
    """Count the words, or tuples of words such as pairs, that are single tokens of a table's population.

    No row is counted twice: of words that share one, such as case variants, the first counts.
    """
    units = [(unit,) if isinstance(unit, str) else tuple(unit) for unit in words]
    rows = iter(table.rows([word for unit in units for word in unit]))
    taken: set[int | None] = {None}
    count = 0
    for unit in units:
        own = {next(rows) for _ in unit}
        if len(own) == len(unit) and not own & taken:
            taken |= own
            count += 1
    return count


def language_of(entry: Relation | OrderedWords | Categories) -> str:
    """Return the language of one of ``in_languages``; any other list, of one's own too, counts as English: ``en``."""
    return next((language for language in LANGUAGES if entry in _counterparts(language).values()), "en")


@functools.cache
def _counterparts(language: str) -> dict[Any, Any]:
    """The lists of one language by the English ones that they stand for."""
    file = load(f"languages/{language}.toml")
    english: tuple[_AnyList, ...] = (*relations(), related(), *sequences(), *categories())
    return {
        entry: _counterpart(entry, file[entry.name], language, file["language"])
        for entry in english
        if entry.name in file
    }


def _counterpart(english: _AnyList, words: Any, code: str, language: str) -> _AnyList:
    name, sentence = f"{english.name}_{code}", f"{english.sentence}, in {language}"
    match english:
        case Relation():
            return Relation(name, sentence, words)
        case Categories():
            return Categories(name, sentence, tuple(Category(*group) for group in words.items()))
        case OrderedWords():
            return replace(english, name=name, sentence=sentence, words=tuple(words))
