"""The report as a JSON file: bytes, schema, and what is refused on reading."""

from __future__ import annotations

import json
import os
import stat
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from records import claim, estimate, model, null, report, result

import embcheck
from embcheck import EmbcheckError, EmbeddingTable, Estimate, above, beats, nulls
from embcheck import claim as claimed
from embcheck.checks.record import Change, Control, builtins
from embcheck.reports import json_file


@pytest.fixture
def measured():
    """The report of a run: a claim on an interval, one against a null, and one that can't be measured."""

    @claimed(above(0.5), margin=1)
    def toy(table):
        """Everything is a toy."""
        return Estimate.exact(0.75, unit="toys", details={"anything": [1, None, 2.0]}, effect={"d": 1.5})

    @claimed(beats(nulls.shuffled_pairs), size=[1, 2.0])
    def drawn(table, size, rng):
        """Some are drawn."""
        worst = [{"token": "\ud800\x1b", "id": 1, "value": 0.1}]
        return Estimate.from_units(
            [1.0, 2.0, 1.5], unit="toys", draws={"shuffled_pairs": rng.random(99)}, counterexamples=worst
        )

    @claimed(above(0))
    def absent(table):
        """Something is never there."""
        raise embcheck.NotMeasurable("no toys")

    table = EmbeddingTable.from_arrays([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], ["a", "b", "c"])
    return embcheck.check(table, properties=[toy, drawn, absent]).report


@pytest.fixture
def full():
    """A report whose every part is there, with whole numbers where most have fractions."""
    change = Change(
        state="regressed", passes=False, value=-1, low=-2.5, high=0, margin=1, before=3, after=2.0, n=4, family=2
    )
    claims = (claim("within", None, None, null="n"), claim("within", 0, 1.5), claim("beats", 0.01, null="n"))
    control = Control(20, 9, 3, vacuous=False)
    whole = result(outcome="fail", claims=claims, nulls=(null("n", 1, 0.5),), change=change, control=control)
    unread = model(shape=None, dtype=None, population=None, unused=("toy {}",))
    return report(model(whole, result(expected=False, estimate=estimate(7, 7, None))), unread)


@pytest.fixture(params=["measured", "full"])
def written(request, tmp_path):
    """A file of either report."""
    json_file.write(request.getfixturevalue(request.param), tmp_path / "out.json")
    return tmp_path / "out.json"


def test_shipped_schema_is_that_of_the_types():
    """The file in the package is what the types say, and a valid schema itself."""
    shipped = json.loads(resources.files("embcheck.reports").joinpath("embcheck-report-1.schema.json").read_text())
    assert shipped == json_file.schema()
    jsonschema.Draft202012Validator.check_schema(shipped)


def test_reports_keep_to_the_schema(written):
    """A report is valid against the schema."""
    jsonschema.Draft202012Validator(json_file.schema()).validate(json.loads(written.read_text()))


def test_a_report_read_and_written_again_is_the_same_bytes(written, tmp_path):
    """Reading loses nothing, down to which numbers are whole, nor do lone surrogates in tokens get lost."""
    json_file.write(json_file.read(written), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == written.read_bytes()


def test_the_bytes_are_those_of_json_dumps(measured, written):
    """Sorted keys, pure ASCII, one space of indent, a newline at the end."""
    document = json.loads(written.read_text(encoding="ascii"))
    assert written.read_text() == json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    assert json_file.dumps(measured) == json_file.dumps(builtins(measured))


def test_new_keys_are_tolerated(written):
    """Later versions may add keys at every level; the schema allows them and reading leaves them out."""
    document = json.loads(written.read_text())
    first = document["models"][0]
    before = json_file.read(written)
    for part in (document, document["run"], first, first["results"][0], first["results"][0]["claims"][0]):
        part["surprise"] = {"of": "later"}
    jsonschema.Draft202012Validator(json_file.schema()).validate(document)
    written.write_text(json.dumps(document))
    assert json_file.read(written) == before


def damaged(document, where, value):
    """The document with something else at a place, or with a key less."""
    *parents, last = where
    part = document
    for key in parents:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return document


FIRST = ("models", 0, "results", 0)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("schema",), "embcheck-baseline/1", "$.schema: Invalid enum value 'embcheck-baseline/1'"),
        (("run", "seed"), "x" * 9_000, "$.run.seed: Expected `int`, got `str`"),
        (("run", "seed"), True, "$.run.seed: Expected `int`, got `bool`"),
        ((*FIRST, "verdict"), "perhaps\x1b - at `$`", "$.models[0].results[0].verdict: Invalid enum value 'perhaps"),
        ((*FIRST, "details"), None, "$.models[0].results[0]: Object missing required field `details`"),
        ((*FIRST, "claims"), [], "$.models[0].results[0].claims: Expected `array` of length >= 1"),
        ((*FIRST, "claims", 0, "bound"), None, "$.models[0].results[0].claims[0]: a claim 'above' states its bound"),
        ((*FIRST, "params"), {"a": [1]}, "$.models[0].results[0].params[...]: Expected"),
        (("models", 0, "shape"), [1], "$.models[0].shape: Expected `array` of length 2, got 1"),
        (("models", 0, "alias"), "", "$.models[0].alias: Expected `str` of length >= 1"),
        (("timing", "x"), 10**400, "the number 1000"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(measured, tmp_path, where, value, said):
    """One printable line names the file, the path inside it and the fault, however large what stands there."""
    path = tmp_path / "bad.json"
    document = builtins(measured)
    document["models"][0]["results"].reverse()  # the toy's claim is the one with a bound
    path.write_text(json.dumps(damaged(document, where, value)))
    with pytest.raises(EmbcheckError) as caught:
        json_file.read(path)
    message = str(caught.value)
    assert message.startswith(f"{str(path)!r} is no embcheck report: {said}")
    assert message.isprintable()
    assert len(message) < len(str(path)) + 500


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "'utf-8' codec can't decode"),
        (b"{", "Expecting property name"),
        (b'{"schema": NaN}', "NaN is no JSON"),
        (b'{"schema": -1e999}', "the number -1e999 is too large"),
        (b'{"schema": 1' + b"0" * 5_000 + b"}", "the number 1000"),
        (b"[]", "$: Expected `object`, got `array`"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"\\ud800": 1}', ""),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, said):
    """No JSON, no text, NaN, numbers beyond every float, another type, too deep: one line."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(EmbcheckError) as caught:
        json_file.read(path)
    assert f"is no embcheck report: {said}" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    """Reading what is not there is an error of its own."""
    with pytest.raises(EmbcheckError, match=r"can't read .*No such file"):
        json_file.read(tmp_path / "none.json")


def test_lone_surrogates_survive(tmp_path):
    """Tokens that are no valid text are written and read back."""
    json_file.write({"token": "\ud800"}, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"token": "\ud800"}


def test_not_a_number_is_refused_and_nothing_written(tmp_path):
    """NaN is no JSON: it raises before any file is touched."""
    with pytest.raises(ValueError, match="JSON"):
        json_file.write({"value": float("nan")}, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    """A write that fails midway keeps what was there."""
    path = tmp_path / "out.json"
    path.write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbcheckError, match=r"can't write .*No space left on device"):
        json_file.write({}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]
    assert path.read_text() == "old"


def test_permissions_follow_the_umask(tmp_path):
    """The file is as readable as any new file, though it began as a temporary one."""
    (tmp_path / "plain").write_text("")
    json_file.write({}, tmp_path / "out.json")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "out.json")]
    assert modes[0] == modes[1]


def test_link_is_written_through(tmp_path):
    """A link keeps pointing where it did."""
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    json_file.write({}, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "{}\n"


@pytest.mark.parametrize("place", [".", "no/such/folder/out.json"])
def test_place_that_cannot_be_written_is_named(tmp_path, place):
    """A folder, or a file in a folder that is not there, is a one-line error."""
    with pytest.raises(EmbcheckError, match="can't write"):
        json_file.write({}, tmp_path / place)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
def test_device_files_are_written_directly():
    """/dev/null is written to, not replaced."""
    json_file.write({}, Path("/dev/null"))
    assert not Path("/dev/null").is_file()
