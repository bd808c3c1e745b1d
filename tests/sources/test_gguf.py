"""GGUF files: vectors as the gguf package has them, tokens as the model has them, and malformed files refused."""

from __future__ import annotations

import json
import struct
import sys
import time
import tracemalloc

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError
from embcheck.sources.gguf.tensors import TYPES
from embcheck.sources.tokenizers.vocabulary import TokenizerVocabulary
from embcheck.spec import parse
from embcheck.table.vocabulary import RowStatus, TokenKind

WORDS = ["cat", "cats", "dog", "Cat", "é", "zzz", "a cat"]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def load(spec):
    return sources.load(spec, device="cpu")


def bits(vectors):
    """Numbers as integers, so that NaNs compare."""
    return vectors.contiguous().view(torch.uint8).numpy()


@pytest.fixture
def write(tmp_path):
    """Write a GGUF file and return its spec."""

    def save(tensors, tokens=(), *, model="none", types=None, scores=None, merges=None, values=None, options=""):
        path = tmp_path / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model(model)
        writer.add_token_list(list(tokens) or [f"t{i}" for i in range(len(next(iter(tensors.values()))[0]))])
        if types is not None:
            writer.add_token_types(types)
        if scores is not None:
            writer.add_token_scores(scores)
        if merges is not None:
            writer.add_token_merges(merges)
        for key, value in (values or {}).items():
            (writer.add_bool if isinstance(value, bool) else writer.add_uint32)(key, value)
        for name, (stored, kind) in tensors.items():
            writer.add_tensor(name, stored, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return parse(f"gguf:{path}{options}")

    return save


@pytest.fixture
def words(write, matrix):
    """Write a file with these tokens and return its table."""

    def make(tokens, rows=None, **how):
        return load(write({"token_embd.weight": (matrix(rows or len(tokens)).numpy(), Kind.F32)}, tokens, **how))

    return make


def stored(kind, rows=40, width=256):
    """A table in one type, quantized where the package can, else of random bytes."""
    generator = np.random.default_rng(kind)
    table = generator.standard_normal((rows, width)).astype(np.float32)
    try:
        return gguf.quants.quantize(table, kind)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        return generator.integers(0, 256, (rows, width // block * size), dtype=np.uint8)


# --- vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted({Kind.F32, Kind.F16, *gguf.quants._type_traits}), ids=lambda kind: kind.name)
@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")  # of the package, on random bytes
def test_vectors_are_those_of_the_gguf_package(write, monkeypatch, kind):
    """Whatever the type, vectors equal the package's own dequantization bit for bit, also when cut into blocks."""
    monkeypatch.setattr("embcheck.sources.gguf.tensors._BLOCK_BYTES", 17 * 256 * 4)
    blocks = stored(kind)
    table = load(write({"other": (blocks[:3], kind), "token_embd.weight": (blocks, kind)}))
    expected = torch.from_numpy(gguf.quants.dequantize(blocks, kind))
    assert table.provenance.dtype == {"F16": "float16", "BF16": "bfloat16"}.get(kind.name, "float32")
    assert (bits(table.vectors.float()) == bits(expected)).all()


def test_floats_keep_their_type(write):
    """Numbers that torch has a type for are not converted."""
    table = np.random.default_rng(0).standard_normal((5, 3))
    assert torch.equal(load(write({"token_embd.weight": (table, Kind.F64)})).vectors, torch.from_numpy(table))


def test_block_sizes_are_those_of_the_gguf_package():
    """Our table of types is the package's, type by type."""
    assert {code: (kind.name, kind.block, kind.size) for code, kind in TYPES.items()} == {
        code.value: (code.name, *gguf.GGML_QUANT_SIZES[code]) for code in Kind
    }


@pytest.mark.parametrize("kind", [Kind.Q8_1, Kind.Q8_K, Kind.I8], ids=lambda kind: kind.name)
def test_types_without_a_way_back_are_refused(write, kind):
    """A type that the package can't dequantize is refused by its name."""
    with pytest.raises(SourceError, match=rf"can't dequantize token_embd\.weight \[40, 256\] {kind.name};"):
        load(write({"token_embd.weight": (stored(kind), kind)}))


def test_only_quantized_types_need_the_package(write, monkeypatch):
    """Without the gguf package floats are read, and quantized tables say what to install."""
    floats = write({"token_embd.weight": (stored(Kind.F16), Kind.F16)})
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert load(floats).provenance.shape == (40, 256)
    monkeypatch.undo()
    quantized = write({"token_embd.weight": (stored(Kind.Q8_0), Kind.Q8_0)})
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SourceError, match=r"Q8_0 is quantized; pip install 'embcheck\[gguf\]'"):
        load(quantized)


def test_provenance(write):
    """What was stored, and how many bytes of it were read, is on record."""
    spec = write({"token_embd.weight": (stored(Kind.Q8_0), Kind.Q8_0)})
    origin = load(spec).provenance
    assert (origin.tensor, origin.shape, origin.bytes_read) == ("token_embd.weight", (40, 256), 40 * 8 * 34)
    assert "stored as Q8_0, dequantized to float32" in origin.notes
    described = sources.describe(spec)
    assert (described.shape, described.dtype, described.bytes) == ((40, 256), "Q8_0", 40 * 8 * 34)


@pytest.mark.parametrize(
    ("kind", "values", "note"),
    [("gemma3", {"gemma3.embedding_length": 64}, "by 8"), ("granite", {"granite.embedding_scale": 12}, "by 12")],
)
def test_scale_is_on_record(write, matrix, monkeypatch, kind, values, note):
    """What the model multiplies its embeddings by is noted, as far as the header tells."""
    monkeypatch.setattr(gguf.GGUFWriter, "add_architecture", lambda self: self.add_string("general.architecture", kind))
    spec = write({"token_embd.weight": (matrix(6).numpy(), Kind.F32)}, values=values)
    assert f"the model multiplies its embeddings {note}" in load(spec).provenance.notes


# --- which tensor -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "token_embd.weight"),
        (",matrix=input", "token_embd.weight"),
        (",matrix=output", "output.weight"),
        (",tensor=blk.0.ffn", "blk.0.ffn.weight"),
    ],
)
def test_the_matrix_asked_for_is_read(write, matrix, options, name):
    """The input embedding by default, the output layer or any tensor on request."""
    names = ("token_embd.weight", "output.weight", "blk.0.ffn.weight")
    tensors = {n: (matrix(rows).numpy(), Kind.F32) for rows, n in enumerate(names, 6)}
    table = load(write(tensors, "abcdef", options=options))
    assert table.provenance.tensor == name
    assert torch.equal(table.vectors, torch.from_numpy(tensors[name][0]))


def test_a_tied_output_matrix_is_the_input(write, matrix):
    """A file without an output layer uses its input embedding, and the table says so."""
    origin = load(write({"token_embd.weight": (matrix(6).numpy(), Kind.F32)}, options=",matrix=output")).provenance
    assert origin.tensor == "token_embd.weight"
    assert "the output matrix is tied to the input embedding" in origin.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",tensor=x", r"no tensor 'x'; choose one with tensor=NAME; candidates: a\.weight \[6, 4\] F32"),
        ("", r"no tensor 'token_embd\.weight'; .*candidates: a\.weight"),
        (",tensor=b", r"b\.weight \[3\] F32 is not a matrix"),
        (",matrix=both", "matrix is 'both'; choose input or output"),
        (",rows=3", "gguf has no option 'rows'; it takes tensor, matrix"),
    ],
)
def test_a_matrix_that_is_not_there_is_refused(write, matrix, options, message):
    """The error lists the matrices there are."""
    tensors = {"a.weight": (matrix(6).numpy(), Kind.F32), "b.weight": (matrix(3)[:, 0].numpy().copy(), Kind.F32)}
    with pytest.raises(EmbcheckError, match=message):
        load(write(tensors, options=options))


def test_another_part_of_a_split_file_is_told(write, matrix):
    """A part of a model that lacks the embedding says which other parts may have it."""
    tensors = {"a.weight": (matrix(6).numpy(), Kind.F32)}
    with pytest.raises(SourceError, match="put part 1 of 3, part 3 of 3 beside it"):
        load(write(tensors, values={"split.count": 3, "split.no": 1}))


# --- tokens -----------------------------------------------------------------------------------------------------


def same(ours, theirs, words=WORDS):
    """Whether two vocabularies agree in every row and on how words resolve."""
    assert list(ours.tokens) == list(theirs.tokens)
    assert list(ours.kinds) == list(theirs.kinds)
    assert list(ours.status) == list(theirs.status)
    assert ours.encode(words) == theirs.encode(words)


def parts_of(tokenizer):
    """Tokens by id, types and the model of a tokenizer, as converters write them."""
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    names = [name for name, _ in vocab]
    types = [CONTROL if n in special else BYTE if n.startswith("<0x") else NORMAL for n in names]
    return names, types, json.loads(tokenizer.to_str())["model"]


def test_gpt2_tokens(words, byte_level):
    """A byte-level vocabulary reads as the tokenizer that it was converted from."""
    names, types, model = parts_of(byte_level)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    table = words(names, model="gpt2", types=types, merges=merges)
    same(table.vocabulary, TokenizerVocabulary(byte_level, rows=len(names)))
    assert table.tokens[table.rows(["cat"])[0]] == " cat"


def test_loading_encodes_nothing(words, byte_level, monkeypatch):
    """Which tokens text can reach is found out when that is asked for, not when the file is read."""
    monkeypatch.setattr(TokenizerVocabulary, "_ids", lambda _, texts: pytest.fail(f"{len(texts)} texts were encoded"))
    names, types, model = parts_of(byte_level)
    table = words(names, model="gpt2", types=types, merges=[" ".join(merge) for merge in model["merges"]])
    assert table.vocabulary.kinds[table.tokens.index("cat")] == TokenKind.WORD_INSIDE


def test_llama_tokens(words, byte_fallback):
    """A SentencePiece vocabulary with byte fallback does too; its scores stand for merges."""
    names, types, model = parts_of(byte_fallback)
    rank = {"".join(m): i for i, m in reversed(list(enumerate(model["merges"])))}
    scores = [-float(rank.get(name, 1000)) for name in names]
    types[0] = UNKNOWN
    table = words(names, model="llama", types=types, scores=scores)
    same(table.vocabulary, TokenizerVocabulary(byte_fallback, rows=len(names)))
    assert table.tokens[table.rows(["cat"])[0]] == " cat"


def test_t5_tokens(words, unigram):
    """A unigram vocabulary does too."""
    names, types, model = parts_of(unigram)
    types[1] = UNKNOWN
    table = words(names, model="t5", types=types, scores=[score for _, score in model["vocab"]])
    same(table.vocabulary, TokenizerVocabulary(unigram, rows=len(names)))


def test_bert_tokens(words, wordpiece):
    """A WordPiece vocabulary does too, although files mark the start of words where it marks their inside."""
    names, types, _ = parts_of(wordpiece)
    written = [
        n if kind == CONTROL or n == "[unused0]" else n.removeprefix("##") if n.startswith("##") else f"▁{n}"
        for n, kind in zip(names, types, strict=True)
    ]
    written[names.index("Cat")] = "▁kat"
    vocabulary = words(written, model="bert", types=types).vocabulary
    theirs = TokenizerVocabulary(wordpiece, rows=len(names))
    assert [*vocabulary.tokens[:11], *vocabulary.tokens[12:]] == [*theirs.tokens[:11], *theirs.tokens[12:]]
    assert vocabulary.encode(["Cats", "cat", "!"]) == theirs.encode(["Cats", "cat", "!"])


def test_token_types_tell_what_counts(words):
    """Control tokens are special, unused ones unused, and what users added is text, whatever it looks like."""
    tokens = ["<unk>", "<s>", "▁a", "[PAD3]", "<tool>", "hello", "<0x0A>", "▁", "\\"]
    types = [UNKNOWN, CONTROL, NORMAL, UNUSED, USER_DEFINED, USER_DEFINED, BYTE, NORMAL, NORMAL]
    table = words(tokens, model="llama", types=types, scores=[0.0] * 9)
    states = [RowStatus(int(s)).name for s in table.vocabulary.status]
    expected = ["SPECIAL", "SPECIAL", "UNREACHABLE", "UNUSED", "KNOWN", "KNOWN", "KNOWN", "KNOWN", "KNOWN"]
    assert states == expected
    assert table.vocabulary.kinds[6] == TokenKind.BYTE


def test_without_types_marked_tokens_are_special(words):
    """A file without token types still says which tokens begin and end a text."""
    values = {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 99}
    table = words(["Ġa", "<s>"], model="gpt2", values=values)
    assert list(table.vocabulary.status) == [RowStatus.KNOWN, RowStatus.SPECIAL]
    assert "the file has no merges: words are looked up whole" in table.provenance.notes


def test_a_rule_that_is_not_known_is_noted(write, matrix, monkeypatch):
    """How words are cut matters little, but is said where it is a guess."""
    monkeypatch.setattr(
        gguf.GGUFWriter,
        "add_tokenizer_model",
        lambda self, _: (
            self.add_string("tokenizer.ggml.model", "gpt2"),
            self.add_string("tokenizer.ggml.pre", "new"),
        ),
    )
    table = load(write({"token_embd.weight": (matrix(2).numpy(), Kind.F32)}, ["Ġa", "a"], merges=["Ġ a"]))
    assert any("'new' is not known" in note for note in table.provenance.notes)


@pytest.mark.parametrize("rule", ["llama-bpe", "qwen2", "starcoder", "gpt-2"])
def test_known_rules_cut_words_at_spaces(write, matrix, monkeypatch, rule):
    """Under every rule a word behind a space is one piece of text."""
    monkeypatch.setattr(
        gguf.GGUFWriter,
        "add_tokenizer_model",
        lambda self, _: (
            self.add_string("tokenizer.ggml.model", "gpt2"),
            self.add_string("tokenizer.ggml.pre", rule),
        ),
    )
    tokens = ["Ġ", "a", "b", "Ġa", "Ġab", "1", "2", "12"]
    spec = write({"token_embd.weight": (matrix(8).numpy(), Kind.F32)}, tokens, merges=["Ġ a", "Ġa b", "1 2"])
    table = load(spec)
    assert table.rows(["ab", "a"]) == [4, 3]
    assert (table.vocabulary.status[7] == RowStatus.KNOWN) == (rule in {"llama-bpe", "gpt-2"})


def test_unknown_kinds_are_looked_up(words):
    """Where it is not known how text is cut, words are found whole, the form with a space first."""
    table = words(["a", "▁a", "▁b", "b", "</s>"], model="plamo9", types=[NORMAL] * 4 + [CONTROL])
    assert table.rows(["a", "b", "ab", "</s>"]) == [1, 2, None, None]
    assert any("a tokenizer plamo9" in note for note in table.provenance.notes)
    assert table.excluded() == {"special": 1}


@pytest.mark.parametrize("model", ["llama", "gpt2", "t5", "bert", "none"])
def test_a_token_that_comes_again_is_unreachable(words, model):
    """Of two tokens of one name no text leads to the second, whose name is shown all the same."""
    table = words(["▁a", "▁b", "▁a", "▁a"], model=model, scores=[0.0] * 4, types=[NORMAL] * 4)
    assert table.tokens[0] == table.tokens[2] == table.tokens[3]
    assert list(table.vocabulary.status[2:]) == [RowStatus.UNREACHABLE] * 2


def test_rows_past_the_tokens_are_padding(words):
    """A matrix with more rows than tokens has padding rows."""
    assert words(["▁a", "▁b"], rows=5, model="llama", scores=[0.0, 0.0]).excluded()["padding"] == 3


@pytest.mark.parametrize("model", ["llama", "none"])
def test_words_without_rows_are_refused(words, model):
    """More tokens than rows are refused, with both numbers."""
    with pytest.raises(SourceError, match="tokens up to id 4 but its matrix has only 3 rows"):
        words(["▁a", "b", "c", "d", "e"], rows=3, model=model, scores=[0.0] * 5)


def test_special_tokens_without_rows_are_noted(words):
    """A special token that was added without a row for it is left out and counted."""
    table = words(["▁a", "▁b", "<s>"], rows=2, model="llama", scores=[0.0] * 3, types=[NORMAL, NORMAL, CONTROL])
    assert any("1 special token has an id past" in note for note in table.provenance.notes)


def test_scores_are_needed(words):
    """A SentencePiece vocabulary without scores, or with one that is no number, is refused."""
    for scores in (None, [0.0], [0.0, float("nan")]):
        with pytest.raises(SourceError, match="the scores of its tokens are missing"):
            words(["▁a", "▁b"], model="llama", scores=scores)


@pytest.mark.slow
def test_a_large_vocabulary_opens_at_once(write):
    """A file with 262,144 tokens is described in two seconds of a processor at most, whatever else it does."""
    tokens = [f"▁word{i}" for i in range(262_144)]
    blocks = np.zeros((262_144, 34), dtype=np.uint8)
    types, scores = [NORMAL] * len(tokens), [0.0] * len(tokens)
    spec = write({"token_embd.weight": (blocks, Kind.Q8_0)}, tokens, model="llama", types=types, scores=scores)
    start = time.process_time()
    assert sources.describe(spec).shape == (262_144, 32)
    assert time.process_time() - start < 2


# --- malformed files --------------------------------------------------------------------------------------------


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def file(*keys, tensors=(), counts=None, magic=b"GGUF", version=3, data=b"\0" * 256):
    """The bytes of a GGUF file with these keys and tensors."""
    head = struct.pack("<QQ", *(counts or (len(tensors), len(keys))))
    body = magic + struct.pack("<I", version) + head + b"".join(keys) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32) + data


def tensor(name="token_embd.weight", shape=(2, 2), kind=0, offset=0, dimensions=None):
    count = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


def array(kind, count, body=b""):
    return struct.pack("<IQ", kind, count) + body


TOKENS = key("tokenizer.ggml.tokens", 9, array(8, 2, text("a") + text("b")))
HUGE = 2**62

MALFORMED = {
    "empty": b"",
    "magic": file(magic=b"GGML"),
    "short": b"GGUF\x03\0\0\0",
    "pickle": b"\x80\x04\x95" + b"\0" * 64,
    "html": b"<!DOCTYPE html><html>" + b" " * 64,
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "version 1": file(version=1),
    "version 9": file(version=9),
    "big-endian": file(version=3 << 24),
    "no tensors": file(TOKENS),
    "tensor count": file(TOKENS, counts=(HUGE, 1)),
    "tensor count that fits": file(TOKENS, counts=(2**16, 1)),
    "key count": file(TOKENS, counts=(0, HUGE)),
    "key count past the end": file(TOKENS, counts=(0, 60)),
    "key length": file(struct.pack("<Q", HUGE)),
    "key twice": file(TOKENS, TOKENS),
    "value type": file(key("a", 77, b"")),
    "text length": file(key("a", 8, struct.pack("<Q", 2**63))),
    "array count": file(key("a", 9, array(0, HUGE))),
    "array of strings": file(key("a", 9, array(8, HUGE))),
    "array of a long string": file(key("a", 9, array(8, 1, struct.pack("<Q", HUGE)))),
    "array of unknown": file(key("a", 9, array(33, 1))),
    "nested arrays": file(key("a", 9, array(9, 1, array(9, 1, array(0, 1, b"x"))))),
    "token count": file(key("tokenizer.ggml.tokens", 9, array(8, 2**24))),
    "token length": file(key("tokenizer.ggml.tokens", 9, array(8, 1, text("x" * 5000)))),
    "token types": file(key("tokenizer.ggml.token_type", 9, array(5, HUGE))),
    "tokens are numbers": file(key("tokenizer.ggml.tokens", 9, array(4, 1, b"\0" * 4)), tensors=[tensor()]),
    "no tokens": file(tensors=[tensor()]),
    "alignment 0": file(key("general.alignment", 4, b"\0" * 4), TOKENS, tensors=[tensor()]),
    "alignment 3": file(key("general.alignment", 4, b"\3\0\0\0"), TOKENS, tensors=[tensor()]),
    "alignment huge": file(key("general.alignment", 10, struct.pack("<Q", HUGE)), TOKENS, tensors=[tensor()]),
    "alignment is text": file(key("general.alignment", 8, text("32")), TOKENS, tensors=[tensor()]),
    "dimension count": file(TOKENS, tensors=[tensor(dimensions=2**31)]),
    "another tensor of half a block": file(TOKENS, tensors=[tensor(), tensor("x", (16,), kind=8, offset=32)]),
    "one dimension": file(TOKENS, tensors=[tensor(shape=(4,))]),
    "three dimensions": file(TOKENS, tensors=[tensor(shape=(2, 2, 2))]),
    "no rows": file(TOKENS, tensors=[tensor(shape=(2, 0))]),
    "huge shape": file(TOKENS, tensors=[tensor(shape=(HUGE, HUGE))]),
    "shape past the end": file(TOKENS, tensors=[tensor(shape=(2, 200))]),
    "offset": file(TOKENS, tensors=[tensor(offset=HUGE)]),
    "offset past the end": file(TOKENS, tensors=[tensor(offset=250)]),
    "unknown type": file(TOKENS, tensors=[tensor(kind=4)]),
    "odd block": file(TOKENS, tensors=[tensor(shape=(40, 2), kind=8)]),
    "tensor twice": file(TOKENS, tensors=[tensor(), tensor()]),
    "tensor name": file(TOKENS, tensors=[text("x" * 2000)]),
    "fewer rows than tokens": file(TOKENS, tensors=[tensor(shape=(2, 1))]),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_refused(write_spec, content):
    """Each ends in one line, and nothing of the size that it promises is allocated."""
    spec = write_spec("gguf", content, "m.gguf")
    tracemalloc.start()
    try:
        with pytest.raises(SourceError) as caught:
            load(spec)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_sound_file_is_read(write_spec):
    """The file that those above were made from by damage is fine."""
    content = file(TOKENS, tensors=[tensor()], data=struct.pack("<4f", 1, 2, 3, 4))
    assert load(write_spec("gguf", content, "m.gguf")).vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("offset", [1, 4])
def test_numbers_need_not_be_aligned(write_spec, offset):
    """Numbers that lie across a processor's words are read too."""
    aligned = key("general.alignment", 4, b"\1\0\0\0")
    content = file(aligned, TOKENS, tensors=[tensor(offset=offset)], data=b"")
    unpadded = len(aligned) + len(TOKENS) + len(tensor(offset=offset)) + 24
    content = content[:unpadded] + b"\0" * offset + struct.pack("<4f", 1, 2, 3, 4)
    assert load(write_spec("gguf", content, "m.gguf")).vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.slow
def test_many_empty_strings_are_passed_over_quickly(write_spec):
    """The largest header there may be is walked in seconds."""
    count = 7 * 2**20
    content = file(key("a", 9, array(8, count, b"\0" * 8 * count)), TOKENS, tensors=[tensor()])
    start = time.perf_counter()
    assert load(write_spec("gguf", content, "m.gguf")).width == 2
    assert time.perf_counter() - start < 20


def test_a_header_without_end_is_refused(write_spec):
    """A header larger than any model's is not walked to its end."""
    count = 9 * 2**20
    content = file(key("a", 9, array(8, count, b"\0" * 8 * count)), TOKENS, tensors=[tensor()])
    with pytest.raises(SourceError, match="header would be larger"):
        load(write_spec("gguf", content, "m.gguf"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=st.sampled_from(["llama", "gpt2", "t5", "bert"]), data=st.data())
def test_damaged_files_are_refused_or_read(write_spec, model, data):
    """Whatever bytes stand in a file, nothing but a one-line embcheck error is raised."""
    names = ["<unk>", "<s>", "▁", "a", "▁a", "Ġ", "Ġa", "[UNK]"]
    content = file(
        key("tokenizer.ggml.model", 8, text(model)),
        key("tokenizer.ggml.tokens", 9, array(8, 8, b"".join(map(text, names)))),
        key("tokenizer.ggml.token_type", 9, array(5, 8, struct.pack("<8i", 2, 3, 1, 1, 1, 1, 1, 1))),
        key("tokenizer.ggml.scores", 9, array(6, 8, struct.pack("<8f", *range(8)))),
        key("tokenizer.ggml.merges", 9, array(8, 1, text("Ġ a"))),
        tensors=[tensor(shape=(4, 8))],
    )
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        assert load(write_spec("gguf", bytes(damaged), "m.gguf")).width >= 1
    except EmbcheckError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_bytes_that_are_lost_anywhere_are_refused(write, tmp_path):
    """A file that lost bytes before its last tensor is truncated, though numbers lie where the embedding's would."""
    rows = np.arange(32 * 8, dtype=np.float32).reshape(8, 32)
    spec = write({"token_embd.weight": (rows, Kind.F32), "z.weight": (rows, Kind.F32)})
    content = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(content[:-1_500] + content[-1_460:])
    with pytest.raises(SourceError, match="is truncated: it has"):
        load(spec)


def test_garbled_names_are_refused(write, tmp_path):
    """A key that is no UTF-8 may be one that matters, such as the alignment: the file is malformed."""
    spec = write({"token_embd.weight": (np.ones((8, 32), np.float32), Kind.F32)}, values={"general.strangeness": 3})
    path = tmp_path / "model.gguf"
    path.write_bytes(path.read_bytes().replace(b"general.strange", b"general.\x99trange"))
    with pytest.raises(SourceError, match="a key is not UTF-8"):
        load(spec)
