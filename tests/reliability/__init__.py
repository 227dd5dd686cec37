"""Attacks that must not lose work or run foreign code: one small test for each."""
