"""The nodes of autograd outside the operator.

They keep the gradient of the forward pass, and multiply it backwards; or keep the tensors, and estimate it backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mcgrad.errors import ParameterError
from mcgrad.torch.operator import PLAIN, Call, Outputs, contract, expectation_of, solve_call
from mcgrad.torch.seeds import as_tensor
from mcgrad.torch.vmapped import estimate_rows

FIRST = "first ones: the gradient is an estimate of its own, which keeps no derivative"


def outputs_of(call: Call, seed: int | torch.Tensor, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Call the operator, or what it runs where no mode of PyTorch's dispatcher and no kind of tensor could ask for it.

    The dispatcher costs more than all else here.
    """
    if _has_no_mode() and all(type(x) in PLAIN for x in tensors):
        return solve_call(call, tensors, seed)
    with torch._C._AutoDispatchBelowAutograd():
        return expectation_of(call, as_tensor(seed) if isinstance(seed, int) else seed, *tensors)


def _has_no_mode() -> bool:
    return bool(torch._C._len_torch_dispatch_stack() == 0)


def _is_batched(cotangent: torch.Tensor) -> bool:
    """Whether a backward pass is under `torch.func`, or has many cotangents: ``is_grads_batched``."""
    transformed = torch._C._are_functorch_transforms_active()
    return transformed or bool(torch._C._functorch.is_legacy_batchedtensor(cotangent))


_unflattened = torch._C._nn.unflatten_dense_tensors  # views of a flat tensor in one call, of which no mode knows


class Expectation(torch.autograd.Function):
    """The value, and as further outputs, which have no derivative, the others of the operator."""

    @staticmethod
    def forward(ctx: Any, call: Call, seed: int | torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run, and keep the gradient, or the tensors."""
        value, grad, *errors = outputs_of(call, seed, tensors)
        ctx.call, ctx.tensors, ctx.seed = call, tensors, seed
        ctx.save_for_backward(*([grad] if call.kept else tensors))
        ctx.set_materialize_grads(False)
        if not call.errors:
            return (value,)
        ctx.mark_non_differentiable(grad, *errors)
        return value, grad, *errors

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor | None, *others: Any) -> tuple[Any, ...]:
        """Multiply the gradient by the cotangent of the value, or estimate what that gives, from the same draws."""
        call, kept = ctx.call, ctx.saved_tensors
        parameters = call.chosen(ctx.tensors)
        if cotangent is None or call.kept:
            return _gradients(call, cotangent, kept[0], parameters)
        with torch.no_grad():
            flat = contract(kept, ctx.seed, cotangent, call.problem, call.n, call.differentiable, call.dtype)
            products = call.rows.contracted(flat, [(x.shape, x.dtype) for x in parameters])
        return _placed(call, products, parameters)


def recorded(call: Call, seed: int | torch.Tensor, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Apply `Expectation` outside of `torch.func`, with whose tensors alone `apply` does more than its base class's."""
    if any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):  # that left their transform
        return Expectation.apply(call, seed, *tensors)  # type: ignore[no-any-return]
    return _applied(call, seed, *tensors)  # type: ignore[no-any-return]


_applied = super(torch.autograd.Function, Expectation).apply


class TransformedExpectation(torch.autograd.Function):
    """The same under the transforms of `torch.func`, which accept only nodes whose forward pass has no context."""

    @staticmethod
    def forward(call: Call, seed: torch.Tensor, *tensors: torch.Tensor) -> Outputs:
        """Call the operator."""
        return expectation_of(call, seed, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        """Keep the gradient, and the parameters for the refusal of second derivatives."""
        call, _, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(output[1], *call.chosen(tensors))
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor | None, *others: Any) -> tuple[Any, ...]:
        """Multiply the gradient by the cotangent of the value."""
        grad, *parameters = ctx.saved_tensors
        return _gradients(ctx.call, cotangent, grad, parameters)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Outputs, tuple[int, ...]]:
        """Estimate the rows of a batch, or of other calls row by row; under "different" each has a seed of its own."""
        found = estimate_rows(TransformedExpectation.apply, info.batch_size, in_dims, *args)
        if found is not None:
            return found, (0,) * 4
        rows = [
            TransformedExpectation.apply(
                *[x if axis is None else x.select(axis, row) for x, axis in zip(args, in_dims, strict=True)]
            )
            for row in range(info.batch_size)
        ]
        value, grad, stderr, nonfinite = (torch.stack(outputs) for outputs in zip(*rows, strict=True))
        return (value, grad, stderr, nonfinite), (0,) * 4

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Raise a ParameterError."""
        raise ParameterError("f", "an expectation under forward-mode differentiation", "reverse mode: torch.func.grad")


class Once(torch.autograd.Function):
    """A gradient whose own derivative, in the parameters or the cotangent, is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        """Return the gradient."""
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Raise a ParameterError."""
        raise ParameterError("create_graph", "True, and a second derivative of an expectation", FIRST)


def _gradients(
    call: Call, cotangent: torch.Tensor | None, grad: torch.Tensor, parameters: list[torch.Tensor]
) -> tuple[Any, ...]:
    """Return the gradients in all arguments of `apply`: the call, the seed, and the tensors."""
    if cotangent is None:
        return None, None, *[None] * len(call.differentiable)
    if call.alike and call.rows.is_plain and _has_no_mode() and not _is_batched(cotangent):
        products = _unflattened(grad * cotangent, parameters)
    else:
        products = call.rows.multiplied(grad, cotangent, [(x.shape, x.dtype) for x in parameters])
    return _placed(call, products, parameters)


def _placed(call: Call, products: Sequence[torch.Tensor], parameters: list[torch.Tensor]) -> tuple[Any, ...]:
    """Return gradients in the places of their tensors, with no derivatives of their own."""
    if torch.is_grad_enabled():
        products = [Once.apply(x, *parameters) for x in products]
    left = iter(products)
    return None, None, *[next(left) if wanted else None for wanted in call.differentiable]
