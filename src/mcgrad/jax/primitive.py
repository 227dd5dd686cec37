"""The op of JAX that stands for a call, with its rules: lowering, derivative, and batching.

The derivative binds the same call with the gradient among its results, so that it is estimated together with the value,
and multiplies tangents by it, which JAX transposes. A gradient itself has no derivative: what would use it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from mcgrad.errors import ParameterError
from mcgrad.jax import ffi
from mcgrad.jax.host_call import Call
from mcgrad.system.recent import Recent

SECOND = (
    "a derivative of the estimated gradient or of a standard error, which mcgrad does not estimate",
    "first derivatives of the value; jax.lax.stop_gradient(...) around what is meant to be constant",
)

KEPT = 64  # compiled functions of the op alone that stay in memory

_alone: Recent[int, Any] = Recent(KEPT)
_lock = Lock()

estimate_p = Primitive("mcgrad_estimate")
estimate_p.multiple_results = True


def bind(call: Call, words: Any, operands: Sequence[Any]) -> list[Any]:
    """Apply the op: the results of a call, as JAX arrays or tracers."""
    return list(estimate_p.bind(words, *operands, call=call))


def _apply(*operands: Any, call: Call) -> list[Any]:
    """Compute outside of any compiled function: by one of the op alone, which lives as long as it is among the last.

    JAX's own, `xla.apply_primitive`, would stay with all that its call holds until thousands of others have come.
    """
    with _lock:
        alone = _alone.find(call.number)
        if alone is None:
            alone = _alone.put(call.number, jax.jit(lambda *operands: estimate_p.bind(*operands, call=call)))
    with jax.disable_jit(False):
        return alone(*operands)  # type: ignore[no-any-return]


def _shaped(call: Call) -> list[Any]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in call.result_types]


estimate_p.def_impl(_apply)
estimate_p.def_abstract_eval(lambda *operands, call: _shaped(call))


# Lowering


def _callback(*operands: Any, call: Call) -> list[Any]:
    def compute(*arrays: Any) -> list[np.ndarray[Any, Any]]:
        words, *others = (np.asarray(x) for x in arrays)
        results = [np.empty(shape, dtype) for shape, dtype in call.result_types]
        call(words, others, results)
        return results

    types = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in call.result_types]
    return list(jax.pure_callback(compute, types, *operands))


_lower_callback = mlir.lower_fun(_callback, multiple_results=True)


def _lower(platform: str) -> Any:
    def rule(ctx: Any, *operands: Any, call: Call) -> Any:
        if call.callback or not ffi.available(platform):
            return _lower_callback(ctx, *operands, call=call)
        ctx.module_context.add_keepalive(call)  # the handler finds it as long as there is the compiled function
        return jax.ffi.ffi_lowering(ffi.TARGET)(ctx, *operands, number=np.int64(call.number))

    return rule


mlir.register_lowering(estimate_p, _lower_callback)
for _platform in ffi.PLATFORMS:
    mlir.register_lowering(estimate_p, _lower(_platform), platform=_platform)


# Derivative


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, call: Call) -> tuple[list[Any], list[Any]]:
    static = call.static
    moved = {path: t for path, t in zip(static.shapes, tangents[1:], strict=True) if not isinstance(t, ad.Zero)}
    for path in moved:
        if path in static.data:
            accepted = f"params={{{path!r}: ...}}, of which there is a gradient, or jax.lax.stop_gradient(...)"
            raise ParameterError(path, "data in which JAX differentiates", accepted)
    wanted = {*call.wrt, *moved}
    wrt = tuple(path for path in static.params if path in wanted)
    wide = call.change(wrt=wrt)
    value, *rest = bind(wide, primals[0], primals[1:])
    grads = dict(zip(wrt, rest, strict=False))
    slope = sum(_along(call, path, grads[path], t) for path, t in moved.items())
    outs = [value, *(grads[path] for path in call.wrt)]
    if call.errors:
        stderrs = dict(zip(wrt, rest[len(wrt) + 1 :], strict=False))
        outs += [rest[len(wrt)], *(stderrs[path] for path in call.wrt), rest[-1]]
    none = [refused_p.bind(*moved.values(), shape=out.shape, dtype=out.dtype) for out in outs[1:] if _is_float(out)]
    zero = [ad.Zero(jax.core.ShapedArray(out.shape, jax.dtypes.float0)) for out in outs[1:] if not _is_float(out)]
    return outs, [slope, *none, *zero]


def _is_float(out: Any) -> bool:
    return bool(jnp.issubdtype(out.dtype, jnp.floating))


def _along(call: Call, path: str, grad: Any, tangent: Any) -> Any:
    """Return the derivative of the value along a tangent of one parameter."""
    static = call.static
    rows = () if call.rows is None else (call.rows,)
    own, ndim = static.shapes[path], len(static.batch_shape) if path in static.by_row else 0
    has_rows = bool(rows) and call.by_row[1 + [*static.shapes].index(path)]
    between = grad.ndim - len(rows) - len(own)  # axes of the value that the tangent has not
    front = rows if has_rows else (1,) * len(rows)
    tangent = tangent.reshape(*front, *own[:ndim], *(1,) * between, *own[ndim:])
    summed = list(range(grad.ndim - len(own) + ndim, grad.ndim))
    if ndim and static.options.get("reduce") in ("sum", "mean"):
        summed += range(len(rows), len(rows) + ndim)
    along = jnp.sum(grad * tangent, axis=tuple(summed))
    is_mean = static.options.get("reduce") == "mean" and path in static.by_row
    return along / math.prod(static.batch_shape) if is_mean else along


ad.primitive_jvps[estimate_p] = _jvp

refused_p = Primitive("mcgrad_second_derivative")


def _refuse(*args: Any, **params: Any) -> Any:
    raise ParameterError("jax.grad", *SECOND)


refused_p.def_impl(_refuse)
refused_p.def_abstract_eval(lambda *tangents, shape, dtype: jax.core.ShapedArray(shape, dtype))
ad.primitive_transposes[refused_p] = _refuse
ad.primitive_jvps[refused_p] = _refuse
mlir.register_lowering(refused_p, _refuse)


# Batching


def _batched(operands: Sequence[Any], axes: Sequence[int | None], *, call: Call) -> tuple[list[Any], list[int]]:
    """Make the axis of `jax.vmap` rows; where there are rows already, both become one axis."""
    (size,) = {x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None}
    own = call.by_row or (False,) * len(operands)
    flags = tuple(axis is not None or flag for axis, flag in zip(axes, own, strict=True))
    moved = []
    for x, axis, flag in zip(operands, axes, own, strict=True):
        if axis is not None:
            x = jnp.moveaxis(x, axis, 0)
            if call.rows is not None and not flag:
                x = jnp.repeat(x, call.rows, axis=0)
            elif flag:
                x = x.reshape(size * x.shape[1], *x.shape[2:])
        elif flag:
            x = jnp.tile(x, (size, *(1,) * (x.ndim - 1)))
        moved.append(x)
    rows = size if call.rows is None else size * call.rows
    results = bind(call.change(rows=rows, by_row=flags), moved[0], moved[1:])
    if call.rows is not None:
        results = [x.reshape(size, call.rows, *x.shape[1:]) for x in results]
    return results, [0] * len(results)


batching.primitive_batchers[estimate_p] = _batched


def _batched_refusal(tangents: Sequence[Any], axes: Sequence[int | None], *, shape: Any, dtype: Any) -> Any:
    (size,) = {x.shape[axis] for x, axis in zip(tangents, axes, strict=True) if axis is not None}
    return refused_p.bind(*tangents, shape=(size, *shape), dtype=dtype), 0


batching.primitive_batchers[refused_p] = _batched_refusal
