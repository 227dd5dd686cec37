"""Controls as users give them: "linear", "quadratic", and functions of the draw whose mean is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mcgrad.errors import ParameterError, shown
from mcgrad.inputs import arguments
from mcgrad.pickles import HoldsFunctions

LINEAR, QUADRATIC, AUTO = "linear", "quadratic", "auto"
SAMPLE, PILOT = "sample", "pilot"
ACCEPTED = f'None, "{AUTO}", "{LINEAR}", "{QUADRATIC}", a mcgrad.Control, or a list of the last three'


class Control(HoldsFunctions):
    """A function of the draw whose mean is known, as a control variate.

    Parameters
    ----------
    h : callable
        ``h(z, **params, **data)``: plain NumPy on one draw, as an integrand; it is given those of the integrand's
        parameters and data that it has arguments for. It returns a number, an array, or a nested dict of arrays, each
        number of which is a control.
    mean : float, array, nested dict of them, or callable
        The mean of h, exactly, of the shape that h returns. A number serves the value alone. A function
        ``mean(**params, **data)`` in plain NumPy, of those parameters of the distribution and of the integrand, and of
        those data, that it has arguments for, is differentiated, so that it serves the gradient, too: of a Joint a
        part's parameters are one dict.
    name : str, optional
        In results and messages. Default: the name of h.

    Raises
    ------
    ParameterError
        `h` is no function, or `mean` neither finite numbers nor a function.

    Notes
    -----
    The gradient in a parameter has for controls the derivatives of h in that parameter by the same method, whose means
    are the derivatives of the mean. Glasserman 2003, section 4.1.

    Examples
    --------
    >>> square = mg.Control(lambda z: z**2, mean=lambda loc, scale: loc**2 + scale**2)
    >>> mg.estimate(lambda z: np.exp(0.1 * z), mg.Normal(0.3, 1.2), n=10_000, control=square)
    """

    def __init__(self, h: Callable[..., Any], *, mean: Any, name: str | None = None) -> None:
        if not callable(h):
            raise ParameterError("h", shown(h), "a function h(z, **params, **data) of one draw")
        if name is not None and (not isinstance(name, str) or not name or not name.isprintable()):
            raise ParameterError("name", shown(name), "a string of printable characters, not empty")
        if not callable(mean):
            arguments.of_result("mean", mean, "the mean of h: numbers of the shape that it returns, or a function")
        self.h, self.mean, self.name = h, mean, name or arguments.called(h)

    def __repr__(self) -> str:
        return f"Control({self.name})"


def names(found: Iterable[str | Control]) -> tuple[str, ...]:
    """Return the names of controls."""
    return tuple(each if isinstance(each, str) else each.name for each in found)


def controls(given: Any) -> tuple[str | Control, ...]:
    """Return the controls that an option names, each once.

    Raises
    ------
    ParameterError
        Names `control`.
    """
    if given is None:
        return ()
    found = [given] if isinstance(given, str | Control) or not isinstance(given, Iterable) else list(given)
    if found == [AUTO]:
        return (AUTO,)
    for each in found:
        if not isinstance(each, Control) and each not in (LINEAR, QUADRATIC):
            raise ParameterError("control", shown(each), ACCEPTED)
    called = names(found)
    if len(set(called)) < len(called):
        twice = next(name for name in called if called.count(name) > 1)
        raise ParameterError("control", f"two of the name {twice!r}", "each once; name= of a Control tells two apart")
    return tuple(found)


def with_arguments_of(function: Callable[..., Any], given: Mapping[str, Any], first: int, what: str) -> dict[str, Any]:
    """Return those of some named values that a function has arguments for.

    Parameters
    ----------
    function : callable
    given : mapping
        Values by name.
    first : int
        Arguments at the beginning that are given by position.
    what : str
        What the function is, in a message.

    Raises
    ------
    ParameterError
        It has an argument without a default of another name.
    """
    try:
        parameters = [*inspect.signature(function).parameters.values()][first:]
    except (TypeError, ValueError):  # of a builtin
        return dict(given)
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return dict(given)
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    for each in named:
        if each.name not in given and each.default is each.empty:
            known = ", ".join(given) or "(there are none)"
            raise ParameterError("control", f"{what} with an argument {each.name!r}", f"arguments named {known}")
    return {each.name: given[each.name] for each in named if each.name in given}
