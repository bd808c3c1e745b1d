"""Tokenizers: surface forms, classes of tokens, and which of them text can reach."""
