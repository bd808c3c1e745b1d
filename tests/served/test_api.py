"""Vectors from a server: what it is asked, that its key stays secret, and that nothing it says is believed."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import embcheck
from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.sources.encoders import endpoint
from embcheck.spec import parse

KEY = "sk-secret-of-mine"


def load(spec):
    return sources.load(parse(spec), device="cpu")


def good(body):
    data = [{"index": i, "embedding": [float(len(t)), 1.0, 2.0, 3.0]} for i, t in enumerate(body["input"])]
    return {"data": data, "model": "m"}


def change(body, **item):
    """A good answer but for its second item."""
    answer = good(body)
    answer["data"][1] |= item
    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(endpoint, "_LONGEST_WAIT", 0.01)


def test_each_text_is_the_row_that_the_server_gives_for_it(served, texts, expected):
    """A table of what a server answers has its texts as words, its numbers as rows, and says where they came from."""
    table = embcheck.load(served.spec(texts))
    np.testing.assert_array_equal(table.vectors.numpy(), expected)
    assert table.tokens == texts.read_text().splitlines()
    assert [len(body["input"]) for _, _, body in served.asked] == [64, 64, 22]
    assert all(body["encoding_format"] == "float" and body["model"] == "m" for _, _, body in served.asked)
    assert "by m at 127.0.0.1:" in " ".join(table.provenance.notes)
    assert parse(served.spec(texts)).alias == "m"


@pytest.mark.parametrize(
    ("tail", "path"),
    [
        ("", "/v1/embeddings"),
        ("/", "/v1/embeddings"),
        ("/v1", "/v1/embeddings"),
        ("/v1/", "/v1/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/openai/v1", "/openai/v1/embeddings"),
        ("/api/v3/embeddings/", "/api/v3/embeddings"),
    ],
)
def test_the_address_may_be_the_servers_its_apis_or_the_endpoints(served, texts, tail, path):
    """Whichever address of a server is given, its endpoint for embeddings is asked."""
    served.url += tail
    load(served.spec(texts, ",batch=2048"))
    assert [asked[0] for asked in served.asked] == [path]


def test_a_prefix_stands_before_every_text(served, texts):
    """``prefix=TEXT`` is sent in front of each text, which keeps its own name."""
    table = load(served.spec(texts, ',prefix="query: "'))
    assert {text[:10] for _, _, body in served.asked for text in body["input"]} == {"query: the"}
    assert table.tokens[0].startswith("the ")


def test_vectors_may_lie_in_any_order_and_come_as_base64(served, texts, expected):
    """Rows are put where their index says, and base64 of float32 is read where a server sends nothing else."""

    def answer(_, body):
        rows = [endpoint.np.array(v, dtype="<f4").tobytes() for v in served.embed(body["input"])]
        data = [{"index": i, "embedding": base64.b64encode(row).decode()} for i, row in enumerate(rows)]
        return {"data": data[::-1]}

    served.answer = answer
    np.testing.assert_array_equal(load(served.spec(texts)).vectors.numpy(), expected)


def test_inspecting_describes_without_asking(served, texts):
    """What would be asked for is said without a request: only the server knows how long its vectors are."""
    description = sources.describe(parse(served.spec(texts)))
    assert description.shape == (150, None)
    assert not served.asked


@pytest.mark.slow
def test_the_command_line_inspects_checks_and_compares_a_server(served, texts, tmp_path):
    """``inspect``, ``check`` and ``compare`` take an ``api:`` spec like any other."""
    spec = served.spec(texts)
    for command in (
        ["inspect", spec],
        ["check", spec, "--property", "intact_rows"],
        ["compare", f"a={spec}", f"b={spec}", "--property", "intact_rows"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "embcheck", *command], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    served.answer = lambda handler, _: handler.reply(200, b"<html>hello</html>")
    done = subprocess.run(
        [sys.executable, "-m", "embcheck", "check", spec], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, "a web page" in done.stdout + done.stderr) == (4, True)


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (lambda b: {**good(b), "data": good(b)["data"][:-1]}, "63 vectors for 64 texts"),
        (lambda b: {**good(b), "data": good(b)["data"] * 2}, "128 vectors for 64 texts"),
        (lambda b: change(b, index=0), "indices are not 0 to 63"),
        (lambda b: change(b, index=64), "indices are not 0 to 63"),
        (lambda b: change(b, index=-1), "indices are not 0 to 63"),
        (lambda b: change(b, index=1.5), "no embeddings"),
        (lambda b: change(b, index=None), "no embeddings"),
        (lambda b: {"data": [{"embedding": [1.0]} for _ in b["input"]]}, "missing required field `index`"),
        (lambda b: change(b, embedding=[1.0, 2.0]), "vectors of 2 and 4 numbers"),
        (lambda b: {"data": [{"index": i, "embedding": []} for i in range(len(b["input"]))]}, "vectors of 0 numbers"),
        (lambda b: change(b, embedding=["1", "2", "3", "4"]), "no embeddings"),
        (lambda b: change(b, embedding=["NaN", 1.0, 1.0, 1.0]), "no embeddings"),
        (lambda b: change(b, embedding=[float("nan"), 1.0, 1.0, 1.0]), "no embeddings"),
        (lambda b: change(b, embedding=[None, 1.0, 1.0, 1.0]), "no embeddings"),
        (lambda b: change(b, embedding=[True, 1.0, 1.0, 1.0]), "no embeddings"),
        (lambda b: change(b, embedding=[1e300, 1.0, 1.0, 1.0]), "not finite"),
        (lambda b: change(b, embedding=[[1.0], [1.0]]), "no embeddings"),
        (lambda b: change(b, embedding="not base64!"), "as a vector"),
        (lambda b: change(b, embedding="AAAA"), "as a vector"),
        (lambda b: change(b, embedding=base64.b64encode(struct.pack("<4f", *[float("inf")] * 4)).decode()), "finite"),
        (lambda b: {"error": {"message": "no such\nmodel"}}, "no such model"),
        (lambda b: [], "no embeddings"),
        (lambda b: {"data": {}}, "no embeddings"),
        (lambda b: {"data": None}, "no embeddings"),
    ],
)
def test_an_answer_that_is_no_vectors_of_the_texts_is_refused(served, texts, lie, named):
    """A wrong count, index, width or kind of number is one line that names the server and what it sent."""
    served.answer = lambda _, body: lie(body)
    with pytest.raises(SourceError, match=named) as raised:
        load(served.spec(texts))
    assert "127.0.0.1:" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"<!doctype html><html>", "a web page"),
        (b"", "no embeddings"),
        (b"{", "no embeddings"),
        (b"\xff\xfe", "no embeddings"),
        (b"[" * 100_000, "no embeddings"),
        (b'{"data": [{"index": ' + b"1" * 10_000 + b', "embedding": [1]}]}', "no embeddings"),
        (b'{"data": [{"index": 0, "embedding": [' + b"1" * 10_000 + b"]}]}", "answers with"),
    ],
)
def test_a_body_that_is_no_answer_is_refused(served, texts, content, named):
    """Pages, cut or nested documents and endless numbers end in one line."""
    served.answer = lambda handler, _: handler.reply(200, content)
    with pytest.raises(SourceError, match=named):
        load(served.spec(texts))


def test_vectors_of_another_width_later_are_another_model(served, texts):
    """A server whose vectors change their length between batches is refused."""
    served.embed = lambda batch: [[1.0] * (4 if len(served.asked) == 1 else 5) for _ in batch]
    with pytest.raises(SourceError, match="vectors of 5 numbers after 64 of 4"):
        load(served.spec(texts))


def test_a_compressed_body_is_not_unpacked(served, texts):
    """A body that would unpack to gigabytes is refused for being compressed, though nobody asked for that."""
    bomb = gzip.compress(b"0" * 10_000_000)
    served.answer = lambda handler, _: handler.reply(200, bomb, Content_Encoding="gzip")
    with pytest.raises(SourceError, match="compressed"):
        load(served.spec(texts))


def test_a_body_without_an_end_is_given_up(served, texts, monkeypatch):
    """Of an answer without an end no more is read than vectors of so many texts can take."""
    monkeypatch.setattr(endpoint, "_LARGEST_VECTOR", 100)

    def answer(handler, _):
        handler.close_connection = True
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 2**16)

    served.answer = answer
    with pytest.raises(SourceError, match="more than 1054976 bytes"):
        load(served.spec(texts))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "body", "error"])
def test_a_server_that_drips_is_given_up_in_time(served, texts, part):
    """Bytes that come one by one, in the headers or in the body, do not lengthen the time that a request has."""

    def answer(handler, _):
        handler.close_connection = True
        if part != "head":
            handler.send_response(200 if part == "body" else 400)
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(80):
            handler.wfile.write(b"1")
            time.sleep(0.05)

    served.answer = answer
    began = time.monotonic()
    with pytest.raises(SourceError, match="within 1 s" if part != "error" else "status 400"):
        load(served.spec(texts, ",timeout=1"))
    assert time.monotonic() - began < 5


def test_what_may_pass_is_asked_again_after_as_long_as_the_server_says(served, texts, expected, monkeypatch):
    """Answers 429 and 503 and connections that break off are repeated, as late as Retry-After says, within bounds."""
    waits = []
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    monkeypatch.setattr(endpoint, "_LONGEST_WAIT", 7.0)

    def answer(handler, body):
        if len(served.asked) == 1:
            handler.reply(429, b'{"error": {"message": "slower"}}', Retry_After="5")
        elif len(served.asked) == 2:
            handler.reply(503, b"", Retry_After="99999")
        elif len(served.asked) == 3:
            handler.close_connection = True
            handler.reply(200, b'{"data"', Content_Length="1000")
        else:
            return {"data": [{"index": i, "embedding": v} for i, v in enumerate(served.embed(body["input"]))]}
        return None

    served.answer = answer
    np.testing.assert_array_equal(load(served.spec(texts)).vectors.numpy(), expected)
    assert waits == [5.0, 7.0, 2.0]
    assert len(served.asked) == 6


@pytest.mark.parametrize(
    ("status", "times", "named"),
    [
        (429, 5, "status 429: said so; try again later"),
        (500, 5, "status 500: said so; try again later"),
        (401, 1, "status 401: said so; set EMBCHECK_API_KEY"),
        (403, 1, "set EMBCHECK_API_KEY"),
        (404, 1, "check the address"),
        (400, 1, "'m', or send fewer than 64 texts at once with batch=N"),
        (413, 1, "batch=N"),
        (422, 1, "batch=N"),
    ],
)
def test_a_refusal_names_its_status_and_the_way_out(served, texts, status, times, named):
    """Every status that is no answer is one line with what the server said and what to do; few are asked again."""
    served.answer = lambda handler, _: handler.reply(status, json.dumps({"detail": "said so"}).encode())
    with pytest.raises(SourceError, match=named):
        load(served.spec(texts))
    assert len(served.asked) == times


def test_a_server_that_is_not_there_is_named(texts):
    """Where nobody listens, the message says so and where."""
    with pytest.raises(SourceError, match=r"cannot reach 127\.0\.0\.1:1 .*check the address"):
        load(f"api:http://127.0.0.1:1,model=m,words={texts}")


def test_the_key_goes_to_the_server_and_nowhere_else(served, start, texts, monkeypatch):
    """A key of the environment is sent as a bearer token; a redirect is not followed with it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    load(served.spec(texts))
    assert served.asked[-1][1]["Authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("EMBCHECK_API_KEY", f"{KEY}2\n")
    table = load(served.spec(texts))
    assert served.asked[-1][1]["Authorization"] == f"Bearer {KEY}2"
    assert KEY not in repr(table.provenance)
    other = start()
    for status in (301, 302, 303, 307, 308):
        served.answer = lambda handler, _, s=status: handler.reply(s, b"", Location=f"{other.url}/v1/embeddings")
        with pytest.raises(SourceError, match=f"status {status}, which leads to {other.url}/v1/embeddings"):
            load(served.spec(texts))
    assert not other.asked


def test_messages_show_no_key(served, texts, monkeypatch):
    """A server that repeats the key in its error does not get it onto the screen, nor does a key that is none."""
    monkeypatch.setenv("EMBCHECK_API_KEY", KEY)
    served.answer = lambda handler, _: handler.reply(401, f'{{"error": "wrong key {KEY}"}}'.encode())
    with pytest.raises(SourceError, match=r"wrong key \*\*\*; check EMBCHECK_API_KEY") as raised:
        load(served.spec(texts))
    assert KEY not in str(raised.value)
    served.answer = lambda _, body: good(body) | {"model": f"m {KEY}"}
    assert "the server calls its model m ***" in load(served.spec(texts)).provenance.notes
    monkeypatch.setenv("EMBCHECK_API_KEY", f"{KEY}\nX-Header: 1")
    with pytest.raises(SourceError, match="EMBCHECK_API_KEY has characters that no key has") as raised:
        load(served.spec(texts))
    assert KEY not in str(raised.value)


def test_no_key_goes_unencrypted_to_another_machine(texts, monkeypatch):
    """With a key set, plain http is refused but to this machine: before anything is sent."""
    monkeypatch.setenv("EMBCHECK_API_KEY", KEY)
    with pytest.raises(
        SourceError, match=r"EMBCHECK_API_KEY is set and would go to 192\.0\.2\.1:8000 unencrypted"
    ) as e:
        load(f"api:http://192.0.2.1:8000,model=m,words={texts}")
    assert KEY not in str(e.value)


@pytest.mark.parametrize(
    ("url", "has_key"),
    [
        ("https://api.openai.com/v1", True),
        ("https://api.openai.com.example.org/v1", False),
        ("https://example.org/v1", False),
        ("http://127.0.0.1:8000", True),
    ],
)
def test_openais_key_is_for_openai(url, has_key, monkeypatch):
    """OPENAI_API_KEY goes to OpenAI and to this machine: a spec of somebody else's can't send it elsewhere."""
    monkeypatch.delenv("EMBCHECK_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (endpoint.Endpoint(url, "m")._key() == KEY) is has_key


def test_what_goes_to_this_machine_goes_through_no_proxy(served, texts, start, monkeypatch):
    """A proxy of the environment does not see what is meant for a server on this machine."""
    proxy = start()
    monkeypatch.setenv("EMBCHECK_API_KEY", KEY)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    load(served.spec(texts))
    assert served.asked
    assert not proxy.asked


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("api:http://127.0.0.1,words=w", "which model"),
        ("api:127.0.0.1:8000,model=m", "no address"),
        ("api:ftp://127.0.0.1,model=m", "no address"),
        ("api:http://,model=m", "no address"),
        ("api:http://host:99999,model=m", "no address"),
        ("api:http://[::1,model=m", "no address"),
        ("api:http://host,model=m,batch=0", "batch must be a whole number from 1 to 2048, not '0'"),
        ("api:http://host,model=m,timeout=x", "timeout must be"),
        ("api:http://host,model=m,nonsense=1", "no option 'nonsense'"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_unasked(spec, named):
    """What is wrong in a spec is said from its text."""
    with pytest.raises(SpecError, match=named):
        sources.describe(parse(spec))


@pytest.mark.parametrize("address", ["http://u:hunter2@host", "http://host/v1?key=hunter2", "http://host/v1#hunter2"])
def test_a_spec_holds_no_secret(address):
    """A password or a query in the address is refused, and not repeated."""
    with pytest.raises(SpecError, match="EMBCHECK_API_KEY") as raised:
        sources.check(parse(f"api:{address},model=m"))
    assert "hunter2" not in str(raised.value)
