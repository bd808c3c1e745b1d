"""Weights: one tensor out of safetensors and torch files, without running what they hold."""
