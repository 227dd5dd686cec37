"""Compiled to machine code from one source: Philox, noise, elementary and special functions."""
