"""A report on a table whose tokens try to break out of the page, and that page."""

from __future__ import annotations

import shutil
import string

import numpy as np
import pytest
from msgspec.structs import replace

import embcheck
from embcheck import EmbeddingTable, lexicons
from embcheck.claims import Verdict
from embcheck.reports import html

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "</style><b>bold</b>",
    "\x1b[31mred\x1b[0m\x07",
    "\u202eevil\u2066",
    "\ud800lone",
    "x" * 10_000,
    "{{ 7 * 7 }}{% raw %}",
    "&lt;!-- ]]>",
    "\u2028\u2029\x00\x01\x85",
    "a\u0300\u0301\u0302\u0303\u0304\u0305",
    "'onmouseover='alert(4)",
    "`${alert(5)}` | **bold** [x](javascript:alert(6))",
)


def hostile_table() -> EmbeddingTable:
    """Noise with every word of the lexicons; the hostile tokens lie around queen, two of them equal."""
    characters = (string.ascii_letters, string.digits, string.punctuation, *map(chr, range(0x430, 0x450)))
    filler = (f"filler{i}" for i in range(600))
    words = list(dict.fromkeys((*lexicons.words(), *HOSTILE, *"".join(characters), *filler)))
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(words), 24)).astype(np.float32)
    queen = vectors[words.index("queen")]
    for place, token in enumerate(HOSTILE):
        vectors[words.index(token)] = queen * (1 + 0.05 * place) + 0.02 * rng.standard_normal(24)
    vectors[words.index(HOSTILE[0])] = vectors[words.index(HOSTILE[1])]  # equal tokens have a picture
    return EmbeddingTable.from_arrays(vectors, words)


@pytest.fixture(scope="session")
def measured():
    """The report of the whole catalogue on the hostile table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        return embcheck.check(hostile_table()).report


@pytest.fixture(scope="session")
def report(measured):
    """Three models: the hostile table, a part of it under a hostile name, and one that failed to load."""
    (first,) = measured.models
    hostile = {"alias": HOSTILE[1] + "\x1b", "spec": HOSTILE[0] + "\ud800"}
    second = replace(first, results=first.results[::4], **hostile)
    nothing = {"estimate": None, "nulls": (), "details": {}, "counterexamples": (), "reason": HOSTILE[2]}
    failed = tuple(
        replace(
            result,
            verdict=Verdict.ERROR,
            outcome="fail",
            claims=tuple(replace(claim, verdict=Verdict.ERROR) for claim in result.claims),
            **nothing,
        )
        for result in first.results
    )
    unread = {"shape": None, "dtype": None, "population": None, "weights_sha256": None}
    broken = replace(first, alias="broken", results=failed, **unread)
    return replace(measured, models=(first, second, broken))


@pytest.fixture(scope="session")
def page(report):
    """The page of that report."""
    return html.render(report)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium that is installed here; what needs one is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
