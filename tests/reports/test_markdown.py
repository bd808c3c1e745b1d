"""Markdown in which what others wrote is inert, and numbers and names read as they are."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from embcheck.reports import markdown

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    "text",
    [
        "0.053 [0.041, 0.065], n = 146 word pairs",
        "moved -0.06 [-0.08, -0.04] from 0.5 (paired; margin down 0.02)",
        "above 0.51, beats shuffled_labels",
        "p = 0.0001, 95% 'a' - b/c?",
    ],
)
def test_numbers_and_names_read_as_they_are(text):
    """What a report says of itself is the same in the Markdown as on the screen."""
    assert markdown.inert(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "looks like this: rows. See: embcheck diagnose npy:a.npy,vocab=w.txt 'npy:b c.npy'",
            "looks like this: rows. See: `embcheck diagnose npy:a.npy,vocab=w.txt 'npy:b c.npy'`",
        ),
        ("1 entry (a); prune it with: embcheck baseline prune m, or select it", None),
        ("what made it of npy:a_b.npy, which is gone", "what made it of `npy:a_b.npy`, which is gone"),
        ("see it with embcheck check m.", "see it with `embcheck check m`."),
        ("p: 0.1; why: none", "p: 0.1; why: none"),
    ],
)
def test_commands_and_specs_are_code_to_be_copied(text, shown):
    """In prose a command or a spec stands as code, as it is typed, and what is around it as text."""
    shown = shown or text.replace("embcheck baseline prune m", "`embcheck baseline prune m`")
    assert markdown.prose(text) == shown


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "[a](http://b.c)",
    "![a](b)",
    "[a][b]",
    "<http://b.c>",
    "https://b.c www.b.c a@b.c",
    "**b** _i_ __b__ ~~s~~ `c` ``c` `",
    "a|b\\|c",
    "# h\n- l\n1. l\n> q\n```\nx",
    "&lt;b&gt; &#60;img&#62;",
    "\u202e\x1b[31m\ud800",
    ":smile: $x$ #1 @all",
    "\\<b>\\`",
    " ",
    "`",
    "",
]


@pytest.mark.parametrize("make", [markdown.inert, markdown.code, markdown.prose])
@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_token_holds_is_shown_and_does_nothing(make, text):
    """In a table or a paragraph a hostile text makes no element, link, emphasis, cell or line: it is shown."""
    shown = make(text)
    assert shown.isprintable()
    cell = RENDERER.render(markdown.table(["a", "b"], [[shown, "last"]]))
    assert cell.count("<td>") == 2
    assert cell.count("<tr>") == 2
    inside = cell[cell.index("<td>") + 4 : cell.index("</td>")].replace("<code>", "").replace("</code>", "")
    assert "<" not in inside
    assert RENDERER.render(f"x {shown} (y)[z]").replace("<code>", "").replace("</code>", "").count("<") == 2
    if text.isprintable() and "\\" not in text:
        visible = inside.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
        assert visible.strip() == text.strip()
