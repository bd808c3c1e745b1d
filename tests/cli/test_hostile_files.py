"""Files that commands read and that nobody vouches for: one line and code 4, whatever is in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embcheck.baseline.file import _checksum

NOISE = "random:300x16"
DIGITS = "1" + "0" * 400


def says_one_line(found):
    """Whether a run ended with code 4 and one printable line."""
    return found.code == 4 and found.err.count("\n") == 1 and found.err.rstrip("\n").isprintable() and not found.out


@pytest.fixture
def baseline(embcheck, project):
    """Write a baseline of one check whose fields are changed, under the checksum of what it says."""
    code = "embcheck-baselines/random-300x16.json"

    def write(change):
        (project / "properties" / "kept.py").write_text(
            "from embcheck import Estimate, above, claim\n@claim(above(0.5), margin=0.1)\ndef toy_kept(table):\n"
            '    "Says."\n    return Estimate.from_units([1.0, 1.1, 0.9, 1.0], unit="toy units")\n'
        )
        embcheck("baseline", "update", NOISE, "--property", "toy_kept")
        document = json.loads((project / code).read_text())
        (entry,) = document["entries"].values()
        (checkpoint,) = document["checkpoints"].values()
        change(document, entry, checkpoint)
        document.pop("sha256")
        document["sha256"] = _checksum(document)
        (project / code).write_text(json.dumps(document))

    return write


@pytest.mark.parametrize(
    "change",
    [
        lambda d, e, c: e["estimate"].update(value=10**400),
        lambda d, e, c: e["estimate"].update(confidence_level=0),
        lambda d, e, c: e["estimate"].update(confidence_level=2),
        lambda d, e, c: e["estimate"].update(n=-1),
        lambda d, e, c: e.update(version=2**70),
        lambda d, e, c: c.update(known_rows=[[0, -5]]),
        lambda d, e, c: c.update(known_rows=[[0.5, 3]]),
        lambda d, e, c: c.update(known_rows=[[0, 2**62]]),
        lambda d, e, c: c.update(tokens_sha256="x" * 5_000_000),
        lambda d, e, c: d.update({"\x1b[31m\n::warning::x" * 1000: 1}),
        lambda d, e, c: d.update(alias="x\n::warning::y" * 100_000),
    ],
    ids=["huge", "level0", "level2", "n", "version", "negative", "fraction", "runs", "tokens", "keys", "alias"],
)
def test_a_baseline_of_wrong_numbers_is_one_line(embcheck, baseline, change):
    """Numbers that no run wrote are refused where the checksum is right."""
    baseline(change)
    found = embcheck("check", NOISE, "--property", "toy_kept", "--gate", "both")
    assert found.code in {1, 4}
    assert all(len(line) < 2_500 for line in (found.err + found.out).splitlines())
    assert "internal error" not in found.err
    assert "\n::" not in found.out + found.err


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a": NaN}',
        '{"a": ' + "9" * 5_000 + "}",
        '{"a": ' + DIGITS + "}",
        '{"a": 1e999}',
        "\0",
        "\xff",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["baseline", "report"])
def test_a_json_file_that_is_none_is_one_line(embcheck, project, kind, text):
    """Depth, digits and constants that JSON lacks are said in one line."""
    path = project / "embcheck-baselines" / "random-300x16.json" if kind == "baseline" else project / "report.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("latin-1"))
    found = embcheck(*(["check", NOISE, "--gate", "both"] if kind == "baseline" else ["report", "report.json"]))
    assert says_one_line(found)


@pytest.mark.parametrize(
    "text",
    [
        "[tool.embcheck]\nseed = " + "9" * 5_000,
        "[tool.embcheck]\nseed = " + "[" * 50_000,
        "[tool.embcheck]\nseed = 18446744073709551616",
        "[tool.embcheck]\nprobes = " + DIGITS,
        "[tool.embcheck]\nconfidence = " + DIGITS,
        "[tool.embcheck]\nconfidence = nan",
        "[tool.embcheck]\nmodels = ['a\x00b']",
        '[tool.embcheck]\njson = "a\\u0000b"',
        '[tool.embcheck]\nbaseline-dir = "' + "x" * 300 + '"\ngate = "both"',
        '[tool.embcheck]\nproperties = ["' + "x" * 300 + '"]',
        '[tool.embcheck]\n"' + "x" * 5_000_000 + '" = 1',
        "# embcheck\n" + "[a" + ".a" * 20_000 + "]",
    ],
    ids=[
        "digits", "depth", "seed", "probes", "confidence", "nan", "nul-spec", "nul-path", "long-dir", "long-path",
        "long-key", "dots",
    ],
)  # fmt: skip
def test_a_configuration_of_anything_is_one_line(embcheck, project, text):
    """A pyproject.toml with numbers, names and paths that nothing can hold is refused in one line."""
    (project / "pyproject.toml").write_text(text)
    found = embcheck("check", NOISE, "--property", "toy_holds")
    assert says_one_line(found) or (found.code == 0 and text.startswith("#"))
    assert len(found.err) < 2_500


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", NOISE, "--seed", str(2**64)],
        ["check", NOISE, "--seed", "9" * 5_000],
        ["check", NOISE, "--json", "x" * 300],
        ["check", NOISE, "--json", "a\0b"],
        ["check", NOISE, "--html", "x" * 300],
        ["check", NOISE, "--summary", "x" * 300 + "/y"],
        ["check", NOISE, "--properties", "x" * 300],
        ["check", NOISE, "--baseline-dir", "x" * 300],
        ["check", "./" + "x" * 300],
        ["check", "npy:" + "x" * 300 + ",vocab=y"],
        ["report", "x" * 300],
        ["report", "a\0b"],
        ["compare", "x" * 300 + ".json", "y.json"],
        ["analogy", NOISE, "--questions", "x" * 300],
        ["sweep", "x" * 300],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_argument_of_anything_is_one_line(embcheck, arguments):
    """Seeds that no generator takes and paths that no system has are wrong usage."""
    found = embcheck(*[argument if len(argument) < 4_500 else argument[:4_000] for argument in arguments])
    assert says_one_line(found)


@pytest.fixture
def run_bounded(project):
    """Run the program in a process that may take 4 GB and 60 seconds."""

    def run(*arguments, **options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EMBCHECK_")}
        code = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)); "
            "from embcheck.cli import main; sys.exit(main())"
        )
        options = {"capture_output": True, "timeout": 20, "cwd": project, **options}
        return subprocess.run([sys.executable, "-c", code, *arguments], check=False, env=environment, **options)

    return run


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names elsewhere only")
@pytest.mark.parametrize("is_endless", [False, True], ids=["fifo", "zero"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pyproject.toml", ["list"]),
        ("properties/x.py", ["list"]),
        ("embcheck-baselines/a.json", ["check", f"a={NOISE}", "--gate", "both"]),
        ("report.json", ["report", "report.json"]),
        ("m/config.json", ["inspect", "./m"]),
        ("m/tokenizer.json", ["inspect", "./m"]),
        ("m/config.json", ["inspect", "hidden:./m@layer=0"]),
        ("m/modules.json", ["inspect", "st:./m"]),
        ("words.txt", ["inspect", "npy:m.npy,vocab=words.txt"]),
        ("m.npy", ["inspect", "npy:m.npy,vocab=words.txt"]),
        ("q.txt", ["analogy", NOISE, "--questions", "q.txt"]),
    ],
    ids=str,
)
def test_pipes_and_devices_are_no_files(run_bounded, project, name, arguments, is_endless, monkeypatch):
    """What never ends, and what waits for a writer, is refused by every command that would read it."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    monkeypatch.chdir(project)
    for folder in ("m", "embcheck-baselines"):
        (project / folder).mkdir()
    save_file({"wte.weight": torch.ones(4, 2)}, project / "m" / "model.safetensors")
    np.save(project / "m.npy", np.ones((4, 2), np.float32))
    (project / "words.txt").write_text("a\nb\nc\nd\n")
    (project / name).unlink(missing_ok=True)
    if is_endless:
        (project / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(project / name)
    found = run_bounded(*arguments)
    assert found.returncode == 4, found.stderr[-2000:]
    assert found.stderr.count(b"\n") == 1


@pytest.mark.parametrize("how", ["closed", "full"])
def test_a_standard_output_that_takes_nothing_is_one_line(run_bounded, how):
    """Where nothing can be printed, the exit code says so, not a traceback."""
    if how == "full":
        with Path("/dev/full").open("wb") as full:
            found = run_bounded("list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert found.returncode == 4
        assert found.stderr.count(b"\n") == 1
    else:
        found = run_bounded("list", capture_output=False, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
        assert (found.returncode, found.stderr) == (0, b"")


def test_an_early_interrupt_leaves_no_traceback(project):
    """Ctrl-C while the program still imports is an interrupt as any other."""
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from embcheck.cli import main\n"
        "sys.exit(main(['list']))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=project)
    assert (found.returncode, found.stderr) == (2, b"embcheck: interrupted\n")


def test_a_report_that_cannot_be_written_is_shown(embcheck, project):
    """What was measured is on the screen though a file can't be written, and the others are written."""
    (project / "properties" / "locks.py").write_text(
        "import os\nfrom embcheck import Estimate, above, claim\n@claim(above(0))\ndef toy_locks(table):\n"
        '    "Says."\n    os.mkdir("out.json")\n    return Estimate.exact(1.0)\n'
    )
    found = embcheck("check", NOISE, "--property", "toy_locks", "--json", "out.json", "--summary", "out.md")
    assert found.code == 4
    assert "out.json" in found.err
    assert "1 hold" in found.out
    assert (project / "out.md").is_file()


@pytest.mark.parametrize("folder", ["a\0b", "\ud800", "x" * 300, "a\n::error::b"])
def test_a_module_in_a_folder_that_no_system_has_is_one_line(embcheck, project, folder):
    """A module list that names what can be no folder is refused in one line."""
    module = {"idx": 0, "name": "0", "path": folder, "type": "sentence_transformers.models.Transformer"}
    (project / "st").mkdir()
    (project / "st" / "modules.json").write_text(json.dumps([module]))
    assert says_one_line(embcheck("inspect", "st:./st"))
