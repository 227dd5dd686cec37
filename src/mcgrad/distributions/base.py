"""The base class of distributions: a family at values of its parameters, which are checked and do not change.

`trace` and `gradients` read the transform and the density of a distribution; users call `sample` and `log_prob`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from mcgrad import noise as noises, tree
from mcgrad.arrays import all_true, any_on_device, computing, to_common_device, to_host
from mcgrad.distributions.batch_axes import BatchAxes, batch_ndim
from mcgrad.distributions.constraints import Constraint, FloatArray, Mask, bounds_of, checks_on_host, real
from mcgrad.distributions.divergence_forms import Form
from mcgrad.distributions.family import Family, is_built_in
from mcgrad.distributions.parameters import float_array, owned, rounded
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import NoiseSpec, Shape
from mcgrad.pickles import portable
from mcgrad.reals import MOST_DRAWS, count, seed as seed_of

if TYPE_CHECKING:
    from mcgrad.distributions.bijections import Bijection
    from mcgrad.distributions.transformed import Transformed


class Distribution(Family):
    """A distribution q_phi that a transform of fixed noise draws from: z = g(phi, eps).

    A family passes its parameters to ``super().__init__``; what it states besides is in the base class.

    Instances do not change. Arrays are copied, and `params` is read-only.

    Every family takes the keyword ``batch_ndim=0``, and passes it on: how many axes in front of its parameters count
    *rows*, problems that have parameters and draws of their own. A parameter with fewer axes is shared by all rows.

    Attributes
    ----------
    event_shape : tuple of int, or nested dict of them
        Shape of one draw.
    noise : Noise, or nested dict of them
        What :meth:`transform` takes.
    batch : BatchAxes or None
        The batch axes of its parameters, where it has any.
    shapes : dict of str to tuple of int
        Shape of each parameter by dotted path.
    """

    event_shape: Any
    noise: NoiseSpec
    shapes: dict[str, Shape]
    batch_ndim: int = 0
    batch: BatchAxes | None = None
    _flat: dict[str, FloatArray]

    parts: Mapping[str, Distribution] = MappingProxyType({})
    """The independent distributions that it consists of, by name: of a `Joint`. Others have none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _naming(vars(cls)["__init__"])  # type: ignore[method-assign]

    def __init__(self, /, **params: Any) -> None:
        ndim, known = batch_ndim(params.pop("batch_ndim", 0)), self.__dict__.get("_by_row")
        self._set(batch_ndim=ndim)
        flat = {path: owned(float_array(path, value, ndim > 0)) for path, value in tree.flatten(params).items()}
        for name, value in params.items():
            if isinstance(value, Mapping) and not value and name in inspect.signature(self.transform).parameters:
                raise ParameterError(name, "{}", "a number or an array of them, or a dict of such")
        batch = BatchAxes.of(flat, ndim, known) if ndim else None
        for path, array in flat.items():
            if batch and 0 in batch.row_shape(path, array.shape):
                raise ParameterError(path, f"shape {array.shape}", "an array that has elements in each row")
        self._set(batch=batch)
        self._start(flat)

    def _start(self, flat: dict[str, FloatArray]) -> None:
        """Check the parameters, and find out what depends on their shapes: with batch axes those of the first row."""
        self._set(_flat=flat, shapes={path: array.shape for path, array in flat.items()})
        self._constrain(flat)
        if self.batch:
            self._check(flat)
            self._set(_template=self._first_row(self.batch))
            self._set(event_shape=self.template.event_shape, noise=self.template.noise)
            return
        self._set(event_shape=self.event_shape_of(self.shapes))
        self._set(noise=self.noise_of(self.event_shape))
        self._check(flat)

    def _first_row(self, batch: BatchAxes) -> Self:
        """Return the distribution of the first row."""
        refused: ParameterError | None = None
        for flat in batch.first(self._flat, self._known_of_first_row()):
            new = object.__new__(type(self))
            new._set(**{**self.__dict__, **self._parts_of_first_row(), "batch": None, "batch_ndim": 0})
            try:
                new._start({path: owned(array) for path, array in flat.items()})
            except ParameterError as error:
                refused = refused or error
            else:
                return new
        assert refused is not None
        raise refused

    def _parts_of_first_row(self) -> dict[str, Any]:
        """Return the distributions that it is made of, each that of its first row, by attribute."""
        return {}

    def _known_of_first_row(self) -> dict[str, FloatArray]:
        """Return the parameters of these distributions, by dotted path."""
        return {}

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
        return {**portable(self.__dict__), "_flat": {path: to_host(array) for path, array in self._flat.items()}}

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        """Set the fields, and make arrays read-only again, which pickle does not."""
        self._set(**fields)
        for array in self._flat.values():
            array.flags.writeable = False

    def divergence_within(self, p: Distribution) -> Form | None:
        """Return KL(q || p) as a function of the parameters of both, for p of the same family, or None."""
        return self.divergence_forms.within if type(p) is type(self) else None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters: nested dicts of read-only float arrays."""
        return dict(tree.unflatten(self._flat))

    @property
    def flat_params(self) -> dict[str, FloatArray]:
        """The parameters by dotted path."""
        return dict(self._flat)

    @property
    def batch_shape(self) -> Shape:
        """Extents of the batch axes; empty without them."""
        return self.batch.shape if self.batch else ()

    @property
    def template(self) -> Self:
        """The distribution of the first row of a batch, which is traced for all; itself where there is no batch."""
        template: Self = self.__dict__["_template"] if self.batch else self
        return template

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 if every parameter is, otherwise float64."""
        narrow = self._flat and all(array.dtype == np.float32 for array in self._flat.values())
        return np.dtype(np.float32 if narrow else np.float64)

    @property
    def free(self) -> dict[str, Mask]:
        """Masks of the free entries, for those parameters that have entries that are fixed."""
        masks = {path: self._constraint(path).free(shape) for path, shape in self.shapes.items()}
        return {path: mask for path, mask in masks.items() if mask is not None}

    @property
    def signature(self) -> Hashable:
        """A key that is equal for distributions that differ only in the values of their parameters."""
        return (type(self), tuple(self.shapes.items()), tuple(noises.sources(self.noise).items()))

    @property
    def is_built_in(self) -> bool:
        """Whether all parts of its density are mcgrad's own: right for the draws, with a `support` that is stated."""
        return is_built_in(type(self))

    def validate(self, changes: Mapping[str, Any], dtype: DTypeLike | None = None) -> dict[str, FloatArray]:
        """Return all parameters by dotted path, with `changes` checked and applied.

        Parameters
        ----------
        changes : nested dict
            New values for any subset of the parameters, of the shapes they have; a batch may have another number of
            rows.
        dtype : float32, float64 or None
            Checks the values as they are in that dtype (1e-60 is not positive in float32).

        Returns
        -------
        dict of str to array
            In the dtypes in which they were given. They may share memory with the given arrays.

        Raises
        ------
        ParameterError
            A parameter is unknown, of another shape, not of floats, or outside its constraint.
        """
        own, batch = self._flat, self.batch
        flat = own.copy()
        for path, value in tree.flatten(changes).items():
            if path not in flat:
                raise ParameterError(path, "no parameter's name", _names(flat))
            array = float_array(path, value, batch is not None)
            if array.shape != own[path].shape and not self._fits(path, array.shape):
                raise ParameterError(path, f"shape {array.shape}", f"shape {self.shapes[path]}, as at first")
            flat[path] = array
        if batch:
            batch.check_shapes(flat)
        used = flat if dtype is None else rounded(flat, np.dtype(dtype))
        self._constrain({path: array for path, array in used.items() if array is not own[path]})
        self._check(used)
        return flat

    def _fits(self, path: str, shape: Shape) -> bool:
        """Whether a new value of a parameter may have a shape."""
        own = self.shapes[path]
        if self.batch and path in self.batch.by_row:
            return len(shape) == len(own) and shape[self.batch.ndim :] == own[self.batch.ndim :]
        return shape == own

    def with_params(self, /, **changes: Any) -> Self:
        """Return the same distribution with other values for any subset of the parameters, of the same shapes."""
        flat = self.validate(changes)
        new = object.__new__(type(self))
        new._set(**self.__dict__)
        new._set(_flat={path: a if a is self._flat[path] else owned(a) for path, a in flat.items()})
        if self.batch:
            new._set(batch=BatchAxes.of(flat, self.batch.ndim, self.batch.by_row))
            new._start(new._flat)
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
            The draws of an estimate over this seed and range, to the last few digits.
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
        """Raise an AttributeError; for the name of a parameter it names `params`."""
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_"):
            has = f"q.params[{name!r}]" if name in self._flat else "q.params, q.sample(n), q.log_prob(z)"
            message += f": there is {has}"
        raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{path}={float(a) if a.ndim == 0 else f'<{a.dtype} {a.shape}>'}" for path, a in self._flat.items()
        )
        batch = f", batch_ndim={self.batch.ndim}" if self.batch else ""
        return f"{type(self).__name__}({inside}{batch})"

    def _constraint(self, path: str) -> Constraint:
        return self.constraints.get(path, real)

    def _constrain(self, flat: Mapping[str, FloatArray]) -> None:
        """Raise for the first array that its constraint does not accept."""
        with computing():
            answers = {path: self._accepts(path, array) for path, array in flat.items()}
            accepted = all_true(answers.values())
        if not accepted:
            path = next(path for path, answer in answers.items() if not answer)
            constraint, array = self._constraint(path), to_host(flat[path])
            if self.batch and path in self.batch.by_row:
                rows = BatchAxes.of({path: array}, self.batch.ndim, [path])  # there may be others than at first
                raise constraint.refuse_row(path, rows.rows(array), rows.name)
            raise constraint.refuse(path, array)

    def _accepts(self, path: str, array: FloatArray) -> Any:
        constraint = self._constraint(path)
        if not (self.batch and path in self.batch.by_row) or (constraint.by_element and array.size):
            return constraint.check(array)
        return constraint.check_rows(self.batch.rows(array))

    def condition(self, path: str, array: FloatArray) -> Any:
        """Return two numbers between which all entries have to lie, or whether an array is accepted: without a wait."""
        return bounds_of(self._constraint(path)) or self._accepts(path, array)

    def bounds(self, path: str) -> tuple[float, float] | None:
        """Return two numbers between which new values of a parameter have to lie; None where other things count."""
        constraint = self._constraint(path)
        return bounds_of(constraint) if constraint.by_element and not self.has_check else None

    @property
    def checks_on_host(self) -> bool:
        """Whether values are checked on the host, wherever they are."""
        unseen = self.has_check and not self.relates
        return unseen or any(checks_on_host(self._constraint(path)) for path in self.shapes)

    @property
    def checks_rows_together(self) -> bool:
        """Whether many rows' values are checked at once, by whole arrays."""
        by_row = [self._constraint(path) for path in self.shapes if self.batch and path in self.batch.by_row]
        return all(constraint.rows is not None for constraint in by_row) and not self.has_check

    @property
    def relates(self) -> bool:
        """Whether `relations` has what `check` looks at: no class nearer to this one has another check."""
        return next("relations" in vars(kind) for kind in type(self).__mro__ if vars(kind).keys() & CHECKS)

    def _check(self, flat: Mapping[str, FloatArray]) -> None:
        """Let the family check arrays, which are all on the device if one is: of a batch those of each row."""
        if not self.has_check:
            return
        with computing():
            if any_on_device(flat.values()):
                flat = dict(zip(flat, to_common_device(flat.values()), strict=True))
            if self.batch:
                self.batch.check(self.check, dict(flat), self.checks_elements)
            else:
                self.check(flat)

    @property
    def has_check(self) -> bool:
        """Whether parameters limit one another."""
        return type(self).check is not Family.check

    @property
    def checks_elements(self) -> bool:
        """Whether `check` works element by element, on parameters that broadcast."""
        return self.elementwise_check


CHECKS = {"check", "relations"}


def _names(flat: Mapping[str, object]) -> str:
    return ", ".join(flat) or "(there are none)"


def _naming(init: Callable[..., None]) -> Callable[..., None]:
    """Refuse unknown arguments of a family by name, and list its own."""

    @wraps(init)
    def checked(self: Distribution, /, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # raised inside the constructor
            family, parameters = type(self).__name__, inspect.signature(init).parameters
            unknown = [name for name in kwargs if name not in parameters]
            given = f"{unknown[0]}=" if unknown else str(error).partition("() ")[2]
            takes = [f"**{name}" if p.kind is p.VAR_KEYWORD else name for name, p in parameters.items()]
            raise ParameterError(family, given, ", ".join(takes[1:])) from None

    return checked
