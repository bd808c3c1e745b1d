"""Broken rows are counted, named and fail, wherever a model is checked."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import embcheck
from embcheck import EmbeddingTable, NotMeasurable, measures
from embcheck.training import Monitor

BAD = {"nan": math.nan, "inf": math.inf, "zero": 0.0, "large": 1e38}


def made(count=30, **broken):
    """A table of words, of whose rows some are made of one value."""
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    for name, row in broken.items():
        vectors[row] = BAD[name]
    return EmbeddingTable.from_arrays(vectors, [f"word{i}" for i in range(count)])


@given(st.lists(st.tuples(st.integers(0, 29), st.sampled_from(sorted(BAD))), max_size=12))
def test_the_count_is_that_of_a_look_at_every_row(damage):
    """In float64, row by row: zero, or with a length that is no float32."""
    vectors = np.random.default_rng(1).standard_normal((30, 8)).astype(np.float32)
    for row, kind in damage:
        vectors[row] = BAD[kind]
    expected = [
        row
        for row, vector in enumerate(vectors.astype(np.float64))
        if not 0 < math.sqrt(sum(x * x for x in vector.tolist())) <= np.finfo(np.float32).max
    ]
    estimate = measures.broken_rows(EmbeddingTable.from_arrays(vectors, [f"word{i}" for i in range(30)]))
    assert (estimate.value, estimate.n, estimate.is_exact) == (len(expected), 30, True)
    assert [row["id"] for row in estimate.counterexamples] == expected[:10]


def test_rows_without_an_ordinary_token_do_not_count():
    """Rows of reserved tokens may be zero."""
    vectors = torch.cat([torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 4)])
    table = EmbeddingTable.from_arrays(vectors.numpy(), ["a", "b", "c", "d", "e", "f", "[unused1]"])
    assert (measures.broken_rows(table).value, measures.broken_rows(table).n) == (0, 6)
    with pytest.raises(NotMeasurable, match="no row has an ordinary token"):
        measures.broken_rows(EmbeddingTable.from_arrays(np.zeros((1, 4), np.float32), ["[unused1]"]))


def test_one_broken_row_refutes_and_is_named():
    """A check of a table with one NaN row fails, also where everything is broken."""
    (result,) = embcheck.check(made(nan=7), properties="intact_rows").results
    assert (str(result.verdict), result.passed) == ("refuted", False)
    assert result.estimate.counterexamples == [{"id": 7, "token": "word7", "why": "not finite"}]
    (result,) = embcheck.check(made(nan=slice(None)), properties="intact_rows").results
    assert (str(result.verdict), result.estimate.value) == ("refuted", 30)
    assert embcheck.check(made(), properties="intact_rows").passed


def test_a_baseline_regresses_with_the_first_broken_row(tmp_path, monkeypatch):
    """What was intact and is not any more regresses, in CI too, though every other check matches."""
    from embcheck.cli import main

    monkeypatch.chdir(tmp_path)
    words = [f"word{i}" for i in range(300)]
    (tmp_path / "words.txt").write_text("\n".join(words))
    vectors = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    np.save("m.npy", vectors)
    spec = "m=npy:m.npy,vocab=words.txt"
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.embcheck]\nmodels = ["{spec}"]\nproperty = ["intact_rows", "isotropy"]\n'
    )
    assert main(["init", spec]) == 0
    monkeypatch.setenv("CI", "true")
    assert main(["check"]) == 0
    vectors[5] = math.nan
    np.save("m.npy", vectors)
    assert main(["check", "--json", "out.json"]) == 1
    states = {
        r["property"]: r["change"]["state"]
        for r in json.loads((tmp_path / "out.json").read_text())["models"][0]["results"]
    }
    assert states["intact_rows"] == "regressed"


def test_a_monitor_sees_it():
    """Training that breaks a row is told so, and can be stopped."""
    module = torch.nn.Embedding(40, 8)
    monitor = Monitor([f"word{i}" for i in range(40)], properties=["intact_rows"], on_failed="stop", probes=10)
    assert not monitor.observe(module, 0).stop
    with torch.no_grad():
        module.weight[3] = math.nan
    assert monitor.observe(module, 1).stop
