"""The keywords of an Estimator as one value, which `estimate`, `verify`, `compare`, jobs and pickles make and change.

Checks of a single option are here, when the value is made; those that depend on f and q, such as of the names in `wrt`,
are made with the Estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy.typing as npt

from mcgrad.backends import registry
from mcgrad.distributions.base import Distribution
from mcgrad.engine.dispatch import CUDA
from mcgrad.engine.threads import thread_count
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import GROUP, MethodNames, Plan
from mcgrad.gradients.second_plan import THEN
from mcgrad.inputs import arguments
from mcgrad.inputs.batch import REDUCE
from mcgrad.inputs.control import PILOT, SAMPLE, controls
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SCRAMBLES, Sampler
from mcgrad.inputs.second import Hessian, hessian
from mcgrad.noise.source import PHILOX


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keywords of an `Estimator`, which documents them.

    Raises
    ------
    ParameterError
        An option is not accepted, whatever f and q are.
    """

    params: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    wrt: str | Iterable[str] | None = None
    cotangent: Any = None
    hessian: Hessian = None
    hvp: Any = None
    hessian_method: str | None = None
    covariance: bool = False
    method: MethodNames = PATHWISE.name
    baseline: str | None = None
    k: int = GROUP
    sampler: str = PHILOX
    replicates: int = REPLICATES
    scramble: str = SCRAMBLES[0]
    antithetic: bool = False
    control: Any = None
    coefficients: str | None = None
    proposal: Distribution | None = None
    batched_params: str | Iterable[str] = ()
    batched_data: str | Iterable[str] = ()
    reduce: str | None = None
    common_noise: bool = False
    errors: bool = True
    dtype: npt.DTypeLike | None = None
    nonfinite: str = "propagate"
    backend: str = registry.AUTO
    threads: int | None = None
    draws: int | None = None
    devices: Iterable[int] | None = None
    output: str = "host"

    def __post_init__(self) -> None:
        registry.check_name(self.backend)
        arguments.one_of("output", self.output, arguments.OUTPUTS)
        if self.output == "device" and self.backend not in (CUDA, registry.AUTO):
            given = f"'device' with backend {self.backend!r}"
            raise ParameterError("output", given, "'host', or 'device' with backend 'cuda'")
        arguments.one_of("nonfinite", self.nonfinite, arguments.NONFINITE)
        if self.reduce is not None:
            arguments.one_of("reduce", self.reduce, (each for each in REDUCE if each))
        if not isinstance(self.common_noise, bool):
            raise ParameterError("common_noise", shown(self.common_noise), "True or False")
        thread_count(self.threads)
        arguments.dtype(self.dtype)
        arguments.flag("covariance", self.covariance)
        arguments.flag("errors", self.errors)
        arguments.flag("antithetic", self.antithetic)
        if self.hessian_method is not None:
            arguments.one_of("hessian_method", self.hessian_method, THEN)
        if self.coefficients is not None:
            arguments.one_of("coefficients", self.coefficients, (SAMPLE, PILOT))
        if self.of_sampler.is_point_set and self.antithetic:
            given = f"True with sampler {self.sampler!r}"
            raise ParameterError("antithetic", given, "one of the two: points of a replicate are balanced already")
        checked = {
            "k": arguments.count("k", self.k, 2),
            "draws": None if self.draws is None else arguments.count("draws", self.draws, 1),
            "wrt": tuple(self.wrt) if isinstance(self.wrt, Iterator) else self.wrt,  # iterators can be read only once
            "control": controls(self.control),
            "hessian": hessian(self.hessian),
            "batched_params": arguments.names("batched_params", self.batched_params),
            "batched_data": arguments.names("batched_data", self.batched_data),
            "devices": tuple(self.devices) if isinstance(self.devices, Iterable) else self.devices,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def has_second(self) -> bool:
        """Whether there are second derivatives."""
        return self.hessian is not None or bool(self.hvp)

    @property
    def of_sampler(self) -> Sampler:
        """The sampler."""
        return Sampler(self.sampler, self.replicates, self.scramble)


@dataclass(frozen=True, slots=True)
class Request:
    """All arguments of an Estimator: those of the user, and the plan of an earlier Estimator with the same arguments.

    Parameters
    ----------
    f, q
        As for `Estimator`.
    options : Options
    plan : Plan, optional
        The plan that a pilot chose under "auto".
    """

    f: Callable[..., Any] | Integrand | Objective
    q: Distribution | None
    options: Options
    plan: Plan | None = None

    def change(self, **options: Any) -> Self:
        """Return the same with other options."""
        return replace(self, options=replace(self.options, **options))
