"""Objectives of variational inference: integrands that read the density of the distribution of their draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Self

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.divergence import closed_form
from mcgrad.distributions.draw import Draw
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import called, count
from mcgrad.inputs.integrand import Integrand, trace_log_joint
from mcgrad.ir.build import apply, as_var
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input, Space, named, of_space
from mcgrad.pickles import HoldsFunctions
from mcgrad.trace.trace import trace


class Objective(HoldsFunctions):
    """An integrand that contains the density of its own distribution.

    Parameters
    ----------
    q : Distribution

    Attributes
    ----------
    draws : int
        Draws of q in one value of the integrand.
    reads : dict of Input to array
        Its own arrays, such as the parameters of a reference distribution.
    by_row : frozenset of Input
        Those of them that have batch axes.
    """

    q: Distribution
    draws: int
    reads: dict[Input, Any]
    by_row: frozenset[Input] = frozenset()

    def __init__(self, q: Distribution, draws: int = 1) -> None:
        if not isinstance(q, Distribution):
            raise ParameterError("q", shown(q), "a distribution, such as mcgrad.Normal(loc, scale)")
        self.q, self.draws, self.reads = q, draws, {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.q!r})"

    def of_first_row(self) -> Self:
        """Return the objective of the first row of a batch; itself where there is no batch."""
        if self.q.batch is None:
            return self
        new = copy(self)
        new.q = self.q.template
        return new

    def trace(
        self, draw: Draw, own: Mapping[str, Var], others: Mapping[str, Var], known: Mapping[Input, Any], by_draws: bool
    ) -> Var:
        """Return the integrand at one draw.

        Parameters
        ----------
        draw : Draw
        own, others : dict of str to Var
            Parameters of q by dotted path, and those of the user's function.
        known : dict of Input to Var or array
            The user's data, and its own arrays, `reads`.
        by_draws : bool
            Whether to use log densities of the draw even where a closed form is known.
        """
        raise NotImplementedError


class Elbo(Objective):
    """The evidence lower bound E_q[log p(x, z)] + H(q), made by `elbo` and `iwae`."""

    def __init__(self, log_joint: Callable[..., Any] | Integrand, q: Distribution, draws: int = 1) -> None:
        super().__init__(q, draws)
        if not callable(log_joint) and not isinstance(log_joint, Integrand):
            raise ParameterError("log_joint", shown(log_joint), "a function of one draw, or an Integrand")
        self.log_joint = log_joint

    def __repr__(self) -> str:
        inside = f"{called(self.log_joint)}, {self.q!r}"
        return f"elbo({inside})" if self.draws == 1 else f"iwae({inside}, k={self.draws})"

    def trace(
        self, draw: Draw, own: Mapping[str, Var], others: Mapping[str, Var], known: Mapping[Input, Any], by_draws: bool
    ) -> Var:
        """Return log p(x, z) + H(q), or log p(x, z) - log q(z) without a closed form of H, or with `by_draws`."""
        log_p = trace_log_joint(self.log_joint, draw.z, others, of_space(known, Space.DATA))
        return apply("add", log_p, _entropy(self.q, draw, own, by_draws))


class Kl(Objective):
    """The divergence KL(q || p) = E_q[log q(z) - log p(z)], made by `kl`."""

    def __init__(self, q: Distribution, p: Distribution) -> None:
        super().__init__(q)
        if not isinstance(p, Distribution):
            raise ParameterError("p", shown(p), "a distribution, such as mcgrad.Normal(0.0, 1.0)")
        if p.event_shape != q.event_shape:
            raise ParameterError("p", f"event shape {p.event_shape}", f"event shape {q.event_shape}, as q's")
        self.p = p
        self.reads = dict(named(p.flat_params, Space.REFERENCE))
        if p.batch:
            self.by_row = frozenset(Input(Space.REFERENCE, path) for path in p.batch.by_row)

    def __repr__(self) -> str:
        return f"kl({self.q!r}, {self.p!r})"

    def of_first_row(self) -> Self:
        """Return the divergence of the first row of a batch; itself where there is no batch."""
        new = super().of_first_row()
        if self.p.batch is None:
            return new
        new = copy(new)
        new.p = self.p.template
        new.reads = dict(named(new.p.flat_params, Space.REFERENCE))
        return new

    def trace(
        self, draw: Draw, own: Mapping[str, Var], others: Mapping[str, Var], known: Mapping[Input, Any], by_draws: bool
    ) -> Var:
        """Return the closed form of the divergence, or log q(z) - log p(z) without one, or with `by_draws`."""
        return _divergence(self.q, self.p, draw, own, of_space(known, Space.REFERENCE), by_draws)


def elbo(log_joint: Callable[..., Any] | Integrand, q: Distribution) -> Elbo:
    """Make the evidence lower bound of a model, log p(x) >= E_q[log p(x, z) - log q(z)].

    Parameters
    ----------
    log_joint : callable or Integrand
        ``log_joint(z, **params, **data)``: log p(x, z) at one draw, in plain NumPy.
    q : Distribution
        The variational family at its present parameters.

    Returns
    -------
    Elbo
        To be estimated: ``mg.estimate(mg.elbo(log_joint, q), n=10_000)``.

    Notes
    -----
    The entropy of q is taken in closed form where q's family has one (part by part in a Joint), and from the draws,
    -log q(z), otherwise, and for ``method="stl"``. Kingma and Welling 2014, equation 3.
    """
    return Elbo(log_joint, q)


def iwae(log_joint: Callable[..., Any] | Integrand, q: Distribution, k: int) -> Elbo:
    """Make the importance-weighted bound log p(x) >= E log((1/k) sum_i p(x, z_i) / q(z_i)) with k draws from q.

    Parameters
    ----------
    log_joint, q
        As for `elbo`.
    k : int
        Draws in one bound. An estimate from n draws averages n / k bounds.

    Notes
    -----
    Burda, Grosse and Salakhutdinov 2016, equation 8. Its pathwise gradient loses its signal in noise as k grows
    (Rainforth et al. 2018); ``method="dreg"`` does not.
    """
    return Elbo(log_joint, q, count("k", k, 1))


def kl(q: Distribution, p: Distribution) -> Kl:
    """Make the divergence KL(q || p) = E_q[log q(z) - log p(z)].

    Parameters
    ----------
    q, p : Distribution
        Of one event shape. The gradient is in the parameters of q; those of p are fixed.

    Notes
    -----
    In closed form where one is known for the two families (part by part for two Joints): its standard error is zero.
    Otherwise, and for ``method="stl"``, from the draws. Closed forms are infinite where q has draws outside the support
    of p. Which pairs have one is in docs/distributions.md.
    """
    return Kl(q, p)


def _params(own: Mapping[str, Var]) -> Any:
    return tree.unflatten(own) if own else {}


def _inside(name: str, flat: Mapping[str, Var]) -> dict[str, Var]:
    """Return the parameters of one part of a Joint."""
    return {path[len(name) + 1 :]: x for path, x in flat.items() if path.startswith(f"{name}.")}


def _entropy(q: Distribution, draw: Draw, own: Mapping[str, Var], by_draws: bool) -> Var:
    if q.parts:
        terms = [_entropy(part, draw.part(name), _inside(name, own), by_draws) for name, part in q.parts.items()]
        return _total(terms)
    if q.entropy is not None and not by_draws:
        return as_var(trace(q.entropy, (), _params(own)))
    return apply("negative", draw.log_density(q, q, own))


def _divergence(
    q: Distribution, p: Distribution, draw: Draw, own: Mapping[str, Var], reference: Mapping[str, Var], by_draws: bool
) -> Var:
    if q.parts and p.parts:
        return _total([
            _divergence(part, p.parts[name], draw.part(name), _inside(name, own), _inside(name, reference), by_draws)
            for name, part in q.parts.items()
        ])  # fmt: skip
    form = None if by_draws else closed_form(q, p)
    if form is not None:
        return as_var(trace(form, (_params(own), _params(reference)), {}))
    return apply("subtract", draw.log_density(q, q, own), draw.log_density(p, q, reference))


def _total(terms: list[Var]) -> Var:
    total = terms[0]
    for term in terms[1:]:
        total = apply("add", total, term)
    return total
