"""Differentiation of Programs: rules that return equations, and the two modes that apply them."""
