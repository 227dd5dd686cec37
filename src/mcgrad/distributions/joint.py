"""Independent distributions side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Self

import numpy as np

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import Parts
from mcgrad.distributions.constraints import FloatArray
from mcgrad.distributions.supports import Support
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import NoiseSpec, Shape


class Joint(Distribution):
    """Independent distributions under names: the draw is a dict, and so are parameters, noise and event shape.

    Parameters
    ----------
    **parts : Distribution
        At least one; a part may be a Joint. The noise sources are numbered in the order given.

    Examples
    --------
    ``q = Joint(a=Normal(0.0, 1.0), b=Uniform(0.0, 2.0))`` reaches the integrand as ``z["a"]`` and ``z["b"]``, and its
    gradient is ``est.grad["a"]["loc"]``.
    """

    parts: dict[str, Distribution]

    def __init__(self, /, **parts: Distribution) -> None:
        if not parts:
            raise ParameterError("parts", "none", "at least one distribution, as in Joint(a=Normal())")
        for name, part in parts.items():
            if not isinstance(part, Distribution):
                own = "batch_ndim= of the parts, of which those with batch axes agree"
                raise ParameterError(name, shown(part), own if name == "batch_ndim" else "a distribution")
        constraints = {f"{name}.{path}": c for name, part in parts.items() for path, c in part.constraints.items()}
        self._set(parts=parts, constraints=constraints)
        self._set(chart=Parts(tuple((name, part.chart) for name, part in parts.items())))
        if all(part.rarity is None for part in parts.values()):
            self._set(rarity=None)
        if all(part.bridges is None for part in parts.values()):
            self._set(bridges=None)
        self._set(reparameterized=all(part.reparameterized for part in parts.values()))
        self._set(_by_row=[f"{name}.{path}" for name, q in parts.items() if q.batch for path in q.batch.by_row])
        super().__init__(**{name: part.params for name, part in parts.items()}, batch_ndim=_batch_ndim(parts))

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> dict[str, Any]:
        """Return the event shapes of the parts by name."""
        return {name: part.event_shape for name, part in self.parts.items()}

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return the noises of the parts by name."""
        return {name: part.noise for name, part in self.parts.items()}

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Check each part."""
        params = tree.unflatten(flat)
        for name, part in self.parts.items():
            try:
                part.check(tree.flatten(params.get(name, {})))
            except ParameterError as error:
                raise ParameterError(f"{name}: {error.parameter}", error.given, error.accepted) from None

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return those of each part."""
        params = tree.unflatten(flat)
        parts = [(part, tree.flatten(params.get(name, {}))) for name, part in self.parts.items()]
        return [good for part, own in parts if part.has_check for good in part.relations(own)]

    @property
    def relates(self) -> bool:
        """Whether all parts that have a check say what it looks at."""
        return all(part.relates or not part.has_check for part in self.parts.values())

    @property
    def has_check(self) -> bool:
        """Whether parameters of a part limit one another."""
        return any(part.has_check for part in self.parts.values())

    @property
    def checks_elements(self) -> bool:
        """Whether the checks of all parts work element by element."""
        return all(part.checks_elements or not part.has_check for part in self.parts.values())

    def _parts_of_first_row(self) -> dict[str, Any]:
        return {"parts": {name: part.template for name, part in self.parts.items()}}

    def _known_of_first_row(self) -> dict[str, FloatArray]:
        parts = {name: part.template.flat_params for name, part in self.parts.items()}
        return {f"{name}.{path}": array for name, flat in parts.items() for path, array in flat.items()}

    def with_params(self, /, **changes: Any) -> Self:
        """Return the same distribution with other values for any subset of the parameters, of the same shapes."""
        self.validate(changes)  # names parameters in full
        return type(self)(**{name: part.with_params(**changes.get(name, {})) for name, part in self.parts.items()})

    @property
    def support(self) -> Support:  # type: ignore[override]
        """The parts' supports side by side."""
        return _joined(self.parts)

    @property
    def signature(self) -> Hashable:
        """The signatures of the parts."""
        return (type(self), tuple((name, part.signature) for name, part in self.parts.items()))

    @property
    def is_built_in(self) -> bool:
        """Whether the densities of all parts are."""
        return all(part.is_built_in for part in self.parts.values())

    def transform(self, eps: Mapping[str, Any], /, **params: Any) -> dict[str, Any]:
        """Transform each part's noise with its parameters."""
        return {name: part.transform(eps[name], **params.get(name, {})) for name, part in self.parts.items()}

    def coordinates(self, eps: Mapping[str, Any], /, **params: Any) -> dict[str, Any]:
        """Return the coordinates of each part's draw."""
        found = {}
        for name, part in self.parts.items():
            own = params.get(name, {})
            found[name] = part.coordinates_of(eps[name], part.transform(eps[name], **own), **own)
        return found

    def log_density(self, x: Mapping[str, Any], /, **params: Any) -> Any:
        """Return the sum of the parts' log densities."""
        terms = [part.log_density(x[name], **params.get(name, {})) for name, part in self.parts.items()]
        return sum(terms[1:], start=terms[0])

    def entropy(self, **params: Any) -> Any:
        """Return the sum of the parts' entropies.

        Raises
        ------
        ParameterError
            A part without a closed form.
        """
        terms = []
        for name, part in self.parts.items():
            if part.entropy is None:
                raise ParameterError(name, f"{type(part).__name__}, whose entropy has no closed form", "another family")
            terms.append(part.entropy(**params.get(name, {})))
        return sum(terms[1:], start=terms[0])

    def rarity(self, **params: Any) -> dict[str, Any]:
        """Return those of the parts."""
        return self._of_parts("rarity", params)

    def bridges(self, **params: Any) -> dict[str, Any]:
        """Return those of the parts."""
        return self._of_parts("bridges", params)

    def _of_parts(self, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: getattr(part, kind) for name, part in self.parts.items()}
        return {
            f"{name}.{path}": probability
            for name, function in found.items()
            if function is not None
            for path, probability in function(**params.get(name, {})).items()
        }

    def __repr__(self) -> str:
        return f"Joint({', '.join(f'{name}={part!r}' for name, part in self.parts.items())})"


def _batch_ndim(parts: Mapping[str, Distribution]) -> int:
    """Return the number of batch axes that the parts have which have any."""
    known = [(name, part.batch_ndim) for name, part in parts.items() if part.batch]
    for name, ndim in known:
        if ndim != known[0][1]:
            accepted = f"batch_ndim={known[0][1]}, as {known[0][0]} has, or none"
            raise ParameterError(name, f"a distribution with batch_ndim={ndim}", accepted)
    return known[0][1] if known else 0


def part_of(q: Distribution, path: str) -> tuple[Distribution, str, str]:
    """Return the part of a Joint that a parameter belongs to, the part's path, and the parameter's name in it."""
    prefix: list[str] = []
    while q.parts:
        head, _, path = path.partition(".")
        q, prefix = q.parts[head], [*prefix, head]
    return q, ".".join(prefix), path


def _joined(parts: Mapping[str, Distribution]) -> Support:
    """Return the support of independent parts."""

    def inside(z: Any, **params: Any) -> Any:
        masks = [np.all(part.support.inside(z[name], **params.get(name, {}))) for name, part in parts.items()]
        return np.all(np.stack(masks))

    return Support(
        "; ".join(f"{name}: {part.support.describe}" for name, part in parts.items()),
        inside,
        moving=tuple(f"{name}.{path}" for name, part in parts.items() for path in part.support.moving),
        discrete=all(part.support.discrete for part in parts.values()),
    )
