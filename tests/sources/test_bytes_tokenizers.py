"""Tokenizers of bytes that come without a tokenizer.json: ranks as tiktoken has them, and ids that are bytes."""

from __future__ import annotations

import base64
import itertools
import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, ByT5Tokenizer, PerceiverTokenizer

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse
from embcheck.table.vocabulary import RowStatus

TEXT = (
    "The king and the queen walk through the kingdom; walking kings talk to talking queens. Straße, naïve café, 東京, "
    "don't we'll I'm 2024 12345 ... !!\n\n  a  b\tc. "
) * 3
WORDS = [*sorted(set(TEXT.split())), "kingship", "thequeen", "x", "é", "Straßen", "東", "12345678", "🙂", "", "don't"]
SIZE = 330
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen cuts text into words."""


def learned(size=SIZE):
    """Ranks of bytes and of what merges of them give, learned by counting the neighbours in a text."""
    ranks = {bytes([octet]): octet for octet in range(256)}
    words = [[bytes([octet]) for octet in f" {word}".encode()] for word in TEXT.split()]
    while len(ranks) < size:
        pairs = [pair for word in words for pair in itertools.pairwise(word)]
        left, right = max(sorted(set(pairs)), key=pairs.count)
        ranks[left + right] = len(ranks)
        words = [merged(word, left, right) for word in words]
    return ranks


def merged(word, left, right):
    result = []
    for piece in word:
        if result and result[-1] == left and piece == right:
            result[-1] = left + right
        else:
            result.append(piece)
    return result


def cut(ranks, word):
    """What tiktoken makes of one word: the neighbours whose token has the lowest rank merge, the leftmost first."""
    if word in ranks:
        return (ranks[word],)
    pieces = [bytes([octet]) for octet in word]
    while True:
        pairs = [(ranks[a + b], at) for at, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in ranks]
        if not pairs:
            return tuple(ranks[piece] for piece in pieces)
        _, at = min(pairs)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


def write(path, ranks):
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))


@pytest.fixture
def model(tmp_path):
    """A model without a tokenizer."""

    def save(rows, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        save_file({"transformer.wte.weight": torch.randn(rows, 4)}, folder / "model.safetensors")
        return folder

    return save


def load(text):
    return sources.load(parse(str(text)), device="cpu")


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tiktoken.model", "cl100k_base.tiktoken", "gpt2.tiktoken"])
def test_words_are_cut_as_the_ranks_say(model, name):
    """Tokens are the file's, and words are cut by merging what gives the lowest rank; rows past it are padding."""
    ranks = learned()
    folder = model(SIZE + 10)
    write(folder / name, ranks)
    table = load(folder)
    assert table.tokens[ord("k")] == "k"
    assert table.tokens[:256].count("<0xE6>") == 1
    assert [table.tokens[row] for row in range(256, SIZE)] == [
        t.decode(errors="replace") if "\ufffd" not in t.decode(errors="replace") else table.tokens[r]
        for t, r in ranks.items()
        if r >= 256
    ]
    for word in ["king", "queens", "kingship", "walking", "talkking", "Straßen"]:
        ids = [cut(ranks, text.encode()) for text in (f" {word}", word)]
        assert table.vocabulary.encode([word]) == [min(ids, key=len)]
    assert table.excluded()["padding"] == 10
    assert table.provenance.notes == ()


def test_tiktoken_reads_the_same(model):
    """Whole texts, word by word, are what tiktoken makes of them from the same file."""
    tiktoken = pytest.importorskip("tiktoken")
    folder = model(SIZE)
    write(folder / "qwen.tiktoken", learned())
    from tiktoken.load import load_tiktoken_bpe

    own = tiktoken.Encoding(
        "q", pat_str=PATTERN, mergeable_ranks=load_tiktoken_bpe(str(folder / "qwen.tiktoken")), special_tokens={}
    )
    table = load(folder)
    for word in WORDS:
        ids = [tuple(own.encode(text)) for text in (f" {word}", word)]
        spaces = {row for row in range(SIZE) if table.tokens[row] == " "}
        bare = [tuple(i for i in each if i not in spaces) for each in ids]
        assert table.vocabulary.encode([word]) == [min(filter(None, bare), key=len, default=())]


def test_the_file_may_be_named(model, tmp_path):
    """``tokenizer=FILE`` takes a file of ranks of any name, and says where its rule of words comes from."""
    folder = model(400, tmp_path / "m")
    write(tmp_path / "own.tiktoken", learned())
    table = load(f"{folder},tokenizer={tmp_path / 'own.tiktoken'}")
    assert table.provenance.notes == ("text is cut into words as OpenAI's cl100k does: own.tiktoken doesn't say how",)
    with pytest.raises(SourceError, match="or say where it is: ,tokenizer="):
        load(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "holds no tokens"),
        (b"IQ== 0\nIQ== 1\n", "line 2: no token of its own"),
        (b"IQ== 0\nIg== 0\n", "two of one rank"),
        (b"IQ== 0\nIg= 1\n", "line 2: no token of its own"),
        (b"IQ== 0\n!!!! 1\n", "line 2"),
        (b"IQ== 0\nIg== -1\n", "line 2"),
        (b"IQ== 99999999999\n", "line 1"),
        (b"IQ== 9999999\n", "line 1"),
        (b"IQ==\n", "line 1"),
        (b"<!doctype html>\n", "line 1"),
        (b"\xff\xfe", "line 1"),
        (b"IQ== 500\n", "token ids up to 500 but the embedding matrix has only 400 rows"),
    ],
)
def test_files_of_ranks_that_are_none_are_refused(model, line, message):
    """The line that is wrong is named."""
    folder = model(400)
    (folder / "x.tiktoken").write_bytes(line)
    with pytest.raises(SourceError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_hundred_thousand_ranks_are_read_in_seconds(model):
    """A vocabulary of the size of today's takes a few seconds at most."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"abcdefghij ", np.uint8)
    ranks = {bytes([octet]): octet for octet in range(256)}
    while len(ranks) < 100_000:
        ranks.setdefault(rng.choice(letters, rng.integers(2, 9)).tobytes(), len(ranks))
    folder = model(len(ranks))
    write(folder / "qwen.tiktoken", ranks)
    began = time.monotonic()
    load(folder)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("kind", [ByT5Tokenizer, PerceiverTokenizer])
@pytest.mark.filterwarnings("ignore")
def test_tokens_that_are_bytes(model, kind):
    """Ids are bytes behind a few tokens, as the model's own tokenizer has them."""
    own = kind()
    folder = model(400)
    own.save_pretrained(folder)
    table = load(folder)
    for word in ["a", "é", "king", "東"]:
        assert table.vocabulary.encode([word]) == [tuple(own(word, add_special_tokens=False).input_ids)]
    for row in own.added_tokens_decoder:
        assert table.tokens[row] == own.convert_ids_to_tokens(row)
        assert table.status[row] in {RowStatus.SPECIAL, RowStatus.UNUSED}  # such as <extra_id_0>
    assert table.tokens[own.convert_tokens_to_ids("a")] == "a"


def test_older_settings_of_byt5(model):
    """Settings that list no tokens, as the first models have, mean the marks that ``extra_ids`` counts."""
    folder = model(384)
    settings = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    table = load(folder)
    assert (table.tokens[0], table.tokens[259], table.tokens[383]) == ("<pad>", "<extra_id_0>", "<extra_id_124>")
    assert table.vocabulary.encode(["a"]) == [(100,)]


@pytest.mark.parametrize(
    "added",
    [{"5": {"content": "x"}}, {"300": {"content": "<pad>"}}, {"300": {}}, {"99999999": {"content": "x"}}],
)
def test_settings_of_byt5_that_can_not_be_are_refused(model, added):
    """Tokens in a byte's place, of two ids, that are no text or far away are refused."""
    folder = model(384)
    settings = {"tokenizer_class": "ByT5Tokenizer", "added_tokens_decoder": added}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(SourceError, match=r"tokenizer_config\.json adds tokens that can't be"):
        load(folder)


def test_transformers_is_not_asked(model, monkeypatch):
    """A tokenizer of bytes needs no other library."""
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("was asked"))
    folder = model(384)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    assert load(folder).tokens[100] == "a"
