"""Lists of tokens where lists of words are meant, and tokens that are written escaped."""

from __future__ import annotations

import json
import subprocess
import sys

import gguf
import numpy as np
import pytest

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse
from embcheck.table.vocabulary import RowStatus, TokenKind


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.fixture
def table(tmp_path):
    """A NumPy matrix under the names of a vocab.json."""

    def make(names):
        np.save(tmp_path / "m.npy", np.random.default_rng(0).standard_normal((len(names), 4)).astype(np.float32))
        (tmp_path / "vocab.json").write_text(json.dumps({name: row for row, name in enumerate(names)}))
        return load(parse(f"npy:{tmp_path}/m.npy,vocab={tmp_path}/vocab.json"))

    return make


@pytest.mark.parametrize(
    ("names", "surface", "inside"),
    [
        (["<|endoftext|>", "Ġking", "king", "Ġqueen", "!", "Ã©"], " king", "é"),
        (["<unk>", "▁king", "king", "▁queen", "!", "é"], " king", "é"),
        (["<unk>", "king</w>", "king", "queen</w>", "!", "é"], "king", "é"),
    ],
)
def test_marked_tokens_are_words(table, names, surface, inside):
    """Under a tokenizer's vocab.json words are found at the tokens that begin with its mark, and the notes say how."""
    made = table(names)
    assert made.rows(["king", "queen", "nothing"]) == [1, 3, None]
    assert (made.tokens[1], made.tokens[5]) == (surface, inside)
    assert made.status[0] == RowStatus.SPECIAL
    assert made.vocabulary.kinds[1] == TokenKind.WORD_START
    assert any("words are looked up whole" in note for note in made.provenance.notes)


@pytest.mark.parametrize("odd", [["<s>", "[CLS]"], ["Ġ[MASK]"]])
def test_tokens_in_lower_case_are_found_for_words_with_capitals(table, odd):
    """A word is looked up in lower case too where all tokens are, as their tokenizer would, and only there."""
    names = [*odd, "Ġmay", "Ġjune", "ing"]
    assert table(names).rows(["May", "may", "JUNE", "Ing"]) == [len(odd), len(odd), len(odd) + 1, len(odd) + 2]
    assert table([*names, "ĠParis"]).rows(["May", "may", "Paris"]) == [None, len(odd), len(names)]


def test_a_list_of_words_stays_one(table):
    """A few words that begin with a letter that tokenizers use as a mark do not make a list of tokens."""
    made = table([*(f"word{i}" for i in range(99)), "Ġorġ"])
    assert made.tokens[99] == "Ġorġ"
    assert not made.provenance.notes


def test_words_with_counts_are_refused_with_the_way_out(tmp_path):
    """Counts, as GloVe's vocab.txt gives them, are no part of words; the command in the message takes them off."""
    np.save(tmp_path / "m.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "vocab.txt").write_text("the 1061396\nof 593677\nand 416629\n")
    spec = f"npy:{tmp_path}/m.npy,vocab={tmp_path}/"
    with pytest.raises(SourceError, match="every line ends in a count") as caught:
        load(parse(f"{spec}vocab.txt"))
    command = str(caught.value).split("give the words alone: ")[1]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)  # noqa: S602 - the command that the message gives
    assert list(load(parse(f"{spec}words.txt")).tokens) == ["the", "of", "and"]


def test_an_array_of_objects_is_named(tmp_path):
    """An array of Python objects is not called truncated, and the way out makes a matrix of it."""
    array = np.empty(2, dtype=object)
    array[:] = [np.ones(2), np.zeros(2)]
    np.save(tmp_path / "m.npy", array)
    (tmp_path / "w.txt").write_text("a\nb\n")
    spec = parse(f"npy:{tmp_path}/m.npy,vocab={tmp_path}/w.txt")
    with pytest.raises(SourceError, match="holds Python objects, which are not read") as caught:
        load(spec)
    call = str(caught.value).split("save its numbers: ")[1].replace("FILE", f"'{tmp_path}/m.npy'")
    script = f"import numpy; array = numpy.load('{tmp_path}/m.npy', allow_pickle=True); {call}"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert load(spec).vectors.tolist() == [[1, 1], [0, 0]]


def test_rwkv_tokens_are_unescaped(tmp_path):
    """The tokens of an RWKV file, written as Python writes bytes, are the text that they stand for."""
    texts = [b"<s>", b" king", b"king", b"\n", b"\t\\", "é".encode(), "日".encode()[:2], b"'", b'"', b"\\n", b" it's"]
    writer = gguf.GGUFWriter(tmp_path / "rwkv.gguf", "rwkv6")
    writer.add_tokenizer_model("rwkv")
    writer.add_token_list([repr(text)[2:-1].encode() for text in texts])
    writer.add_token_types([3, *[1] * (len(texts) - 1)])
    writer.add_tensor("token_embd.weight", np.eye(len(texts), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    table = load(parse(f"gguf:{tmp_path}/rwkv.gguf"))
    assert list(table.tokens) == [
        "<s>", " king", "king", "\n", "\t\\", "é", "<0xE6><0x97>", "'", '"', "\\n", " it's",
    ]  # fmt: skip
    assert table.rows(["king", "é", "it's"]) == [1, 5, 10]
    assert table.vocabulary.kinds[6] == TokenKind.BYTE
