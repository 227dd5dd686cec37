"""A proposal: the distribution that draws come from in place of q, each with the weight q(z) / p(z)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.coverage import refuse_other_kinds
from mcgrad.distributions.draw import Draw
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs.objectives import Objective
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input, Space, named, of_space


class Proposal:
    """The distribution p that draws come from.

    Parameters
    ----------
    p : Distribution
        With batch axes, or the same for all rows of a batch.

    Attributes
    ----------
    reads : dict of Input to array
        Its parameters: inputs without a derivative, which calls do not change.
    by_row : frozenset of Input
        Those of them that have batch axes.
    """

    def __init__(self, p: Distribution) -> None:
        self.p = p
        self.reads: dict[Input, Any] = dict(named(p.flat_params, Space.PROPOSAL))
        rows = p.batch.by_row if p.batch else frozenset[str]()
        self.by_row = frozenset(Input(Space.PROPOSAL, path) for path in rows)

    @classmethod
    def of(cls, given: Any, f: Any, q: Distribution) -> Self | None:
        """Return the proposal that an option names; None where there is none.

        Raises
        ------
        ParameterError
            No distribution, one whose densities have no ratio with those of q, or one for an objective.
        """
        if given is None:
            return None
        if not isinstance(given, Distribution):
            raise ParameterError("proposal", shown(given), "a distribution, such as mcgrad.Normal(6.0, 1.0), or None")
        if isinstance(f, Objective):
            accepted = "None: an objective is an expectation over q's own draws; or its integrand as a function of z"
            raise ParameterError("proposal", f"{given!r} for {f!r}", accepted)
        if given.batch and q.batch and given.batch.shape != q.batch.shape:
            accepted = f"batch shape {q.batch.shape}, as q has, or no batch axes"
            raise ParameterError("proposal", f"batch shape {given.batch.shape}", accepted)
        refuse_other_kinds(q.template, given.template, "proposal")
        return cls(given)

    def check(self, dtype: str) -> None:
        """Refuse parameters that its family does not accept in the dtype of the Program."""
        with renamed(lambda path: f"proposal.{path}"):
            self.p.validate({}, dtype)

    def of_first_row(self) -> Self:
        """Return the proposal of the first row of a batch; itself where it has no batch axes."""
        return self if self.p.batch is None else type(self)(self.p.template)

    def params(self, known: Mapping[Input, Any]) -> dict[str, Var]:
        """Return its parameters among inputs, by dotted path."""
        return of_space(known, Space.PROPOSAL)

    def log_weight(self, draw: Draw, q: Distribution, own: Mapping[str, Var], known: Mapping[Input, Any]) -> Var:
        """Return log q(z) - log p(z) at a draw of p.

        Parameters
        ----------
        draw : Draw
        q : Distribution
        own : dict of str to Var
            The parameters of q.
        known : dict of Input to Var
            Its own parameters are among them.
        """
        ours = draw.log_density(q, self.p, own)
        return apply("subtract", ours, draw.log_density(self.p, self.p, self.params(known)))

    @staticmethod
    def inside(weight: Var) -> Var:
        """Return whether q has density at a draw: not outside its support, nor so far out that the weight is zero."""
        return apply("not_equal", weight, 0.0)
