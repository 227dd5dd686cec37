"""Second derivatives of an estimate, or of one of a batch, with their standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.results.result import Result
from mcgrad.results.strict_json import listed


class SecondEstimates(Result):
    """What an estimate says of second derivatives."""

    def _second_in(self, errors: bool) -> Mapping[str, Any]:
        """Return second derivatives, or their standard errors, by dotted path."""
        raise NotImplementedError

    @property
    def hessian(self) -> dict[str, Any]:
        """Estimate of second derivatives.

        With ``hessian="diag"`` shaped like `grad`: those of each component with itself. Else blocks,
        ``est.hessian["a"]["b"]`` of shape (*shape of a, *shape of b), in either order of the two: a float for scalars.
        Where f returns an array its axes come first; where it returns a dict, names of its arrays follow.

        Of a batch they are by row, with the batch axes in front, where one of the two parameters has these: those of
        the row's own value. In parameters that all rows share they are sums over the rows, or what `reduce` says.

        Raises
        ------
        ParameterError
            The estimate was made without ``hessian=``.
        """
        return self._of_name("hessian")

    @property
    def hessian_stderr(self) -> dict[str, Any]:
        """Standard errors of `hessian`, number by number."""
        return self._of_name("hessian", errors=True)

    @property
    def hvp(self) -> dict[str, Any]:
        """Estimate of the product of the Hessian with the vector given as ``hvp=``, shaped like `grad`.

        Of a batch it is that of the sum of the rows' values: in parameters by row that of the row's own value with the
        row's part of the vector, in shared ones a sum over the rows, or what `reduce` says.

        Raises
        ------
        ParameterError
            The estimate was made without ``hvp=``.
        """
        return self._of_name("hvp")

    @property
    def hvp_stderr(self) -> dict[str, Any]:
        """Standard errors of `hvp`, number by number."""
        return self._of_name("hvp", errors=True)

    @property
    def hessian_method(self) -> str | dict[str, str]:
        """How second derivatives were estimated: "pathwise twice", "score, then pathwise", ...; by pair if they differ.

        "score, then pathwise" is the score-function gradient in one parameter, differentiated in the other.
        """
        return self.components.second.method

    def _of_name(self, name: str, errors: bool = False) -> dict[str, Any]:
        second = self.components.second
        if not second or second.of_results != name:
            raise ParameterError(name, f"an estimate that was made without {name}=", f"mg.estimate(..., {name}=...)")
        return self._nested(self._second_in(errors))

    def _second_fields(self) -> dict[str, Any]:
        """Return second derivatives for other readers, where there are any."""
        second = self.components.second
        names = (second.of_results, f"{second.of_results}_stderr") if second else ()
        return {name: tree.map(listed, getattr(self, name)) for name in names}
