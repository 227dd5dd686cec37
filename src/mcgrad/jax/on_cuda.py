"""The computation of a call on arrays of a CUDA device: put into XLA's stream, where results stay, without a wait.

What the host has to look at, which `InStreams.obstacle` names, and rows of `vmap` go by way of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from mcgrad.arrays import as_dtype, cupy, to_device, to_host
from mcgrad.engine.dispatch import CUDA
from mcgrad.engine.estimator import Estimator
from mcgrad.ir.spaces import Input, Space, param
from mcgrad.jax.host_call import Call


def compute(call: Call, words: Any, operands: Sequence[Any], results: Sequence[Any], device: int, stream: int) -> None:
    """Compute a call, and write the results into given arrays.

    Parameters
    ----------
    call : Call
    words : array
        Of the seed.
    operands, results : sequence of array
        As for the call: all on the device, as CuPy's arrays.
    device : int
    stream : int
        Address of XLA's stream, which is CuPy's current one.
    """
    estimator = _estimator(call, operands)
    if estimator is None:
        _by_way_of_the_host(call, words, operands, results)
        return
    static, components = call.static, estimator.derived.components
    changes = {
        Input(Space.DATA, path) if path in static.data else param(path): x
        for path, x in zip(static.shapes, operands, strict=True)
    }
    key = words.data.ptr + words.itemsize, words.data.ptr  # the higher word comes first
    if static.by_row:
        _write_rows(call, estimator.in_streams, changes, key, results, device, stream)
        return
    library, dtype, size = cupy(), np.dtype(static.dtype), len(components)
    value, *rest = results
    grads = rest[: len(call.wrt)]
    grad = grads[0] if len(grads) == 1 else library.empty(size - 1, dtype)
    errors = library.empty(size, dtype) if call.errors else None
    nonfinite = library.empty((), np.int64) if call.errors else None
    kept = [x for x in (value, grad, errors, nonfinite) if x is not None]
    estimator.in_streams.put(
        changes,
        static.n,
        key,
        [x.data.ptr if x.size else 0 for x in kept],
        call.wrt,
        device,
        stream,
    )
    pieces = _pieces(grad, grads) if len(grads) > 1 else []
    if errors is not None:
        pieces += [*_pieces(errors, rest[len(grads) : -1]), *_pieces(nonfinite, rest[-1:])]
    estimator.in_streams.copy(pieces, device, stream)


def _estimator(call: Call, operands: Sequence[Any]) -> Estimator | None:
    """Return the Estimator whose results can stay on the device, or None where there is none."""
    static = call.static
    chosen = static.options.get("backend", CUDA)
    if call.rows is not None or static.shape or 0 in static.batch_shape or chosen not in ("auto", CUDA):
        return None
    estimator = static.estimator(call.wrt, "device", dict(zip(static.shapes, operands, strict=True)))
    return estimator if estimator.in_streams.obstacle() is None else None


def _write_rows(
    call: Call,
    in_streams: Any,
    changes: dict[Input, Any],
    key: tuple[int, int],
    results: Sequence[Any],
    device: int,
    stream: int,
) -> None:
    """Estimate a batch, and write its results."""
    found = in_streams.results(changes, call.static.n, key, call.errors, device, stream)
    numbers = [found.value, *(found.grads[path] for path in call.wrt)]
    arrays = [x.means for x in numbers]
    if call.errors:
        arrays += [*(x.errors for x in numbers), found.nonfinite]
    for out, x in zip(results, arrays, strict=True):
        out[...] = as_dtype(x, out.dtype).reshape(out.shape)


def _by_way_of_the_host(call: Call, words: Any, operands: Sequence[Any], results: Sequence[Any]) -> None:
    found = [np.empty(shape, dtype) for shape, dtype in call.result_types]
    call(to_host(words), [to_host(x) for x in operands], found)
    for out, x in zip(results, found, strict=True):
        out[...] = to_device(x)


def _pieces(flat: Any, parts: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Return what is to be copied to arrays from one that has all their numbers; of int64 the lower half of each."""
    sources = [flat.data.ptr, *(flat.data.ptr + end for end in accumulate(x.nbytes for x in parts))]
    return [(x.data.ptr, source, x.nbytes) for x, source in zip(parts, sources, strict=False)]
