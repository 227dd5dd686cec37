"""Simplify Programs: rewrite one into a cheaper one with the same meaning, after differentiation and before codegen."""
