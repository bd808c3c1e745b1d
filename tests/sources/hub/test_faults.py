"""Hubs that lie, dawdle, or answer what makes no sense: nothing of it stays, and nothing takes for ever."""

from __future__ import annotations

import json
import time

import pytest
from huggingface_hub import constants

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.sources.hub import ranges
from embcheck.spec import parse


def refusal(text="org/model"):
    """The one line that loading a spec ends in."""
    with pytest.raises(SourceError) as caught:
        sources.load(parse(text), device="cpu")
    line = str(caught.value)
    assert line.isprintable()
    return line


def test_wrong_bytes_of_a_file_do_not_stay(hub, client, publish):
    """A file whose bytes are not those of its hash is an error, and asked for again."""
    publish()
    files = hub.repos["org/model"].files
    right = files["config.json"]
    hub.repos["org/model"].etag = "0" * 64
    assert "config.json: the bytes that came do not have the hash" in refusal()
    assert not list(client.rglob("config.json"))
    hub.repos["org/model"].etag = None
    files["config.json"] = right


@pytest.mark.parametrize("etag", ["0" * 40, "0" * 64])
def test_both_kinds_of_hash_are_compared(hub, client, publish, etag):
    """Git's hash of small files and SHA-256 of large ones are compared; other ETags say nothing."""
    publish(etag=etag)
    assert "do not have the hash" in refusal()


def test_other_etags_say_nothing(hub, client, publish):
    """An ETag that is no hash is compared with nothing."""
    publish(etag="5f-abc")
    sources.load(parse("org/model"), device="cpu")


def test_a_wrong_answer_says_how_to_be_rid_of_it(hub, client, publish, make):
    """What came wrong and was kept names the folders to delete, after which it is asked for again."""
    publish(files={"model.safetensors": b"\0" * 50_000})
    line = refusal()
    assert "delete that to ask again" in line
    assert str(client / "embcheck") in line


def test_a_password_of_the_endpoint_is_not_shown(hub, client, point_to, monkeypatch):
    """What stands before the @ of an address appears in no error."""
    point_to("http://user:secret@127.0.0.1:9")
    assert "secret" not in refusal()
    monkeypatch.setenv("HF_ENDPOINT", "htp://user:secret@host")
    assert "secret" not in refusal()


@pytest.mark.parametrize("answer", [{"siblings": [{}]}, {"siblings": [1]}, {"siblings": 5, "sha": 3}, []])
def test_answers_that_make_no_sense(hub, client, publish, monkeypatch, answer):
    """A listing without names, or of something else, is one line that names the hub."""
    publish()
    real = json.dumps
    monkeypatch.setattr(
        "json.dumps",
        lambda value, **more: real(
            {**value, **answer}
            if isinstance(answer, dict) and "siblings" in value
            else answer
            if "siblings" in value
            else value,
            **more,
        ),
    )
    refusal()


@pytest.mark.parametrize("status", [200, 404, 500])
def test_answers_without_an_end_take_no_memory(hub, client, publish, monkeypatch, status):
    """Of a list of files that never ends no more is read than such lists have, and of an error nothing."""
    monkeypatch.setattr("embcheck.sources.hub.source._LARGEST_LISTING", 2**20, raising=False)
    publish()
    hub.faults.endless = status
    began = time.monotonic()
    line = refusal()
    assert time.monotonic() - began < 15
    assert hub.moved["api"] < 2**25
    assert "has no end" in line or status != 200


def test_one_byte_a_second_is_given_up(hub, client, publish, make, monkeypatch):
    """A server that sends, but too slowly to ever end, is given up."""
    monkeypatch.setattr(ranges, "_PATIENCE", 1.0)
    monkeypatch.setattr(ranges, "_SLOWEST", 2**24)
    publish(embedding=make.matrix(65536, 128))
    hub.faults.pause = 0.2
    began = time.monotonic()
    assert "bytes in" in refusal()
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_a_stalled_body_is_given_up(hub, client, publish, make, monkeypatch):
    """A server that sends nothing for long is given up after the same time, whatever each request may wait."""
    monkeypatch.setattr(ranges, "_PATIENCE", 2.0)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    publish()
    hub.faults.stall = 30
    began = time.monotonic()
    refusal()
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_retry_after_is_obeyed(hub, client, publish):
    """A server that says when to come again is not asked sooner."""
    publish()
    hub.faults.errors, hub.faults.retry_after = 1, 3
    began = time.monotonic()
    sources.load(parse("org/model"), device="cpu")
    assert time.monotonic() - began >= 3


def test_the_client_asks_nothing_of_its_own(hub, client, publish, monkeypatch, tmp_path):
    """Only the model is asked for: the client's own questions to a hub have no bounds, and are no part of a check."""
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)  # of an earlier test
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "none"), raising=False)
    publish()
    sources.load(parse("org/model"), device="cpu")
    assert all("org/model" in path or not path.startswith("/") for _, path, _ in hub.requests)
