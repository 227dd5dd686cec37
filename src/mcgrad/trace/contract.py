"""One function for every product that sums: operands with labelled axes to two-operand `einsum` equations.

In an equation every label stands once in an operand. Transposes are peeled off the operands into the labels, labels of
extent 1 and those that one operand sums by itself are removed first, and a product that sums nothing becomes a
multiplication, which fuses with its neighbours. What no draw changes is the first operand, and letters are given to the
output first: data X times a vector is always `ab,b->a`, its transpose times a vector `ba,b->a`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.attributes import LETTERS
from mcgrad.ir.program import Var
from mcgrad.trace.operands import index_of

Label = Hashable
Term = tuple[tuple[Label, ...], Var]


def contract(labels: Sequence[Sequence[Label]], output: Sequence[Label], operands: Sequence[Var]) -> Var:
    """Multiply operands whose axes are labelled and sum over the labels that are not in `output`.

    Raises
    ------
    ValueError
        Extents that differ for one label, and neither is 1.
    """
    terms = [_diagonal(_peeled(tuple(term), build.apply("float", x))) for term, x in zip(labels, operands, strict=True)]
    extents: dict[Label, int] = {}
    for term, x in terms:
        for label, extent in zip(term, x.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known != extent and 1 not in (known, extent):
                shapes = ", ".join(str(x.shape) for x in operands)
                raise ValueError(f"operands of shapes {shapes} do not match: {known} != {extent}")
            extents[label] = extent if known == 1 else known
    shape = tuple(extents[label] for label in output)
    kept = [label for label in output if extents[label] != 1]
    terms = [_squeezed(term) for term in terms]
    while len(terms) > 1:
        i, j = _cheapest_pair(terms, kept)
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        wanted = {*kept, *itertools.chain.from_iterable(labels for labels, _ in rest)}
        first, second = (_summed(term, wanted | set(other[0]))
                         for term, other in ((terms[i], terms[j]), (terms[j], terms[i])))  # fmt: skip
        result = kept if not rest else [label for label in dict.fromkeys(first[0] + second[0]) if label in wanted]
        terms = [*rest[:i], (tuple(result), _product(first, second, result)), *rest[i:]]
    term, x = _summed(terms[0], set(kept))
    return build.reshape(build.transpose(x, [term.index(label) for label in kept]), shape)


def summed_product(x: Var, axes: Sequence[int]) -> Var | None:
    """Write a sum over axes of a product as a contraction, where it is a matrix times vectors: sum(X * z, axis=1).

    None where it is not: where no operand that no draw changes has a summed axis that the other has, too, and another
    along which the other was repeated.
    """
    if x.op != "multiply" or x.args[0].by_draw == x.args[1].by_draw:
        return None
    own = [_own_axes(arg) for arg in x.args]
    fixed, random = own if x.args[1].by_draw else own[::-1]
    both = fixed & random & set(axes)
    if not both or not fixed - random - set(axes):
        return None
    operands = [
        build.reshape(arg.args[0] if arg.op == "broadcast" else arg, tuple(x.shape[axis] for axis in sorted(labels)))
        for arg, labels in zip(x.args, own, strict=True)
    ]
    return contract([sorted(labels) for labels in own], [i for i in range(len(x.shape)) if i not in axes], operands)


def _own_axes(x: Var) -> set[int]:
    """The axes along which this is not one element, repeated."""
    arg = x.args[0] if x.op == "broadcast" else x
    before = len(x.shape) - len(arg.shape)
    return {before + axis for axis, n in enumerate(arg.shape) if n != 1}


def _peeled(term: tuple[Label, ...], x: Var) -> Term:
    """Move transposes of the operand into its labels."""
    while x.op == "transpose":
        source = sorted(zip(x.attrs.axes, term, strict=True), key=lambda pair: int(pair[0]))
        term, x = tuple(label for _, label in source), x.args[0]
    return term, x


def _diagonal(term: Term) -> Term:
    """Take the diagonal along labels that stand more than once."""
    labels, x = term
    distinct = tuple(dict.fromkeys(labels))
    if len(distinct) == len(labels):
        return term
    numbers = [distinct.index(label) for label in labels]
    return distinct, build.take(x, np.einsum(index_of(x), numbers, list(range(len(distinct)))))


def _squeezed(term: Term) -> Term:
    labels, x = term
    kept = [i for i, extent in enumerate(x.shape) if extent != 1]
    return tuple(labels[i] for i in kept), build.reshape(x, tuple(x.shape[i] for i in kept))


def _summed(term: Term, wanted: set[Label]) -> Term:
    """Sum over the labels that neither the output nor another operand has."""
    labels, x = term
    axes = [i for i, label in enumerate(labels) if label not in wanted]
    return (tuple(label for label in labels if label in wanted), build.reduce("sum", x, axes)) if axes else term


def _cheapest_pair(terms: list[Term], kept: Sequence[Label]) -> tuple[int, int]:
    """Choose what to multiply first: what does not depend on the draw and stays small, then the fewest products."""
    if len(terms) == 2:
        return 0, 1
    extents = {label: n for labels, x in terms for label, n in zip(labels, x.shape, strict=True)}

    def price(pair: tuple[int, int]) -> tuple[bool, int]:
        (first, x), (second, y) = (terms[k] for k in pair)
        others = {label for k, (labels, _) in enumerate(terms) if k not in pair for label in labels} | set(kept)
        union = {*first, *second}
        size = int(np.prod([1, *(extents[label] for label in union & others)]))
        once = not (x.by_draw or y.by_draw) and size <= max(x.size, y.size)
        return not once, int(np.prod([1, *(extents[label] for label in union)]))

    return min(itertools.combinations(range(len(terms)), 2), key=price)


def _product(first: Term, second: Term, result: Sequence[Label]) -> Var:
    if not (set(first[0]) | set(second[0])) - set(result):
        return build.apply("multiply", _aligned(first, result), _aligned(second, result))
    if first[1].by_draw and not second[1].by_draw:
        first, second = second, first
    letters = dict(zip(dict.fromkeys((*result, *first[0], *second[0])), LETTERS, strict=False))
    spelled = ["".join(letters[label] for label in labels) for labels in (first[0], second[0], result)]
    return build.einsum(f"{spelled[0]},{spelled[1]}->{spelled[2]}", first[1], second[1])


def _aligned(term: Term, result: Sequence[Label]) -> Var:
    """Order the axes as in `result`, with extent 1 for absent labels."""
    labels, x = term
    x = build.transpose(x, [labels.index(label) for label in result if label in labels])
    extents = iter(x.shape)
    shape = [next(extents) if label in labels else 1 for label in result]
    first = next((i for i, label in enumerate(result) if label in labels), len(shape))
    return build.reshape(x, tuple(shape[first:]))  # leading ones are broadcasting's own
