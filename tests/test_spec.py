import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.errors import SpecError
from embcheck.spec import ModelSpec, parse, parse_all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo", ModelSpec("demo", "demo", "demo", "")),
        ("mini=demo", ModelSpec("demo", "mini", "demo", "")),
        ("demo:lm", ModelSpec("demo:lm", "demo-lm", "demo", "lm")),
        ("random:30522x384", ModelSpec("random:30522x384", "random-30522x384", "random", "30522x384")),
        ("./models/x", ModelSpec("./models/x", "x", "directory", "./models/x")),
        ("/models/x/", ModelSpec("/models/x/", "x", "directory", "/models/x/")),
        ("~/x@home/y", ModelSpec("~/x@home/y", "y", "directory", "~/x@home/y")),
        ("model", ModelSpec("model", "model", "directory", "model")),
        ("a/b/c@1", ModelSpec("a/b/c@1", "c-1", "directory", "a/b/c@1")),
        ("org/name", ModelSpec("org/name", "name", "directory", "org/name")),
        ("org/name@v1.2", ModelSpec("org/name@v1.2", "name", "directory", "org/name", "v1.2")),
        ("hf:org/name@v1.2", ModelSpec("hf:org/name@v1.2", "name", "hf", "org/name", "v1.2")),
        ("hf:org/name@refs/pr/1", ModelSpec("hf:org/name@refs/pr/1", "name", "hf", "org/name", "refs/pr/1")),
        ("hf:org/name/q.gguf@v1", ModelSpec("hf:org/name/q.gguf@v1", "q.gguf", "hf", "org/name/q.gguf", "v1")),
        ("hf:org/name@v1/q.gguf", ModelSpec("hf:org/name@v1/q.gguf", "q.gguf", "hf", "org/name/q.gguf", "v1")),
        ("word2vec:a b.bin", ModelSpec("word2vec:a b.bin", "a-b.bin", "word2vec", "a b.bin")),
        (
            "g=npy:v.npy,vocab=w.txt",
            ModelSpec("npy:v.npy,vocab=w.txt", "g", "npy", "v.npy", None, (("vocab", "w.txt"),)),
        ),
        (
            "npy:a,b.npy,vocab=w.txt",
            ModelSpec("npy:a,b.npy,vocab=w.txt", "a-b.npy", "npy", "a,b.npy", None, (("vocab", "w.txt"),)),
        ),
        (
            "npy:v.npy,vocab=a=b.txt",
            ModelSpec("npy:v.npy,vocab=a=b.txt", "v.npy", "npy", "v.npy", None, (("vocab", "a=b.txt"),)),
        ),
        *(
            (page, ModelSpec(page, target.rsplit("/", 1)[-1], "hf", target, revision))
            for page, target, revision in [
                ("https://huggingface.co/org/name", "org/name", None),
                ("https://huggingface.co/org/name/", "org/name", None),
                ("https://huggingface.co/gpt2", "gpt2", None),
                ("https://hf.co/gpt2/tree/v1?a=b#c", "gpt2", "v1"),
                ("https://huggingface.co/org/name/tree/main", "org/name", "main"),
                ("https://huggingface.co/org/name/blob/main/q.gguf?download=true", "org/name/q.gguf", "main"),
                ("https://huggingface.co/org/name/resolve/v1/a/q.gguf", "org/name/a/q.gguf", "v1"),
            ]
        ),
        (" demo ", ModelSpec("demo", "demo", "demo", "")),
    ],
)
def test_a_spec_means(text, expected):
    """Each form of spec is read as the table in the module's docstring says."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty or has control characters"),
        ("  \t", "is empty or has control characters"),
        ("a\nb", "is empty or has control characters"),
        ("a\x00b", "is empty or has control characters"),
        ("a\x7fb", "is empty or has control characters"),
        ("https://huggingface.co/datasets/org/name", "is no address of a model on the hub"),
        ("https://example.org/org/name", "is no address of a model on the hub"),
        ("x=http://huggingface.co.example.org/org/name", "is no address of a model on the hub"),
        ("demo:other", "no such demo; there are demo, a sentence encoder, and demo:lm, a language model"),
        ("npy:", "names no file after 'npy:'"),
        ("x=word2vec:", "names no file after 'word2vec:'"),
        ("npy:v.npy,vocab=a,vocab=b", "gives an option twice"),
        ("npy:v.npy,vocab=", "option 'vocab' has no value"),
    ],
)
def test_a_wrong_spec_is_one_line_that_names_it(text, message):
    """A spec that can't be read is refused in one line that quotes it."""
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_option_that_is_absent_is_none():
    """Options are read by key."""
    spec = parse("npy:v.npy,vocab=w.txt")
    assert (spec.option("vocab"), spec.option("dtype")) == ("w.txt", None)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("npy:m.npy,vocab=w.txt,column=x", [("vocab", "w.txt")]),
        ("npy:m.npy,vocab=none", []),
        ("st:m,words=w.txt,prefix=x", [("words", "w.txt")]),
        ("hidden:m@layer=1,prompts=p.txt", [("prompts", "p.txt")]),
        ("./adapter,base=./model,tokenizer=./t", [("base", "./model"), ("tokenizer", "./t")]),
        ("parquet:m.parquet,vectors=v,words=w", []),
    ],
)
def test_options_that_are_paths_are_told_from_columns(text, paths):
    """What names a file is looked for and rebased; what names a column, or nothing, is left as it is."""
    assert list(parse(text).paths) == paths


def test_two_models_of_one_name_are_refused():
    """Results are keyed by alias: two models may not share one, and the message shows the way out."""
    with pytest.raises(
        SpecError, match=re.escape("two models are called 'x' (./a/x and ./b/x); name one of them, such as other=./b/x")
    ):
        parse_all(["./a/x", "./b/x"])
    assert [s.alias for s in parse_all(["./a/x", "y=./b/x"])] == ["x", "y"]


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    """Whatever the text, parsing gives a spec with a usable alias, or a SpecError: never another error."""
    try:
        spec = parse(text)
    except SpecError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]+|[a-z][a-z0-9_]+", spec.alias)
    assert str(spec) == spec.alias


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
paths = st.from_regex(r"\./[A-Za-z0-9_ .-]{1,12}[A-Za-z0-9]", fullmatch=True)


@given(alias=names, path=paths, vocab=paths)
def test_the_parts_of_a_spec_come_back(alias, path, vocab):
    """Alias, scheme, target and option survive being written as a spec and parsed."""
    spec = parse(f"{alias}=npy:{path},vocab={vocab}")
    assert (spec.alias, spec.scheme, spec.target, spec.option("vocab")) == (alias, "npy", path, vocab)
    assert parse(f"{alias}={spec.text}") == spec
