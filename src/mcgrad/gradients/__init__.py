"""Estimators: each turns "f and q" into a Program whose per-draw outputs are what has to be averaged."""
