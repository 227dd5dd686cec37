"""Families of distributions: parameters, and moments whose gradients are known because they are plain functions.

A row is added for a family as one call of `family`: what the tests of families do with it follows from the row.
"""

from tests.families import discrete, multivariate, of_gammas, univariate  # noqa: F401 - their rows
from tests.families.table import FAMILIES, Family, family, gradient, moment, total

__all__ = ["FAMILIES", "Family", "family", "gradient", "moment", "total"]
