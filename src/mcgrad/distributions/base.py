"""What every distribution is: parameters, their constraints, a noise, a transform and a log density."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import DTypeLike

from mcgrad import noise as noises, tree
from mcgrad.arrays import all_true, any_on_device, computing, to_common_device, to_host
from mcgrad.distributions.attributes import REAL, ClosedForm, LogProb
from mcgrad.distributions.charts import VALUE, Chart
from mcgrad.distributions.components import Correlated, Independent
from mcgrad.distributions.constraints import Constraint, FloatArray, Mask, real
from mcgrad.distributions.decompositions import Decomposition
from mcgrad.distributions.divergence_forms import DivergenceForms, Form
from mcgrad.distributions.supports import Support, unstated
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import Noise, NoiseSpec, Shape
from mcgrad.reals import MOST_DRAWS, count, real_array, seed as seed_of

CLOSED_FORMS = {"entropy", "cdf", "survival"}  # static in a class; a distribution fills in its parameters

if TYPE_CHECKING:
    from mcgrad.distributions.bijections import Bijection
    from mcgrad.distributions.transformed import Transformed


class Distribution:
    """A distribution q_phi that a transform of fixed noise draws from: z = g(phi, eps).

    A family sets `constraints`, passes its parameters to ``super().__init__`` and writes :meth:`transform` and
    `log_density`. Where its event shape is not what its parameters broadcast to, it overrides
    :meth:`event_shape_of`; where its noise is not standard normal of that shape, `noise_kind` or :meth:`noise_of`;
    :meth:`check` where one parameter limits another, and `entropy` where there is a closed form. Where draws round to
    what the density cannot be computed from, it names a `chart` and writes `coordinates`.

    `transform` and `log_density` are plain NumPy on one draw and are traced: whole-array functions, ``np.where``
    instead of ``if`` on values, nothing in place, constants as Python floats (a NumPy float64 would make float32 wide).

    Instances do not change. They are given values, not references: arrays are copied, and `params` is read-only.

    Attributes
    ----------
    constraints : dict of str to Constraint
        By dotted path; a parameter that is not listed must be finite.
    event_shape : tuple of int, or nested dict of them
        Shape of one draw.
    noise : Noise, or nested dict of them
        What :meth:`transform` takes.
    shapes : dict of str to tuple of int
        Shape of each parameter by dotted path.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "normal"

    event_shape: Any
    noise: NoiseSpec
    shapes: dict[str, Shape]
    _flat: dict[str, FloatArray]

    parts: Mapping[str, Distribution] = MappingProxyType({})
    """The independent distributions that it consists of, by name: of a `Joint`. Others have none."""

    # Declared by type rather than written out, so that a family may name its own parameters.
    transform: Callable[..., Any]
    """``transform(eps, **params) -> z``: one draw of the noise to one draw, differentiable in both."""

    coordinates: Callable[..., Any] | None = None
    """``coordinates(eps, **params) -> x``: the coordinates of the draw that `transform` makes, in `chart`, before they
    round; None where they are those of z. A class with a `transform` of its own has none but its own."""

    chart: Chart = VALUE
    """What `log_density` is computed from: coordinates of a value. By default the value itself."""

    log_density: Callable[..., Any]
    """``log_density(x, **params) -> scalar``: the log density of z at its coordinates, summed over independent
    components; refused where a class has none. A class that writes `log_prob(z, **params)` in its place is read alike,
    with z itself for its coordinates."""

    log_prob = LogProb()

    entropy: Callable[..., Any] | None = None
    """``entropy(**params) -> scalar``: -E log_prob in closed form, or None where it has none. Plain NumPy, traced. Of a
    distribution, as `cdf` and `survival`, by default at its parameters: ``q.entropy()``, ``q.cdf(z)``."""

    rarity: Callable[..., Any] | None = None
    """``rarity(**params) -> dict``: for parameters, by path, about how probable a draw is that is not at an end of the
    support, to the digits of a float, or, of discrete draws, not the most probable value; None where nearly all draws
    are such. Arrays that broadcast with the parameter.
    """

    bridges: Callable[..., Any] | None = None
    """``bridges(**params) -> dict``: for parameters, by path, about how probable the rarest draws are that carry a part
    of the gradient along draws; None where the density has no gaps that a parameter moves draws across.
    """

    decompositions: ClassVar[Mapping[str, Decomposition]] = MappingProxyType({})
    """By parameter, the derivative of the density as a constant times the difference of two densities: the constant and
    a draw of each, ``rule(z, u, **params) -> (constant, positive, negative)``. Measure-valued gradients need it; see
    `decompositions`. A class with a `transform` or a density of its own has none but its own."""

    components: ClassVar[Callable[[type[Distribution]], Independent | Correlated]] = Independent
    """How components of the family go into a mixture; called with the family."""

    divergence_forms: ClassVar[DivergenceForms] = DivergenceForms()
    """What the family states for divergences in closed form, of two of its own and with other families. A class with a
    `transform` or a density of its own has none but its own."""

    cdf: Callable[..., Any] | None = None
    """``cdf(z, **params)``: the distribution function, element by element, of a family with independent components, or
    None. Plain NumPy, traced and differentiated: mixtures need it."""

    survival: Callable[..., Any] | None = None
    """``survival(z, **params)``: 1 - cdf without its cancellation, or None."""

    reparameterized: ClassVar[bool] = True
    """Whether draws move smoothly with the parameters; not those of discrete families, where pathwise is refused."""

    support: Support = unstated
    """Where the density is positive, and which parameters move its ends: "score", "stl" and "dreg" are refused in
    those."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "__init__" in own:
            cls.__init__ = _naming(own["__init__"])  # type: ignore[method-assign]
        if "transform" in own and "coordinates" not in own:
            cls.coordinates = None
        if own.keys() & {"transform", "log_density", "log_prob"}:
            for name in {"decompositions", "divergence_forms", "components"} - own.keys():
                setattr(cls, name, getattr(Distribution, name))
        if "log_prob" in own and "log_density" not in own:
            cls.log_density, cls.chart, cls.coordinates = own["log_prob"], VALUE, None
        if "log_density" in own:
            cls.log_prob = LogProb(cls)
        for name in CLOSED_FORMS & own.keys():
            if own[name] is not None:
                setattr(cls, name, ClosedForm(own[name]))

    def __init__(self, /, **params: Any) -> None:
        flat = {path: _own(_float_array(path, value)) for path, value in tree.flatten(params).items()}
        for name, value in params.items():
            if isinstance(value, Mapping) and not value and name in inspect.signature(self.transform).parameters:
                raise ParameterError(name, "{}", "a number or an array of them, or a dict of such")
        self._set(_flat=flat, shapes={path: array.shape for path, array in flat.items()})
        self._constrain(flat)
        self._set(event_shape=self.event_shape_of(self.shapes))
        self._set(noise=self.noise_of(self.event_shape))
        self._check(flat)

    def _set(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change; use with_params for one with other values")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __copy__(self) -> Self:
        return self  # as it does not change

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, with the parameters in host memory."""
        return {**self.__dict__, "_flat": {path: to_host(array) for path, array in self._flat.items()}}

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        """Set the fields; pickle does not say that arrays are read-only."""
        self._set(**fields)
        for array in self._flat.values():
            array.flags.writeable = False

    # What a family may override

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Any:
        """Return the event shape; by default what the parameters broadcast to."""
        try:
            return np.broadcast_shapes(*shapes.values())
        except ValueError:
            given = " and ".join(f"{path} {shape}" for path, shape in shapes.items())
            raise ParameterError(", ".join(shapes), f"shapes {given}", "shapes that broadcast") from None

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noise; by default `noise_kind`, one number for each of the event."""
        return Noise(self.noise_kind, event_shape)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Raise ParameterError where parameters, each accepted by its own constraint, do not go together."""

    def divergence_within(self, p: Distribution) -> Form | None:
        """Return KL(q || p) as a function of the parameters of both, for p of the same family, or None."""
        return self.divergence_forms.within if type(p) is type(self) else None

    # What every distribution does

    @property
    def params(self) -> dict[str, Any]:
        """The parameters: nested dicts of read-only float arrays."""
        return dict(tree.unflatten(self._flat))

    @property
    def flat_params(self) -> dict[str, FloatArray]:
        """The parameters by dotted path."""
        return dict(self._flat)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 if every parameter is, otherwise float64."""
        narrow = self._flat and all(array.dtype == np.float32 for array in self._flat.values())
        return np.dtype(np.float32 if narrow else np.float64)

    @property
    def free(self) -> dict[str, Mask]:
        """Masks of the entries that may move, of those parameters where not all may."""
        masks = {path: self._constraint(path).free(shape) for path, shape in self.shapes.items()}
        return {path: mask for path, mask in masks.items() if mask is not None}

    @property
    def signature(self) -> Hashable:
        """What two distributions share that differ only in the values of their parameters."""
        return (type(self), tuple(self.shapes.items()), tuple(noises.sources(self.noise).items()))

    @property
    def is_built_in(self) -> bool:
        """Whether its density is mcgrad's in all parts: right for the draws, and `support` says which ends move."""
        return is_built_in(type(self))

    def validate(self, changes: Mapping[str, Any], dtype: DTypeLike | None = None) -> dict[str, FloatArray]:
        """Return all parameters by dotted path, with `changes` checked and put in.

        Parameters
        ----------
        changes : nested dict
            New values for any subset of the parameters, of the shapes they have.
        dtype : float32, float64 or None
            Checks the values as they are in that dtype (1e-60 is not positive in float32).

        Returns
        -------
        dict of str to array
            In the dtypes they were given in. May share memory with what was given.

        Raises
        ------
        ParameterError
            Names the parameter: unknown, another shape, not floats, outside its constraint.
        """
        flat = self._flat.copy()
        for path, value in tree.flatten(changes).items():
            if path not in flat:
                raise ParameterError(path, "no parameter's name", _names(flat))
            array = _float_array(path, value)
            if array.shape != self.shapes[path]:
                raise ParameterError(path, f"shape {array.shape}", f"shape {self.shapes[path]}, as at first")
            flat[path] = array
        rounded = flat if dtype is None else _rounded(flat, np.dtype(dtype))
        self._constrain({path: array for path, array in rounded.items() if array is not self._flat[path]})
        self._check(rounded)
        return flat

    def with_params(self, /, **changes: Any) -> Self:
        """Return the same distribution with other values for any subset of the parameters, of the same shapes."""
        flat = self.validate(changes)
        new = object.__new__(type(self))
        new._set(**self.__dict__)
        new._set(_flat={path: a if a is self._flat[path] else _own(a) for path, a in flat.items()})
        return new

    def coordinates_of(self, eps: Any, z: Any, /, **params: Any) -> Any:
        """Return the coordinates of the draw z that `transform` makes of the noise."""
        return self.chart.coordinates(z) if self.coordinates is None else self.coordinates(eps, **params)

    def sample(self, n: int, seed: int = 0, *, first: int = 0, dtype: DTypeLike | None = None) -> Any:
        """Return draws, as plain NumPy arrays.

        Parameters
        ----------
        n : int
            Number of draws, at least 1.
        seed : int
            0 <= seed < 2**64.
        first : int
            Index of the first draw.
        dtype : {"float32", "float64"}, optional
            Default: the distribution's.

        Returns
        -------
        array of shape (n, *event_shape), or nested dict of them
            The draws that an estimate over this seed and range sees, to the last few digits.
        """
        from mcgrad.distributions import batches  # which traces

        n, first = count("n", n, 1), count("first", first, 0, MOST_DRAWS)
        name = np.dtype(self.dtype if dtype is None else dtype).name
        if name not in ("float32", "float64"):
            raise ParameterError("dtype", shown(dtype), "'float32' or 'float64'")
        return batches.sample(self, n, seed_of(seed), first, name)

    def transformed(
        self,
        fn: Bijection | Callable[..., Any],
        params: Mapping[str, Any] | None = None,
        inverse: Callable[..., Any] | None = None,
        log_det: Callable[..., Any] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
    ) -> Transformed:
        """Return the distribution of fn(z); see `Transformed` for the parameters.

        Examples
        --------
        ``Normal(0.0, 1.0).transformed(bijections.Softplus())``,
        ``Normal(0.0, 1.0).transformed(lambda x, *, a: np.sinh(a * x), params={"a": 0.5})``.
        """
        from mcgrad.distributions.transformed import Transformed  # it is a Distribution itself

        return Transformed(self, fn, params, inverse, log_det, constraints)

    def __getattr__(self, name: str) -> Any:
        """Say where a parameter is, for who looks for it as an attribute."""
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_"):
            has = f"q.params[{name!r}]" if name in self._flat else "q.params, q.sample(n), q.log_prob(z)"
            message += f": there is {has}"
        raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{path}={float(a) if a.ndim == 0 else f'<{a.dtype} {a.shape}>'}" for path, a in self._flat.items()
        )
        return f"{type(self).__name__}({inside})"

    def _constraint(self, path: str) -> Constraint:
        return self.constraints.get(path, real)

    def _constrain(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse the first array that its constraint does not accept."""
        with computing():
            answers = {path: self._constraint(path).check(array) for path, array in flat.items()}
            accepted = all_true(answers.values())
        if not accepted:
            path = next(path for path, answer in answers.items() if not answer)
            raise self._constraint(path).refuse(path, to_host(flat[path]))

    def _check(self, flat: Mapping[str, FloatArray]) -> None:
        """Have the family check arrays, which are all on the device if one is."""
        with computing():
            self.check(
                dict(zip(flat, to_common_device(flat.values()), strict=True)) if any_on_device(flat.values()) else flat
            )


def is_built_in(kind: type) -> bool:
    """Whether a class is mcgrad's own."""
    return kind.__module__.startswith("mcgrad.")


def _naming(init: Callable[..., None]) -> Callable[..., None]:
    """Have arguments that a family does not take refused by name, with those that it takes."""

    @wraps(init)
    def checked(self: Distribution, /, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # not of this call, but from inside
            family, parameters = type(self).__name__, inspect.signature(init).parameters
            unknown = [name for name in kwargs if name not in parameters]
            given = f"{unknown[0]}=" if unknown else str(error).partition("() ")[2]
            takes = [f"**{name}" if p.kind is p.VAR_KEYWORD else name for name, p in parameters.items()]
            raise ParameterError(family, given, ", ".join(takes[1:])) from None

    return checked


def _no_density(q: Any, *args: Any, **params: Any) -> Any:
    given = f"{type(q).__name__}, which has no log_density" if isinstance(q, Distribution) else "no log_density"
    raise ParameterError("q", given, "a distribution with a density")


Distribution.log_density = _no_density  # a method that subclasses may replace by a static one


def _names(flat: Mapping[str, object]) -> str:
    return ", ".join(flat) or "(there are none)"


def _own(array: FloatArray) -> FloatArray:
    copy = array.copy()
    if isinstance(copy, np.ndarray):  # on a device there is no such flag
        copy.flags.writeable = False
    return copy


def _rounded(flat: dict[str, FloatArray], dtype: np.dtype[Any]) -> dict[str, FloatArray]:
    """Return arrays as they are in a dtype; those that have it already are the same objects."""
    for array in flat.values():
        if array.dtype != dtype:
            break
    else:
        return flat
    with np.errstate(over="ignore", under="ignore"):
        return {path: array.astype(dtype, copy=False) for path, array in flat.items()}


def _float_array(path: str, value: Any) -> FloatArray:
    """Return `value` as a float32 or float64 array, without copying if it is one; refuse what is not real numbers."""
    if type(value) is np.ndarray and value.dtype.char in "fd" and value.dtype.isnative and value.size:
        return value
    if type(value) is float:
        return np.array(value)
    array = real_array(path, value, REAL, "iuf", refused="eg")
    return array.astype(np.float32 if array.dtype.kind == "f" and array.itemsize == 4 else np.float64, copy=False)
