"""Backends: each takes a Program and returns count, mean and second moment of its outputs."""
