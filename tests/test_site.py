"""The pictures of the documentation's site, which its build draws of a report."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from embcheck import api

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks():
    """The hooks of the site's build."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def figures(hooks):
    """Pictures of a small random matrix."""
    return hooks.pictures(api.check("random:300x16", properties=["positive_cosine_bias", "hubness"]).report)


def test_a_picture_stands_by_itself_in_light_and_dark(hooks, figures):
    """Each is well-formed without the page: its colours are written into it, others on a dark page."""
    assert set(figures) == {"hubness", "positive_cosine_bias"}
    for figure in figures.values():
        light, dark = (hooks.coloured(str(figure.body), tone) for tone in hooks.TONES)
        assert "var(" not in light + dark
        assert light != dark
        assert ET.fromstring(light).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - drawn here


def test_each_picture_stands_in_the_section_of_its_property(hooks, figures):
    """The page of properties has both pictures of each below the first paragraph of its section, and stays else."""
    page = (ROOT / "docs" / "properties.md").read_text(encoding="utf-8")
    placed = hooks.placed(page, figures)
    for name in figures:
        section = placed[placed.index(f"\n## {name}\n") :].partition("\n**Formula.**")[0]
        assert section.count(f"pictures/{name}-") == 2
        assert "**Claim.**" in section
    assert "".join(line for line in placed.splitlines(keepends=True) if "<figure>" not in line).count(
        "\n## "
    ) == page.count("\n## ")
    assert hooks.placed(page, {}) == page
