"""What trainers save: sharded by torch.distributed.checkpoint, with objects beside the weights, a file a process."""

from __future__ import annotations

import argparse
import copyreg
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tokenizers import Tokenizer, models
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError
from embcheck.spec import parse

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.distributed about a run of one process
ROWS, WIDTH = 13, 6
NAME = "model.embed_tokens.weight"
TABLE = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def folder(tmp_path):
    """A folder with a tokenizer in it, beside which checkpoints lie."""
    words = {f"w{row}": row for row in range(ROWS)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def load(folder, name):
    return sources.load(parse(f"{folder / name},tokenizer={folder}"), device="cpu")


# --- torch.distributed.checkpoint -------------------------------------------------------------------------------


@pytest.fixture(params=["by its value", "by its name"])
def sharded(folder, request, monkeypatch):
    """A checkpoint of one process, with other tensors and things that are none; Pythons pickle an enum differently."""
    own = _MEM_FORMAT_ENCODING
    pickled = (getattr, (own, "TORCH_CONTIGUOUS_FORMAT")) if request.param == "by its name" else (own, (0,))
    monkeypatch.setitem(copyreg.dispatch_table, own, lambda _member: pickled)
    state = {NAME: TABLE, "model.norm.weight": torch.ones(WIDTH), "half": TABLE.bfloat16()}
    dcp.save({"model": state, "step": 3, "more": {"lr": [0.1, "x"]}}, checkpoint_id=str(folder / "c"), no_dist=True)
    return folder / "c"


def test_one_tensor_is_read_as_the_library_reads_it(folder, sharded):
    """The embedding equals what torch.distributed.checkpoint loads, and nothing else is read."""
    expected = {"model": {NAME: torch.zeros(ROWS, WIDTH)}}
    dcp.load(expected, checkpoint_id=str(sharded), no_dist=True)
    table = load(folder, "c")
    assert torch.equal(table.vectors, expected["model"][NAME])
    assert (table.provenance.tensor, table.provenance.bytes_read) == (f"model.{NAME}", TABLE.nbytes)
    told = sources.describe(parse(f"{sharded},tokenizer={folder}"))
    assert (told.shape, told.bytes, told.files) == ((ROWS, WIDTH), TABLE.nbytes, (".metadata", "__0_0.distcp"))
    assert told.bytes_total == sum(path.stat().st_size for path in sharded.iterdir())


def test_other_types_are_read_by_name(folder, sharded):
    """A tensor that is named is read in the type that it was saved in."""
    table = sources.load(parse(f"{sharded},tensor=model.half,tokenizer={folder}"), device="cpu")
    assert torch.equal(table.vectors, TABLE.bfloat16())


SHARDED = """
import sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.tensor import Shard, Replicate, distribute_tensor, init_device_mesh
def run(rank, folder, table):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    places = {"rows.wte.weight": Shard(0), "columns": Shard(1), "whole": Replicate()}
    dcp.save({n: distribute_tensor(table, mesh, [place]) for n, place in places.items()}, checkpoint_id=f"{folder}/c")
    dist.destroy_process_group()
if __name__ == "__main__":
    import torch.multiprocessing
    torch.multiprocessing.spawn(run, (sys.argv[1], torch.load(sys.argv[2])), nprocs=2)
"""


@pytest.mark.slow
def test_shards_of_several_processes_are_put_together(folder):
    """Of a run of two processes a matrix is whole again, be it cut by rows, by columns or in each of them."""
    torch.save(TABLE, folder / "table.pt")
    (folder / "run.py").write_text(SHARDED)
    run = [sys.executable, folder / "run.py", folder, folder / "table.pt"]
    subprocess.run(run, check=True, timeout=120, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert {path.name for path in (folder / "c").iterdir()} == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    assert torch.equal(load(folder, "c").vectors, TABLE)
    for name in ("columns", "whole"):
        spec = parse(f"{folder / 'c'},tensor={name},tokenizer={folder}")
        assert torch.equal(sources.load(spec, device="cpu").vectors, TABLE)
    (folder / "c" / "__1_0.distcp").unlink()
    with pytest.raises(SourceError, match=r"tensor rows\.wte\.weight .*: __1_0\.distcp is not in the folder"):
        load(folder, "c")


def rewrite(sharded, change):
    """Change the metadata, as the library has it."""
    path = sharded / ".metadata"
    metadata = pickle.loads(path.read_bytes())  # noqa: S301 - written by this test
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def place(metadata):
    return next(info for index, info in metadata.storage_data.items() if index.fqn == f"model.{NAME}")


def chunk(metadata):
    return metadata.state_dict_metadata[f"model.{NAME}"].chunks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: setattr(place(m), "relative_path", "../c/__0_0.distcp"),
            r"\.\./c/__0_0\.distcp is not in the folder",
        ),
        (lambda m: setattr(place(m), "relative_path", "/etc/passwd"), "is not in the folder"),
        (lambda m: setattr(place(m), "relative_path", 3), "where it lies is not told"),
        (lambda m: setattr(place(m), "offset", 2**40), "is truncated"),
        (lambda m: setattr(place(m), "offset", -1), "is truncated"),
        (lambda m: setattr(place(m), "offset", place(m).offset + 1), "not a file that torch.save wrote"),
        (lambda m: setattr(place(m), "transform_descriptors", ["zstd"]), "is compressed"),
        (lambda m: m.storage_data.clear(), "where it lies is not told"),
        (lambda m: chunk(m).clear(), "leave holes or overlap"),
        (lambda m: chunk(m).extend(chunk(m)), "leave holes or overlap"),
        (lambda m: chunk(m).extend(2000 * chunk(m)), "2001 blocks"),
        (lambda m: setattr(m.state_dict_metadata[f"model.{NAME}"], "size", torch.Size([14, 6])), "holes or overlap"),
        (lambda m: setattr(m.state_dict_metadata[f"model.{NAME}"], "size", torch.Size([2**40, 6])), "would take"),
        (lambda m: setattr(m, "storage_data", None), "is no metadata of torch.distributed.checkpoint"),
        (lambda m: setattr(m, "planner_data", argparse.Namespace()), r"holds argparse\.Namespace, which no checkpoint"),
    ],
)
def test_metadata_is_not_believed(folder, sharded, change, message):
    """Whatever the metadata says, only the folder's own bytes are read, and those that make a matrix."""
    rewrite(sharded, change)
    with pytest.raises(SourceError, match=message) as caught:
        load(folder, "c")
    assert "\n" not in str(caught.value)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_metadata_runs_no_code(folder, sharded):
    """A pickle that calls something is refused by its name, which is not called."""
    (sharded / ".metadata").write_bytes(pickle.dumps({"a": Hostile(folder / "ran")}))
    with pytest.raises(SourceError, match=r"holds (io|_io)\.open, which no checkpoint's metadata needs"):
        load(folder, "c")
    assert not (folder / "ran").exists()


def test_shards_without_their_metadata_are_refused(folder, sharded):
    """What lies where is not guessed."""
    (sharded / ".metadata").unlink()
    with pytest.raises(SourceError, match=r"lacks \.metadata, which tells what lies where"):
        load(folder, "c")


def test_the_folder_that_holds_a_checkpoint_leads_to_it(folder, sharded):
    """A trainer's folder, in which the shards lie one level down, says which one to give."""
    with pytest.raises(SourceError, match="holds no weights itself, but c in it does; give that directory"):
        sources.load(parse(str(folder)), device="cpu")
    with pytest.raises(SourceError, match="is a file, not a model directory; give the directory"):
        load(folder, "c/__0_0.distcp")


# --- objects beside the weights ---------------------------------------------------------------------------------


class Settings(dict):
    """Settings of a class that no reader has."""


@pytest.mark.parametrize("name", ["last.ckpt", "model.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_are_not_made(folder, name, zipped):
    """The weights of a trainer's checkpoint are read; what else lies in it is named, and nothing of it is run."""
    content = {
        "pytorch-lightning_version": "2.6",
        "hyper_parameters": {"args": argparse.Namespace(lr=0.1, path=Path("/x")), "own": Settings(a=1), "s": {1, 2}},
        "callbacks": {"x": Hostile(folder / "ran"), "f": frozenset({3}), "c": complex(1, 2), "b": b"x" * 300},
        "optimizer_states": [{"state": {i: {"exp_avg": torch.ones(2, 2)} for i in range(20)}}],
        "state_dict": {f"net.{NAME}": TABLE, "net.norm.weight": torch.ones(WIDTH)},
    }
    torch.save(content, folder / name, _use_new_zipfile_serialization=zipped)
    table = load(folder, name)
    assert torch.equal(table.vectors, TABLE)
    assert table.provenance.tensor == f"state_dict.net.{NAME}"
    assert not (folder / "ran").exists()
    [note] = table.provenance.notes
    for what in ("argparse.Namespace", "Settings", "io.open"):
        assert what in note
    assert note.startswith("objects beside the weights were not made (")


def test_objects_in_place_of_weights_stay_refused(folder):
    """A file in which objects are all there is, or lie among the tensors themselves, is refused by their name."""
    for content in ({"args": argparse.Namespace(a=TABLE)}, {NAME: TABLE, "args": argparse.Namespace()}):
        torch.save(content, folder / "m.ckpt")
        with pytest.raises(SourceError, match=r"holds argparse\.Namespace, which is no tensor and could run code"):
            load(folder, "m.ckpt")


def test_lightning_reads_the_same(folder):
    """A checkpoint that Lightning saved is read without its classes."""
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self, args, width):
            super().__init__()
            self.save_hyperparameters()
            self.wte = torch.nn.Embedding(ROWS, width)

        def training_step(self, batch, _):
            return self.wte(batch).sum()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.1)

    module = Module(argparse.Namespace(path=Path("/x")), WIDTH)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", default_root_dir=folder, **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(torch.arange(ROWS), batch_size=4))
    trainer.save_checkpoint(folder / "l.ckpt")
    assert torch.equal(load(folder, "l.ckpt").vectors, module.wte.weight.detach())


# --- a file a process -------------------------------------------------------------------------------------------


def megatron(folder, count, *, says=None, pipeline="", rows=ROWS):
    """The folder of a step as Megatron-LM writes it: each process has some rows of the embedding."""
    parts = TABLE[:rows].tensor_split(count)
    for rank, part in enumerate(parts):
        language = {"embedding": {"word_embeddings": {"weight": part.clone()}}, "encoder": {"w": torch.ones(2, 2)}}
        path = folder / "iter_0000100" / f"mp_rank_{rank:02d}{pipeline}"
        path.mkdir(parents=True)
        args = argparse.Namespace(tensor_model_parallel_size=says or count)
        torch.save({"model": {"language_model": language}, "args": args, "iteration": 1}, path / "model_optim_rng.pt")
    return folder / "iter_0000100"


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("pipeline", ["", "_000", "_000_000"])
def test_rows_that_processes_share_are_put_together(folder, count, pipeline):
    """The embedding of a run of tensor parallelism is that of its processes, in their order."""
    megatron(folder, count, pipeline=pipeline)
    table = load(folder, "iter_0000100")
    assert torch.equal(table.vectors, TABLE)
    assert table.provenance.tensor == "model.language_model.embedding.word_embeddings.weight"
    joined = [note for note in table.provenance.notes if "one for each process" in note]
    assert joined == ([] if count == 1 else [f"its rows lie in {count} files, one for each process of the run"])


def test_one_process_of_several_is_no_model(folder):
    """A file that is named stands for itself where the run had one process, and else is known to be a part."""
    file = "iter_0000100/mp_rank_00/model_optim_rng.pt"
    megatron(folder, 1)
    assert torch.equal(load(folder, file).vectors, TABLE)
    (folder / file).unlink()
    (folder / file).parent.rmdir()
    megatron(folder, 2)
    with pytest.raises(SourceError, match="holds 1 of 2 parts of every matrix; give the folder in which all lie"):
        load(folder, file)


def test_parts_that_lack_are_named(folder):
    """A part between others, or one that the parts themselves say there is, is missed."""
    path = megatron(folder, 3)
    (path / "mp_rank_01" / "model_optim_rng.pt").unlink()
    with pytest.raises(SourceError, match=r"mp_rank_01/model_optim_rng\.pt is missing, a part of every matrix"):
        load(folder, "iter_0000100")
    (path / "mp_rank_02" / "model_optim_rng.pt").unlink()
    with pytest.raises(SourceError, match="holds 1 of 3 parts of every matrix; give the folder"):
        load(folder, "iter_0000100")


def deepspeed(folder, count, *, says=None):
    """The folder of a step as DeepSpeed writes it: the module's states for each model-parallel rank."""
    step = folder / "global_step5"
    step.mkdir()
    for rank, part in enumerate(TABLE.tensor_split(count)):
        module = {"module": {"word_embeddings.weight": part.clone()}, "mp_world_size": says or count, "ds_config": {}}
        torch.save(module, step / f"mp_rank_{rank:02d}_model_states.pt")
        torch.save({"x": torch.ones(3)}, step / f"bf16_zero_pp_rank_0_mp_rank_{rank:02d}_optim_states.pt")
    return step


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("named", ["", "/mp_rank_00_model_states.pt"])
def test_deepspeeds_module_states_are_read(folder, count, named):
    """Of a folder of ZeRO 1 or 2 the module's own numbers are read, which is said, whichever part is named."""
    deepspeed(folder, count)
    table = load(folder, f"global_step5{named}")
    assert torch.equal(table.vectors, TABLE)
    assert any("the module's own numbers are read" in note for note in table.provenance.notes)


def test_what_deepspeed_spreads_is_refused(folder):
    """Stage 3 and the optimizer's states lead to the script that gathers them; the step's folder is pointed to."""
    step = deepspeed(folder, 1)
    with pytest.raises(SourceError, match="but global_step5 in it does; give that directory"):
        sources.load(parse(str(folder)), device="cpu")
    with pytest.raises(SourceError, match=r"optim_states\.pt, a part of numbers .* zero_to_fp32\.py"):
        load(folder, "global_step5/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    (step / "mp_rank_00_model_states.pt").rename(step / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    with pytest.raises(SourceError, match=r"zero_pp_rank_0_.*a part of numbers .* zero_to_fp32\.py"):
        load(folder, "global_step5")


def test_parts_without_an_embedding_are_refused(folder):
    """Parts that hold no rows of word embeddings are not read for anything else."""
    step = deepspeed(folder, 2)
    for rank in range(2):
        path = step / f"mp_rank_0{rank}_model_states.pt"
        torch.save({"module": {"wte.weight": TABLE}}, path)
    with pytest.raises(EmbcheckError, match="each with a part of every matrix; none of them is read"):
        load(folder, "global_step5")
