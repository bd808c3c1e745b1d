"""Stores that an executor works on part by part: the tables that reading them in one piece gives."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import embcheck
from embcheck import sources
from embcheck.cli import main
from embcheck.errors import SourceError, SpecError, UsageError
from embcheck.measures.kernels.equal import equal_groups
from embcheck.measures.kernels.probe_cosines import probe_statistics
from embcheck.sources.stores import parquet as parquet_source
from embcheck.spec import parse
from embcheck.table import tasks
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


def test_the_hash_reads_what_lies_together_once(tmp_path, monkeypatch):
    """A row group of several parts is decoded once for it, and the hash is the folder's."""
    spec, groups = parse(write(tmp_path / "s")), []
    monkeypatch.setattr("embcheck.sources.stores.parquet.PART_BYTES", 30 * 4 * WIDTH)
    only = parquet_source._ParquetPart.only
    monkeypatch.setattr(parquet_source._ParquetPart, "only", lambda *given: groups.append(given[1]) or only(*given))
    cut = sources.load(spec, device="cpu", pool=pool_of("thread", 2))
    assert len(cut.parts.parts) == 9 * 4
    assert cut.provenance.weights_sha256 == sources.load(spec, device="cpu").provenance.weights_sha256
    assert len(groups) == 9
    assert cut.vectors[250:420].tolist() == NUMBERS[250:420].astype(np.float32).tolist()


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
    printed = capsys.readouterr()
    assert "1.parquet is damaged" in printed.err
    assert "; fails: 1 part of the table could not be read: " in " ".join(printed.out.split())
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


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def worked_on(monkeypatch):
    """The first rows of the parts that were worked on, in order."""
    starts = []
    perform = tasks.perform

    def counted(task):
        starts.append(task.start)
        return perform(task)

    monkeypatch.setattr(tasks, "perform", counted)
    return starts


def with_states(spec, folder):
    return sources.load(parse(spec), device="cpu", pool=pool_of("thread", 1), states=folder)


@pytest.mark.slow
def test_what_parts_gave_is_not_worked_out_again(tmp_path, worked_on):
    """A second process finds everything in the folder, and the same report; a file that is damaged is made again."""
    spec, folder = write(tmp_path / "s"), tmp_path / "states"
    first = embcheck.check(with_states(spec, folder), properties=["isotropy", "positive_cosine_bias", "duplicate_rows"])
    assert worked_on
    worked_on.clear()
    again = embcheck.check(with_states(spec, folder), properties=["isotropy", "positive_cosine_bias", "duplicate_rows"])
    assert not worked_on
    assert [r.record.estimate for r in again] == [r.record.estimate for r in first]
    next(folder.glob("*.pt")).write_bytes(b"no state")
    embcheck.check(with_states(spec, folder), properties=["isotropy", "positive_cosine_bias", "duplicate_rows"])
    assert len(worked_on) == 1


def test_a_store_that_grew_is_measured_on_its_new_parts(tmp_path, worked_on):
    """Of the old ones nothing is worked out; the counts are those of the same probes in the grown store."""
    spec, folder = write(tmp_path / "s"), tmp_path / "states"
    before = with_states(spec, folder)
    probes = before.probes(50)
    probe_statistics(before, probes)
    equal_groups(before)
    more = np.random.default_rng(1).standard_normal((200, WIDTH))
    write(tmp_path / "t", more, files=1)
    (tmp_path / "t" / "0.parquet").rename(tmp_path / "s" / "9.parquet")
    worked_on.clear()
    grown = with_states(spec, folder)
    assert grown.probes(50).tolist() == probes.tolist()
    assert grown.provenance.notes == (
        f"probe tokens are drawn among the first 900 rows, with which {folder} was begun",
    )
    ours = probe_statistics(grown, probes)
    equal_groups(grown)
    assert set(worked_on) == {900, 1_000}
    theirs = probe_statistics(sources.load(parse(spec), device="cpu"), probes)
    assert ours.non_negative.tolist() == theirs.non_negative.tolist()
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-7)


@pytest.mark.slow
def test_every_check_of_a_store_that_grew_by_a_file(tmp_path, monkeypatch):
    """It matches the baseline of ten files; of their parts, what hangs on the mean alone is worked out again."""
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0).standard_normal((44_000, WIDTH)) + 0.5
    spec = write(tmp_path / "s", numbers, files=11, groups=4_000)
    (tmp_path / "s" / "9.parquet").rename(tmp_path / "9.parquet")
    given = ["check", spec, "--executor", "thread", "--states", "st", "--baseline-dir", "b"]
    assert main([*given, "--update", "new"]) in {0, 1}
    work, perform = set(), tasks.perform
    monkeypatch.setattr(tasks, "perform", lambda task: work.add((task.start, task.work.__name__)) or perform(task))
    (tmp_path / "9.parquet").rename(tmp_path / "s" / "99.parquet")
    main([*given, "--json", "grown.json"])
    (model,) = json.loads((tmp_path / "grown.json").read_text())["models"]
    assert "error" not in {result["verdict"] for result in model["results"]}
    changes = {result["change"]["state"] for result in model["results"] if result.get("change")}
    assert changes == {"match"}
    on_means = {"_along", "_distances", "_partition", "_pass", "_products", "_scatter", "_unit_sum"}
    assert {name for start, name in work if start < 40_000} == on_means
    assert {"_of_rows", "_norms", "_hashes", "_row_counts"} <= {name for start, name in work if start == 40_000}


def test_states_of_another_store_are_refused(tmp_path, monkeypatch):
    """Its first parts were others; and without an executor there are no parts to keep anything of."""
    folder = tmp_path / "states"
    with_states(write(tmp_path / "s"), folder)
    with pytest.raises(UsageError, match="are of a store whose first parts were others; name another folder"):
        with_states(write(tmp_path / "t"), folder)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "parquet:s,vectors=v", "--states", "states"]) == 4
