"""Relations of word pairs, named analogies and files of them, axes, and what the sources compare beside them."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from embcheck import files
from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Analogy", "Axis", "Comparisons", "Named", "Pair", "Question", "Questions", "Relation", "Section", "analogies",
    "axes", "checked_pair", "comparisons", "distinct", "load", "questions", "related", "relation", "relations",
    "select",
]  # fmt: skip

_Entry = TypeVar("_Entry")
Pair = tuple[str, str]
Question = tuple[str, str, str, str]


class Named:
    """What goes by its name."""

    __slots__ = ()
    name: str

    def __str__(self) -> str:
        return self.name


def load(file: str) -> dict[str, Any]:
    """One data file of this package."""
    return tomllib.loads(importlib.resources.files(__package__).joinpath("data", file).read_text(encoding="utf-8"))


def select(kind: str, known: Mapping[str, _Entry], names: tuple[str, ...]) -> tuple[_Entry, ...]:
    """The entries of these names, or all of them; `UsageError` for a name not known."""
    for name in names:
        if name not in known:
            raise UsageError(f"no {kind} is named {name!r}; the known ones are {', '.join(known)}")
    return tuple(known[name] for name in names or known)


def distinct(what: str, words: Iterable[str]) -> None:
    """Raise `UsageError` where a word occurs twice, whatever its case."""
    seen: set[str] = set()
    for word in words:
        if word.casefold() in seen:
            raise UsageError(f"{what} has the word {word!r} twice; each word may occur once")
        seen.add(word.casefold())


@dataclass(frozen=True, slots=True)
class Relation(Named):
    """Word pairs that share one meaning, in declared strata.

    Raises `UsageError` where it has fewer than two pairs or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    strata: Mapping[str, tuple[Pair, ...]]

    def __post_init__(self) -> None:
        strata = {
            stratum: tuple(checked_pair(self.name, pair) for pair in pairs) for stratum, pairs in self.strata.items()
        }
        object.__setattr__(self, "strata", MappingProxyType(strata))
        if len(self.pairs) < 2:
            raise UsageError(f"relation {self.name!r} needs at least two pairs, and has {len(self.pairs)}")
        distinct(f"relation {self.name!r}", self.words)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair, stratum after stratum."""
        return tuple(pair for pairs in self.strata.values() for pair in pairs)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, in the order of the pairs."""
        return tuple(word for pair in self.pairs for word in pair)

    def __hash__(self) -> int:
        return hash((self.name, frozenset(self.strata.items())))

    def __reduce__(self) -> tuple[type[Relation], tuple[str, str, dict[str, tuple[Pair, ...]]]]:
        return Relation, (self.name, self.sentence, dict(self.strata))


@dataclass(frozen=True, slots=True)
class Analogy(Named):
    """Four words, read as ``a - b + c = target``, with the candidates to choose among (none given: any word)."""

    name: str
    a: str
    b: str
    c: str
    target: str
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if len({word.casefold() for word in (self.a, self.b, self.c, self.target)}) < 4:
            raise UsageError(f"analogy {self.name!r} needs four different words")
        if self.candidates and self.target not in self.candidates:
            raise UsageError(f"analogy {self.name!r} lacks its target {self.target!r} among its candidates")

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word: the four, then the other candidates."""
        return tuple(dict.fromkeys((self.a, self.b, self.c, self.target, *self.candidates)))


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What is looked at beside related pairs.

    ``pieces`` are a word and two parts of it; ``compositions`` two words and a third that their sum should be near.
    """

    source_pairs: tuple[Pair, ...]
    antonyms: tuple[Pair, ...]
    sizes: tuple[str, ...]
    pieces: tuple[tuple[str, str, str], ...]
    compositions: tuple[tuple[str, str, str], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word."""
        lists = (*self.source_pairs, *self.antonyms, self.sizes, *self.pieces, *self.compositions)
        return tuple(dict.fromkeys(word for part in lists for word in part))


def relations(*names: str) -> tuple[Relation, ...]:
    """Return the relations of these names, or all of them; `UsageError` for a name not known."""
    return select("relation", _relations(), names)


def analogies(*names: str) -> tuple[Analogy, ...]:
    """Return the analogies of these names, or all of them; `UsageError` for a name not known."""
    return select("analogy", _analogies(), names)


def relation(name: str, pairs: Iterable[Pair], *, sentence: str = "", stratum: str = "pairs") -> Relation:
    """Build a relation of one's own, in one stratum, under the same rules as those that come with embcheck."""
    return Relation(name, sentence, {stratum: tuple(pairs)})


def checked_pair(name: str, pair: object) -> Pair:
    """Return ``pair`` where it is two words; `UsageError`, naming the list, where it is not."""
    match pair:
        case (str(a), str(b)) if a and b:
            return a, b
    raise UsageError(f"relation {name!r} holds {pair!r}, which is not a pair of words")


@functools.cache
def related() -> Relation:
    """Pairs of related words."""
    table = load("related.toml")
    return Relation("related", table["sentence"], table["pairs"])


@functools.cache
def comparisons() -> Comparisons:
    """Antonyms, synonyms of size, pieces of a word, compositions, and the pairs of the source document."""
    table = load("related.toml")
    return Comparisons(
        source_pairs=tuple(checked_pair("source pairs", tuple(pair)) for pair in table["source_pairs"]),
        antonyms=tuple(checked_pair("antonyms", tuple(pair)) for pair in table["antonyms"]),
        sizes=tuple(table["sizes"]),
        pieces=tuple((whole, first, second) for whole, first, second in table["pieces"]),
        compositions=tuple((first, second, target) for first, second, target in table["compositions"]),
    )


@functools.cache
def _relations() -> dict[str, Relation]:
    return {name: Relation(name, **table) for name, table in load("relations.toml").items()}


@functools.cache
def _analogies() -> dict[str, Analogy]:
    return {table["name"]: Analogy(**table) for table in load("analogies.toml")["analogy"]}


# --- axes of meaning, each from one pole to the other -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis(Named):
    """Pairs of words, each read from one pole to the other.

    ``orthogonal_to`` is the axis that is projected out first. ``source`` holds the pairs that the source document
    builds its axis from, ``focus`` the words that it projects, ``controls`` those that should lie near zero.
    """

    name: str
    sentence: str
    poles: Relation
    orthogonal_to: Axis | None = None
    source: tuple[Pair, ...] = ()
    focus: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()

    @property
    def away(self) -> tuple[Pair, ...]:
        """Pairs of ``orthogonal_to`` without this axis' own words: with them, a word would help to place itself."""
        other = () if self.orthogonal_to is None else self.orthogonal_to.poles.pairs
        own = {word.casefold() for word in self.poles.words}
        return tuple(pair for pair in other if not own & {word.casefold() for word in pair})

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word that the axis needs."""
        away = () if self.orthogonal_to is None else self.orthogonal_to.words
        own = (word for pair in self.source for word in pair)
        return tuple(dict.fromkeys((*self.poles.words, *own, *self.focus, *self.controls, *away)))


def axes(*names: str) -> tuple[Axis, ...]:
    """Return the axes of these names, or all of them; `UsageError` for a name not known."""
    return select("axis", _axes(), names)


@functools.cache
def _axes() -> dict[str, Axis]:
    tables = load("axes.toml")
    shown = {name: tuple(words) for name, words in tables.pop("words").items()}
    known: dict[str, Axis] = {}
    for name, table in tables.items():
        known[name] = _axis(name, table, known, shown)
    return known


def _axis(name: str, table: dict[str, Any], known: dict[str, Axis], shown: dict[str, tuple[str, ...]]) -> Axis:
    sentence = table["sentence"]
    poles = relations(table["relation"])[0] if "relation" in table else Relation(name, sentence, table["strata"])
    away = known[table["orthogonal_to"]] if "orthogonal_to" in table else None
    source = tuple(checked_pair(name, tuple(pair)) for pair in table["source"])
    return Axis(name, sentence, poles, away, source, **shown)


# --- files of analogy questions, in the format of Google's questions-words.txt ----------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """Questions of one kind: ``(a, b, c, target)`` asks what is to c as b is to a."""

    name: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Questions(Named):
    """The sections of a file, in its order."""

    name: str
    sections: tuple[Section, ...]


def questions(path: str | Path) -> Questions:
    """Read analogy questions: four words a line, below ``: name`` where a section begins.

    Empty lines and those that begin with ``//`` are passed over.

    Raises
    ------
    UsageError
        The file can't be read, or a line is neither a section nor four words, or comes before any section.
    """
    file = Path(path)
    try:
        text = files.read(file).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"questions {str(file)!r}: {getattr(error, 'strerror', None) or error}") from error
    sections: list[tuple[str, list[Question]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or line.startswith("//"):
            continue
        if words[0].startswith(":"):
            sections.append((line.lstrip(": ").strip(), []))
            continue
        if not sections or len(words) != 4:
            wanted = "four words: a b c target" if sections else "a section's name, such as ': capitals'"
            raise UsageError(f"questions {str(file)!r}, line {number}: expected {wanted}, got {line.strip()[:80]!r}")
        a, b, c, target = words
        sections[-1][1].append((a, b, c, target))
    if not any(asked for _, asked in sections):
        raise UsageError(f"questions {str(file)!r}: there are no questions in it; write ': name', then a b c target")
    return Questions(file.name, tuple(Section(name, tuple(asked)) for name, asked in sections))
