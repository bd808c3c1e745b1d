"""Naming one token exactly, where a word may be written with a leading space or without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import embcheck
from embcheck import EmbeddingTable, explore
from embcheck.errors import UsageError
from embcheck.sources.models.live import from_module


@pytest.fixture(scope="module")
def spaced() -> EmbeddingTable:
    """A byte-level vocabulary: ' !' and '!', ' king' and 'king', 'only' without a leading space, '"', ' queen'."""
    names = ["!", "Ġ!", "king", "Ġking", "only", "Ġqueen", '"', "Ġman", "Ġwoman", "#644"]
    letters = [letter for letter in sorted(pre_tokenizers.ByteLevel.alphabet()) if letter not in names]
    vocab = {name: row for row, name in enumerate([*names, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    module = torch.nn.Embedding(len(vocab), 16)
    torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    return from_module(module, tokenizer)


def test_quotes_name_a_token_exactly(spaced: EmbeddingTable) -> None:
    """A word takes the token behind a space where there is one; in double quotes it is the token written so."""
    assert spaced.rows(["!", '"!"', '" !"', "king", '"king"', '"nothing"', '"']) == [1, 0, 1, 3, 2, None, 6]
    assert spaced.rows(['"""']) == [6]
    vectors = spaced.embed(["king", '"king"'])
    assert vectors.rows == ((3,), (2,))
    assert torch.equal(spaced.directions(['"king"']), spaced.units(np.array([2])))


def test_coverage_tells_words_without_their_space(spaced: EmbeddingTable) -> None:
    """Words that are tokens only without the leading space are counted and named; those asked for exactly are not."""
    coverage = spaced.embed(["king", "only", '"!"', "nowhere else"]).coverage
    assert coverage.bare == ("only",)
    assert (coverage.record()["bare"], coverage.record()["bare_words"]) == (1, ["only"])
    assert "bare" not in spaced.embed(["king", "queen"]).coverage.record()
    words = EmbeddingTable.from_arrays(np.eye(3), ["king", "queen", "man"])
    assert words.embed(["king"]).coverage.bare == ()


def test_looking_at_a_model_takes_exact_tokens(spaced: EmbeddingTable) -> None:
    """Probe, neighbours and analogy take quoted tokens, and each answer says which token it took."""
    assert explore.probe(spaced, "!")["anchor"]["id"] == 1
    assert explore.probe(spaced, '"!"')["anchor"] == {"id": 0, "token": "!", "in_population": True}
    assert explore.neighbors(spaced, '"king"', 3)["word"] == {"text": '"king"', "ids": [2], "tokens": ["king"]}
    question = '"king" - " man" + " woman" = """'
    assert explore.parse_analogy(question) == ['"king"', '" man"', '" woman"', '"""']
    solved = explore.analogy(spaced, question, 3)
    assert [word["tokens"] for word in solved["words"]] == [["king"], [" man"], [" woman"], ['"']]
    assert solved["ranks"]['"""']["sources_excluded"] is not None


def test_a_token_that_is_not_there_or_there_twice_is_refused() -> None:
    """Quotes that name no token, or two, are refused with what to give."""
    table = EmbeddingTable.from_arrays(np.eye(4), ["a", "b", "c", "a"])
    with pytest.raises(UsageError, match="no token of this vocabulary is written exactly 'x'"):
        explore.probe(table, '"x"')
    with pytest.raises(UsageError, match="2 tokens are written 'a': #0, #3; give one of them"):
        explore.probe(table, '"a"')
    assert explore.probe(table, "#3")["anchor"]["id"] == 3


@pytest.mark.parametrize("written", ["{row}", "{token}"])
def test_an_analogy_of_ids_leaves_out_its_own_sources(spaced: EmbeddingTable, written: str) -> None:
    """Words asked for by their ids or in quotes are as much left out of the answers as words are."""
    rows = [2, 7, 8, 5]
    asked = [f"#{row}" if written == "{row}" else f'"{spaced.token(row)}"' for row in rows]
    solved = explore.analogy(spaced, "{} - {} + {} = {}".format(*asked), 300)
    answers = {entry["id"] for entry in solved["sources_excluded"]}
    assert not answers & {2, 3, 7, 8}  # 3 is a variant of 2
    by_words = explore.analogy(spaced, "king - man + woman = queen", 300)
    assert solved["ranks"][asked[0]]["sources_excluded"] is None
    assert by_words["ranks"]["king"]["sources_excluded"] is None
    assert solved["ranks"][asked[3]]["sources_excluded"] is not None


def test_a_text_is_no_list_of_words(spaced: EmbeddingTable) -> None:
    """A bare text where a list is wanted is refused, rather than taken letter by letter."""
    for call in (spaced.rows, spaced.embed, spaced.directions):
        with pytest.raises(UsageError, match=r"words must be a list of texts, got the text 'king'; write \['king'\]"):
            call("king")
    with pytest.raises(UsageError, match=r"words must be a list of texts, got the text 'king'"):
        explore.tokens(spaced, "king")
    with pytest.raises(UsageError, match="tokens must be a list of texts"):
        EmbeddingTable.from_arrays(np.eye(3), "abc")
    with pytest.raises(embcheck.EmbcheckError, match="list"):
        embcheck.load(torch.nn.Embedding(3, 2), "abc")
