"""A traced problem: the integrand of the transformed noise as expressions in parameters, data and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.draw import Draw
from mcgrad.errors import ParameterError
from mcgrad.inputs.batch import Batch
from mcgrad.inputs.integrand import Integrand, trace_user
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.proposal import Proposal
from mcgrad.ir.build import apply, concatenate, input_, reduce, reshape
from mcgrad.ir.noise_vars import noise_vars
from mcgrad.ir.program import Shape, Var
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.spaces import Input, Space, named, of_space, param
from mcgrad.ir.vmap import vmap_noise
from mcgrad.trace.lines import Line, noted_in
from mcgrad.trace.overruns import Overrun, collected
from mcgrad.trace.trace import trace

Params = Mapping[str, Var]  # by dotted path


class Problem:
    """E f(z), z = g(phi, eps), as Vars.

    f returns a number, an array, or a nested dict of arrays, which here are one vector, one after the other.

    Every parameter has two Vars, of one input. Derivatives are taken in the one in `params`; for what is built from the
    one in `fixed` the parameter is a constant. Their values are equal, and they become one Var when the Program is
    simplified: this is how a method stops derivatives.

    With a proposal p the draw is z = g_p(eps), which no parameter moves, and the integrand is f(z) q(z; phi) / p(z).

    Parameters
    ----------
    f : callable, Integrand or Objective
    q : Distribution
    params : dict of str to float array
        The integrand's own parameters, by dotted path.
    data : dict of str to array
        By name. Float arrays become inputs; integers and booleans stay as they are, so that they may index.
    batch : Batch, optional
        Where there are many rows: q, parameters and data are those of the first.
    cotangent : dict of str to array, optional
        Weights of what f returns, by dotted path: the linear combination is what is differentiated. Of a batch those of
        all rows, with the batch axes in front, or the same for each row.
    proposal : Proposal, optional
        What draws come from in place of q.

    Attributes
    ----------
    params, fixed : dict of str to Var
        The parameters' inputs, by dotted path: q's, then f's own.
    own : tuple of str
        The paths of q's.
    data : dict of Input to Var
        The inputs that float data and cotangents are, and the parameters of the distribution that a divergence is taken
        from, and of a proposal.
    result : Var
        What f returns at a draw; with a proposal, times the weight of the draw.
    shapes : dict of str to tuple of int
        Shapes of the arrays in it, by dotted path; of the path "" for a number or an array.
    value : Var
        What is differentiated: the result, or its linear combination.
    draws : int
        Draws of q that the integrand takes: 1, or the k of an importance-weighted bound.
    weights_by_row : tuple of Input
        The cotangents that have batch axes.
    biases : dict of str to Bias or None
        Means of scores that were found not to be zero, of the parameters looked at so far (`score_mean`).
    overruns : list of Overrun
        The bounded loops that draws may not have ended after their last step.
    lines : dict of Var to (str, int)
        Where in the user's code the equations were made at which draw and integrand jump.
    values : dict of Input to array
        What parameters and float data were at first.
    directions : dict of str to Var
        The vector that second derivatives are multiplied with, by the paths of parameters: where `along` was called.
    """

    def __init__(
        self,
        f: Callable[..., Any] | Integrand | Objective,
        q: Distribution,
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        batch: Batch | None = None,
        cotangent: Mapping[str, Any] | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        self.f, self.q, self._batch, self.proposal = f, q, batch, proposal
        self._source = proposal.p if proposal else q  # of the draws
        self._given = params, data
        self.own, self._others = tuple(q.flat_params), tuple(params)
        shapes = {path: np.shape(x) for path, x in [*q.flat_params.items(), *params.items()]}
        self.params = {path: self._input(param(path), shape) for path, shape in shapes.items()}
        self.fixed = {path: self._input(param(path), shape) for path, shape in shapes.items()}
        known = known_arrays(f, data, proposal=proposal)
        self._known = {name: self._input(name, x.shape) if x.dtype.kind == "f" else x for name, x in known.items()}
        self.data = {name: x for name, x in self._known.items() if isinstance(x, Var)}
        self.biases: dict[str, Any] = {}
        self.draws = f.draws if isinstance(f, Objective) else 1
        self._eps = noise_vars(self._source.noise)
        self.sources = len(self._eps)
        self._traced: dict[tuple[int, int, bool], Var] = {}
        self.lines: dict[Var, Line] = {}
        self.overruns: list[Overrun] = []
        own = named({**q.flat_params, **params})
        self.values = {**own, **{name: x for name, x in known.items() if name in self.data}}
        self.directions: dict[str, Var] = {}
        self.shapes: dict[str, Shape] = {"": ()}
        self._cotangent: Var | None = None
        self.weights_by_row: tuple[Input, ...] = ()
        self.result = self._result(self.params, self.params)
        if cotangent is not None:
            self._cotangent = self._weights(cotangent)
        self.value = self.integrand(self.params, self.params)

    def _input(self, name: Input, shape: Shape) -> Var:
        return input_(name.path, shape, name.space, self._batch is not None and name in self._batch.by_row)

    def along(self, directions: Mapping[str, Any]) -> None:
        """Make a vector in the space of parameters an input, by their paths: that of products with the Hessian."""
        for path, x in directions.items():
            name = Input(Space.DIRECTION, path)
            self.directions[path] = self.data[name] = self._input(name, np.shape(x))
            self.values[name] = x

    def computed(self, name: Input, shape: Shape) -> Var:
        """Return an input that a pilot computes: of a batch for each row."""
        return input_(name.path, shape, name.space, self._batch is not None)

    def is_summed(self, path: str) -> bool:
        """Whether the gradient in a parameter is summed over the rows of a batch."""
        return self._batch is not None and self._batch.sums(param(path))

    @cached_property
    def z(self) -> Any:
        """One draw, as a tree of Vars."""
        with noted_in(self.lines), collected(self.overruns):
            return trace(self._source.transform, (tree.unflatten(self._eps),), self._of_source())

    @cached_property
    def single(self) -> Var:
        """The integrand at one draw, also where it takes several."""
        return self.value if self.draws == 1 else self.integrand_at(self.draw(self.params), self.params, True)

    @cached_property
    def coordinates(self) -> Any:
        """The coordinates of that draw, in the chart of the distribution that it comes from."""
        if self._source.coordinates is None:
            return trace(self._source.chart.coordinates, (self.z,), {})
        return trace(self._source.coordinates, (tree.unflatten(self._eps),), self._of_source())

    def draw(self, at: Params) -> Draw:
        """Return one draw, made with the parameters `at`: `params` or `fixed`."""
        if at is self.params:
            return Draw(self.z, lambda: self.coordinates)
        return Draw(self._frozen(self.z), lambda: self._frozen(self.coordinates))

    def frozen(self, *roots: Var) -> list[Var]:
        """Return the same values, constant in every parameter."""
        return substitute(roots, {self.params[path]: self.fixed[path] for path in self.params})

    def frozen_tree(self, z: Any) -> dict[str, Var]:
        """Return the leaves of a tree by path, constant in every parameter."""
        flat = tree.flatten(z)
        return dict(zip(flat, self.frozen(*flat.values()), strict=True))

    def _frozen(self, z: Any) -> Any:
        return tree.unflatten(self.frozen_tree(z))

    def integrand(self, draw: Params, inside: Params, by_draws: bool = False) -> Var:
        """Return the integrand: what is differentiated.

        Parameters
        ----------
        draw : dict of str to Var
            The parameters that made the draw: `params`, or `fixed` for a draw that is held.
        inside : dict of str to Var
            The parameters of q that the integrand itself reads, as an ELBO does. Its own are always `params`.
        by_draws : bool
            Whether an objective takes its entropy from the draws even where there is a closed form.
        """
        return self._contracted(self._result(draw, inside, by_draws))

    def _result(self, draw: Params, inside: Params, by_draws: bool = False) -> Var:
        """Return what f returns."""
        key = (id(draw), id(inside), by_draws)
        if key not in self._traced:
            if self.draws > 1:
                self._traced[key] = self._log_mean(self.log_weights(draw, inside))
            else:
                self._traced[key] = self._weighted(self._result_at(self.draw(draw), inside, by_draws), inside)
        return self._traced[key]

    def integrand_at(self, draw: Draw, inside: Params, by_draws: bool = False) -> Var:
        """Return the integrand at one draw."""
        return self._contracted(self._result_at(draw, inside, by_draws))

    def _result_at(self, draw: Draw, inside: Params, by_draws: bool) -> Var:
        """Return what f returns at one draw, as one Var."""
        others = {path: self.params[path] for path in self._others}
        with noted_in(self.lines), collected(self.overruns):
            if isinstance(self.f, Objective):
                return self.f.trace(draw, {path: inside[path] for path in self.own}, others, self._known, by_draws)
            found = trace_user(self.f, draw.z, others, of_space(self._known, Space.DATA))
        flat = tree.flatten(found)
        self.shapes = {path: var.shape for path, var in flat.items()}
        return found if isinstance(found, Var) else joined(list(flat.values()))

    def weight(self, inside: Params) -> Var:
        """Return the importance weight q(z) / p(z) of a draw of the proposal, with the parameters of q at `inside`."""
        return apply("exp", self._log_weight(inside))

    def _log_weight(self, inside: Params) -> Var:
        assert self.proposal
        own = {path: inside[path] for path in self.own}
        return self.proposal.log_weight(self.draw(self.fixed), self.q, own, self._known)

    def _weighted(self, result: Var, inside: Params) -> Var:
        """Return a result times the weight of the draw, where draws have weights."""
        if self.proposal is None:
            return result
        return apply("multiply", self._within(result), self.weight(inside))

    def _within(self, result: Var) -> Var:
        """Return a result, and 0 where the weight is: f may have no value there, or an infinite one."""
        assert self.proposal
        return apply("where", self.proposal.inside(self.weight(self.fixed)), result, 0.0)

    def _contracted(self, result: Var) -> Var:
        """Return the linear combination of the numbers of a result, where there is a cotangent."""
        if self._cotangent is None:
            return result
        return reduce("sum", apply("multiply", self._cotangent, result), range(len(result.shape)))

    def _weights(self, cotangent: Mapping[str, Any]) -> Var:
        """Return the cotangent in the form of the result.

        Raises
        ------
        ParameterError
            It is not of the shape of what f returns.
        """
        if isinstance(self.f, Objective):
            raise ParameterError("cotangent", f"weights for {self.f!r}", "None: an objective is one number")
        given = {path: np.shape(x) for path, x in cotangent.items()}
        lead = self._batch.shape if self._batch else ()
        fits = given.keys() == self.shapes.keys()
        if not fits or any(
            shape not in (self.shapes[path], (*lead, *self.shapes[path])) for path, shape in given.items()
        ):
            accepted = f"{described(self.shapes)}, as f returns"
            accepted += f", or with the batch axes {lead} in front" if self._batch else ""
            raise ParameterError("cotangent", described(given), accepted)
        by_row = {path for path, shape in given.items() if shape != self.shapes[path]}
        self.weights_by_row = tuple(Input(Space.COTANGENT, path) for path in by_row)
        found = []
        for path, shape in self.shapes.items():
            name, x = Input(Space.COTANGENT, path), cotangent[path]
            if path in by_row and self._batch:
                x = self._batch.with_inputs([name]).first({name: x})[name]
            self.data[name], self.values[name] = input_(path, shape, Space.COTANGENT, path in by_row), x
            found.append(self.data[name])
        return found[0] if "" in self.shapes else joined(found)

    @property
    def eps(self) -> dict[str, Var]:
        """The noise of a draw, by path."""
        return self._eps

    @property
    def known_data(self) -> dict[str, Any]:
        """The user's data, by name: Vars, or arrays where they may index."""
        return of_space(self._known, Space.DATA)

    @property
    def has_rows(self) -> bool:
        """Whether there are many rows, each of which has inputs of its own that a pilot computes."""
        return self._batch is not None

    def of_function(self, h: Callable[..., Any] | Integrand | Objective) -> Problem:
        """Return the problem of another function of the same draws, parameters and data."""
        return Problem(h, self.q, *self._given, self._batch, proposal=self.proposal)

    @property
    def is_whole(self) -> bool:
        """Whether what is differentiated is all that f returns, rather than a linear combination."""
        return self._cotangent is None

    def held(self) -> tuple[Var, Var]:
        """Return the integrand at the held draw: as its own parameters move it, and constant in all parameters.

        With a proposal the first is weighted and the second is not: the weight is with the score, in `log_q`.
        """
        if self.proposal:
            value = self.integrand(self.fixed, self.fixed)
            result = self._result_at(self.draw(self.fixed), self.fixed, False)
            (weight,) = self.frozen(self._contracted(self._within(result)))
            return value, weight
        value = self.integrand(self.fixed, self.params)
        (weight,) = self.frozen(value)
        return value, weight

    def log_weights(self, draw: Params, inside: Params) -> Var:
        """Return the integrand at each of the draws: the logarithms of importance weights, shape (draws,)."""
        (weights,) = vmap_noise([self.integrand_at(self.draw(draw), inside, True)], self.draws)
        return weights

    def _log_mean(self, x: Var) -> Var:
        """The logarithm of the mean of exponentials; the largest, which is taken out, is no function of parameters."""
        (top,) = self.frozen(reduce("max", x, (0,)))
        total = reduce("sum", apply("exp", apply("subtract", x, top)), (0,))
        return apply("add", apply("log", apply("multiply", total, 1 / x.size)), top)

    def log_q(self) -> Var:
        """Return the log density of the held draw, or the sum over the draws, in the parameters of q.

        With a proposal it is multiplied by the weight of the draw, held: its derivative is the weighted score.

        Raises
        ------
        ParameterError
            Where q has no log density.
        """
        return self._log_q

    @cached_property
    def _log_q(self) -> Var:
        own = {path: self.params[path] for path in self.own}
        log_q = self.draw(self.fixed).log_density(self.q, self._source, own)
        if self.proposal:
            return apply("multiply", self.weight(self.fixed), log_q)
        if self.draws > 1:
            log_q = reduce("sum", vmap_noise([log_q], self.draws)[0], (0,))
        return log_q

    def _of_source(self) -> Any:
        """Return the parameters of the distribution that draws come from."""
        flat = self.proposal.params(self.data) if self.proposal else {path: self.params[path] for path in self.own}
        return tree.unflatten(flat) if flat else {}


def known_arrays(
    f: Callable[..., Any] | Integrand | Objective,
    data: Mapping[str, Any],
    cotangent: Mapping[str, Any] | None = None,
    proposal: Proposal | None = None,
) -> dict[Input, Any]:
    """Return the arrays that are read besides parameters: data, a cotangent, an objective's own, and a proposal's."""
    own = {**(f.reads if isinstance(f, Objective) else {}), **(proposal.reads if proposal else {})}
    return {**named(data, Space.DATA), **named(cotangent or {}, Space.COTANGENT), **own}


def joined(parts: Sequence[Var]) -> Var:
    """Return the elements of several Vars as one vector."""
    return concatenate([reshape(part, (part.size,)) for part in parts], 0)


def described(shapes: Mapping[str, Shape]) -> str:
    """Say what shapes a number, an array or a dict of arrays has."""
    if "" in shapes:
        return f"shape {shapes['']}"
    return f"a dict with {', '.join(f'{path}: {shape}' for path, shape in shapes.items()) or 'nothing'}"
