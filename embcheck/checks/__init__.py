"""Checks: a property with its parameters, found in files, measured and judged."""
