"""Jaxprs evaluated with NumPy's functions: rules by primitive, and what to write instead of those without one."""
