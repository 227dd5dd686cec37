"""Rewrite a Program into a cheaper one with the same meaning."""
