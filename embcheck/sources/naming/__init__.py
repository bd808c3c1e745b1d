"""Which tensor is which, by name, shape, configuration and code."""
