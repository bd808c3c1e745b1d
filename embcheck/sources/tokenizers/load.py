"""The tokenizer of a model directory: tokenizer.json, or older files by way of transformers, never a network."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.files import drop_code, link, local_path, one_line, read_head, read_json, refuse_disguise
from embcheck.sources.tokenizers import byte_level
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from embcheck.sources.files import Folder
    from embcheck.spec import ModelSpec

_NAMES = re.compile(
    r"tokenizer.*\.json|(special_tokens_map|added_tokens|vocab|tekken)\.json|(vocab|merges)\.txt|"
    r"(spiece|tokenizer|sentencepiece\.bpe|tiktoken)\.model|[^/]*\.(spm|tiktoken)"
)
_LARGEST = 256 * 2**20
_LONGEST_TEXT = 4 * 2**20  # maps of characters take 0.4
_MOST_STEPS, _MOST_GROWTH = 256, 2**12
_OLDER_FILES = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "tekken.json")
_SETTINGS = frozenset({"config.json", "tokenizer_config.json"})
_BAD_FILES = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, AssertionError,
    ArithmeticError, MemoryError,
)  # fmt: skip
_PIECES = (".model", ".spm")
_RANKS = ".tiktoken"
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/=]+ [0-9]+\r?\n")


class NoTokenizerError(SourceError):
    """A folder without a tokenizer."""


def load_vocabulary(folder: Path, *, rows: int) -> TokenizerVocabulary:
    """Read the tokenizer of a directory, or a tokenizer.json of any name."""
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    origin = str(path) if path.is_file() else f"the tokenizer in {folder}"
    vocabulary = TokenizerVocabulary(load_tokenizer(folder), rows=rows, origin=origin)
    ranks = _find_ranks(folder)
    if ranks is not None and byte_level.rule_of(ranks) is None:
        vocabulary.notes += (f"text is cut into words as OpenAI's cl100k does: {ranks.name} doesn't say how",)
    return vocabulary


def vocabulary_of(spec: ModelSpec, folder: Folder, *, rows: int) -> TokenizerVocabulary:
    """The tokenizer that a spec names, else that of the model's folder."""
    if (given := given_vocabulary(spec, rows=rows)) is not None:
        return given
    own = folder.fetch_tokenizer()
    try:
        return load_vocabulary(own, rows=rows)
    except NoTokenizerError as error:
        raise SourceError(f"{error}; or say where it is: ,tokenizer={_guess_folder(own) or 'DIR'}") from None


def given_vocabulary(spec: ModelSpec, *, rows: int) -> TokenizerVocabulary | None:
    """The tokenizer that a spec's option ``tokenizer`` names, if it has one."""
    given = spec.option("tokenizer")
    return None if given is None else load_vocabulary(local_path(spec, given), rows=rows)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a model directory, as it encodes texts; or a tokenizer.json of any name."""
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if (ranks := _find_ranks(folder)) is not None:
        return byte_level.from_ranks(ranks)
    if path.is_file():
        return _from_json(path)
    if byte_level.is_bytes(folder):
        return byte_level.from_bytes(folder)
    if not _has_older_files(folder):
        raise NoTokenizerError(f"{folder} holds no tokenizer (tokenizer.json); save it there, or download it again")
    return _from_older_files(folder)


def _find_ranks(path: Path) -> Path | None:
    """The file of ranks, as tiktoken has them, that a path is or that is all there is in a folder."""
    if path.is_file():
        return path if path.suffix == _RANKS else None
    if (path / "tokenizer.json").is_file() or not path.is_dir():
        return None
    ranks = [file for file in (*path.glob(f"*{_RANKS}"), path / "tiktoken.model") if file.is_file()]
    return ranks[0] if len(ranks) == 1 else None


def _has_older_files(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _OLDER_FILES)


def _guess_folder(folder: Path) -> Path | None:
    """Where the tokenizer of a trainer's checkpoint or of diffusers' text_encoder_2 lies, if it is there."""
    above = folder.parent
    for path in (above / folder.name.replace("text_encoder", "tokenizer"), above, above / "tokenizer"):
        if path != folder and ((path / "tokenizer.json").is_file() or _find_ranks(path) or _has_older_files(path)):
            return path
    return None


def tokenizer_files(names: Iterable[str]) -> list[str]:
    """Those of a model's files that its tokenizer may be in."""
    return [name for name in names if _NAMES.fullmatch(name)]


def _from_json(path: Path) -> Tokenizer:
    refuse_disguise(path)
    try:
        raw = files.read(path, most=_LARGEST)
        if _longest_text(raw) > _LONGEST_TEXT:
            raise SourceError(f"{path} has a text longer than {_LONGEST_TEXT} bytes, as no tokenizer has; get it again")
        with RustErrors(str(path)):
            tokenizer = Tokenizer.from_buffer(raw)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    except ValueError as error:
        raise SourceError(f"{path} is not a tokenizer ({one_line(error)}); get the file again") from None
    _refuse_growth(tokenizer, path)
    return tokenizer


def _longest_text(raw: bytes) -> int:
    """Bytes between two marks of quotation, which is no less than the longest text of a JSON document."""
    marks = np.flatnonzero(np.frombuffer(raw, np.uint8) == ord('"'))
    return int(np.diff(marks).max()) if len(marks) > 1 else 0


def _refuse_growth(tokenizer: Tokenizer, path: Path) -> None:
    """Refuse steps that make long texts of short ones: each step may replace a character, or nothing, by many."""
    steps = growth = 1
    for part in (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder):
        waiting = [] if part is None else [json.loads(part.__getstate__())]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, dict):
                steps += "type" in value
                growth *= max(1, len(value["content"]) if isinstance(value.get("content"), str) else 1)
                waiting += value.values()
    if steps > _MOST_STEPS or growth > _MOST_GROWTH:
        raise SourceError(f"{path} has {steps} steps that make {growth} characters of one, as no tokenizer has")


def _from_older_files(folder: Path) -> Tokenizer:
    """Let transformers convert what came before tokenizer.json; it is shown no more than that, and no names of code."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="embcheck-") as staged,
            offline(),
            RustErrors(f"the tokenizer in {folder}"),
        ):
            from transformers import AutoTokenizer

            _stage(folder, Path(staged))
            loaded = AutoTokenizer.from_pretrained(staged, local_files_only=True, trust_remote_code=False)
    except library_errors() as error:
        raise SourceError(
            f"{folder} has no tokenizer.json, and its older files can't be read ({one_line(error)}); {_way_out(folder)}"
        ) from None
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise SourceError(f"{folder}: {type(loaded).__name__} has no fast form; save the tokenizer as tokenizer.json")
    special = {token.content for token in backend.get_added_tokens_decoder().values()}
    if len(backend.get_vocab(with_added_tokens=False).keys() - special) < 2:  # "▁" is there in some that are empty
        raise SourceError(f"{folder}: its older files hold no words for {type(loaded).__name__}; {_way_out(folder)}")
    return backend


def library_errors() -> tuple[type[Exception], ...]:
    """What a malformed model makes libraries raise; settings of a wrong type have a class of their own."""
    from huggingface_hub import errors

    strict: type[Exception] | None = getattr(errors, "StrictDataclassError", None)
    return _BAD_FILES if strict is None else (*_BAD_FILES, strict)


def _way_out(folder: Path) -> str:
    """The packages that read the older files which are there, as far as they are not installed."""
    pieces = [path for path in folder.iterdir() if path.suffix in _PIECES and path.is_file()]
    wanted: tuple[tuple[str, str], ...] = ()
    if pieces and _TIKTOKEN.match(read_head(pieces[0])):
        wanted = (("tiktoken", "tiktoken"),)
    elif pieces:
        wanted = (("sentencepiece", "sentencepiece"), ("google.protobuf", "protobuf"))
    elif (folder / "tekken.json").is_file():
        wanted = (("mistral_common", "mistral-common"),)
    lacking = [package for module, package in wanted if not _is_installed(module)]
    save = "save it as a fast tokenizer (tokenizer.json)"
    return f"pip install {' '.join(lacking)}, or {save}" if lacking else f"{save}, or get the files again"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of a package inside one that is not there
        return False


def _stage(folder: Path, into: Path) -> None:
    """Fill an empty directory with the files of a tokenizer, and settings that name no code."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    for name in {*tokenizer_files(names), *(_SETTINGS & set(names))}:
        if name in _SETTINGS:
            settings = drop_code(read_json(folder / name))
            _refuse_other_files(folder / name, settings)
            (into / name).write_text(json.dumps(settings), encoding="utf-8")
        else:
            link(folder / name, into)


def _refuse_other_files(path: Path, settings: Any) -> None:
    """Refuse settings that name a vocabulary elsewhere, which some versions of transformers would read."""
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if str(key).endswith("_file") and isinstance(value, str) and any(c in value for c in "/\\"):
            raise SourceError(
                f"{path}: {key} points to {value!r}; a tokenizer's files must lie in the directory itself"
            )


@contextmanager
def offline() -> Iterator[None]:
    """Keep transformers off the network, quiet, and without a standard input to ask: pipes may be full of yes."""
    from huggingface_hub import constants
    from transformers.utils import logging

    was_offline, verbosity, stdin = constants.HF_HUB_OFFLINE, logging.get_verbosity(), sys.stdin
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity(50)  # critical
    sys.stdin = io.StringIO()
    try:
        yield
    finally:
        sys.stdin = stdin
        constants.HF_HUB_OFFLINE = was_offline
        logging.set_verbosity(verbosity)
