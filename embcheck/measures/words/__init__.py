"""Measures of lists of words: categories, neighbors, orders, axes."""
