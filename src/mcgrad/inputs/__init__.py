"""Inputs: check the arguments of the user: counts, names, parameters, data, integrands and objectives."""
