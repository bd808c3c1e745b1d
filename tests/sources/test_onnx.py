"""Initializers of ONNX models, written by hand, by onnx and by torch's exporter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from written import message, onnx_embedding, onnx_model, onnx_node, onnx_tensor, varint

from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.spec import parse

VECTORS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
LOOKUP = onnx_node("Gather", ["w", "input_ids"], ["rows"])


@pytest.fixture
def save(tmp_path, unigram):
    """Write a model beside a tokenizer of seven tokens, and return its spec."""

    def write(content, options="", name="model.onnx"):
        unigram.save(str(tmp_path / "tokenizer.json"))
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return parse(f"onnx:{path}{options}")

    return write


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_the_matrix_that_token_ids_choose_rows_of_is_read(save, dtype):
    """Of several matrices the one is read that token ids choose from, whatever it is called, bit for bit."""
    vectors = VECTORS.astype(dtype)
    spec = save(onnx_embedding(vectors))
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.numpy().tobytes() == vectors.tobytes()
    assert table.provenance.tensor == described.tensor == "onnx::Gather_7"
    assert (described.shape, described.dtype, described.bytes) == ((7, 4), dtype, vectors.nbytes)
    assert table.rows(["cat"]) == [2]


def test_a_tokenizer_above_the_folder_onnx_is_found(save, tmp_path):
    """As models lie on the hub: the graph in a folder ``onnx``, the tokenizer above; a folder stands for its model."""
    save(onnx_embedding(VECTORS), name="onnx/model.onnx")
    assert load(parse(f"onnx:{tmp_path}")).rows(["cat"]) == [2]
    assert load(parse(f"onnx:{tmp_path / 'onnx' / 'model.onnx'}")).rows(["cat"]) == [2]


@pytest.mark.parametrize(("option", "tokens"), [("none", ["#0", "#1"]), ("words.txt", ["cat", "dog"])])
def test_rows_are_named_as_the_spec_says(save, tmp_path, option, tokens):
    """A list of words names the rows, or nothing does."""
    (tmp_path / "words.txt").write_text("cat\ndog\nhen\ncow\nowl\npig\nfox\n")
    value = option if option == "none" else tmp_path / option
    assert list(load(save(onnx_embedding(VECTORS), f",vocab={value}")).tokens[:2]) == tokens
    with pytest.raises(SpecError, match="give one of them"):
        load(save(onnx_embedding(VECTORS), f",vocab=none,tokenizer={tmp_path}"))
    (tmp_path / "words.txt").write_text("w\n" * 8)
    with pytest.raises(SourceError, match="8 tokens but the matrix only 7 rows"):
        load(save(onnx_embedding(VECTORS), f",vocab={tmp_path / 'words.txt'}"))


def test_a_tensor_that_is_named_is_read(save):
    """``tensor=NAME`` reads any other initializer that is a matrix."""
    assert not load(save(onnx_embedding(VECTORS), ",tensor=position_embeddings")).vectors.any()
    with pytest.raises(SourceError, match=r"no initializer 'x'.*onnx::Gather_7 \[7, 4\] F32"):
        load(save(onnx_embedding(VECTORS), ",tensor=x"))


def test_names_decide_where_no_ids_are_looked_up(save):
    """Without a look-up by token ids the largest matrix that is named like an embedding is read."""
    tensors = [("model.embed_tokens.weight", 7), ("shared.weight", 5), ("lm_head.weight", 9)]
    model = onnx_model([], [onnx_tensor(name, VECTORS[[0] * rows]) for name, rows in tensors])
    assert load(save(model)).provenance.tensor == "model.embed_tokens.weight"
    with pytest.raises(SourceError, match="no initializers that could be the input embedding"):
        load(save(onnx_model([], [onnx_tensor("x", VECTORS)])))
    twice = onnx_model([], [onnx_tensor(name, VECTORS) for name in ("wte.weight", "shared.weight")])
    with pytest.raises(SourceError, match="has 2 initializers"):
        load(save(twice))


def test_a_look_up_inside_a_branch_is_found(save):
    """Merged decoders look up ids in a graph inside a node, with the matrix outside."""
    branch = message((1, "then_branch"), (6, message((1, LOOKUP))))
    model = onnx_model([onnx_node("If", ["c"], ["y"], (5, branch))], [onnx_tensor("w", VECTORS)])
    assert load(save(model)).provenance.tensor == "w"


def test_a_fused_look_up_is_found(save):
    """The optimizer of onnxruntime puts all of BERT's embeddings into one node."""
    node = onnx_node("EmbedLayerNormalization", ["input_ids", "types", "w", "p", "t"], ["y"])
    tensors = [onnx_tensor(name, VECTORS + i) for i, name in enumerate(["w", "p", "t"])]
    assert load(save(onnx_model([node], tensors))).provenance.tensor == "w"


@pytest.mark.parametrize(("kind", "zero"), [("uint8", 7), ("int8", -3), ("int8", None)])
@pytest.mark.parametrize("is_before", [True, False])
def test_bytes_with_a_scale_are_read_as_floats(save, kind, zero, is_before):
    """Bytes become (byte - zero point) * scale, whether the rows are chosen before or after that."""
    stored = np.random.default_rng(1).integers(0, 100, (7, 4)).astype(kind)
    chosen = ["w", "q"] if is_before else ["d", "w"]
    scaled = [chosen[1], "s", *([] if zero is None else ["z"])]
    nodes = [onnx_node("Gather", [chosen[0], "input_ids"], ["q"]), onnx_node("DequantizeLinear", scaled, ["d"])]
    nodes = nodes if is_before else nodes[::-1]
    tensors = [onnx_tensor("w", stored), onnx_tensor("s", np.array(0.125, np.float32))]
    if zero is not None:
        tensors.append(message((1, 1), (2, {"uint8": 2, "int8": 3}[kind]), (8, "z"), (5, varint(zero % 2**64))))
    spec = save(onnx_model(nodes, tensors))
    table = load(spec)
    assert table.vectors.tolist() == ((stored.astype(float) - (zero or 0)) * 0.125).tolist()
    assert kind in table.provenance.notes[0]
    assert sources.describe(spec).bytes == 28


def test_numbers_in_another_file_are_read_alone(save, tmp_path):
    """Of data beside the model the matrix's range is read, wherever it lies."""
    where = {"location": "model.onnx_data", "offset": "5", "length": str(VECTORS.nbytes)}
    spec = save(onnx_embedding(VECTORS, external=where))
    (tmp_path / "model.onnx_data").write_bytes(b"12345" + VECTORS.tobytes() + b"more")
    assert load(spec).vectors.numpy().tobytes() == VECTORS.tobytes()
    assert sources.describe(spec).files == ("model.onnx", "model.onnx_data")
    (tmp_path / "model.onnx_data").write_bytes(VECTORS.tobytes())
    with pytest.raises(SourceError, match="truncated"):
        load(spec)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "", "c:\\x", "missing", "\x1b[31m"])
def test_numbers_elsewhere_are_not_read(save, location):
    """A file outside the model's folder, or one that is not there, is refused by its name."""
    spec = save(onnx_embedding(VECTORS, external={"location": location}))
    with pytest.raises(SourceError, match=r"no file in the model's folder|is not there") as told:
        load(spec)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (onnx_model([LOOKUP], [onnx_tensor("w", VECTORS.astype(np.int8))]), "no DequantizeLinear"),
        (onnx_model([LOOKUP], [message((1, 7), (1, 4), (2, 17), (8, "w"), (9, b"0" * 28))]), "F8_E4M3 holds no floats"),
        (onnx_model([LOOKUP], [message((1, 7), (1, 4), (2, 1), (8, "w"), (9, b"0" * 28))]), "must take 112 bytes"),
        (onnx_model([LOOKUP], [message((1, 2**40), (1, 4), (2, 1), (8, "w"))]), "must take 17592186044416 bytes"),
        (onnx_model([LOOKUP], [message((1, 7), (1, 4), (2, 10), (8, "w"), (5, b"\1" * 28))]), "written as others"),
        (onnx_model([LOOKUP], [onnx_tensor("w", VECTORS)] * 2), "two initializers are called w"),
        (onnx_model([LOOKUP], [message(*[(1, 1)] * 17)]), "17 sides"),
        (onnx_model([LOOKUP], [message(*[(3, 1)] * 5000)]), "too many parts"),
        (onnx_model([LOOKUP], [onnx_tensor("w", VECTORS)])[:-30], "no ONNX model"),
        (message((1, 8)), "no graph"),
        (b"\x1f\x8b0000", "gunzip"),
        (b"\xff" * 40, "no number ends"),
        (b"\x08" + b"\x80" * 12, "no number ends"),
        (b"\x3b\x3b", "no field begins"),
    ],
)
def test_what_cannot_be_read_is_refused(save, content, message):
    """Numbers of other kinds, sizes that don't fit and damaged files are refused in one line."""
    with pytest.raises(SourceError, match=message):
        load(save(content))


def test_graphs_in_each_other_without_end_are_refused(save):
    """A graph in a node in a graph, and so on, is read only so deep."""
    graph = message((1, LOOKUP))
    for _ in range(20):
        graph = message((1, onnx_node("If", ["c"], ["y"], (5, message((6, graph))))))
    with pytest.raises(SourceError, match="too deep"):
        load(save(message((7, graph))))


def test_onnx_reads_the_same(save, tmp_path):
    """What onnx wrote, with the numbers in the file and beside it, is read as onnx reads it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Gather", ["w", "input_ids"], ["y"])]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n"])
    rows = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    listed = helper.make_tensor("w", TensorProto.FLOAT, (7, 4), VECTORS.ravel().tolist())
    for tensor in (numpy_helper.from_array(VECTORS, "w"), listed):
        spec = save(onnx.helper.make_model(helper.make_graph(nodes, "g", [ids], [rows], [tensor])).SerializeToString())
        assert (
            load(spec).vectors.numpy().tobytes()
            == numpy_helper.to_array(onnx.load(spec.target).graph.initializer[0]).tobytes()
        )
    model = onnx.load(spec.target)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(VECTORS, "w"))
    onnx.save(model, spec.target, save_as_external_data=True, location="m.data", size_threshold=0)
    assert load(spec).vectors.numpy().tobytes() == VECTORS.tobytes()
    assert sources.describe(spec).files == ("model.onnx", "m.data")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False])
def test_models_that_torch_exported_are_read(tmp_path, dynamo):
    """The embedding of a model that torch exported, tied to its output, is the one that was exported."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript", exc_type=ImportError)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = torch.nn.Embedding(9, 4), torch.nn.Embedding(9, 4)
            self.head = torch.nn.Linear(4, 9, bias=False)
            self.head.weight = self.words.weight

        def forward(self, ids):
            places = torch.arange(ids.shape[1])[None]
            return self.head(self.words(ids) + self.places(places))

    model, path = Model().eval(), tmp_path / "m.onnx"
    ids = torch.ones(1, 3, dtype=torch.long)
    torch.onnx.export(model, (ids,), str(path), input_names=["input_ids"], dynamo=dynamo)
    assert torch.equal(load(parse(f"onnx:{path},vocab=none")).vectors, model.words.weight)
