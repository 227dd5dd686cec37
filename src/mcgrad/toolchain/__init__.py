"""Emitted source into machine code, by way of the cache."""
