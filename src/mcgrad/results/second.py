"""Which second derivatives a result has: their names, shapes and how they nest by parameter."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

from numpy.typing import NDArray

from mcgrad.noise import Shape

T = TypeVar("T")
DIAG, FULL, HVP = "diag", "full", "hvp"
KINDS = (DIAG, FULL, HVP)


@dataclass(frozen=True)
class Second:
    """Second derivatives of expectations.

    Parameters
    ----------
    kind : {"diag", "full", "hvp"}
        Of each component with itself; blocks of the Hessian; the Hessian times a vector.
    entries : tuple of tuple of str
        Paths of parameters: of blocks two each, of which the other order is not listed; of others one.
    method : str or dict of str to str
        How they were estimated, such as "pathwise twice"; by pair of parameters, "spot, vol", where that differs.
    """

    kind: str
    entries: tuple[tuple[str, ...], ...]
    method: str | dict[str, str] = ""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.entries)

    @property
    def of_results(self) -> str:
        """The name that results have them by."""
        return HVP if self.kind == HVP else "hessian"

    def within(self, paths: Container[str]) -> Second:
        """Return those in some parameters alone."""
        return replace(self, entries=tuple(entry for entry in self.entries if all(path in paths for path in entry)))

    def beyond(self, paths: Container[str]) -> Second:
        """Return those in any other parameter than some."""
        return replace(self, entries=tuple(entry for entry in self.entries if any(path not in paths for path in entry)))

    def to_fields(self) -> dict[str, Any]:
        """Return which they are as fields."""
        return {"kind": self.kind, "entries": [list(entry) for entry in self.entries], "method": self.method}

    def name(self, entry: tuple[str, ...]) -> str:
        """Return the name of an entry among the outputs of a Program, which is no path of a parameter."""
        return f"{'hvp' if self.kind == HVP else 'd2'}({', '.join(entry)})"

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The entries by name."""
        return {self.name(entry): entry for entry in self.entries}

    def shapes(self, params: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return the shape of each entry, by name, for those of the parameters."""
        return {name: tuple(n for path in entry for n in params[path]) for name, entry in self.names.items()}

    def described(self, name: str, indices: tuple[int, ...], params: Mapping[str, Shape], of: str) -> str:
        """Return a number of an entry in words, such as ``d2 / d loc[0] d loc[1]``."""
        entry, parts, start = self.names[name], [], 0
        for path in entry:
            own = indices[start : start + len(params[path])]
            parts.append(f"{path}[{','.join(map(str, own))}]" if own else path)
            start += len(own)
        if self.kind == HVP:
            return f"hvp{f' of {of}' if of else ''} in {parts[0]}"
        top = f"d2 {of}" if of else "d2"
        return f"{top} / d {parts[0]}^2" if len(set(parts)) == 1 else f"{top} / d {' d '.join(parts)}"

    def by_path(
        self, blocks: Mapping[str, Mapping[str, NDArray[Any]]], params: Mapping[str, Shape]
    ) -> dict[str, NDArray[Any]]:
        """Return arrays by dotted path: of blocks those of both orders, the path of one parameter after the other's.

        Parameters
        ----------
        blocks : dict of str to dict of str to array
            By the name of an entry, then by the name of an array of the value ("" where there is one alone): with the
            axes of that first, then those of the parameters.
        params : dict of str to tuple of int
        """
        found: dict[str, NDArray[Any]] = {}
        for name, entry in self.names.items():
            for of, x in blocks[name].items():
                found[_dotted(*entry, of)] = x
                if len(set(entry)) == 2:
                    first, second = (len(params[path]) for path in entry)
                    lead = x.ndim - first - second
                    order = [*range(lead), *range(lead + first, x.ndim), *range(lead, lead + first)]
                    found[_dotted(*entry[::-1], of)] = x.transpose(order)
        return self.in_order(found, next(iter(blocks.values()), {}))

    def in_order(self, found: Mapping[str, T], arrays: Iterable[str]) -> dict[str, T]:
        """Return what is given by dotted path in the order of the entries: of blocks parameter by parameter.

        Parameters
        ----------
        found : dict
            As `by_path` returns it.
        arrays : iterable of str
            The names of the arrays of the value.
        """
        paths, names = list(dict.fromkeys(path for entry in self.entries for path in entry)), [*arrays]
        rows = product(paths, paths) if self.kind == FULL else self.entries
        order = [_dotted(*entry, of) for entry in rows for of in names]
        return {path: found[path] for path in order if path in found}


NOTHING = Second(FULL, ())


def _dotted(*names: str) -> str:
    return ".".join(name for name in names if name)
