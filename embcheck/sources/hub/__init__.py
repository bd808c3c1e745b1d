"""The Hugging Face hub: the bytes of one tensor, kept beside its commit."""
