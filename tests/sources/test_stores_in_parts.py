"""Stores that an executor works on part by part: the tables that reading them in one piece gives."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from embcheck import sources
from embcheck.cli import main
from embcheck.errors import SourceError, SpecError, UsageError
from embcheck.spec import parse
from embcheck.table.pools import pool_of

WIDTH = 8
NUMBERS = np.random.default_rng(0).standard_normal((900, WIDTH)) + 0.5


def write(folder, numbers=NUMBERS, *, files=3, groups=100, **columns):
    """A folder of Parquet files, each with some row groups."""
    folder.mkdir(exist_ok=True)
    count = len(numbers) // files
    for file in range(files):
        rows = slice(file * count, (file + 1) * count)
        values = pa.array(numbers[rows].astype(columns.get("number", "float32")).ravel())
        table = {"v": pa.FixedSizeListArray.from_arrays(values, numbers.shape[1])}
        table["id"] = pa.array(np.arange(len(numbers))[rows])
        table["word"] = [f"w{i}" for i in range(len(numbers))][rows]
        parquet.write_table(pa.table(table), folder / f"{file}.parquet", row_group_size=groups)
    return f"parquet:{folder}"


@pytest.mark.parametrize("options", ["", ",words=word", ",texts=word", ",texts=id"])
@pytest.mark.parametrize("number", ["float16", "float64"])
def test_a_folder_in_parts_is_the_folder(tmp_path, options, number):
    """Numbers, names, kind of vocabulary and hash; a part is a row group."""
    spec = parse(write(tmp_path / "s", number=number) + options)
    whole, cut = sources.load(spec, device="cpu"), sources.load(spec, device="cpu", pool=pool_of("thread", 2))
    assert len(cut.parts.parts) == 9
    assert cut.vectors[:].numpy().tobytes() == whole.vectors.numpy().tobytes()
    assert list(cut.tokens) == list(whole.tokens)
    assert cut.vocabulary.has_words == whole.vocabulary.has_words
    assert cut.population.tolist() == whole.population.tolist()
    assert cut.provenance.weights_sha256 == whole.provenance.weights_sha256
    assert cut.tokens_sha256 == whole.tokens_sha256


def test_whole_numbers_come_with_their_scale(tmp_path):
    """Each part of int8 vectors is multiplied."""
    numbers = np.random.default_rng(0).integers(-127, 128, (60, WIDTH))
    spec = parse(write(tmp_path / "s", numbers, number="int8") + ",scale=0.25")
    cut = sources.load(spec, device="cpu", pool=pool_of("thread", 2))
    assert cut.vectors[:].tolist() == (numbers * 0.25).tolist()


@pytest.mark.parametrize("vocab", ["none", "w.txt"])
def test_a_matrix_in_parts_is_the_matrix(tmp_path, monkeypatch, vocab):
    """With words and without."""
    monkeypatch.setattr("embcheck.sources.words.npy.PART_BYTES", 7 * 4 * WIDTH)
    monkeypatch.chdir(tmp_path)
    np.save("m.npy", NUMBERS[:100].astype(np.float32))
    (tmp_path / "w.txt").write_text("\n".join(f"word{i}" for i in range(100)))
    spec = parse(f"npy:m.npy,vocab={vocab}")
    whole, cut = sources.load(spec, device="cpu"), sources.load(spec, device="cpu", pool=pool_of("thread", 2))
    assert [part.rows for part in cut.parts.parts] == [7] * 14 + [2]
    assert cut.vectors[:].tolist() == whole.vectors.tolist()
    assert list(cut.tokens) == list(whole.tokens)


def test_what_is_written_to_meanwhile_is_not_mixed(tmp_path):
    """A part whose file is another one by now is refused."""
    spec = write(tmp_path / "s")
    cut = sources.load(parse(spec), device="cpu", pool=pool_of("thread", 2))
    write(tmp_path / "s", NUMBERS * 2)
    os.utime(tmp_path / "s" / "1.parquet", (0, 0))
    with pytest.raises(SourceError, match="changed while it was being read"):
        _ = cut.population


def test_a_file_of_other_width_is_a_damaged_part(tmp_path):
    """It is named, and so is what it holds."""
    spec = write(tmp_path / "s", files=1)
    write(tmp_path / "t", NUMBERS[:, :4], files=1)
    (tmp_path / "t" / "0.parquet").rename(tmp_path / "s" / "1.parquet")
    cut = sources.load(parse(spec), device="cpu", pool=pool_of("thread", 2))
    with pytest.raises(SourceError, match=r"1.parquet, row group 0 holds \(100, 4\) numbers, not \(100, 8\)"):
        _ = cut.population


def test_a_damaged_file_fails_the_run_and_the_rest_is_reported(tmp_path, capsys, monkeypatch):
    """Exit code 1, the file by its name on the terminal and in the JSON, and values of the rows that are left."""
    monkeypatch.chdir(tmp_path)
    spec = write(tmp_path / "s")
    (tmp_path / "s" / "1.parquet").write_bytes(b"PAR1, and no more")
    given = ["check", spec, "--executor", "thread", "--property", "isotropy", "--json", "r.json"]
    assert main(given) == 1
    assert "1.parquet is damaged" in capsys.readouterr().err
    (model,) = json.loads((tmp_path / "r.json").read_text())["models"]
    assert list(model["damaged"]) == [str(tmp_path / "s" / "1.parquet")]
    assert model["population"]["rows"] == model["results"][0]["estimate"]["n"] == 600
    assert main(given[:2]) == 4  # in one piece it can't be read at all


def test_where_there_are_no_parts_an_executor_is_refused(tmp_path, monkeypatch):
    """So are names that mean no executor, and a number of workers for none."""
    spec = parse("random:30x4")
    with pytest.raises(SpecError, match="read in one piece; an executor is for parquet: and npy:"):
        sources.load(spec, pool=pool_of("thread", 1))
    with pytest.raises(UsageError, match="unknown executor 'threads'; choose process, thread"):
        pool_of("threads", None)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "random:30x4", "--workers", "2"]) == 4
