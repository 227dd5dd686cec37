"""A job's distribution: a table of a family and its parameters, or an object in a Python file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mcgrad import distributions, noise
from mcgrad.distributions import bijections
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.families import families
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.jobs.references import References

FAMILIES = families()
FUNCTIONS = ("transform", "log_prob", "inverse", "log_det", "cdf", "sampler")
ACCEPTED = 'a table such as {family = "Normal", loc = 0.3, scale = 1.2}, or "FILE.py:NAME"'


def distribution(key: str, given: Any, references: References) -> Distribution:
    """Return the distribution that a key of a job describes.

    Parameters
    ----------
    key : str
        Its path in the job, for errors.
    given : str or dict
    references : References
        For the files that it refers to.

    Raises
    ------
    ParameterError
        The value is no distribution.
    """
    if isinstance(given, str):
        found = references.made(key, given, "a distribution or a function that returns one")
        if not isinstance(found, Distribution):
            raise ParameterError(key, f"{given!r}, which gives {shown(found)}", "what gives a distribution")
        return found
    if not isinstance(given, Mapping):
        raise ParameterError(key, shown(given), ACCEPTED)
    table = dict(given)
    family = table.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        given = "nothing" if family is None else shown(family)
        raise ParameterError(f"{key}.family", given, " or ".join(repr(name) for name in FAMILIES))
    if FAMILIES[family] is distributions.Joint:
        parts = {name: distribution(f"{key}.{name}", part, references) for name, part in table.items()}
        with renamed(lambda name: f"{key}.{name}"):
            return distributions.Joint(**parts)
    _names(key, family, table)
    values: dict[str, Any] = {}
    for name, value in table.items():
        path = f"{key}.{name}"
        if name in FUNCTIONS:
            values[name] = references.python(path, value, "a function")
        elif name == "fn":
            values[name] = _bijection(path, value, references)
        elif name == "base" or (isinstance(value, Mapping) and "family" in value):
            values[name] = distribution(path, value, references)
        elif name == "noise":
            values[name] = _noise(path, value)
        elif name == "batch_ndim":
            values[name] = value
        elif name == "params":
            values[name] = references.values(path, value)
        else:
            values[name] = references.value(path, value)
    with renamed(lambda name: f"{key}.{name}"):
        return FAMILIES[family](**values)


def _bijection(key: str, given: Any, references: References) -> Any:
    found = getattr(bijections, given, None) if isinstance(given, str) else None
    if inspect.isclass(found) and issubclass(found, bijections.Bijection):
        return found()
    return references.python(key, given, "a function, a bijection, or a bijection's name, such as Exp")


def _names(key: str, family: str, table: Mapping[str, Any]) -> None:
    accepted = inspect.signature(FAMILIES[family]).parameters
    names = [name for name in accepted if name not in ("constraints", "batch_ndim")]
    known = [*names, *(["batch_ndim"] if "batch_ndim" in accepted else [])]
    for name in table:
        if name not in known:
            raise ParameterError(f"{key}.{name}", f"no parameter of {family}", ", ".join(known))
    for name in names:
        if name not in table and accepted[name].default is inspect.Parameter.empty:
            raise ParameterError(f"{key}.{name}", "nothing", f"a value; {family} needs {', '.join(names)}")


def _noise(key: str, given: Any) -> noise.NoiseSpec:
    if isinstance(given, Mapping) and given and "kind" not in given:
        return {name: _noise(f"{key}.{name}", part) for name, part in given.items()}
    if not isinstance(given, Mapping) or set(given) - {"kind", "shape"}:
        raise ParameterError(key, shown(given), '{kind = "normal", shape = [3]}, or a table of such')
    shape = given.get("shape", [])
    with renamed(lambda name: f"{key}.{name}"):
        return noise.Noise(given["kind"], tuple(shape) if isinstance(shape, list) else (shape,))
