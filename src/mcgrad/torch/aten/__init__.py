"""PyTorch's operators evaluated with NumPy's functions: rules by name, and what to write instead of the rest."""
