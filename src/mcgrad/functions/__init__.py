"""Formulas that families of distributions share, in plain NumPy that can be traced."""
