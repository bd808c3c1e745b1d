"""Word vectors that gensim saved (``.kv``, ``.model``), or a fastText model (``.bin``); gensim itself is not needed.

gensim's files are pickles, which can run code when gensim reads them. Here they are read as data (no class is looked
up), and the arrays that gensim keeps beside them are taken by the names that gensim gives, never by one in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalBytes, local_file, one_line, read_head, refuse_disguise, refuse_unknown_options
from embcheck.sources.weights.pickled_objects import as_array, read_objects
from embcheck.sources.weights.pickles import Made
from embcheck.sources.words.fasttext_bin import LONGEST_GRAM, Grams, compose, read_fasttext, read_header
from embcheck.sources.words.npy import open_matrix
from embcheck.sources.words.text import FASTTEXT_MODEL
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.sources.files import JsonObject
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_PICKLE = b"\x80"
_COMPOSED = "composed: each vector is the mean of a word's own and those of its n-grams"
_WORDS = ("index_to_key", "index2word", "index2entity")
_VECTORS = ("vectors", "syn0")


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read word vectors; those of fastText models are composed, and the table's notes say so."""
    path = _path(spec)
    if _is_fasttext(path):
        words, matrix = read_fasttext(path)
        is_composed = True
    else:
        words, matrix, is_composed = _read_vectors(_open(path))
    vocabulary = WordVocabulary(words)
    return assemble(
        spec,
        torch.from_numpy(matrix),
        vocabulary,
        bytes_read=path.stat().st_size,
        notes=(*((_COMPOSED,) if is_composed else ()), *vocabulary.notes),
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read. A gensim file has no header: its pickle is read, but no array beside it."""
    path = _path(spec)
    files = [path]
    if _is_fasttext(path):
        header = read_header(path, LocalBytes(path))
        rows, width = header.words, header.width
    else:
        vectors = _open(path)
        name = next((n for n in (*_VECTORS, "vectors_vocab") if vectors.has(n)), "vectors")
        rows, width = vectors.array(name).shape
        files += [file for file in [vectors.file_of(name)] if file.is_file()]
    return Description(
        shape=(rows, width),
        dtype="float32",
        bytes=rows * width * 4,
        bytes_total=sum(file.stat().st_size for file in files),
        files=tuple(file.name for file in files),
    )


@dataclass(frozen=True, slots=True)
class _KeyedVectors:
    """gensim's KeyedVectors as they were pickled."""

    path: Path
    stem: str
    """What names of arrays beside the file begin with."""
    attributes: JsonObject

    def has(self, name: str) -> bool:
        """Whether an array is there, in the pickle or beside it."""
        apart = self.attributes.get("__numpys")
        return self.attributes.get(name) is not None or (isinstance(apart, list) and name in apart)

    def file_of(self, name: str) -> Path:
        """The file that keeps an array which is not in the pickle."""
        return Path(f"{self.stem}.{name}.npy")

    def array(self, name: str) -> NDArray[Any]:
        """One matrix of the vectors."""
        if self.attributes.get(name) is not None:
            return as_array(self.attributes[name], str(self.path))
        file = self.file_of(name)
        if not file.is_file():
            raise SourceError(
                f"{self.path} keeps its vectors in {file.name}, which is not beside it; get that file too"
            )
        return open_matrix(file)

    def words(self) -> list[str]:
        """One a row."""
        lists = (self.attributes[key] for key in _WORDS if isinstance(self.attributes.get(key), list))
        if not (words := next(lists, None)):
            raise SourceError(
                f"{self.path} has no list of its words; save them with save_word2vec_format, give word2vec:FILE"
            )
        return [word if isinstance(word, str) else one_line(word) for word in words]


def _path(spec: ModelSpec) -> Path:
    refuse_unknown_options(spec)
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    return path


def _is_fasttext(path: Path) -> bool:
    """Whether it is a fastText model rather than a pickle of gensim's; refuses what is neither."""
    head = read_head(path)
    if head.startswith(FASTTEXT_MODEL):
        return True
    if not head.startswith(_PICKLE):
        raise SourceError(
            f"{path} is neither a file that gensim saved nor a fastText model; "
            "read word vectors as word2vec:FILE, fasttext:FILE or glove:FILE"
        )
    return False


def _open(path: Path) -> _KeyedVectors:
    """The word vectors of a file, or of the model that it holds."""
    root = read_objects(path)
    for name in ("wv", "kv"):  # a Poincare model has kv
        if isinstance(root, Made) and isinstance(inner := root.attributes.get(name), Made):
            return _KeyedVectors(path, f"{path}.{name}", inner.attributes)
    if isinstance(root, Made) and any(key in root.attributes for key in _WORDS):
        return _KeyedVectors(path, str(path), root.attributes)
    kind = root.name if isinstance(root, Made) else type(root).__name__
    raise SourceError(f"{path} holds {one_line(kind)}, no word vectors; save a model's .wv or .kv and give that file")


def _read_vectors(vectors: _KeyedVectors) -> tuple[list[str], NDArray[Any], bool]:
    """Words, their vectors, and whether these were composed."""
    path, words = vectors.path, vectors.words()
    name = next((n for n in _VECTORS if vectors.has(n)), None)
    if name is not None:
        matrix, is_composed = vectors.array(name), "vectors_ngrams" in vectors.attributes
    elif vectors.has("vectors_vocab"):  # gensim leaves out what it can compose again
        matrix, is_composed = _compose(vectors, words), True
    else:
        raise SourceError(f"{path} holds no vectors; save them with save_word2vec_format and give word2vec:FILE")
    if len(words) > len(matrix):
        raise SourceError(f"{path} has {len(words)} words but {len(matrix)} vectors; get the file again")
    return words, matrix, is_composed


def _compose(vectors: _KeyedVectors, words: list[str]) -> NDArray[Any]:
    """Vectors of a fastText model that gensim trained."""
    path, attributes = vectors.path, vectors.attributes
    numbers = [attributes.get(key) for key in ("min_n", "max_n", "bucket")]
    own = vectors.array("vectors_vocab")
    shortest, longest, buckets = (n if type(n) is int else -1 for n in numbers)
    is_known = shortest > 0 and longest <= LONGEST_GRAM and buckets >= 0
    if not is_known or attributes.get("compatible_hash") is not True:
        raise SourceError(f"{path} has n-grams of another kind than fastText's; save it anew with a newer gensim")
    pieces = vectors.array("vectors_ngrams") if buckets else own[:0]
    if len(pieces) < buckets or pieces.shape[1] != own.shape[1] or len(words) > len(own):
        raise SourceError(
            f"{path} has {len(words)} words and {buckets} buckets but matrices {own.shape} and {pieces.shape}; "
            "get the file again"
        )
    return compose(words, own, pieces, Grams(shortest, longest, buckets))
