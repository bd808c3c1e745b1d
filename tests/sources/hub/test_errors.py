"""What goes wrong between here and the hub: one line each, which says what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants

from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.spec import parse


def message(text, kind=SourceError):
    """The one line that loading a spec ends in."""
    with pytest.raises(kind) as caught:
        sources.load(parse(text), device="cpu")
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


def test_gated(hub, client, publish):
    """A gated model says where its terms are accepted, before anything is moved."""
    publish(gated=True)
    assert message("org/model") == (
        f"org/model is gated: accept its terms at {hub.endpoint}/org/model, then set HF_TOKEN or run 'hf auth login'"
    )
    assert not hub.weights_moved()


def test_missing(hub, client):
    """A name that is neither a directory nor a model says where it was looked for."""
    line = message("org/nowhere")
    assert f"neither a directory org/nowhere here nor a model org/nowhere on {hub.endpoint}" in line
    assert "set HF_TOKEN" in line


def test_wrong_revision(hub, client, publish):
    """A revision that is not there is named."""
    publish()
    assert message("org/model@v9").startswith("org/model has no revision 'v9'; leave out '@' for its main branch")


def test_wrong_file(hub, client, publish):
    """A file that is not there is answered with those that are."""
    publish()
    assert "org/model has no file q4.gguf; it has README.md, config.json" in message("hf:org/model/q4.gguf")


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (["onnx/model.onnx", "tokenizer.json"], "onnx"),
        (["model.onnx"], "onnx"),
        (["model.bin", "shared_vocabulary.json"], "ctranslate2"),
    ],
)
def test_an_export_alone(hub, client, publish, names, scheme):
    """A repository with nothing but an export names the scheme that reads it once it is on disk; none is moved."""
    publish(files=dict.fromkeys(["config.json", *names], b"{}"))
    assert message("org/model").endswith(f"hf download org/model --local-dir DIR, then {scheme}:DIR")
    assert not hub.weights_moved()


def test_an_export_beside_weights_is_left_alone(hub, client, publish):
    """An export changes nothing where there are weights too."""
    publish()
    hub.repos["org/model"].files["onnx/model.onnx"] = b"{}"
    assert len(sources.load(parse("org/model"), device="cpu").vectors)


def test_offline_and_not_kept(hub, client, publish, monkeypatch):
    """With HF_HUB_OFFLINE a model that was never read says which variable to unset, without a request."""
    publish()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "org/model is not cached and HF_HUB_OFFLINE is set; unset it once" in message("org/model")
    assert not hub.requests


def test_offline_with_the_table_missing(hub, client, publish, monkeypatch):
    """Offline, a model whose table was described but not read says so too."""
    publish()
    sources.describe(parse("org/model"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "is not cached and HF_HUB_OFFLINE is set" in message("org/model")


def test_a_server_that_ignores_ranges(hub, client, publish):
    """A server that would send the whole file is left at once, not buffered."""
    publish()
    hub.faults.ignores_range = True
    line = message("org/model")
    assert "org/model/model.safetensors: the server ignores byte ranges and would send all" in line
    assert "hf download org/model" in line


@pytest.mark.parametrize("fault", [{"wrong_size": 5}, {"wrong_start": -3}, {"wrong_start": 1}])
def test_wrong_lengths(hub, client, publish, fault):
    """An answer that is about other bytes than were asked for is not believed."""
    publish()
    for name, value in fault.items():
        setattr(hub.faults, name, value)
    assert "were asked for, but the server answers with status 206" in message("org/model")


def test_more_bytes_than_asked_for(hub, client, publish):
    """A body that does not end where it should is refused."""
    publish()
    hub.faults.extra = b"x" * 2**17
    assert "sends more bytes than were asked for" in message("org/model")


def test_a_server_that_never_recovers(hub, client, publish, monkeypatch):
    """A server that fails again and again is given up after some tries."""
    monkeypatch.setattr("embcheck.sources.hub.ranges._LONGEST_WAIT", 0.01)
    publish()
    hub.faults.errors = 10**6
    assert "the hub failed to answer for org/model/model.safetensors" in message("org/model")
    assert 10**6 - hub.faults.errors == 6


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("model.safetensors", b"\xff" * 64, "truncated or not a safetensors file"),
        ("model.safetensors", b"", "truncated or not a safetensors file"),
        ("pytorch_model.bin", b"PK\x03\x04" + b"\0" * 64, "truncated or no zip file"),
        ("pytorch_model.bin", b"text", "not a file that torch.save wrote"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"wte.weight": "../up.safetensors"}}',
            "not a plain file name",
        ),
        ("notes.txt", b"", "holds no weights"),
    ],
)
def test_malformed_files(hub, client, publish, name, content, expected):
    """Files on the hub are looked at as closely as those on disk."""
    publish(files={name: content})
    assert expected in message("org/model")


def test_names_that_leave_the_directory_are_not_seen(hub, client, publish):
    """File names from a server that point out of a directory count as absent."""
    publish(files={"../model.safetensors": b"x", "a\\b.safetensors": b"x", "/etc/x.safetensors": b"x"})
    assert "holds no weights" in message("org/model")


@pytest.mark.parametrize("commit", ["../../up", "main", 3])
def test_a_commit_must_be_one(hub, client, publish, monkeypatch, commit):
    """What the hub gives as a commit becomes a directory's name: anything but a hash is refused."""
    publish()
    monkeypatch.setattr(type(hub.repos["org/model"]), "commit", commit)
    assert "the hub names no commit" in message("hf:org/model@main")


def test_no_tokenizer(hub, client, publish):
    """A model without a tokenizer is refused before its table is moved."""
    publish()
    del hub.repos["org/model"].files["tokenizer.json"]
    assert "org/model holds no tokenizer" in message("org/model")
    assert hub.weights_moved() <= 2**17


def test_a_cache_that_cannot_be_written(hub, client, publish, monkeypatch, tmp_path):
    """Where the cache can't be written, the message names it and the variable that moves it."""
    publish()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EMBCHECK_CACHE", str(tmp_path / "file"))
    line = message("org/model")
    assert f"cannot write the cache {tmp_path / 'file'}" in line
    assert "EMBCHECK_CACHE" in line


def test_a_disk_without_room(hub, client, publish, monkeypatch):
    """A table that does not fit on the disk is refused before it is moved."""
    publish()
    sources.describe(parse("org/model"))
    hub.moved.clear()
    monkeypatch.setattr("embcheck.sources.hub.ranges.shutil.disk_usage", lambda _: type("U", (), {"free": 1000}))
    assert "where 1000 are free; make room" in message("org/model")
    assert not hub.weights_moved()


@pytest.mark.parametrize("text", ["hf:a b", "hf:../x", "hf:org/", "hf:a/b/c", "hf:org/name@", "hf:-x/y"])
def test_names_that_are_none(text):
    """What can't be a name on the hub is refused while specs are checked, without a network."""
    with pytest.raises(SpecError, match="names no model on the hub"):
        sources.check(parse(text))


@pytest.mark.parametrize("text", ["org/model", "hf:org/model", "hf:model", "gguf:org/model/q.gguf", "hf:o/m@refs/pr/1"])
def test_names_are_checked_without_a_network(text):
    """A name that may be a model's passes the check; nobody is asked yet."""
    sources.check(parse(text))


def test_a_gguf_file_that_is_nowhere():
    """A path that can be no name on the hub is still a path."""
    with pytest.raises(SourceError, match=r"no such file or directory: gone\.gguf"):
        sources.check(parse("gguf:gone.gguf"))


def run(spec, environment):
    """The exit code, the lines on stderr and the seconds of the command line on a spec."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "embcheck", "inspect", spec],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.strip().splitlines(), time.monotonic() - start


@pytest.fixture
def silent():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_an_unreachable_hub_is_answered_within_ten_seconds(environment, silent):
    """The command line ends with one line and code 4, however long a server would keep it waiting."""
    code, lines, seconds = run("org/model", {**environment, "HF_ENDPOINT": silent})
    assert (code, len(lines)) == (4, 1), lines
    assert f"cannot reach {silent} for org/model" in lines[0]
    assert "check the network and HF_ENDPOINT" in lines[0]
    assert seconds < 10


@pytest.mark.parametrize(
    ("spec", "variables", "expected"),
    [
        ("org/gated", {}, "org/gated is gated: accept its terms at"),
        ("org/gated", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; unset it once"),
        ("org/nowhere", {}, "neither a directory org/nowhere here nor a model"),
        ("org/model", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot reach http://127.0.0.1:9"),
        ("org/model", {"HF_ENDPOINT": "hub.example"}, "HF_ENDPOINT is 'hub.example', which is no address"),
        ("org/model", {"HF_ENDPOINT": "http://[x"}, "HF_ENDPOINT is 'http://[x', which is no address"),
    ],
)
def test_the_command_line_ends_in_one_line(publish, environment, spec, variables, expected):
    """Each of these ends in exit code 4 and one line on stderr."""
    publish("org/gated", gated=True)
    code, lines, _ = run(spec, {**environment, **variables})
    assert (code, len(lines)) == (4, 1), lines
    assert expected in lines[0]


@pytest.mark.slow
def test_the_command_line_reads_the_variables(publish, environment, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_TOKEN work as everywhere, and EMBCHECK_CACHE is known."""
    publish(token="hf_t")
    assert run("org/model", environment)[0] == 4
    code, lines, _ = run("org/model", {**environment, "HF_TOKEN": "hf_t", "EMBCHECK_CACHE": str(tmp_path / "own")})
    assert (code, lines) == (0, [])
    assert [p.name for p in (tmp_path / "own").iterdir()] == ["models--org--model"]
    assert [p.name for p in (tmp_path / "home" / "hub").glob("models--*")] == ["models--org--model"]
