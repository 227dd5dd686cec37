"""Evaluate many values at once: `sample` draws of a distribution, and `log_prob` along leading axes.

A density or transform of one value is traced, and the reference interpreter evaluates it in blocks of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.errors import ParameterError
from mcgrad.ir import build
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws, noise_vars
from mcgrad.ir.program import Output, Program, Var
from mcgrad.ir.spaces import Space
from mcgrad.ir.vmap import vmap
from mcgrad.noise import Shape
from mcgrad.noise.rows import first_of_row
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.operands import operand
from mcgrad.trace.trace import trace
from mcgrad.trace.tracer import Tracer, unwrap

if TYPE_CHECKING:
    from mcgrad.distributions.base import Distribution

Array = npt.NDArray[Any]
BLOCK_BYTES = 1 << 24  # of the largest intermediate value, roughly


def sample(q: Distribution, n: int, seed: int, first: int, dtype: str) -> Any:
    """Return draws first .. first + n of a seed, n on the first axis, as an estimate over them has them."""
    if q.batch:
        return _sample_rows(q, n, seed, first, dtype)
    params = {path: build.input_(path, array.shape) for path, array in q.flat_params.items()}
    z = trace(q.transform, (tree.unflatten(noise_vars(q.noise)),), tree.unflatten(params) if params else {})
    roots = {path: build.as_var(leaf) for path, leaf in tree.flatten(z).items()}
    program = simplify(Program(tuple(Output(path, root) for path, root in roots.items()), dtype))
    leaves = {params[path]: to_host(array) for path, array in q.flat_params.items()}
    noise = program.noise()
    found = _evaluated(
        [output.var for output in program.outputs],
        leaves,
        lambda start, stop: {var: draws(var, seed, first + start, first + stop, dtype) for var in noise},
        n,
        dtype,
    )
    return tree.unflatten(dict(zip(roots, found, strict=True)))


def _sample_rows(q: Distribution, n: int, seed: int, first: int, dtype: str) -> Any:
    """Return draws of each row, from its first one on: n on the first axis, then the batch axes."""
    assert q.batch is not None
    params = _row_inputs(q)
    z = trace(q.template.transform, (tree.unflatten(noise_vars(q.noise)),), tree.unflatten(params) if params else {})
    roots = {path: build.as_var(leaf) for path, leaf in tree.flatten(z).items()}
    program = simplify(Program(tuple(Output(path, root) for path, root in roots.items()), dtype))
    noise = program.noise()

    def leaves(row: int, start: int, stop: int) -> dict[Var, Array]:
        begin = first_of_row(row, dtype) + first
        return {var: draws(var, seed, begin + start, begin + stop, dtype) for var in noise}

    found = _evaluated_rows([output.var for output in program.outputs], q, params, leaves, n, dtype)
    return tree.unflatten({
        path: np.moveaxis(x, 1, 0).reshape(n, *q.batch_shape, *x.shape[2:])
        for path, x in zip(roots, found, strict=True)
    })  # fmt: skip


def of_rows(function: Callable[..., Any], q: Distribution, event_shape: Any, *z: Any) -> Any:
    """Return a function of values and parameters in each row of a batch.

    Parameters
    ----------
    function : callable
        ``function(*z, **params)`` of one value of one row: a number, or an array of the event shape.
    q : Distribution
        With batch axes.
    event_shape : tuple of int, or nested dict of them
    *z : array, or nested dict of them
        At most one: values, with the batch axes before those of the event, and any axes before the batch axes.

    Returns
    -------
    array of the shape of the leading and the batch axes, and that of what `function` returns.
    """
    assert q.batch is not None
    events = tree.flatten(event_shape)
    values = {path: x for one in z for path, x in tree.flatten(one).items()}
    if any(isinstance(x, Tracer) for x in values.values()):
        accepted = "parameters of each row: pass them by params= and batched_params=, or by data= and batched_data="
        raise ParameterError(
            "log_prob", "a distribution with batch axes inside an integrand, which sees one row", accepted
        )
    if z and values.keys() != events.keys():
        given, wanted = (", ".join(path or "one array" for path in paths) for paths in (values, events))
        raise ParameterError("z", given, wanted)
    params = _row_inputs(q)
    places = {path: build.noise(i, "normal", events[path]) for i, path in enumerate(values)}
    before = _batch_shape(values, events) if values else q.batch_shape
    try:
        whole = np.broadcast_shapes(before, q.batch_shape)
    except ValueError:
        whole = ()
    lead = whole[: len(whole) - q.batch.ndim]
    if whole != (*lead, *q.batch_shape):
        raise ParameterError("z", f"leading axes {before}", f"leading axes that end in the batch axes {q.batch_shape}")
    n = int(np.prod(lead))
    columns = {
        places[path]: np.broadcast_to(np.asarray(x), whole + events[path]).reshape(n, q.batch.size, *events[path])
        for path, x in values.items()
    }

    def leaves(row: int, start: int, stop: int) -> dict[Var, Array]:
        return {var: np.moveaxis(x[start:stop, row], 0, -1).astype(np.float64) for var, x in columns.items()}

    args = (tree.unflatten(places),) if z else ()
    root = build.apply("float", build.as_var(trace(function, args, tree.unflatten(params) if params else {})))
    (found,) = _evaluated_rows([root], q, params, leaves, n, "float64")
    narrow = all(np.asarray(x).dtype == np.float32 for x in [*values.values(), *q.flat_params.values()])
    return np.moveaxis(found, 1, 0).reshape(*whole, *root.shape).astype(np.float32 if narrow else np.float64)


def _row_inputs(q: Distribution) -> dict[str, Var]:
    """Return the parameters of one row of a batch as inputs, by path."""
    assert q.batch is not None
    shapes = {path: q.batch.row_shape(path, shape) for path, shape in q.shapes.items()}
    return {path: build.input_(path, shape, by_row=path in q.batch.by_row) for path, shape in shapes.items()}


def log_prob(density: Callable[..., Any], event_shape: Any, z: Any, params: Mapping[str, Any]) -> Any:
    """Return the log density at z, which may have any axes before those of the event.

    Parameters
    ----------
    density : callable
        Of one value.
    event_shape : tuple of int, or nested dict of them
    z : array or Tracer, or nested dict of them
    params : nested dict of arrays or Tracers

    Returns
    -------
    A number or an array of the shape of the leading axes; a Tracer if an argument is one.
    """
    events = tree.flatten(event_shape)
    values = tree.flatten(z)
    if values.keys() != events.keys():
        given, wanted = (", ".join(path or "one array" for path in paths) for paths in (values, events))
        raise ParameterError("z", given, wanted)
    batch = _batch_shape(values, events)
    if not batch:
        return density(z, **params)
    if any(isinstance(x, Tracer) for x in [*values.values(), *tree.flatten(params or {"": 0}).values()]):
        return _traced(density, events, values, params, batch)
    rows = {path: np.broadcast_to(np.asarray(x), batch + events[path]) for path, x in values.items()}
    places = {path: build.noise(i, "normal", shape) for i, (path, shape) in enumerate(events.items())}
    flat = {path: np.asarray(to_host(x)) for path, x in tree.flatten(params).items()} if params else {}
    inputs = {path: build.input_(path, x.shape) for path, x in flat.items()}
    root = _scalar(trace(density, (tree.unflatten(places),), tree.unflatten(inputs) if inputs else {}))
    n = int(np.prod(batch))
    columns = {places[path]: np.moveaxis(x.reshape(n, *events[path]), 0, -1) for path, x in rows.items()}
    (found,) = _evaluated(
        [root],
        {inputs[path]: x for path, x in flat.items()},
        lambda start, stop: {var: x[..., start:stop].astype(np.float64) for var, x in columns.items()},
        n,
        "float64",
    )
    narrow = all(np.asarray(x).dtype == np.float32 for x in [*values.values(), *flat.values()])
    return found.reshape(batch).astype(np.float32 if narrow else np.float64)


def _batch_shape(values: Mapping[str, Any], events: Mapping[str, Shape]) -> Shape:
    """Return the leading axes of z, before those of the event: one shape for all its parts."""
    batches = []
    for path, x in values.items():
        event, shape = events[path], np.shape(x) if not isinstance(x, Tracer) else x.shape
        leading = len(shape) - len(event)
        own = shape[max(leading, 0) :]
        if any(extent not in (1, wanted) for extent, wanted in zip(own[::-1], event[::-1], strict=False)):
            wanted = ", ".join(map(str, event))
            raise ParameterError(f"z.{path}" if path else "z", f"shape {shape}", f"shape (..., {wanted})")
        batches.append(tuple(shape[: max(leading, 0)]))
    try:
        return np.broadcast_shapes(*batches)
    except ValueError:
        given = " and ".join(f"{path} {batch}" for path, batch in zip(values, batches, strict=True))
        raise ParameterError("z", f"leading axes {given}", "leading axes that broadcast") from None


def _traced(
    density: Callable[..., Any], events: Mapping[str, Shape], values: Mapping[str, Any], params: Any, batch: Shape
) -> Tracer:
    n = int(np.prod(batch))
    places = {path: build.input_(path, shape, Space.VALUE) for path, shape in events.items()}
    named = tree.map(unwrap, params) if params else {}
    root = _scalar(trace(density, (tree.unflatten(places),), named))
    mapped = {}
    for path, shape in events.items():
        x = build.broadcast(build.apply("float", operand(unwrap(values[path]))), batch + shape)
        mapped[places[path]] = build.reshape(x, (n, *shape))
    (found,) = vmap([root], mapped, n)
    return Tracer(build.reshape(found, batch))


def _scalar(density: Any) -> Var:
    root = build.apply("float", build.as_var(density))
    return root if not root.shape else build.reduce("sum", root, range(len(root.shape)))


def _evaluated(
    roots: Sequence[Var],
    inputs: Mapping[Var, Array],
    leaves: Callable[[int, int], Mapping[Var, Array]],
    n: int,
    dtype: str,
) -> list[Array]:
    """Evaluate roots for n values of some leaves, block by block; the results have n on the first axis."""
    program = Program(tuple(Output(str(i), root) for i, root in enumerate(roots)), dtype)
    hoisted = [var for var in program.hoisted() if not var.is_const]
    once = Interpreter(hoisted)({var: x.astype(np.float64)[..., None] for var, x in inputs.items()})
    known = {var: x.astype(dtype) for var, x in zip(hoisted, once, strict=True)}
    body = Interpreter(roots, hoisted, dtype)
    block = max(BLOCK_BYTES // (8 * max(var.size for var in program.equations())), 1)
    found = [np.empty((n, *root.shape), dtype) for root in roots]
    for start in range(0, n, block):
        stop = min(start + block, n)
        for whole, part in zip(found, body({**known, **leaves(start, stop)}), strict=True):
            whole[start:stop] = np.moveaxis(part, -1, 0)
    return found


def _evaluated_rows(
    roots: Sequence[Var],
    q: Distribution,
    params: Mapping[str, Var],
    leaves: Callable[[int, int, int], Mapping[Var, Array]],
    n: int,
    dtype: str,
) -> list[Array]:
    """Evaluate roots for n values of some leaves in each row, block by block; the results have rows and n in front.

    Parameters
    ----------
    roots : sequence of Var
    q : Distribution
        With batch axes.
    params : dict of str to Var
        Its parameters.
    leaves : callable
        ``leaves(row, start, stop)`` returns some of the n values of a row, which are the last axis.
    n : int
    dtype : str
    """
    assert q.batch is not None
    program = Program(tuple(Output(str(i), root) for i, root in enumerate(roots)), dtype)
    hoisted = [var for var in program.hoisted() if not var.is_const]
    flat = {path: to_host(x).astype(np.float64) for path, x in q.flat_params.items()}
    last = {params[path]: x for path, x in q.batch.rows_last(flat).items()}
    once = [x.astype(dtype) for x in Interpreter(hoisted)(last)]
    body = Interpreter(roots, hoisted, dtype)
    most = max(BLOCK_BYTES // (8 * max(var.size for var in program.equations())), 1)
    rows, step = max(most // max(n, 1), 1), min(n, most)
    found = [np.empty((q.batch.size, n, *root.shape), dtype) for root in roots]
    for row in range(0, q.batch.size, rows):
        end = min(row + rows, q.batch.size)
        for start in range(0, n, max(step, 1)):
            stop = min(start + step, n)
            known = {
                var: x if x.shape[-1] == 1 else np.repeat(x[..., row:end], stop - start, axis=-1)
                for var, x in zip(hoisted, once, strict=True)
            }
            each = [leaves(r, start, stop) for r in range(row, end)]
            drawn = {var: np.concatenate([part[var] for part in each], axis=-1) for var in each[0]}
            for whole, part in zip(found, body({**known, **drawn}), strict=True):
                part = np.broadcast_to(part, (*part.shape[:-1], (end - row) * (stop - start)))
                whole[row:end, start:stop] = np.moveaxis(part, -1, 0).reshape(end - row, stop - start, *part.shape[:-1])
    return found
