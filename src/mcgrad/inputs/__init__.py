"""Inputs: what the user gives, checked: numbers, names, data, integrands and objectives."""
