"""Integrands written in PyTorch; PyTorch is imported where one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from keyword import iskeyword
from types import FunctionType
from typing import Any

from mcgrad import tree
from mcgrad.errors import ParameterError, shown, shown_names
from mcgrad.inputs.framework import FrameworkFunction, leaves
from mcgrad.ir.program import toposort
from mcgrad.pickles import is_importable, unnamed
from mcgrad.system.packages import framework
from mcgrad.trace.tracer import Tracer, unwrap


class TorchFunction(FrameworkFunction):
    """A function of PyTorch's tensors, that takes NumPy arrays and Tracers, too; made by `from_torch`."""

    maker = "from_torch"

    def __init__(self, function: Callable[..., Any], **modules: Any) -> None:
        from mcgrad.torch.aten.modules import Calling, is_module

        super().__init__(function)
        function = getattr(function, "_orig_mod", function)  # of torch.compile
        for name, module in modules.items():
            if not is_module(module):
                raise ParameterError(name, shown(module), "a torch.nn.Module")
        if modules and is_module(function):
            raise ParameterError(
                next(iter(modules)), "a module besides f, which is one", "modules that a function calls"
            )
        self.modules = modules
        self._module: Any = function if is_module(function) else Calling(function, modules) if modules else None
        self._signature = _signature_of(function)
        self.__signature__ = self._with_tensors()

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a function and its modules together, as code: by name it would call the modules where it arrives."""
        reduced = super().__reduce__()
        function = self.function
        if isinstance(reduced, str) or not self.modules:
            return reduced
        if not isinstance(function, FunctionType) or not is_importable(function):
            return reduced
        from numba import cloudpickle  # part of Numba, a dependency

        return _of_code, (type(self), cloudpickle.dumps((unnamed(function), self.modules)))  # type: ignore[no-untyped-call]

    @property
    def kept(self) -> dict[str, Any]:
        """The modules."""
        return self.modules

    @property
    def tensors(self) -> dict[str, Any]:
        """The parameters of the modules, nested by name: the tensors themselves."""
        named = dict(self._module.named_parameters()) if self._module is not None else {}
        return dict(tree.unflatten(named)) if named else {}

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the modules as they are now, nested by name, as NumPy arrays: for ``params=``."""
        named = tree.flatten(self.tensors) if self.tensors else {}
        return dict(tree.unflatten({name: x.detach().cpu().numpy() for name, x in named.items()})) if named else {}

    def own(self, value: Any) -> bool:
        """Whether a value is a tensor."""
        import torch

        return isinstance(value, torch.Tensor)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call f; arguments named as parameters of the modules take the place of these."""
        if self._module is None:
            return self.function(*args, **kwargs)
        from torch.func import functional_call

        accepted = self._signature.parameters
        given = {name: kwargs.pop(name) for name in self.tensors if name in kwargs and name not in accepted}
        flat = tree.flatten(given) if given else {}
        shapes = {path: tuple(x.shape) for path, x in self._module.named_parameters()}
        for path, x in flat.items():
            if path not in shapes:
                raise ParameterError(path, "no parameter of the module", shown_names(list(shapes)))
            if tuple(x.shape) != shapes[path]:
                raise ParameterError(path, f"shape {tuple(x.shape)}", f"shape {shapes[path]}, as in the module")
        return functional_call(self._module, flat, args, kwargs)

    def replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what f computes, of NumPy arrays and Tracers."""
        from mcgrad.torch.aten.replay import replay

        result = replay(self.call, args, kwargs)
        self._check_reached(kwargs, result)
        return result

    def _check_reached(self, given: Mapping[str, Any], result: Any) -> None:
        """Refuse modules that f does not call, such as copies of those that it calls: all derivatives would be zero."""
        known = {name: [unwrap(x) for x in leaves(given.get(name)) if isinstance(x, Tracer)] for name in self.modules}
        if not any(known.values()):
            return
        reached = {*toposort(unwrap(x) for x in leaves(result) if isinstance(x, Tracer))}
        for name, parameters in known.items():
            if parameters and reached.isdisjoint(parameters):
                raise ParameterError(name, "a module whose parameters do not reach the value of f", "one that f calls")

    def _with_tensors(self) -> inspect.Signature:
        """Return the signature of f with the names of the modules' parameters as optional arguments."""
        own = list(self._signature.parameters.values())
        rest = [own.pop()] if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD else []
        names = [name for name in self.tensors if name not in self._signature.parameters]
        if not all(name.isidentifier() and not iskeyword(name) for name in names) and not rest:
            rest = [inspect.Parameter("parameters", inspect.Parameter.VAR_KEYWORD)]
        optional = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
                    for name in names if name.isidentifier() and not iskeyword(name)]  # fmt: skip
        return inspect.Signature([*own, *optional, *rest])


def from_torch(f: Callable[..., Any], **modules: Any) -> TorchFunction:
    """Make an integrand of a function that is written in PyTorch, or of a module.

    Parameters
    ----------
    f : callable
        ``f(z, **params, **data)`` of one draw, as in plain NumPy, but of tensors; or a `torch.nn.Module` whose
        ``forward`` is such a function.
    **modules : torch.nn.Module
        Modules that f calls, whose parameters are to be parameters of the integrand under these names.

    Returns
    -------
    callable
        An integrand for ``mg.estimate``, ``mg.elbo`` and all others that take one. Its ``.params`` are the parameters
        of the modules (or of f, if that is a module) as they are now, to be given in ``params=``: then gradients in
        them are estimated. ``.tensors`` are the tensors themselves. Of tensors it computes what f does.

    Raises
    ------
    ParameterError
        f is no function, one of `modules` is no module, or PyTorch is not installed.
    TraceError
        When it is traced: an operator of PyTorch that has no counterpart, with the line of f that called it.

    Notes
    -----
    Each time mcgrad traces it, f runs once on tensors without memory, and the operators (of ATen) that it calls are
    evaluated by NumPy's functions on what stands for the draws. So f becomes part of the kernel, PyTorch computes
    nothing while it runs, and mcgrad differentiates it: `detach` and `torch.no_grad` stop derivatives, and a
    `torch.autograd.Function` is refused. What `torch.compile` has made runs as it was written. Parameters of modules
    that are not among ``params=``, and other tensors that f reads besides its arguments, are constants, of the values
    that they have when f is traced; `mcgrad.torch.expectation` refuses those that require grad, unless it is called
    under `torch.no_grad`. Draws, parameters and floats are float64 while f is traced, and operators take
    floats of different widths; integers and booleans in ``data=`` are tensors with values, so that they may index.
    Which operators there are is in docs/frameworks.md.

    Examples
    --------
    >>> decoder = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 64))
    >>> f = mg.from_torch(lambda z, x: -F.binary_cross_entropy_with_logits(decoder(z), x), decoder=decoder)
    >>> est = mg.estimate(f, mg.Normal(np.zeros(2), 1.0), n=10_000, params=f.params, data={"x": x})
    >>> est.grad["decoder"]["0"]["weight"]
    """
    if find_spec("torch") is None:
        raise ParameterError("f", "a function for PyTorch, which is not installed", framework("torch"))
    return TorchFunction(f, **modules)


from_torch._torchdynamo_disable = True  # type: ignore[attr-defined]  # as torch.compiler.disable, without torch
from_torch._torchdynamo_disable_msg = "mg.from_torch makes an integrand once, outside of what is compiled"  # type: ignore[attr-defined]


def _of_code(kind: type[TorchFunction], code: bytes) -> TorchFunction:
    from numba import cloudpickle

    function, modules = cloudpickle.loads(code)
    return kind(function, **modules)


def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, or of a module's ``forward``; any arguments where there is none."""
    try:
        return inspect.signature(getattr(function, "forward", function))
    except (TypeError, ValueError):
        kinds = {"args": inspect.Parameter.VAR_POSITIONAL, "kwargs": inspect.Parameter.VAR_KEYWORD}
        return inspect.Signature([inspect.Parameter(name, kind) for name, kind in kinds.items()])
