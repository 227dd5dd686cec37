"""Tracing: run a plain NumPy function on Tracers and keep what it computes as Vars."""
