"""Fields of an estimate of a batch in a file: each is checked before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Moments
from mcgrad.noise import Shape
from mcgrad.reals import MOST_AXES, MOST_DRAWS
from mcgrad.results import record
from mcgrad.results.packed import pack, unpack
from mcgrad.results.pairs import pairs
from mcgrad.results.replicates import of_fields
from mcgrad.results.row_moments import RowMoments
from mcgrad.results.stopping import Stopping
from mcgrad.results.strict_json import DIGEST, listed, verify_digest

if TYPE_CHECKING:
    from mcgrad.results.batch_estimate import BatchEstimate

FORMAT = "mcgrad.BatchEstimate/1"
PLAIN = ("n", "reduce", "omitted", "dtype", "backend", "seed", "seconds", "method", "choice", "group")  # as they are
RESULTS = ("value", "stderr", "grad", "grad_stderr")  # which follow from the others
ESS = "effective_sample_size"
FIELDS = frozenset({
    "format", *PLAIN, "nonfinite", "batch_shape", "rows", "ranges", "problem", "order", "shapes", "shared",
    "moments", "total", "differences",
})  # fmt: skip
LATER = frozenset(
    {DIGEST, "stopping", "antithetic", "kinds", ESS, record.REPLICATES, *RESULTS, *record.OF_ARRAYS, *record.OF_SECOND}
)  # which not all have
LISTED = 10_000  # numbers by row, beyond which arrays are packed and the results left out: a million take seconds
LARGEST = (1 << 63) - 1
Integers = NDArray[np.int64]


def of(est: BatchEstimate) -> dict[str, Any]:
    """Return an estimate as dicts, lists, strings and numbers."""
    moments, many = est.moments, est.moments.means.size > LISTED

    def array(x: NDArray[Any]) -> Any:
        return pack(x.ravel()) if many else x.ravel().tolist()

    return {
        "format": FORMAT,
        **({} if many else {name: tree.map(listed, getattr(est, name)) for name in RESULTS}),
        **{name: getattr(est, name) for name in PLAIN},
        **record.of_pairs(est.antithetic),
        "nonfinite": array(est.nonfinite),
        "batch_shape": list(est.batch_shape),
        "rows": array(est.rows),
        "ranges": [list(pair) for pair in est.ranges],
        "problem": est.fingerprint,
        "order": list(est.order),
        "shapes": {path: list(shape) for path, shape in est.components.shapes.items()},
        "shared": {path: list(shape) for path, shape in est.shared.items()},
        **record.of_components(est.components),
        **({} if many else est._second_fields()),
        **record.of_stopping(est.stopping),
        **record.of_kinds(est.kinds),
        **({ESS: listed(est.effective_sample_size)} if est.components.weighted and not many else {}),
        "moments": {
            "counts": array(moments.counts),
            "means": array(moments.means),
            "norms": array(moments.norms),
            "totals": array(moments.totals),
            "variances": array(moments.variances),
            "degrees": array(moments.total_degrees),
        },
        "total": None if est.total is None else record.of_moments(est.total),
        "differences": None if est.differences is None else record.of_moments(est.differences),
        **({record.REPLICATES: est.replicates.to_dict()} if est.replicates else {}),
    }


def arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a `BatchEstimate` is made of.

    Parameters
    ----------
    fields : dict
        What `BatchEstimate.to_dict` returns. The value, the gradient and their standard errors are not looked at: they
        follow from the moments.

    Raises
    ------
    ParameterError
        Names the field that cannot be one of an estimate, or the two that do not go together; the digest, if there is
        one and the fields were changed after it was made.
    """
    _all_there(fields)
    ranges, group, groups = record.draws(fields)
    batch_shape = _batch_shape(fields["batch_shape"])
    rows = math.prod(batch_shape)
    shared = record.shapes_by_path("shared", fields["shared"])
    shared = {path: shared[path] for path in _order(fields["order"], fields["shapes"], shared) if path in shared}
    components, order = record.components_of(fields, shared), tuple(fields["order"])
    over_rows, values = components.over_rows(shared), components.values.stop
    moments = _row_moments(fields["moments"], rows, len(components), len(over_rows) - values, groups)
    if fields["reduce"] not in (None, "sum", "mean", "none"):
        raise ParameterError("reduce", shown(fields["reduce"]), "null, sum, mean or none")
    products = components.products.stop - components.products.start
    together = {"total": values + products, "differences": len(pairs(rows)[0]) * values if rows else 0}
    found = {
        "moments": moments,
        "components": components,
        "shared": shared,
        "order": order,
        "batch_shape": batch_shape,
        "rows": _integers("rows", fields["rows"], rows, LARGEST).reshape(batch_shape),
        "reduce": fields["reduce"],
        "ranges": ranges,
        "nonfinite": _integers("nonfinite", fields["nonfinite"], rows, groups).reshape(batch_shape),
        "omitted": record.flag("omitted", fields["omitted"]),
        "seed": record.integer("seed", fields["seed"], 0, (1 << 64) - 1),
        "dtype": record.float_dtype(fields["dtype"]),
        "backend": record.word("backend", fields["backend"]),
        "seconds": record.seconds(fields["seconds"]),
        "problem": record.string("problem", fields["problem"]),
        "method": record.method_names(fields["method"], dict.fromkeys(order, ())),
        "choice": record.string("choice", fields["choice"]),
        "group": group,
        "stopping": Stopping.of_fields(fields.get("stopping")),
        "antithetic": record.pairs(fields, group),
        "kinds": record.kinds(fields.get("kinds", [])),
        **{name: _moments(name, fields[name], size) for name, size in together.items()},
        "replicates": of_fields(fields[record.REPLICATES]) if record.REPLICATES in fields else None,
    }
    if DIGEST in fields:
        verify_digest("", fields)
    return found


def _all_there(fields: Mapping[str, Any]) -> None:
    if not isinstance(fields, Mapping) or fields.get("format") != FORMAT:
        given = fields.get("format", "no format") if isinstance(fields, Mapping) else fields
        raise ParameterError("format", shown(given), repr(FORMAT))
    for name in sorted(FIELDS - fields.keys()):
        raise ParameterError(name, "nothing", "what BatchEstimate.to_dict writes")
    for name in fields.keys() - FIELDS - LATER:
        raise ParameterError(shown(name), "no field of an estimate of a batch", ", ".join(sorted(FIELDS | LATER)))


def _batch_shape(given: Any) -> Shape:
    if not isinstance(given, list) or not 0 < len(given) <= MOST_AXES:
        raise ParameterError("batch_shape", shown(given), "a list of lengths")
    return tuple(record.integer("batch_shape", length, 0, LARGEST) for length in given)


def _integers(name: str, given: Any, size: int, most: int) -> Integers:
    if isinstance(given, Mapping):
        found = unpack(name, given, "int64", (size,))
        if size and not 0 <= int(found.min()) <= int(found.max()) <= most:
            raise ParameterError(name, f"numbers from {found.min()} to {found.max()}", f"from 0 to {most}")
        return found
    if not isinstance(given, list) or len(given) != size:
        raise ParameterError(name, shown(given), f"a list of {size} whole numbers, one for each row")
    return np.array([record.integer(name, x, 0, most) for x in given], np.int64)


def _order(given: Any, shapes: Mapping[str, Shape], shared: Mapping[str, Shape]) -> tuple[str, ...]:
    names = [*shapes, *shared]
    if not isinstance(given, list) or sorted(map(str, given)) != sorted(names) or len(set(names)) < len(names):
        raise ParameterError("order", shown(given), "the names in shapes and in shared, each once")
    return tuple(map(str, given))


def _row_moments(given: Any, rows: int, components: int, sums: int, most: int) -> RowMoments:
    names = {"means": rows * components, "norms": rows * components, "totals": sums, "variances": sums}
    if not isinstance(given, Mapping) or set(given) - {"degrees"} != {"counts", *names}:
        raise ParameterError("moments", shown(given), f"an object with counts, {', '.join(names)}")
    counts = _integers("moments.counts", given["counts"], rows, most)
    names |= {"degrees": sums} if "degrees" in given else {}  # which the first results did not have
    found = {}
    for name, size in names.items():
        if isinstance(given[name], Mapping):
            found[name] = unpack(f"moments.{name}", given[name], "float64", (size,))
        else:
            found[name] = record.numbers(f"moments.{name}", given[name], empty=True)
        if len(found[name]) != size:
            raise ParameterError(f"moments.{name}", f"{len(found[name])} numbers", f"{size}, one for each component")
        if name not in ("means", "totals") and (found[name] < 0).any():
            raise ParameterError(f"moments.{name}", shown(float(found[name].min())), "0 or more")
    table = (rows, components)
    means, norms = found["means"].reshape(table), found["norms"].reshape(table)
    return RowMoments(counts, means, norms, found["totals"], found["variances"], found.get("degrees"))


def _moments(name: str, given: Any, size: int) -> Moments | None:
    if given is None:
        return None
    if size == 0:
        return Moments(record.integer(f"{name}.count", given["count"], 0, MOST_DRAWS), np.zeros(0), np.zeros(0))
    return record.moments(given, size=size)
