"""Columns of vectors: Parquet, Arrow's own format, JSON lines and npz, as the library of the format writes it."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from embcheck import sources
from embcheck.errors import EmbcheckError, NotMeasurable, SourceError, SpecError
from embcheck.spec import parse

ROWS, WIDTH = 6, 3
NUMBERS = np.random.default_rng(0).standard_normal((ROWS, WIDTH))
TITLES = ["a b", "c", "d e f", "g", "c", "é"]


def lists(numbers, kind, number="float32", *, nullable=True):
    """A column of vectors as lists of one Arrow type."""
    values = pa.array(numbers.ravel().astype(number))
    width = numbers.shape[1]
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, width)
    offsets = np.arange(0, numbers.size + 1, width)
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def table_of(**columns):
    return pa.table({"v": lists(NUMBERS, "list"), "word": TITLES, "id": range(ROWS), **columns})


def write_parquet(table, path):
    parquet.write_table(table, path, row_group_size=4)


def write_arrow(table, path):
    with ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=4)


def write_stream(table, path):
    with ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table, max_chunksize=4)


def write_feather(table, path):
    feather.write_feather(table, path, compression="zstd", chunksize=4)


WRITERS = {
    "parquet": (write_parquet, "m.parquet"),
    "arrow": (write_arrow, "m.arrow"),
    "arrow stream": (write_stream, "m.arrow"),
    "arrow compressed": (write_feather, "m.feather"),
}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Write a table in one of the formats, and return the spec that reads it with some options."""
    write_file, name = WRITERS[request.param]
    scheme = request.param.split()[0]

    def make(table, options=""):
        write_file(table, tmp_path / name)
        return parse(f"{scheme}:{tmp_path / name}{options}")

    return make


def load(spec):
    return sources.load(spec, device="cpu")


# --- all formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("number", ["float16", "float32", "float64"])
def test_vectors_are_those_that_the_library_reads(write, kind, number):
    """Each float in each kind of list is read bit for bit, over several batches, and told before."""
    numbers = NUMBERS.astype(number)
    spec = write(table_of(v=lists(numbers, kind, number)), ",words=word")
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.numpy().tobytes() == numbers.tobytes()
    assert table.provenance.dtype == described.dtype == number
    assert described.shape == table.vectors.shape
    assert (table.provenance.tensor, described.tensor) == ("v", "v")


def test_words_lead_to_rows(write):
    """A column of words makes a vocabulary, in which only the first row of a word is the word's."""
    table = load(write(table_of(), ",vectors=v,words=word"))
    assert table.vocabulary.has_words
    assert list(table.tokens) == TITLES
    assert table.rows(["c", "g"]) == [1, 3]
    assert len(table.population) == ROWS - 1


@pytest.mark.parametrize(
    ("option", "names"),
    [("", [f"#{row}" for row in range(ROWS)]), (",texts=word", TITLES), (",texts=id", list(map(str, range(ROWS))))],
)
def test_rows_that_are_no_words_are_named_and_all_count(write, option, names):
    """Without words rows have their numbers, with texts or ids those; no word leads to any, and none is left out."""
    spec = write(table_of(), option)
    table = load(spec)
    assert list(table.tokens) == names
    assert (table.vocabulary.has_words, table.rows(["c"]), len(table.population)) == (False, [None], ROWS)
    with pytest.raises(NotMeasurable, match=r"^its rows have no words$"):
        table.directions(["c"])
    assert sources.describe(spec).population == (f"texts of column {option[7:]}" if option else "rows without words")


def test_ids_are_no_words(write):
    """Whole numbers given as words are ids: of a store of numbered rows nothing is claimed about digits."""
    assert not load(write(table_of(), ",words=id")).vocabulary.has_words


def test_int8_is_read_with_its_scale(write):
    """int8 times its scale is float32; without a scale it is refused by name, and so is a scale of floats."""
    small = np.arange(-9, 9, dtype=np.int8).reshape(ROWS, WIDTH)
    scaled = load(write(table_of(v=lists(small, "list", "int8")), ",scale=0.25"))
    assert scaled.vectors.tolist() == (small * 0.25).tolist()
    assert "int8, multiplied by 0.25" in scaled.provenance.notes
    with pytest.raises(SourceError, match=r"column 'v' holds int8, .*add scale=NUMBER"):
        load(write(table_of(v=lists(small, "list", "int8"))))
    with pytest.raises(SourceError, match="holds float32, which have no scale"):
        load(write(table_of(), ",scale=2"))


def nested():
    return pa.array([[[1.0]]] * ROWS)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, ",vectors=w", r"no column of vectors called 'w'; it has v"),
        ({}, ",vectors=word", r"no column of vectors called 'word'; it holds string; it has v"),
        ({"v": nested()}, "", r"has 0 columns of vectors \(none\)"),
        ({"v": nested()}, ",vectors=v", r"no column of vectors called 'v'; it holds list<.*list<"),
        ({"w": lists(NUMBERS, "list")}, "", r"has 2 columns of vectors \(v, w\); choose one with vectors=NAME"),
        ({}, ",words=x", r"no column of text or whole numbers called 'x'; it has word, id"),
        ({}, ",words=v", r"no column of text or whole numbers called 'v'; it holds list<"),
        ({"word": [*TITLES[:4], None, "x"]}, ",words=word", r"row (group 1, row 0|4) has no word"),
        ({"v": pa.array([[1.0, 2]] * 4 + [None, [1.0, 2]])}, "", r"row (group 1, row 0|4) has no vector"),
        ({"v": pa.array([[1.0, 2]] * 4 + [[1.0, None]] * 2)}, "", r"row (group 1, row 0|4) has a vector with a number"),
        ({"v": pa.array([[1.0, 2]] * 5 + [[1.0]])}, "", r"row (group 1, row 1|5) has a vector of 1 numbers.* before 2"),
        ({"v": pa.array([[1.0, 2]] * 5 + [[]])}, "", r"row (group 1, row 1|5) has a vector of 0 numbers"),
        ({"v": pa.array([[]] * 6, pa.list_(pa.float32()))}, "", r"row (group 0, row )?0 has a vector of 0 numbers"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(write, columns, options, message):
    """What is asked for and isn't there, is no vector or is missing in a row is named, with what there is."""
    with pytest.raises(SourceError, match=message) as error:
        load(write(table_of(**columns), options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",words=word,texts=word", "give one of them"),
        (",scale=x", "'x' is no number"),
        (",scale=0", "'0' is no number"),
        (",vocab=none", "no option 'vocab'"),
    ],
)
def test_options_that_make_no_sense_are_refused(write, options, message):
    """Two names for rows, scales that are none and options of other sources are refused."""
    with pytest.raises(SpecError, match=message):
        load(write(table_of(), options))


def test_a_table_without_rows_is_refused(write):
    """Nothing can be measured on no rows."""
    with pytest.raises(SourceError, match="has no rows"):
        load(write(table_of().slice(0, 0), ",vectors=v"))


def test_words_may_be_stored_as_a_dictionary(write):
    """Repeated words stored once are read as if they were written out."""
    table = table_of(word=pa.array(TITLES).dictionary_encode())
    assert list(load(write(table, ",words=word")).tokens) == TITLES


def test_two_columns_of_one_name_are_refused(write):
    """Which of the two is meant, nobody says."""
    twice = pa.Table.from_arrays([lists(NUMBERS, "list"), lists(-NUMBERS, "list")], names=["v", "v"])
    with pytest.raises(SourceError, match="2 columns"):
        load(write(twice))
    with pytest.raises(SourceError, match="2 columns called 'v'"):
        load(write(twice, ",vectors=v"))


def test_errors_stay_short_whatever_a_schema_holds(write):
    """Types nested dozens deep and a thousand columns leave an error of one line that can be read."""
    deep = pa.array([1.0] * ROWS)
    for _ in range(40):
        deep = pa.StructArray.from_arrays([deep], ["x" * 20])
    for columns, options in (({"d": deep}, ",vectors=d"), ({f"w{i}": NUMBERS[:, 0] for i in range(1000)}, ",words=x")):
        with pytest.raises(SourceError) as error:
            load(write(table_of(**columns), options))
        assert len(str(error.value)) < 800


def test_any_cut_of_a_file_is_refused_in_one_line(write):
    """Wherever a file is cut off, the error is one line and names it."""
    spec = write(table_of(), ",words=word")
    content = (path := sources.files.local_path(spec, spec.target)).read_bytes()
    for length in np.linspace(0, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(EmbcheckError, match=path.name) as error:
            load(spec)
        assert str(error.value).isprintable()


def test_two_encoders_over_one_corpus_are_joined_by_its_ids(tmp_path):
    """Overlap of neighbors is that of the rows with the same id, in whatever order each file has them."""
    from embcheck import measures

    rng = np.random.default_rng(1)
    numbers, order = rng.standard_normal((200, 8)), rng.permutation(200)
    for name, rows in (("a", np.arange(200)), ("b", order)):
        write_parquet(pa.table({"v": lists(numbers[rows], "list"), "id": rows}), tmp_path / f"{name}.parquet")
    tables = tuple(load(parse(f"parquet:{tmp_path}/{name}.parquet,texts=id")) for name in "ab")
    assert measures.neighbor_overlap(tables, k=5, rng=rng).value == 1


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    """Files of a folder and of hive partitions in it make one table, by path; hidden ones and others are left out."""
    for row, name in enumerate(["day=2/a.parquet", "day=1/b.parquet", "c.parquet", "_tmp/d.parquet", ".e.parquet"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_parquet(table_of().slice(row, 1), tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    table = load(parse(f"parquet:{tmp_path},texts=id"))
    assert list(table.tokens) == ["2", "1", "0"]
    assert table.vectors.tolist() == NUMBERS[[2, 1, 0]].astype(np.float32).tolist()


def test_files_of_a_folder_must_be_of_one_kind(tmp_path):
    """Another number type in a later file, or another width, is refused with both, and the file is named."""
    write_parquet(table_of(), tmp_path / "a.parquet")
    write_parquet(table_of(v=lists(NUMBERS, "list", "float64")), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet: column 'v' holds float64, in .*a\.parquet float32"):
        load(parse(f"parquet:{tmp_path}"))
    write_parquet(table_of(v=lists(NUMBERS[:, :2], "list")), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet, row group 0, row 0 has a vector of 2 numbers, .* 3"):
        load(parse(f"parquet:{tmp_path}"))


def test_a_folder_without_files_is_refused(tmp_path):
    """An empty folder, and one of other files, say what is missing."""
    with pytest.raises(SourceError, match=r"no \.parquet or \.pq file"):
        load(parse(f"parquet:{tmp_path}"))


def test_a_long_text_repeated_in_a_short_file_takes_no_memory(tmp_path, monkeypatch):
    """What names take is counted before they are written out."""
    monkeypatch.setattr("embcheck.sources.stores.columns._MOST_NAME_BYTES", 10**6)
    table = pa.table({"v": lists(np.ones((1000, 2)), "list"), "word": ["x" * 10**5] * 1000})
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=r"more than 1000000 bytes; name the rows by a column of ids: texts=ID"):
        load(parse(f"parquet:{tmp_path}/m.parquet,texts=word"))


def test_more_vectors_than_a_file_can_hold_are_refused(monkeypatch, tmp_path):
    """A file that stands for thousands of times its size is taken for damaged before memory is."""
    monkeypatch.setattr("embcheck.sources.stores.columns._ROOM", 0)
    parquet.write_table(pa.table({"v": lists(np.ones((100_000, 8)), "list")}), tmp_path / "m.parquet")
    with pytest.raises(SourceError, match="promises 100000 x 8 vectors of float32, more than its"):
        load(parse(f"parquet:{tmp_path}/m.parquet"))


# --- Arrow ------------------------------------------------------------------------------------------------------------


def write_dataset(folder, *slices):
    """A folder as `save_to_disk` of datasets 5.2 writes it: streams, and a file that lists them."""
    folder.mkdir()
    names = [f"data-{i:05}-of-{len(slices):05}.arrow" for i in range(len(slices))]
    for name, (start, stop) in zip(names, slices, strict=True):
        write_stream(table_of().slice(start, stop - start), folder / name)
    listed = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed, "_fingerprint": "0", "_split": None}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_dataset_on_disk_is_read_in_its_own_order(tmp_path):
    """The files that state.json lists are read as it lists them, and no others."""
    folder = write_dataset(tmp_path / "d", (2, 6), (0, 2))
    write_stream(table_of(), folder / "cache-0.arrow")
    table = load(parse(f"arrow:{folder},texts=id"))
    assert list(table.tokens) == ["2", "3", "4", "5", "0", "1"]
    assert table.vectors.tolist() == NUMBERS[[2, 3, 4, 5, 0, 1]].astype(np.float32).tolist()


def test_a_dataset_of_the_real_library(tmp_path):
    """What datasets saves is read as it reads it."""
    datasets = pytest.importorskip("datasets")
    vectors = NUMBERS.astype(np.float32).tolist()
    features = datasets.Features({"v": datasets.Sequence(datasets.Value("float32")), "t": datasets.Value("string")})
    dataset = datasets.Dataset.from_dict({"v": vectors, "t": TITLES}, features=features)
    dataset.select([4, 1, 2]).save_to_disk(tmp_path / "d", num_shards=2)
    table = load(parse(f"arrow:{tmp_path}/d,texts=t"))
    assert (table.vectors.tolist(), list(table.tokens)) == (dataset[[4, 1, 2]]["v"], dataset[[4, 1, 2]]["t"])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"_data_files": [{"filename": "../x.arrow"}]}, "names no files in its own folder"),
        ({"_data_files": 3}, "names no files"),
        ([], "names no files"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "lacks 1 of its 1 files, such as 'gone.arrow'"),
        ({"_indices_data_files": [{"filename": "x"}]}, "keeps an order of its rows apart"),
    ],
)
def test_a_dataset_that_lists_other_files_is_refused(tmp_path, state, message):
    """Files outside the folder, files that are not there, and rows in an order of their own are refused."""
    folder = write_dataset(tmp_path / "d", (0, 6))
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(SourceError, match=message):
        load(parse(f"arrow:{folder}"))


def test_a_dataset_of_splits_says_which(tmp_path):
    """Of several splits one is to be given."""
    write_dataset(tmp_path / "train", (0, 3))
    write_dataset(tmp_path / "test", (3, 6))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(SourceError, match=r"several splits \(test, train\); give the folder of one"):
        load(parse(f"arrow:{tmp_path}"))


def test_a_stream_that_was_cut_between_batches_is_refused(tmp_path):
    """A stream without its end mark, which Arrow reads as if it were whole, has lost rows."""
    write_stream(table_of(), tmp_path / "m.arrow")
    content = (tmp_path / "m.arrow").read_bytes()
    (tmp_path / "m.arrow").write_bytes(content[:-8])
    assert ipc.open_stream(content[:-8]).read_all().num_rows == ROWS
    with pytest.raises(SourceError, match="ends before its stream does"):
        load(parse(f"arrow:{tmp_path}/m.arrow"))


def test_offsets_that_point_outside_are_refused(tmp_path):
    """Arrow believes the offsets of a file: one that points past the numbers is an error, and reads nothing."""
    write_arrow(table_of(), tmp_path / "m.arrow")
    offsets = np.arange(0, 13, 3, dtype=np.int32).tobytes()
    content = (tmp_path / "m.arrow").read_bytes()
    assert offsets in content
    wrong = np.array([0, 3, 6, 9, 2**30], np.int32).tobytes()
    (tmp_path / "m.arrow").write_bytes(content.replace(offsets, wrong, 1))
    with pytest.raises(SourceError, match=r"m\.arrow is damaged, or no Arrow file or stream \(.*\)"):
        load(parse(f"arrow:{tmp_path}/m.arrow"))


# --- JSON lines -------------------------------------------------------------------------------------------------------


def write_lines(path, *lines):
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return parse(f"jsonl:{path}")


def test_json_lines_are_read_as_floats(tmp_path, monkeypatch):
    """Numbers become the nearest float32, over several blocks, whatever else a line has, and in any order."""
    monkeypatch.setattr("embcheck.sources.words.text._BLOCK", 100)
    rows = [{"v": v, "t": t, "x": {"y": [1]}} for v, t in zip(NUMBERS.tolist(), TITLES, strict=True)]
    rows[3] = {"t": rows[3]["t"], "v": rows[3]["v"]}
    spec = write_lines(tmp_path / "m.jsonl", *rows[:5], "", rows[5])
    table = load(parse(f"{spec.text},texts=t"))
    assert table.vectors.tolist() == NUMBERS.astype(np.float32).tolist()
    assert list(table.tokens) == TITLES
    assert load(parse(f"{spec.text},words=t")).rows(["g"]) == [3]
    described = sources.describe(parse(f"{spec.text},texts=t"))
    assert (described.shape, described.dtype, described.population) == ((None, WIDTH), "float32", "texts of column t")


def test_whole_numbers_in_json_are_vectors_and_ids(tmp_path):
    """A vector that begins with 1 instead of 1.0 is one; whole numbers in the place of words are ids."""
    spec = write_lines(tmp_path / "m.jsonl", {"v": [1, 0], "id": 7}, {"v": [0.5, -2], "id": 9})
    table = load(parse(f"{spec.text},words=id"))
    assert (table.vectors.tolist(), list(table.tokens)) == ([[1, 0], [0.5, -2]], ["7", "9"])
    assert not table.vocabulary.has_words


FIRST = {"v": [1.0, 2.0], "t": "a"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([[1, 2]], "line 1 is no JSON object"),
        (["[" * 100_000], "line 1 is no JSON"),
        (["v,t"], "line 1 is no JSON"),
        ([""], "line 1 is no JSON"),
        ([FIRST, {"v": [1.0], "t": "b"}], "row 1 has a vector of 1 numbers, those before 2"),
        ([FIRST, {"t": "b"}], "row 1 has no vector"),
        ([FIRST, {"v": None, "t": "b"}], "row 1 has no vector"),
        ([FIRST, {"v": [1.0, None], "t": "b"}], "row 1 has a vector with a number missing"),
        ([FIRST, {"v": [1.0, 2.0]}], "row 1 has no word"),
        ([FIRST, {"v": "x", "t": "b"}], "lines from 1 on, does not go on as it began"),
        ([FIRST, {"v": [1.0, 2.0], "t": 3}], "lines from 1 on, does not go on as it began"),
        ([FIRST, '{"v": [1.0, 2.0], "t": '], "lines from 1 on, does not go on as it began"),
        ([FIRST, '{"v": ' + "[" * 100_000], "lines from 1 on, does not go on as it began"),
        ([f"{json.dumps(FIRST)}{json.dumps(FIRST)}"], "line 1 is no JSON"),
        ([FIRST, f"{json.dumps(FIRST)}{json.dumps(FIRST)}"], "does not go on|more rows than it says"),
    ],
)
def test_lines_that_are_no_such_objects_are_refused(tmp_path, lines, message):
    """What is no object, has no vector or one of another width, is refused by row or line."""
    spec = write_lines(tmp_path / "m.jsonl", *lines)
    with pytest.raises(SourceError, match=message) as error:
        load(parse(f"{spec.text},vectors=v,texts=t"))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


# --- npz --------------------------------------------------------------------------------------------------------------


def write_npz(path, *, options="", save=np.savez, **arrays):
    save(path, **arrays)
    return parse(f"npz:{path}{options}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("number", ["float16", "float32", "float64", ">f4"])
def test_an_array_of_an_archive_is_read_as_numpy_reads_it(tmp_path, monkeypatch, save, number):
    """Vectors of each float and byte order, and words or ids beside them, are those that were saved."""
    monkeypatch.setattr("embcheck.sources.stores.columns.BATCH_BYTES", 50)
    arrays = {"v": NUMBERS.astype(number), "t": np.array(TITLES), "id": np.arange(ROWS), "flat": np.ones(3)}
    spec = write_npz(tmp_path / "m.npz", save=save, options=",words=t", **arrays)
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.tolist() == NUMBERS.astype(number).tolist()
    assert list(table.tokens) == TITLES
    assert table.vocabulary.has_words
    assert described.shape == table.vectors.shape
    assert described.dtype == table.provenance.dtype == np.dtype(number).name
    assert list(load(parse(f"npz:{tmp_path}/m.npz,texts=id")).tokens) == list(map(str, range(ROWS)))
    assert list(load(parse(f"npz:{tmp_path}/m.npz")).tokens)[-1] == f"#{ROWS - 1}"


def test_int8_of_an_archive_has_a_scale(tmp_path):
    """As in columns, int8 is read with its scale and refused without."""
    small = np.arange(6, dtype=np.int8).reshape(3, 2)
    assert load(write_npz(tmp_path / "m.npz", v=small, options=",scale=0.5")).vectors.tolist() == (small / 2).tolist()
    with pytest.raises(SourceError, match="add scale=NUMBER"):
        load(write_npz(tmp_path / "m.npz", v=small))


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"v": np.ones((2, 2)), "t": np.array(["a"])}, ",texts=t", "'v' has 2 rows but 't' 1; give one a row"),
        ({"v": np.ones((2, 2)), "t": np.array(["a", {}])}, ",texts=t", "holds struct<pickled Python objects of shape"),
        ({"v": np.array([[1, {}]])}, "", r"has 0 columns of vectors \(none\)"),
        ({"v": np.array([[1, {}]])}, ",vectors=v", "it holds struct<pickled Python objects of shape"),
        ({"v": np.ones((2, 2), dtype=complex)}, ",vectors=v", "it holds struct<complex128 of shape"),
        ({"v": np.ones((2, 2)), "w": np.ones((2, 2))}, "", r"2 columns of vectors \(v, w\)"),
        ({"v": np.asfortranarray(np.ones((2, 3)))}, "", "'v' is stored by columns; save numpy.ascontiguousarray"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, arrays, options, message):
    """Objects are never unpickled; what is no matrix of numbers, or has other rows, is named."""
    with pytest.raises(SourceError, match=message):
        load(write_npz(tmp_path / "m.npz", options=options, **arrays))


def test_a_header_that_promises_more_than_its_member_is_refused(tmp_path):
    """Neither a header of many rows nor a member that stands for more than the file can hold takes memory."""
    spec = write_npz(tmp_path / "m.npz", v=np.ones((2, 2)))
    content = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "m.npz").write_bytes(content.replace(b"(2, 2), }        ", b"(99999999, 2), } "))
    with pytest.raises(SourceError, match="damaged"):  # by the checksum
        load(spec)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        header = np.lib.format.magic(1, 0) + (118).to_bytes(2, "little")
        header += b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 2), }".ljust(117) + b"\n"
        archive.writestr("v.npy", header + bytes(32))
    with pytest.raises(SourceError, match="'v' must have 1600000112 bytes, not 160"):
        load(spec)


def test_what_is_no_archive_is_refused(tmp_path):
    """A single array is pointed to its own source; a cut archive is damaged."""
    np.save(tmp_path / "m.npy", np.ones((2, 2)))
    with pytest.raises(SourceError, match=r"a single array is npy:.*m\.npy,vocab=FILE"):
        load(parse(f"npz:{tmp_path}/m.npy"))
    spec = write_npz(tmp_path / "m.npz", v=np.ones((2, 2)))
    content = (tmp_path / "m.npz").read_bytes()
    for length in (4, 100, len(content) - 1):
        (tmp_path / "m.npz").write_bytes(content[:length])
        with pytest.raises(SourceError, match="is damaged, or no archive"):
            load(spec)
