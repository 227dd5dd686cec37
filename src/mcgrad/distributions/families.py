"""The families by name, as error messages and job files list them: all public classes of `mcgrad.distributions`."""

from __future__ import annotations

import inspect

from mcgrad import distributions
from mcgrad.distributions.base import Distribution


def families() -> dict[str, type[Distribution]]:
    """Return them by name; this imports all."""
    named = {name: getattr(distributions, name) for name in dir(distributions)}
    return {
        name: found
        for name, found in named.items()
        if inspect.isclass(found) and issubclass(found, Distribution) and found is not Distribution
    }
