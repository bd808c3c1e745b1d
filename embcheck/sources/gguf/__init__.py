"""GGUF files: header, tensors, tokens."""
