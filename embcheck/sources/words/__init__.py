"""Word vectors: text and binary files of words and numbers."""
