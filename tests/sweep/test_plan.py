"""Which checkpoints are meant."""

from __future__ import annotations

import os

import pytest

from embcheck.errors import UsageError
from embcheck.spec import parse
from embcheck.sweep.plan import checkpoints, fingerprint


@pytest.mark.parametrize(
    ("text", "model", "step"),
    [
        ("./runs/a/checkpoint-500", "runs/a", 500),
        ("/data/x/step_0200-v2", "/data/x", 200),
        ("./runs/a/epoch=3", "runs/a", 3),
        ("./runs/model-17b-200", "runs", 200),
        ("EleutherAI/pythia-70m@step3000", "EleutherAI/pythia-70m", 3000),
        ("gguf:./out/ckpt-12.gguf", "out", 12),
        ("random:100x8", "random-100x8", 0),
        ("./a/final", "a", 0),
        ("./runs/a/epoch=0-step=100.ckpt", "runs/a", 100),
        ("./runs/a/step_100_epoch_2", "runs/a", 100),
        ("./runs/a/checkpoint-500-epoch-2", "runs/a", 500),
        ("./runs/a/checkpoint-500,matrix=output", "runs/a,matrix=output", 500),
        ("./runs/a/checkpoint-500,tensor=wpe.weight", "runs/a,tensor=wpe.weight", 500),
        ("st:./runs/a/checkpoint-500,space=tokens", "st:runs/a,space=tokens", 500),
        ("hidden:demo@layer=2,states=last", "demo@layer2,states=last", 0),
        ("hidden:demo@layer=2", "demo@layer2", 0),
        ("hidden:EleutherAI/pythia-70m@step3000@layer=2", "EleutherAI/pythia-70m@layer2", 3000),
    ],
)
def test_steps_and_models_are_read_from_names(text, model, step):
    """The number that names the step is the step; the folder above, or the repository, is the model."""
    (found,) = checkpoints([text])
    assert (found.model, found.step) == (model, step)


def test_all_layers_are_models_of_their_own():
    """The demo model has six blocks, and what enters the first."""
    found = checkpoints(["hidden:demo@layer=all"])
    assert [one.model for one in found] == [f"demo@layer{layer}" for layer in range(7)]


def test_globs_find_checkpoints_by_step(run):
    """By number, not by name; a checkpoint that is also named alone counts once."""
    pattern = str(run / "checkpoint-*")
    found = checkpoints([str(run / "checkpoint-100")], [pattern])
    assert [one.step for one in found] == list(range(0, 120, 10))
    assert {one.model for one in found} == {str(run)}


@pytest.mark.parametrize("way", ["{},matrix=output", "hidden:{}@layer=2,states=words", "st:{},space=tokens"])
def test_globs_are_read_as_specs_are(run, way):
    """By the scheme in front of the pattern, with the options behind it."""
    found = checkpoints(globs=[way.format(run / "checkpoint-1*")])
    assert [one.spec.text for one in found] == [way.format(run / f"checkpoint-{step}") for step in (10, 100, 110)]


@pytest.mark.parametrize(
    ("specs", "globs", "says"),
    [
        ([], [], "no checkpoints"),
        ([], ["nowhere-*"], "'nowhere-\\*' matches nothing"),
        (["./a/step-5", "./a/checkpoint-5"], [], "step 5"),
        (["bad\x00spec"], [], "control characters"),
    ],
)
def test_what_names_no_sweep_is_refused(specs, globs, says):
    """One line that says what is wrong."""
    with pytest.raises(UsageError, match=says):
        checkpoints(specs, globs)


def test_fingerprints_change_with_the_files(tmp_path):
    """A file that was written again is another; without files, only the tensor can tell."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    before = fingerprint(parse(str(tmp_path)))
    assert before == fingerprint(parse(str(tmp_path)))
    os.utime(file, ns=(1, 1))
    assert fingerprint(parse(str(tmp_path))) != before
    assert fingerprint(parse("demo")) is None


def test_fingerprints_change_with_a_file_beside(tmp_path):
    """The words of a matrix and the prompts of a model are part of what is measured."""
    for name in ("vectors.npy", "words.txt"):
        (tmp_path / name).write_text("one")
    spec = parse(f"npy:{tmp_path}/vectors.npy,vocab={tmp_path}/words.txt")
    before = fingerprint(spec)
    (tmp_path / "words.txt").write_text("two of them")
    assert fingerprint(spec) != before
