"""The operands of a call: the user's parameters and data as arrays of one dtype, and the static part they belong to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown, shown_names
from mcgrad.inputs import arguments
from mcgrad.jax import pytrees
from mcgrad.jax.host_call import Call
from mcgrad.jax.static import Static
from mcgrad.reals import real_array
from mcgrad.system.recent import Recent

KEPT = 64  # static parts that stay in memory though nothing refers to them any more
NUMBERS = "a real number, or an array of them"
X64 = "'float32', or 'float64' after jax.config.update('jax_enable_x64', True)"

_statics: Recent[Hashable, Static] = Recent(KEPT)
_lock = Lock()


@dataclass(frozen=True, eq=False)
class Operands:
    """Arrays, and what is known without their values.

    Parameters
    ----------
    static : Static
    arrays : list of array
        Parameters of q, parameters of f, float data, in the order of the static part's shapes.
    structures : dict of str to PyTreeDef
        Of the parameters that are not nested dicts.
    """

    static: Static
    arrays: list[Any]
    structures: dict[str, Any]

    @classmethod
    def of(
        cls,
        f: Any,
        q: Callable[..., Distribution] | Distribution | None,
        n: Any,
        params: Mapping[str, Any] | None,
        data: Mapping[str, Any] | None,
        q_params: Mapping[str, Any],
        dtype: Any,
        options: Mapping[str, Any],
    ) -> Self:
        """Return the operands of the user's arguments, checked as far as their values are known."""
        n = arguments.count("n", n, 2)
        params, data = arguments.mapping("params", params), arguments.mapping("data", data)
        family, of_q, settings = _of_q(f, q, q_params)
        of_f, structures = pytrees.flat(params)
        floats, fixed = _split(data, options.get("batched_data", ()))
        _refuse_doubles({path.partition(".")[0] for path in of_q}, params, data)
        leaves = {path: _number(path, x) for path, x in {**of_q, **of_f, **floats}.items()}
        name = _dtype(dtype, leaves)
        arrays = {path: _cast(path, x, name) for path, x in leaves.items()}
        shapes = {path: tuple(x.shape) for path, x in arrays.items()}
        groups = [{path: shapes[path] for path in group} for group in (of_q, of_f, floats)]
        key = (
            _hashable(f),
            tuple(structures.items()),
            family.signature if isinstance(family, Distribution) else _hashable(family),
            tuple((path, _hashable(value)) for path, value in settings.items()),
            tuple(tuple(group.items()) for group in groups),
            tuple((path, x.dtype.str, x.shape, x.tobytes()) for path, x in fixed.items()),
            (n, name),
            tuple((option, _hashable(value)) for option, value in options.items()),
        )
        with _lock:
            static = _statics.find(key)
        if static is None:
            known = {path: np.asarray(x) for path, x in arrays.items() if not isinstance(x, jax.core.Tracer)}
            whole = pytrees.Rebuilding.of(f, structures)
            own, others, of_data = groups
            static = Static(whole, family, settings, own, others, of_data, fixed, n, name, options, known)
            with _lock:
                static = _statics.find(key) or _statics.put(key, static)
        return cls(static, list(arrays.values()), structures)

    def call(self, *, errors: bool, callback: bool) -> Call:
        """Return the call: of the value alone, or with the gradient in all parameters and standard errors."""
        return Call(self.static, self.static.params if errors else (), errors, callback=callback).interned()


def _of_q(
    f: Any, q: Any, given: Mapping[str, Any]
) -> tuple[Callable[..., Distribution] | Distribution, dict[str, Any], dict[str, Any]]:
    """Return the family or the distribution, its parameters by path, and arguments of a family that are no parameters.

    Of a distribution the parameters are all that it has, those that are given with the new values.
    """
    leaves = tree.flatten(given) if given else {}
    if callable(q) and not isinstance(q, Distribution):
        of_q = {path: x for path, x in leaves.items() if isinstance(x, float | np.ndarray | np.floating | jax.Array)}
        return q, of_q, {path: x for path, x in leaves.items() if path not in of_q}
    own = arguments.distribution(f, q)
    for path, value in leaves.items():
        if path not in own.shapes:
            raise ParameterError(path, "no parameter's name", shown_names(list(own.shapes)))
        if np.shape(value) != own.shapes[path]:
            raise ParameterError(path, f"shape {np.shape(value)}", f"shape {own.shapes[path]}, which q has")
    return own, {**own.flat_params, **leaves}, {}


def _split(data: Mapping[str, Any], by_row: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return floats, which are operands, and integers and booleans, which are part of the compiled code.

    Integers and booleans by row become floats.
    """
    floats: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    for name, value in data.items():
        if name in by_row:
            is_boolean = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.bool_)
            floats[name] = value.astype(np.int8) if is_boolean else value
            continue
        if isinstance(value, jax.core.Tracer):
            if not jnp.issubdtype(value.dtype, jnp.floating):
                given = f"traced data of {value.dtype}, which may index and are part of the compiled code"
                raise ParameterError(name, given, "floats, or a NumPy array that is not traced")
            floats[name] = value
            continue
        is_array = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)
        array = value if is_array else arguments.datum(name, value, empty=True)
        (floats if is_array or array.dtype.kind == "f" else fixed)[name] = array
    for name in floats:
        arguments.check_data_name(name)
    return floats, fixed


def _refuse_doubles(of_q: set[str], params: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    for name in params:
        if name in of_q:
            raise ParameterError(name, "in params, and a parameter of the distribution", "each name once; rename one")
    for name in data:
        if name in of_q or name in params:
            raise ParameterError(name, "in data, and a parameter of q or in params", "each name once; rename one")


def _number(path: str, value: Any) -> Any:
    """Return an array of real numbers: JAX's or a tracer as it is, a Python number too, anything else as NumPy's."""
    if type(value) is float:
        return value
    if not isinstance(value, jax.Array):
        array = real_array(path, value, NUMBERS, "biuf", empty=True)
        return array if array.dtype.kind == "f" and type(value) not in arguments.ADAPTING else array.tolist()
    if not (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)):
        raise ParameterError(path, shown(value), NUMBERS)
    return value


def _dtype(given: Any, leaves: Mapping[str, Any]) -> str:
    """Return the dtype of the Program: the one that is given, or that of JAX's promotion, where numbers adapt."""
    name, has_wide = arguments.dtype(given), jnp.zeros((), float).dtype == np.float64
    if name == "float64" and not has_wide:
        raise ParameterError("dtype", "'float64', while JAX has 32 bits", X64)
    if name:
        return name
    strict = [x.dtype for x in leaves.values() if hasattr(x, "dtype") and not getattr(x, "weak_type", False)]
    floats = [dtype for dtype in strict if jnp.issubdtype(dtype, jnp.floating)]
    is_wide = any(dtype == np.float64 for dtype in floats) or not floats
    return "float64" if is_wide and has_wide else "float32"


def _cast(path: str, value: Any, dtype: str) -> Any:
    if isinstance(value, jax.Array):
        return value if value.dtype == dtype else value.astype(dtype)
    return arguments.cast(path, np.asarray(value, None if hasattr(value, "dtype") else np.float64), dtype)


def _hashable(value: Any) -> Hashable:
    """Return a key for a value: itself, or where it has no hash a wrapper that is equal for this object alone."""
    if isinstance(value, Mapping):
        return tuple(sorted(value.items()))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value  # type: ignore[no-any-return]


class _Same:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._value is self._value
