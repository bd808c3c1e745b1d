"""Surface forms, classes, reachability and words of tokenizers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from embcheck.errors import SourceError
from embcheck.sources.tokenizers.load import load_vocabulary
from embcheck.sources.tokenizers.surface import Notation
from embcheck.sources.tokenizers.vocabulary import TokenizerVocabulary
from embcheck.table.vocabulary import RowStatus, TokenKind

PLAIN = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # bytes written as themselves
OTHERS = sorted(set(range(0x100)) - set(PLAIN))
ALPHABET = {octet: chr(octet) for octet in PLAIN} | {octet: chr(0x100 + i) for i, octet in enumerate(OTHERS)}


def read(tokenizer, rows=None):
    return TokenizerVocabulary(tokenizer, rows=rows or tokenizer.get_vocab_size())


def facts(vocabulary, form):
    """Kind and status of the row with this surface form."""
    row = vocabulary.tokens.index(form)
    return TokenKind(int(vocabulary.kinds[row])), RowStatus(int(vocabulary.status[row]))


def forms(vocabulary, words):
    return [[vocabulary.tokens[i] for i in ids] for ids in vocabulary.encode(words)]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        (" cat", TokenKind.WORD_START),
        ("cat", TokenKind.WORD_INSIDE),
        (" é", TokenKind.WORD_START),
        ("c", TokenKind.ASCII_CHARACTER),
        (" ", TokenKind.CONTROL),
        ("\n", TokenKind.CONTROL),
        ("<0xE4>", TokenKind.BYTE),
        ("<0xE4><0xBA>", TokenKind.BYTE),
    ],
)
def test_byte_level_forms(byte_level, form, kind):
    """Byte-level tokens are decoded, and those that are no text alone are shown as bytes."""
    assert facts(read(byte_level), form) == (kind, RowStatus.KNOWN)


@given(st.text("aĠ ~é", max_size=3) | st.binary(max_size=4).map(lambda octets: "".join(map(ALPHABET.get, octets))))
def test_tokens_of_visible_bytes_read_as_any_others(raw):
    """A token is the text of its bytes, one a character of the byte alphabet; what is not written so is text itself."""
    octet_of = {character: octet for octet, character in ALPHABET.items()}
    how = Notation(byte_level=True)
    if all(character in octet_of for character in raw):
        assert how.read(raw) == how.read_octets(bytes(octet_of[character] for character in raw))
    else:
        assert how.read(raw).form == raw


def test_classes_do_not_wait_for_reachability(byte_level, monkeypatch):
    """What kinds tokens are is told without encoding any."""
    vocabulary = read(byte_level)
    monkeypatch.setattr(vocabulary, "_ids", lambda texts: pytest.fail(f"{len(texts)} texts were encoded"))
    assert vocabulary.kinds[vocabulary.tokens.index(" cat")] == TokenKind.WORD_START


def test_bytes_that_no_text_has_are_unreachable(byte_level):
    """UTF-8 never has byte FF, so its token can't occur."""
    assert facts(read(byte_level), "<0xFF>") == (TokenKind.BYTE, RowStatus.UNREACHABLE)


def test_byte_level_special_token(byte_level):
    """A special token keeps its name, which is not written in bytes."""
    assert facts(read(byte_level), "<|endoftext|>") == (TokenKind.SPECIAL, RowStatus.SPECIAL)


@pytest.mark.parametrize(
    ("form", "kind", "status"),
    [
        (" cat", TokenKind.WORD_START, RowStatus.KNOWN),
        ("cats", TokenKind.WORD_INSIDE, RowStatus.KNOWN),
        ("é", TokenKind.WORD_INSIDE, RowStatus.KNOWN),
        ("<unk>", TokenKind.SPECIAL, RowStatus.SPECIAL),
        ("<0x0A>", TokenKind.BYTE, RowStatus.KNOWN),
        ("<0xE4>", TokenKind.BYTE, RowStatus.KNOWN),
        ("<0x61>", TokenKind.BYTE, RowStatus.UNREACHABLE),
        ("<0xC0>", TokenKind.BYTE, RowStatus.UNREACHABLE),
    ],
)
def test_byte_fallback_forms(byte_fallback, form, kind, status):
    """▁ is a space; a byte whose character has its own token is never fallen back to."""
    assert facts(read(byte_fallback), form) == (kind, status)


@pytest.mark.parametrize(
    ("form", "kind"), [(" cat", TokenKind.WORD_START), ("dog", TokenKind.WORD_INSIDE), (" ", TokenKind.CONTROL)]
)
def test_unigram_forms(unigram, form, kind):
    """Pieces inside words find a witness although the tokenizer puts a space before every text."""
    assert facts(read(unigram), form) == (kind, RowStatus.KNOWN)


@pytest.mark.parametrize(
    ("form", "kind", "status"),
    [
        ("cat", TokenKind.WORD_START, RowStatus.KNOWN),
        ("##at", TokenKind.WORD_INSIDE, RowStatus.KNOWN),
        ("##s", TokenKind.ASCII_CHARACTER, RowStatus.KNOWN),
        ("日", TokenKind.WORD_START, RowStatus.KNOWN),
        ("##日", TokenKind.WORD_INSIDE, RowStatus.UNREACHABLE),
        ("##!", TokenKind.ASCII_CHARACTER, RowStatus.UNREACHABLE),
        ("Cat", TokenKind.WORD_START, RowStatus.UNREACHABLE),
        ("[unused0]", TokenKind.OTHER, RowStatus.UNUSED),
        ("[UNK]", TokenKind.SPECIAL, RowStatus.SPECIAL),
    ],
)
def test_wordpiece_forms(wordpiece, form, kind, status):
    """Continuations are witnessed inside words; what the normalizer or the cutting rules out is unreachable."""
    assert facts(read(wordpiece), form) == (kind, status)


def test_end_of_word_suffix():
    """Where ends of words are marked, a token with the mark is a word and one without needs more letters after it."""
    vocab = {piece: i for i, piece in enumerate(["c", "a", "t", "ca", "t</w>", "cat</w>", "a</w>"])}
    model = models.BPE(vocab, [("c", "a"), ("ca", "t</w>")], end_of_word_suffix="</w>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vocabulary = read(tokenizer)
    assert facts(vocabulary, "cat") == (TokenKind.WORD_START, RowStatus.KNOWN)
    assert facts(vocabulary, "ca") == (TokenKind.WORD_INSIDE, RowStatus.KNOWN)
    assert forms(vocabulary, ["cat"]) == [["cat"]]


def test_hashes_are_text_elsewhere(byte_level):
    """In a tokenizer without continuation marks a form such as ``##`` is no mark."""
    byte_level.add_tokens(["##"])
    assert "##" in read(byte_level).tokens


def test_words_prefer_one_token_behind_a_space(byte_level):
    """Of two single tokens the one with a leading space is a word's row; without one, the fewer tokens."""
    vocabulary = read(byte_level)
    assert forms(vocabulary, ["cat", "é", "act"]) == [[" cat"], [" é"], ["a", "c", "t"]]


def test_words_leave_out_a_lone_space(byte_fallback, unigram):
    """A ▁ that stands alone is part of the text's notation, not of the word."""
    assert forms(read(byte_fallback), ["cat", "sat"]) == [[" cat"], ["s", "a", "t"]]
    assert forms(read(unigram), ["dog", "cats"]) == [["dog"], [" cat", "s"]]


def test_unknown_words_are_missing(unigram, wordpiece):
    """A word with an unknown part resolves to nothing."""
    assert read(unigram).encode(["xyz", "cat"])[0] == ()
    assert read(wordpiece).encode(["zebra"]) == [()]


def test_padding_and_truncation_are_off(wordpiece):
    """A tokenizer saved with padding and truncation writes words in full and nothing more."""
    assert forms(read(wordpiece), ["cats", "CAT"]) == [["cat", "##s"], ["cat"]]


def test_what_was_added_is_special_only_by_its_own_flag(taught):
    """Words, phrases and marks that a user added count, as their flag says; those flagged as special do not."""
    taught.add_tokens(["new york", "COVID-19", "C++"])
    taught.add_tokens([AddedToken("<eot>", special=True)])
    vocabulary = read(taught, rows=20)
    assert facts(vocabulary, "tokamak") == (TokenKind.WORD_START, RowStatus.KNOWN)
    for text in ("<think>", "new york", "COVID-19", "C++"):
        assert facts(vocabulary, text) == (TokenKind.OTHER, RowStatus.KNOWN)
    assert facts(vocabulary, "<eot>") == (TokenKind.SPECIAL, RowStatus.SPECIAL)
    assert forms(vocabulary, ["new york", "C++"]) == [["new york"], ["C++"]]
    assert forms(vocabulary, ["tokamak"]) == [["tokamak"]]


def random_bpe(dropout):
    words = ["c", "a", "t", "s", "ca", "cat", "cats"]
    merges = [("c", "a"), ("ca", "t"), ("cat", "s")]
    return Tokenizer(models.BPE({word: row for row, word in enumerate(words)}, merges, dropout=dropout))


def random_unigram(alpha):
    pieces = [("<unk>", 0.0), *((c, -1.5) for c in "acst"), ("cat", -3.0), ("cats", -3.0), ("ts", -3.0)]
    return Tokenizer(models.Unigram(pieces, unk_id=0, alpha=alpha, nbest_size=None if alpha is None else 64))


@pytest.mark.parametrize(("make", "setting"), [(random_bpe, 0.5), (random_unigram, 0.1)])
def test_nothing_about_a_tokenizer_is_random(make, setting):
    """Dropout and sampling, with which some tokenizers are trained, are off: words and classes are always the same."""
    calm = read(make(None))
    for _ in range(5):
        vocabulary = read(make(setting))
        assert all(vocabulary.encode(["cats"]) == calm.encode(["cats"]) for _ in range(20))
        assert np.array_equal(vocabulary.status, calm.status)


def test_holes_in_the_ids_are_unused():
    """An id that no token has is a row without text."""
    vocabulary = read(Tokenizer(models.WordLevel({"a": 0, "b": 3})), rows=4)
    assert list(vocabulary.tokens) == ["a", "", "", "b"]
    assert list(vocabulary.status[1:3]) == [RowStatus.UNUSED] * 2


def test_an_empty_token_is_unreachable():
    """No text leads to a token without text."""
    vocabulary = read(Tokenizer(models.WordLevel({"a": 0, "": 1})))
    assert list(vocabulary.status) == [RowStatus.KNOWN, RowStatus.UNREACHABLE]


def test_tokens_without_rows_are_refused(wordpiece):
    """A tokenizer that doesn't fit the matrix is refused with both numbers."""
    with pytest.raises(SourceError, match="up to 13 but the embedding matrix has only 9 rows"):
        read(wordpiece, rows=9)


def test_added_tokens_without_rows_are_noted(taught):
    """Added tokens past the matrix have no vector: they are left out, and it is said."""
    vocabulary = read(taught, rows=14)
    assert vocabulary.notes == ("2 added tokens have ids past the matrix's 14 rows, and no vector",)
    assert vocabulary.encode(["tokamak", "cat"]) == [(), (3,)]


def test_a_tokenizer_without_unknown_token():
    """Words that such a tokenizer refuses to encode are missing, and the others are found."""
    vocabulary = read(Tokenizer(models.WordLevel({"a": 0, "b": 1})))
    assert vocabulary.encode(["a", "zebra", "b"]) == [(0,), (), (1,)]
    assert list(vocabulary.status) == [RowStatus.KNOWN] * 2


def test_an_empty_tokenizer_is_refused():
    """A tokenizer without tokens is an error, not an empty table."""
    with pytest.raises(SourceError, match="no tokens"):
        read(Tokenizer(models.BPE()), rows=3)


def test_older_tokenizers_read_nothing_outside_their_directory(tmp_path):
    """Settings that name a vocabulary file elsewhere are refused before transformers sees them."""
    (tmp_path / "vocab.txt").write_text("[UNK]\nking\n")
    (tmp_path / "tokenizer_config.json").write_text('{"vocab_file": "/etc/passwd"}')
    with pytest.raises(SourceError, match="vocab_file points to '/etc/passwd'"):
        load_vocabulary(tmp_path, rows=2)
