"""scipy.special for transforms and densities: traced where a Tracer is among the arguments, SciPy's own otherwise.

Code that imports scipy.special itself is traced as well; this way SciPy is loaded only where plain arrays are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.trace.answers import call_scipy
from mcgrad.trace.tracer import Tracer


def _function(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Tracer) for x in args):
            return call_scipy("scipy.special", name, args, kwargs)
        import scipy.special

        return getattr(scipy.special, name)(*args, **kwargs)

    call.__name__ = name
    call.__doc__ = f"scipy.special.{name}."
    return call


digamma = _function("digamma")
erf = _function("erf")
erfc = _function("erfc")
erfcx = _function("erfcx")
expit = _function("expit")
gammaln = _function("gammaln")
log_expit = _function("log_expit")
log_softmax = _function("log_softmax")
log_ndtr = _function("log_ndtr")
logsumexp = _function("logsumexp")
ndtr = _function("ndtr")
ndtri = _function("ndtri")
ndtri_exp = _function("ndtri_exp")
softmax = _function("softmax")
