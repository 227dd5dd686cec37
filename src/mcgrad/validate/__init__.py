"""Validation: backends against the reference, gradients against finite differences, estimators side by side."""
