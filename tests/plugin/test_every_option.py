"""Every option, seen in what a run does: of the program, of pytest in one process, and with two workers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import pytest

from embcheck.cli import main
from embcheck.config.options import OPTIONS

PROPERTIES = '''
from embcheck import Estimate, above, claim

@claim(above({bound}), margin=1)
def {name}(table):
    """The settings are those asked for."""
    details = {{"first": float(table.vectors[0, 0]), "dtype": str(table.vectors.dtype), "probes": len(table.probes())}}
    return Estimate.exact(1.0, unit="tables", details=details)
'''
PLAIN = '''
@claim(above(0))
def how_plainly(table):
    """It holds, and is not compared."""
    return Estimate.exact(1.0)
'''
TENSORS = {"token_embd.weight": 1.0, "output.weight": 2.0, "other.weight": 3.0}
RUNS = {
    "measuring": {
        "model": "g=gguf:toy.gguf",
        "matrix": "output",
        "property": "how*",
        "properties": "more.py",
        "device": "cpu",
        "dtype": "float16",
        "seed": "7",
        "confidence": "0.9",
        "probes": "5",
        "population": "all",
        "explain": None,
        "gate": "regressions",
        "baseline_dir": "nowhere",
        "missing_baseline": "fail",
        "summary": "out.md",
        "html": "out.html",
        "show": "all",
    },
    "writing": {
        "model": "t=gguf:toy.gguf",
        "tensor": "other.weight",
        "property": "here",
        "control": None,
        "family_wise": None,
        "update": "new",
        "baseline_dir": "elsewhere",
    },
    "in parts": {
        "model": "p=npy:p.npy,vocab=none",
        "property": "how_plainly",
        "properties": "more.py",
        "executor": "thread",
        "workers": "2",
        "states": "kept",
    },
}


@dataclass(frozen=True)
class Seen:
    code: int
    out: str
    document: dict[str, Any]
    files: dict[str, str]

    @property
    def model(self):
        """The only model of the report."""
        (model,) = self.document["models"]
        return model

    @property
    def results(self):
        """Its results by property."""
        return {result["property"]: result for result in self.model["results"]}


LOOK = {
    "model": lambda runs: runs["measuring"].model["alias"] == "g",
    "property": lambda runs: set(runs["measuring"].results) == {"how_else", "how_plainly"},
    "properties": lambda runs: "how_else" in runs["measuring"].results,
    "device": lambda runs: runs["measuring"].document["run"]["device"] == "cpu",
    "dtype": lambda runs: runs["measuring"].results["how_else"]["details"]["dtype"] == "torch.float16",
    "seed": lambda runs: runs["measuring"].document["run"]["seed"] == 7,
    "confidence": lambda runs: runs["measuring"].results["how_else"]["estimate"]["confidence_level"] == 0.9,
    "probes": lambda runs: runs["measuring"].results["how_else"]["details"]["probes"] == 5,
    "population": lambda runs: runs["measuring"].model["population"]["kind"] == "all",
    "matrix": lambda runs: runs["measuring"].results["how_else"]["details"]["first"] == 2,
    "tensor": lambda runs: runs["writing"].results["here"]["details"]["first"] == 3,
    "control": lambda runs: runs["writing"].results["here"]["control"]["tables"] == 20,
    "explain": lambda runs: runs["measuring"].results["how_else"]["ladder"]["rungs"],
    "family_wise": lambda runs: runs["writing"].document["run"]["family_wise"],
    "gate": lambda runs: runs["measuring"].results["how_else"]["outcome"] == "fail",  # by its claim, it holds
    "baseline_dir": lambda runs: "here" in runs["writing"].files["elsewhere/t.json"],
    "missing_baseline": lambda runs: not runs["measuring"].results["how_else"]["change"]["passes"],
    "update": lambda runs: runs["writing"].results["here"]["change"]["passes"],
    "summary": lambda runs: runs["measuring"].files["out.md"].startswith("### embcheck: 1 of 2 checks fails"),
    "html": lambda runs: "how_else" in runs["measuring"].files["out.html"],
    "json": lambda runs: all(run.document["schema"] for run in runs.values()),
    "executor": lambda runs: runs["in parts"].code == 0,  # the others are refused without
    "workers": lambda runs: runs["in parts"].code == 0,
    "states": lambda runs: "p.npy, rows 0 to 29" in runs["in parts"].files["kept/begun.json"],
    "show": lambda runs: "It holds, and is not compared." in runs["measuring"].out,
}


@pytest.fixture
def toy(project, write):
    """A project with a model of three matrices, and properties in two places."""
    writer = gguf.GGUFWriter(project.path / "toy.gguf", "llama")
    writer.add_tokenizer_model("none")
    writer.add_token_list([f"t{i}" for i in range(30)])
    for name, value in TENSORS.items():
        writer.add_tensor(name, np.eye(30, 8, dtype=np.float32) + np.float32(value - 1))
    np.save(project.path / "p.npy", np.eye(30, 8, dtype=np.float32) + 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write("properties/p.py", PROPERTIES.format(name="here", bound=2))
    write("more.py", PROPERTIES.format(name="how_else", bound=0) + PLAIN)
    return project


def files(project):
    return {
        str(path.relative_to(project.path)): path.read_text(encoding="utf-8")
        for path in project.path.rglob("*")
        if path.suffix in {".md", ".json", ".html"}
    }


def flags(given, prefix):
    found = []
    for name, value in {**given, "json": "out.json"}.items():
        flag = f"--{prefix}{name.replace('_', '-')}"
        found.append(flag if value is None else f"{flag}={value}")
    return found


def run_program(project, capsys, given):
    spec = given["model"]
    code = main(["check", spec, *flags({k: v for k, v in given.items() if k != "model"}, "")])
    return code, capsys.readouterr().out


def run_pytest(project, mode, given):
    arguments = ["-p", "no:cacheprovider", *flags(given, "embcheck-"), "properties"]
    if mode == "alone":
        result = project.runpytest_inprocess("-p", "no:xdist", *arguments)
    else:
        result = project.runpytest_subprocess("-n2", *arguments)
    return int(result.ret), str(result.stdout)


def test_every_option_has_a_look():
    """No option is without one."""
    assert set(LOOK) == {option.name for option in OPTIONS}


@pytest.mark.parametrize("mode", ["program", "alone", pytest.param("workers", marks=pytest.mark.slow)])
def test_options(toy, capsys, mode):
    """Each option does what it says, in each way of giving it."""
    runs = {}
    for name, given in RUNS.items():
        code, out = run_program(toy, capsys, given) if mode == "program" else run_pytest(toy, mode, given)
        runs[name] = Seen(code, out, json.loads((toy.path / "out.json").read_text()), files(toy))
    assert [name for name, look in LOOK.items() if not look(runs)] == []
