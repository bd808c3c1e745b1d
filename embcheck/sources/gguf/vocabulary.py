"""The vocabulary of a GGUF file: its tokenizer rebuilt from tokens, merges and scores, so that words resolve as in it.

Where the kind of the tokenizer is not known, words are looked up whole.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from embcheck.errors import SourceError
from embcheck.sources.files import printable
from embcheck.sources.tokenizers import byte_level
from embcheck.sources.tokenizers.lookup import LookupVocabulary
from embcheck.sources.tokenizers.surface import Notation
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.table.vocabulary import RowStatus, is_uncased
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from embcheck.sources.gguf.header import GgufFile
    from embcheck.table.vocabulary import Vocabulary

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_MARKED = ("bos", "eos", "unknown", "seperator", "padding", "cls", "mask", "eot", "eom")  # spelled as files spell it
_LONGEST_PIECE = 128  # characters: longer ones aren't cut into what they may be merged from
_SPACE = "▁"
_RWKV = "rwkv"
_ESCAPE, _ESCAPES = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL), {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


class Pieces(NamedTuple):
    """The tokens of a file, each under a name of its own, with their types."""

    names: list[str]
    types: np.ndarray[tuple[int], np.dtype[np.int64]]
    repeated: dict[int, int]
    """Tokens that another of the same name comes before, with that one; no text is turned into them."""

    def of(self, *types: int) -> list[int]:
        """Ids of the tokens of some types."""
        rows: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return rows


def read_pieces(header: GgufFile) -> Pieces:
    """Tokens as their tokenizer spells them, and their types as far as the file knows them."""
    types = _types(header)
    kind = header.string("tokenizer.ggml.model")
    spell = {"bert": _as_wordpiece, "llama": _with_spaces, "t5": _with_spaces}.get(kind)
    names = (
        header.tokens if spell is None else [spell(n, t) for n, t in zip(header.tokens, types.tolist(), strict=True)]
    )
    first: dict[str, int] = {}
    repeated = {row: before for row, name in enumerate(names) if (before := first.setdefault(name, row)) != row}
    own = [f"\0{row}\0{name}" if row in repeated else name for row, name in enumerate(names)]
    return Pieces(own, types, repeated)


def build(header: GgufFile, pieces: Pieces) -> tuple[Tokenizer, tuple[str, ...]] | None:
    """Rebuild the tokenizer, with notes on what is not as in the model; ``None`` for models of unknown kinds."""
    make = _MAKERS.get(header.string("tokenizer.ggml.model"))
    if make is None:
        return None
    tokenizer, notes = make(header, pieces)
    special = [pieces.names[i] for i in pieces.of(UNKNOWN, CONTROL)]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    taught = [pieces.names[i] for i in pieces.of(USER_DEFINED)]
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in taught])
    return tokenizer, notes


def _types(header: GgufFile) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    count = len(header.tokens)
    types = np.full(count, NORMAL, dtype=np.int64)
    stored = header.numbers.get("tokenizer.ggml.token_type")
    if stored is None or stored.dtype.kind not in "iu":
        types[[i for i in _marked(header) if i < count]] = CONTROL
        return types
    known = stored[:count].astype(np.int64)
    types[: len(known)] = np.where((known >= NORMAL) & (known <= BYTE), known, NORMAL)
    return types


def _marked(header: GgufFile) -> Iterator[int]:
    for name in _MARKED:
        number = header.number(f"tokenizer.ggml.{name}_token_id")
        if isinstance(number, int) and number >= 0:
            yield number


def _byte_level(header: GgufFile, pieces: Pieces) -> tuple[Tokenizer, tuple[str, ...]]:
    merges = [tuple(merge.split(" ", 1)) for merge in header.texts.get("tokenizer.ggml.merges", []) if " " in merge]
    rule = header.string("tokenizer.ggml.pre")
    ids = _ids(pieces)
    held = [(a, b) for a, b in merges if a in ids and b in ids and a + b in ids]
    tokenizer = Tokenizer(models.BPE(ids, held, ignore_merges=not held or rule in byte_level.WHOLE_FIRST))
    tokenizer.pre_tokenizer = byte_level.cutter(rule)
    tokenizer.decoder = decoders.ByteLevel()
    notes = []
    if not held:
        notes.append("the file has no merges: words are looked up whole")
    if not byte_level.is_known(rule):
        notes.append(f"text is cut into words as GPT-2 does: the file's own rule {rule!r} is not known")
    return tokenizer, tuple(notes)


def _llama(header: GgufFile, pieces: Pieces) -> tuple[Tokenizer, tuple[str, ...]]:
    """SentencePiece's BPE: of all neighbours that make a token, those that make the one of the highest score merge."""
    unknown = _unknown(header, pieces)
    merges = _merges(pieces, _scores(header, len(pieces.names)))
    token = None if unknown is None else pieces.names[unknown]
    tokenizer = Tokenizer(models.BPE(_ids(pieces), merges, unk_token=token, byte_fallback=True, fuse_unk=True))
    steps: list[normalizers.Normalizer] = [normalizers.Replace(" ", _SPACE)]
    if header.values.get("tokenizer.ggml.add_space_prefix") is not False:
        steps.insert(0, normalizers.Prepend(_SPACE))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer, ()


def _merges(pieces: Pieces, scores: list[float]) -> list[tuple[str, str]]:
    rows = pieces.of(NORMAL, UNUSED)
    held = {pieces.names[row] for row in rows}
    pairs = []
    for row in sorted(rows, key=lambda row: -scores[row]):
        name = pieces.names[row]
        if len(name) <= _LONGEST_PIECE:
            pairs += [
                (name[:cut], name[cut:]) for cut in range(1, len(name)) if name[:cut] in held and name[cut:] in held
            ]
    return pairs


def _unigram(header: GgufFile, pieces: Pieces) -> tuple[Tokenizer, tuple[str, ...]]:
    scored = list(zip(pieces.names, _scores(header, len(pieces.names)), strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=_unknown(header, pieces), byte_fallback=False))
    scheme = "never" if header.values.get("tokenizer.ggml.add_space_prefix") is False else "always"
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer, ()


def _wordpiece(header: GgufFile, pieces: Pieces) -> tuple[Tokenizer, tuple[str, ...]]:
    uncased = is_uncased(pieces.names[row] for row in pieces.of(NORMAL))
    unknown = _unknown(header, pieces)
    token = "[UNK]" if unknown is None else pieces.names[unknown]
    tokenizer = Tokenizer(models.WordPiece(_ids(pieces), unk_token=token))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=uncased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, ()


def _as_wordpiece(name: str, kind: int) -> str:
    """WordPiece's own spelling: files mark the start of words where WordPiece marks their inside."""
    if kind != NORMAL or not name or (name[0] == "[" and name[-1] == "]"):
        return name
    return name[1:] if name[0] == _SPACE and name != _SPACE else f"##{name}"


def _with_spaces(name: str, kind: int) -> str:
    """What users added is looked for in text as it is, so that it holds real spaces."""
    return name.replace(_SPACE, " ") if kind == USER_DEFINED else name


def _ids(pieces: Pieces) -> dict[str, int]:
    return {name: row for row, name in enumerate(pieces.names)}


def _unknown(header: GgufFile, pieces: Pieces) -> int | None:
    """The token for what can't be written: by its type, else by the id that the file gives."""
    if typed := pieces.of(UNKNOWN):
        return typed[0]
    row = header.number("tokenizer.ggml.unknown_token_id")
    marked = isinstance(row, int) and 0 <= row < len(pieces.names) and pieces.types[row] == CONTROL
    return int(row) if marked and row is not None else None


def _scores(header: GgufFile, count: int) -> list[float]:
    stored = header.numbers.get("tokenizer.ggml.scores")
    if stored is None or len(stored) < count or stored.dtype.kind != "f" or not np.isfinite(stored).all():
        raise SourceError(f"{header.origin}: the scores of its tokens are missing, too few or not finite; get it again")
    scores: list[float] = stored[:count].tolist()
    return scores


_MAKERS = {"gpt2": _byte_level, "llama": _llama, "t5": _unigram, "bert": _wordpiece}


def _look_up(header: GgufFile, pieces: Pieces) -> LookupVocabulary:
    if header.string("tokenizer.ggml.model") == _RWKV:
        surfaces = [Notation(byte_level=True).read_octets(_unescape(name)) for name in pieces.names]
    else:
        how = Notation(byte_level=any(name.startswith("Ġ") for name in pieces.names), space=_SPACE)
        surfaces = [how.read(name) for name in pieces.names]
    return LookupVocabulary(surfaces, special=pieces.of(CONTROL, UNKNOWN), fallback=pieces.of(BYTE))


def _unescape(name: str) -> bytes:
    """The bytes of a token that is written as Python writes bytes, with a backslash before what is not printable."""

    def octets(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if len(code) > 1 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(octets, name.encode("utf-8", "surrogatepass"))


class _Corrected:
    """A vocabulary with what only the file knows: tokens that are not in use, and those that another one hides."""

    has_words = True
    in_contexts = False

    def __init__(self, made: TokenizerVocabulary | LookupVocabulary, pieces: Pieces) -> None:
        self._made, self._unused = made, pieces.of(UNUSED)
        self._repeated = pieces.repeated
        self.encode = made.encode

    @cached_property
    def tokens(self) -> list[str]:
        tokens = list(self._made.tokens)
        for row, first in self._hidden.items():
            tokens[row] = tokens[first]
        return tokens

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        kinds = self._made.kinds.copy()
        kinds[list(self._hidden)] = kinds[list(self._hidden.values())]
        return kinds

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        status = self._made.status.copy()
        status[list(self._hidden)] = RowStatus.UNREACHABLE
        status[self._unused] = RowStatus.UNUSED
        return status

    @cached_property
    def _hidden(self) -> dict[int, int]:
        return {row: first for row, first in self._repeated.items() if row < len(self._made.tokens)}


def read_vocabulary(header: GgufFile, *, rows: int) -> tuple[Vocabulary, tuple[str, ...]]:
    """Make the vocabulary, and notes for the provenance."""
    if not header.tokens:
        way_out = (
            f"put {printable(header.missing[0])} beside it"
            if header.missing
            else "give one that does, or ,tokenizer=DIR"
        )
        raise SourceError(f"{header.origin} holds no tokens (tokenizer.ggml.tokens); {way_out}")
    pieces = read_pieces(header)
    words = pieces.of(NORMAL, UNKNOWN, BYTE)
    if words and words[-1] >= rows:
        raise SourceError(
            f"{header.origin} has tokens up to id {words[-1]} but its matrix has only {rows} rows; "
            "choose another with tensor=NAME, or get the file again"
        )
    past = sum(row >= rows for row in pieces.of(CONTROL, USER_DEFINED))
    pieces = Pieces(pieces.names[:rows], pieces.types[:rows], pieces.repeated)
    with RustErrors(header.origin):
        built = build(header, pieces)
    made: TokenizerVocabulary | LookupVocabulary
    notes: tuple[str, ...]
    if built is None:
        made, notes = _look_up(header, pieces), (_guess(header),)
    else:
        made, notes = TokenizerVocabulary(built[0], rows=rows, origin=header.origin), built[1]
    if past:
        notes = (
            *notes,
            f"{counted(past, 'special tokens have ids', 'special token has an id')} past the matrix's {rows} rows",
        )
    return _Corrected(made, pieces), notes


def _guess(header: GgufFile) -> str:
    kind = printable(header.string("tokenizer.ggml.model")) or "without a name"
    return f"words are looked up whole: how a tokenizer {kind} splits them is not known"
