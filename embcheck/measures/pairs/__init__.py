"""Measures of pairs of words: offsets, analogies, relatedness."""
