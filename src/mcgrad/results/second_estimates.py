"""Second derivatives of an estimate, with their standard errors."""

from __future__ import annotations

from typing import Any

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Components
from mcgrad.results.result import nested
from mcgrad.results.strict_json import listed


class SecondEstimates:
    """What an `Estimate` says of second derivatives: of its components, and of their finished moments."""

    components: Components

    @property
    def finished(self) -> Moments:
        """The moments of the components."""
        raise NotImplementedError

    @property
    def hessian(self) -> dict[str, Any]:
        """Estimate of second derivatives.

        With ``hessian="diag"`` shaped like `grad`: those of each component with itself. Else blocks,
        ``est.hessian["a"]["b"]`` of shape (*shape of a, *shape of b), in either order of the two: a float for scalars.
        Where f returns an array its axes come first; where it returns a dict, names of its arrays follow.

        Raises
        ------
        ParameterError
            The estimate was made without ``hessian=``.
        """
        return dict(nested(self._second("hessian", self.finished.estimate)))

    @property
    def hessian_stderr(self) -> dict[str, Any]:
        """Standard errors of `hessian`, number by number."""
        return dict(nested(self._second("hessian", self.finished.stderr)))

    @property
    def hvp(self) -> dict[str, Any]:
        """Estimate of the product of the Hessian with the vector given as ``hvp=``, shaped like `grad`.

        Raises
        ------
        ParameterError
            The estimate was made without ``hvp=``.
        """
        return dict(nested(self._second("hvp", self.finished.estimate)))

    @property
    def hvp_stderr(self) -> dict[str, Any]:
        """Standard errors of `hvp`, number by number."""
        return dict(nested(self._second("hvp", self.finished.stderr)))

    @property
    def hessian_method(self) -> str | dict[str, str]:
        """How second derivatives were estimated: "pathwise twice", "score, then pathwise", ...; by pair if they differ.

        "score, then pathwise" is the score-function gradient in one parameter, differentiated in the other.
        """
        return self.components.second.method

    def _second(self, name: str, vector: Float64Array) -> dict[str, Any]:
        """Return second derivatives by dotted path."""
        second = self.components.second
        if not second or second.of_results != name:
            raise ParameterError(name, f"an estimate that was made without {name}=", f"mg.estimate(..., {name}=...)")
        return self.components.second_in(vector)

    def _second_fields(self) -> dict[str, Any]:
        """Return second derivatives for other readers, where there are any."""
        second = self.components.second
        names = (second.of_results, f"{second.of_results}_stderr") if second else ()
        return {name: tree.map(listed, getattr(self, name)) for name in names}
