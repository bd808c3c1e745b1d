from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import jsonschema
import pytest

import embcheck
from embcheck import EmbcheckError, EmbeddingTable, Estimate, above, claim
from embcheck.reports import json_file


@pytest.fixture
def document():
    @claim(above(0.5))
    def toy(table):
        """Everything is a toy."""
        return Estimate.exact(0.75, unit="toys", details={"anything": [1, None]}, effect={"d": 1.5})

    table = EmbeddingTable.from_arrays([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], ["a", "b", "c"])
    return embcheck.check(table, properties=toy).document


def test_schema_is_a_valid_schema():
    """The shipped schema is itself valid."""
    jsonschema.Draft202012Validator.check_schema(json_file.schema())


def test_reports_keep_to_the_schema(document):
    """A report is valid against the shipped schema."""
    jsonschema.Draft202012Validator(json_file.schema()).validate(document)


def test_schema_refuses_keys_of_its_own_making(document):
    """The schema is strict at every level of the contract, and open only inside details, effect and timing."""
    validator = jsonschema.Draft202012Validator(json_file.schema())
    model = document["models"][0]
    result = model["results"][0]
    for place in (
        document,
        document["run"],
        model,
        model["population"],
        result,
        result["estimate"],
        result["claims"][0],
    ):
        place["surprise"] = 1
        assert not validator.is_valid(document)
        del place["surprise"]
    result["details"]["surprise"] = document["timing"]["surprise"] = result["estimate"]["effect"]["surprise"] = 1
    assert validator.is_valid(document)


def test_written_text_is_sorted_and_ends_in_a_newline(document, tmp_path):
    """Keys are sorted and the file is plain ASCII, so that equal reports are equal bytes."""
    json_file.write(document, tmp_path / "out.json")
    text = (tmp_path / "out.json").read_text()
    assert text.endswith("}\n")
    assert text.isascii()
    assert list(json.loads(text)) == sorted(document)


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
