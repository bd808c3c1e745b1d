"""A hub that lies: what it says becomes no path, and no more is kept than it promised."""

from pathlib import Path

import pytest

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse


def files_under(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("etag", ["{}/evil.py", "../../../../../../evil.py", "a/../../../../evil.py", "..", "."])
def test_no_path_is_made_of_an_etag(hub, client, publish, tmp_path, etag):
    """Whatever a server calls a file's content, the model is read and nothing is written outside of the caches."""
    publish(etag=etag.format(tmp_path), shards=2)
    table = sources.load(parse("org/model"), device="cpu")
    assert (table.vectors.shape[1], len(table.tokens)) == (128, 10)
    kept = files_under(tmp_path)
    assert {path.relative_to(client).parts[0] for path in kept} == {"hub", "embcheck"}
    assert not any("evil" in str(path) for path in kept)
    folder = client / "hub" / "models--org--model" / "snapshots" / hub.repos["org/model"].commit
    assert (folder / "config.json").read_bytes() == hub.repos["org/model"].files["config.json"]


def test_names_that_lead_out_of_a_repository_are_not_listed(hub, client, publish, tmp_path):
    """Of a listing, names that are no plain relative paths are as if they weren't there."""
    publish()
    lies = ["../tokenizer_config.json", f"{tmp_path}/tokenizer_config.json", "a/../../special_tokens_map.json", "C:x"]
    del hub.repos["org/model"].files["tokenizer.json"]
    hub.repos["org/model"].files |= dict.fromkeys(lies, b"{}")
    with pytest.raises(SourceError, match="holds no tokenizer"):
        sources.load(parse("org/model"), device="cpu")
    assert {path.relative_to(client).parts[0] for path in files_under(tmp_path)} <= {"hub", "embcheck"}


def test_a_body_is_read_no_further_than_its_length(hub, client, publish):
    """A file whose body goes on past the length that was said is refused, and nothing of it stays."""
    publish(hidden=5)
    with pytest.raises(SourceError, match=r"config\.json: the server sends more bytes than were asked for"):
        sources.load(parse("org/model"), device="cpu")
    assert not [path for path in files_under(client) if path.name == "config.json"]


def test_files_are_shared_with_other_programs(hub, client, publish):
    """What was fetched lies where the hub's own client looks for it."""
    from huggingface_hub import hf_hub_download

    publish()
    sources.load(parse("org/model"), device="cpu")
    path = hf_hub_download("org/model", "config.json", local_files_only=True, revision=hub.repos["org/model"].commit)
    assert Path(path).read_bytes() == hub.repos["org/model"].files["config.json"]
