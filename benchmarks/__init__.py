"""Benchmarks: each row prints a ratio against a named alternative, measured in the same process."""
