"""Rewrite a Program into a cheaper one with the same meaning, from the derivatives to what code is generated from."""
