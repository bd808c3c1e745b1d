"""Tokenizers of bytes: how they cut text into words, and those that come without a tokenizer.json (tiktoken, ByT5)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.files import one_line, read_json
from embcheck.sources.tokenizers.surface import write_octets

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.sources.files import JsonObject

_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WHOLE_FIRST = (  # Llama 3 and others look a word up before they merge its parts
    "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "tekken",
)  # fmt: skip
_THREES = ("smaug-bpe", "dbrx", "gpt-4o", "glm4", "chatglm-bpe", "superbpe", "kimi-k2", "deepseek-v3", "minicpm5")
_ONES = ("tekken", "qwen2", "qwen35", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan")
_DIGITS = dict.fromkeys((*WHOLE_FIRST, *_THREES), "{1,3}") | dict.fromkeys(_ONES, "")
_DIGITS_ALONE = frozenset({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"})
_AS_GPT2 = frozenset({"", "default", "gpt-2", "gpt2", "phi-2", "mpt", "olmo", "roberta-bpe", "jina-v2-code", "falcon"})
_LINE = re.compile(rb"([A-Za-z0-9+/=]+) ([0-9]{1,7})")
_LARGEST = 64 * 2**20
_MOST_TOKENS, _LONGEST_TOKEN = 2**20, 2**12
_LONGEST_PIECE = 128  # bytes: longer ones aren't cut into what they may be merged from
_RANK_RULES = {  # by a part of a file's name; the files themselves don't say how text is cut
    "qwen": "qwen2", "cl100k": "llama-bpe", "o200k": "gpt-4o", "tiktoken.model": "kimi-k2",
    "gpt2": "gpt-2", "r50k": "gpt-2", "p50k": "gpt-2", "multilingual": "gpt-2",
}  # fmt: skip
_OCTETS = 256
_BYTE_TOKENIZERS = {
    "ByT5Tokenizer": ("<pad>", "</s>", "<unk>"),
    "PerceiverTokenizer": ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[CLS]", "[SEP]"),
}
"""Tokenizers whose ids are bytes behind these tokens."""
_MOST_EXTRA = 4096


def cutter(rule: str) -> pre_tokenizers.PreTokenizer:
    """How text is cut into words by a rule that llama.cpp has a name for; as GPT-2 does by others."""
    if (digits := _DIGITS.get(rule)) is not None:
        pattern = Regex(rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{digits}|{_MARKS}")
        split = pre_tokenizers.Split(pattern, "isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule in _DIGITS_ALONE:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
    return whole


def is_known(rule: str) -> bool:
    """Whether this is a rule that `cutter` follows."""
    return rule in _DIGITS or rule in _DIGITS_ALONE or rule in _AS_GPT2


def rule_of(path: Path) -> str | None:
    """The rule by which a file of ranks is used, as its name tells; ``None`` where it doesn't."""
    return next((rule for part, rule in _RANK_RULES.items() if part in path.name.lower()), None)


def from_ranks(path: Path) -> Tokenizer:
    """Make the tokenizer of a file as tiktoken reads it: in each line a token in base64, and its rank.

    Of all neighbours those merge first that make the token of the lowest rank; a word that is a token is one.
    """
    ranks = _read_ranks(path)
    vocab = {write_octets(token): rank for token, rank in ranks.items()}
    merges = [
        (write_octets(token[:cut]), write_octets(token[cut:]))
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) <= _LONGEST_PIECE
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = cutter(rule_of(path) or "llama-bpe")
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _read_ranks(path: Path) -> dict[bytes, int]:
    try:
        lines = files.read(path, most=_LARGEST).split(b"\n")
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            match = _LINE.fullmatch(line.rstrip(b"\r"))
            token = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            token = b""
        if match is None or not 0 < len(token) <= _LONGEST_TOKEN or int(match[2]) >= _MOST_TOKENS or token in ranks:
            raise SourceError(f"{path}, line {number}: no token of its own in base64 and its rank; get the file again")
        ranks[token] = int(match[2])
    if not ranks or len(set(ranks.values())) < len(ranks):
        raise SourceError(f"{path} holds no tokens, or two of one rank; get the file again")
    return ranks


def is_bytes(folder: Path) -> bool:
    """Whether a folder's settings are those of a tokenizer whose tokens are bytes, which has no other files."""
    return (folder / "tokenizer_config.json").is_file() and _kind(_settings(folder)) in _BYTE_TOKENIZERS


def from_bytes(folder: Path) -> Tokenizer:
    """Make the tokenizer whose ids are bytes behind a few tokens of its own, with those that were added."""
    settings = _settings(folder)
    own = _BYTE_TOKENIZERS[_kind(settings)]
    octets = {write_octets(bytes([octet])): len(own) + octet for octet in range(_OCTETS)}
    marked = dict(enumerate(own)) | _added(settings, len(own) + _OCTETS)
    names = {name for name in marked.values() if name and name not in octets}
    if len(names) < len(marked) or not {*octets.values()}.isdisjoint(marked) or max(marked) >= _MOST_TOKENS:
        raise SourceError(f"{folder}: its tokenizer_config.json adds tokens that can't be; get it again")
    tokenizer = Tokenizer(models.BPE(octets | {name: row for row, name in marked.items()}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in marked.values()])
    return tokenizer


def _added(settings: JsonObject, first: int) -> dict[int, str]:
    """Tokens that settings add, by id: those they list, else the marks that ByT5 has ``extra_ids`` of."""
    listed = settings.get("added_tokens_decoder")
    if isinstance(listed, dict):
        told = {int(row): entry for row, entry in listed.items() if row.isdecimal() and isinstance(entry, dict)}
        return {row: str(entry.get("content") or "") for row, entry in told.items()}
    extra = settings.get("extra_ids", 0)
    count = extra if type(extra) is int and 0 <= extra <= _MOST_EXTRA else 0
    return {first + number: f"<extra_id_{number}>" for number in range(count)}


def _settings(folder: Path) -> JsonObject:
    settings = read_json(folder / "tokenizer_config.json")
    return settings if isinstance(settings, dict) else {}


def _kind(settings: JsonObject) -> str:
    return str(settings.get("tokenizer_class", ""))
