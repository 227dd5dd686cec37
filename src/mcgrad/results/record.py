"""Fields of an estimate, or of a part of one, in a file: each is checked before anything is made of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields as dataclass_fields
from types import MappingProxyType
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.reals import MOST_AXES, MOST_DRAWS
from mcgrad.results.components import Components
from mcgrad.results.control import of_fields
from mcgrad.results.ranges import Ranges
from mcgrad.results.second import FULL, KINDS, NOTHING, Second
from mcgrad.results.stopping import Stopping
from mcgrad.results.strict_json import DIGEST, loads, verify_digest
from mcgrad.system.kind import Kind, Kinds

FORMAT = "mcgrad.Estimate/1"
PLAIN = ("n", "nonfinite", "omitted", "dtype", "backend", "seed", "seconds", "method", "choice", "group")  # as they are
OF_ARRAYS: tuple[str, ...] = ("value_shapes", "contracted", "covariance", "weighted")  # only of several numbers
OF_WEIGHTS = ("effective_sample_size", "pareto_k")  # only in results with a proposal
SECOND = "second"  # only in results with second derivatives
OF_SECOND: tuple[str, ...] = (SECOND, "hessian", "hessian_stderr", "hvp", "hvp_stderr")
REPLICATES = "replicates"  # only in results over replicates of a point set, of whose means the moments are
LATER = frozenset({
    "method", "choice", "group", "digest", "stopping", "antithetic", "control", "kinds", REPLICATES, *OF_ARRAYS,
    *OF_WEIGHTS, *OF_SECOND,
})  # fmt: skip  # which the first results did not have
NEEDED = frozenset(
    {"format", "value", "stderr", "grad", "grad_stderr", "ranges", "problem", "shapes", "moments", *PLAIN} - LATER
)
MARKS = ("contracted", "covariance", "weighted")  # of components
NONFINITE = ("nan", "inf", "-inf")
MOST_LEVELS = 256  # of nested parameters
LONGEST = sys.float_info.max  # time in seconds
LONGEST_PATH = 4096  # what is longer, and is no JSON, was not meant for the name of a file


def parsed(text: Any) -> dict[str, Any]:
    """Return the fields in JSON text.

    Raises
    ------
    ParameterError
        No text, text that is the name of a file rather than what that holds, or not strict JSON.
    """
    if not isinstance(text, str | bytes | bytearray):
        raise ParameterError("text", shown(text), "JSON as str or bytes, such as Path(...).read_bytes()")
    if len(text) < LONGEST_PATH and not (b"{" in text if isinstance(text, bytes | bytearray) else "{" in text):
        raise ParameterError("text", shown(text), "JSON itself; Path(...).read_bytes() reads a file's")
    return loads("text", bytes(text) if isinstance(text, bytearray) else text)


def draws(fields: Mapping[str, Any]) -> tuple[Ranges, int, int]:
    """Return the ranges of draws, the draws in a group, and how many groups there are."""
    ranges = draw_ranges(fields["ranges"])
    n = sum(stop - start for start, stop in ranges)
    if integer("n", fields["n"], 1, MOST_DRAWS) != n:
        raise ParameterError("n", shown(fields["n"]), f"{n}, the draws in ranges")
    group = integer("group", fields.get("group", 1), 1, n)
    if any(end % group for pair in ranges for end in pair):
        raise ParameterError("group", str(group), "a number of draws that divides all ends of ranges")
    return ranges, group, n // group


def arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an `Estimate` is made of.

    Parameters
    ----------
    fields : dict
        What `Estimate.to_dict` returns. The value, the gradient and their standard errors are not looked at: they
        follow from the moments.

    Raises
    ------
    ParameterError
        Names the field that cannot be one of an estimate, or the two that do not go together; the digest, if there is
        one and the fields were changed after it was made.
    """
    _all_there(fields)
    ranges, group, groups = draws(fields)
    components = components_of(fields)
    nonfinite, omitted = integer("nonfinite", fields["nonfinite"], 0, groups), flag("omitted", fields["omitted"])
    control = None
    if "control" in fields:
        control = of_fields(fields["control"], len(components), numbers)
    size = control.size if control else len(components)
    count = None if REPLICATES in fields else groups - nonfinite if omitted else groups
    found = {
        "moments": moments(fields["moments"], count, size),
        "control": control,
        "components": components,
        "ranges": ranges,
        "nonfinite": nonfinite,
        "omitted": omitted,
        "seed": integer("seed", fields["seed"], 0, (1 << 64) - 1),
        "dtype": float_dtype(fields["dtype"]),
        "backend": word("backend", fields["backend"]),
        "seconds": seconds(fields["seconds"]),
        "problem": string("problem", fields["problem"]),
        "method": method_names(fields.get("method", "pathwise"), components.shapes),
        "choice": string("choice", fields.get("choice", "")),
        "group": group,
        "stopping": Stopping.of_fields(fields.get("stopping")),
        "antithetic": pairs(fields, group),
        "tail": number("pareto_k", fields.get("pareto_k", "nan")),
        "kinds": kinds(fields.get("kinds", [])),
    }
    if DIGEST in fields:
        verify_digest("", fields)
    return found


def of_stopping(stopping: Stopping | None) -> dict[str, Any]:
    """Return how a run ended as fields; nothing for a run of so many draws as it was asked for."""
    return {} if stopping is None else {"stopping": stopping.to_fields()}


def of_kinds(kinds: Kinds) -> dict[str, Any]:
    """Return as fields of what kinds the processes were; nothing where that is not known."""
    return {"kinds": [asdict(kind) for kind in kinds]} if kinds else {}


def kinds(given: Any) -> Kinds:
    """Return of what kinds the processes were."""
    names = [each.name for each in dataclass_fields(Kind)]
    if not isinstance(given, list):
        raise ParameterError("kinds", shown(given), "a list of objects")
    for each in given:
        if (
            not isinstance(each, Mapping)
            or set(each) != set(names)
            or not all(isinstance(x, str) for x in each.values())
        ):
            raise ParameterError("kinds", shown(each), f"an object with strings {', '.join(names)}")
    return tuple(Kind(**each) for each in given)


def of_pairs(antithetic: bool) -> dict[str, Any]:
    """Return as fields what says that draws come in antithetic pairs; nothing where they do not."""
    return {"antithetic": True} if antithetic else {}


def pairs(fields: Mapping[str, Any], group: int) -> bool:
    """Return whether draws come in antithetic pairs, where so many are averaged together."""
    found = flag("antithetic", fields.get("antithetic", False))
    if found and group % 2:
        raise ParameterError(
            "antithetic", f"true for groups of {group} draws", "an even number, of which half are mirrored"
        )
    return found


def of_moments(moments: Moments) -> dict[str, Any]:
    """Return moments as fields."""
    return {"count": moments.count, "mean": moments.mean.tolist(), "norm": moments.norm.tolist()}


def moments(given: Any, count: int | None = None, size: int | None = None) -> Moments:
    """Return moments: of so many draws and so many components, where these are known."""
    if not isinstance(given, Mapping):
        raise ParameterError("moments", shown(given), "an object with count, mean and norm")
    squared = "norm" not in given  # results of earlier versions have sums of squares
    names = ("count", "mean", "m2" if squared else "norm")
    for name in names:
        if name not in given:
            raise ParameterError(f"moments.{name}", "nothing", ", ".join(names))
    found = integer("moments.count", given["count"], 0, MOST_DRAWS)
    count = found if count is None else count
    if found != count:
        raise ParameterError("moments.count", str(found), f"{count}, the groups of draws that count")
    mean, scatter = (numbers(f"moments.{name}", given[name]) for name in names[1:])
    size = len(mean) if size is None else size
    if len(mean) != size:
        raise ParameterError("moments.mean", f"{len(mean)} numbers", f"{size}, one for each component")
    if len(scatter) != size:
        raise ParameterError(f"moments.{names[2]}", f"{len(scatter)} numbers", f"{size}, one for each component")
    if (scatter < 0).any():
        raise ParameterError(f"moments.{names[2]}", shown(float(scatter[scatter < 0][0])), "0 or more")
    return Moments(count, mean, np.sqrt(scatter) if squared else scatter)


def integer(name: str, given: Any, least: int, most: int) -> int:
    """Return a whole number in range."""
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise ParameterError(name, shown(given), f"a whole number from {least} to {most}")
    return given


def flag(name: str, given: Any) -> bool:
    """Return true or false."""
    if not isinstance(given, bool):
        raise ParameterError(name, shown(given), "true or false")
    return given


def string(name: str, given: Any) -> str:
    """Return text."""
    if not isinstance(given, str):
        raise ParameterError(name, shown(given), "a string")
    return given


def word(name: str, given: Any) -> str:
    """Return a name, which is not empty."""
    if not isinstance(given, str) or not given or not given.isprintable():
        raise ParameterError(name, shown(given), "a string of printable characters, not empty")
    return given


def seconds(given: Any) -> float:
    """Return a time."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= LONGEST:
        raise ParameterError("seconds", shown(given), "a finite number, 0 or more")
    return float(given)


def _all_there(fields: Mapping[str, Any]) -> None:
    if not isinstance(fields, Mapping) or fields.get("format") != FORMAT:
        given = fields.get("format", "no format") if isinstance(fields, Mapping) else fields
        raise ParameterError("format", shown(given), repr(FORMAT))
    for name in sorted(NEEDED - fields.keys()):
        raise ParameterError(name, "nothing", "what Estimate.to_dict writes")
    for name in fields.keys() - NEEDED - LATER:
        raise ParameterError(shown(name), "no field of an estimate", ", ".join(sorted(NEEDED | LATER)))


def draw_ranges(given: Any, name: str = "ranges") -> Ranges:
    """Return ranges of draws, or of what else is numbered."""
    accepted = "a list of pairs of whole numbers, [first, stop], in order, none touching the next"
    if not isinstance(given, list) or not given:
        raise ParameterError(name, shown(given), accepted)
    before, ranges = -1, []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ParameterError(name, shown(pair), accepted)
        start = integer(name, pair[0], before + 1, MOST_DRAWS)
        before = integer(name, pair[1], start + 1, 2 * MOST_DRAWS)
        ranges.append((start, before))
    return tuple(ranges)


def of_components(components: Components) -> dict[str, Any]:
    """Return as fields what says that components are not of one number and its gradient; nothing where they are."""
    found: dict[str, Any] = {}
    if not components.of_number:
        found["value_shapes"] = {path: list(shape) for path, shape in components.value.items()}
    marks = {name: getattr(components, name) for name in MARKS}
    found |= {name: True for name, mark in marks.items() if mark}
    return found | ({SECOND: components.second.to_fields()} if components.second else {})


def components_of(fields: Mapping[str, Any], others: Mapping[str, Shape] = MappingProxyType({})) -> Components:
    """Return the components that fields describe.

    Parameters
    ----------
    fields : dict
    others : dict of str to tuple of int
        Shapes of parameters whose gradients are elsewhere, which second derivatives may be in.
    """
    of_array = shapes_by_path("value_shapes", fields.get("value_shapes", {"": []}), unnamed=True)
    if not of_array:
        raise ParameterError("value_shapes", "an empty object", "an object of lists by name")
    marks = {name: flag(name, fields.get(name, False)) for name in MARKS}
    shapes = shapes_by_path("shapes", fields["shapes"])
    second = second_of(fields[SECOND], {**shapes, **others}) if SECOND in fields else NOTHING
    return Components(shapes, of_array, **marks, second=second, others=others)


def second_of(given: Any, shapes: Mapping[str, Shape]) -> Second:
    """Return which second derivatives fields describe, for the shapes of parameters."""
    names = ("kind", "entries", "method")
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise ParameterError(SECOND, shown(given), f"an object with {', '.join(names)}")
    kind, entries, how = (given[name] for name in names)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ParameterError(f"{SECOND}.kind", shown(kind), " or ".join(map(repr, KINDS)))
    many, found = 2 if kind == FULL else 1, []
    for entry in entries if isinstance(entries, list) and entries else (entries,):
        if not isinstance(entry, list) or len(entry) != many or not all(isinstance(x, str) for x in entry):
            raise ParameterError(f"{SECOND}.entries", shown(entry), f"lists of {many} paths of parameters")
        if not set(entry) <= shapes.keys():
            raise ParameterError(f"{SECOND}.entries", shown(entry), f"paths among {', '.join(shapes)}")
        found.append(tuple(entry))
    if len({frozenset(entry) for entry in found}) < len(found):
        raise ParameterError(f"{SECOND}.entries", shown(entries), "each pair of parameters once")
    if isinstance(how, Mapping):
        how = {word(f"{SECOND}.method", pair): word(f"{SECOND}.method.{pair}", way) for pair, way in how.items()}
    else:
        how = word(f"{SECOND}.method", how)
    return Second(kind, tuple(found), how)


def shapes_by_path(field: str, given: Any, unnamed: bool = False) -> dict[str, Shape]:
    """Return shapes by path; `unnamed` if there may be one without a name, of the path ""."""
    if not isinstance(given, Mapping):
        raise ParameterError(field, shown(given), "an object of lists by parameter")
    shapes = {}
    for path, shape in given.items():
        alone = unnamed and path == "" and len(given) == 1
        if not isinstance(path, str) or not (alone or (all(names := path.split(".")) and len(names) <= MOST_LEVELS)):
            raise ParameterError(field, shown(path), "names joined by dots")
        if not isinstance(shape, list) or len(shape) > MOST_AXES:
            raise ParameterError(f"{field}.{path}", shown(shape), "a list of lengths")
        shapes[path] = tuple(integer(f"{field}.{path}", length, 1, (1 << 63) - 1) for length in shape)
    with renamed(lambda name: f"{field}.{name}"):
        tree.unflatten(shapes)
    return shapes


def numbers(name: str, given: Any, empty: bool = False) -> Float64Array:
    """Return a list of floats as an array."""
    if not isinstance(given, list) or not (given or empty):
        raise ParameterError(name, shown(given), f"a list of numbers{'' if empty else ', not empty'}")
    for x in given:
        if type(x) not in (int, float) and (type(x) is not str or x not in NONFINITE):
            raise ParameterError(name, shown(x), f"a number, {', '.join(map(repr, NONFINITE))}")
    try:
        return np.array([float(x) for x in given])
    except OverflowError:
        raise ParameterError(name, "an integer that is too large", "numbers that float64 holds") from None


def number(name: str, given: Any) -> float:
    """Return a number, which may be one that JSON lacks."""
    return float(numbers(name, [given])[0])


def float_dtype(given: Any) -> str:
    """Return the name of a dtype."""
    if not isinstance(given, str) or given not in ("float32", "float64"):
        raise ParameterError("dtype", shown(given), "'float32' or 'float64'")
    return str(given)


def method_names(given: Any, shapes: Mapping[str, Shape]) -> str | dict[str, str]:
    """Return the name of a method, or of one for each parameter."""
    if not isinstance(given, Mapping):
        return word("method", given)
    if not given or shapes.keys() - given.keys():
        raise ParameterError("method", shown(given), "a name, or one by parameter for all of them")
    return {string("method", path): word(f"method.{path}", name) for path, name in given.items()}
