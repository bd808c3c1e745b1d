"""Measures of the products of tokens with the neurons of a layer."""
