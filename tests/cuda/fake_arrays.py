"""Arrays of the stand-in for CuPy: they answer NumPy's functions, as CuPy's do, and like CuPy's mix with no others."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.special

OPERATORS = ["add", "sub", "mul", "truediv", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor"]
METHODS = ["astype", "copy", "reshape", "transpose", "ravel", "diagonal", "take", "all", "any"]
METHODS += ["sum", "prod", "min", "max", "cumsum", "cumprod"]


class Device:
    """The device of an array, and while it is entered the current one."""

    def __init__(self, id: int) -> None:
        self.id = id

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def array_class(machine: Any) -> Any:
    """Return the class of arrays on a machine."""

    class Array:
        def __init__(self, host: np.ndarray) -> None:
            self._host, self._device = host, machine.device

        @classmethod
        def of(cls, value: Any) -> Array:
            """Take over what is on the device, copy what is not."""
            if isinstance(value, cls):
                return value
            if hasattr(value, "on_the_device"):
                return cls(value.on_the_device)
            given = np.asarray(value)
            held = machine.alloc(max(given.nbytes, 1))
            array = held.block[: given.nbytes].view(given.dtype).reshape(given.shape)
            array[...] = given
            return cls(array)

        # To the host, only when asked to

        def get(self) -> np.ndarray:
            machine.transfers += 1
            return self._host.copy()

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

        def __bool__(self) -> bool:
            machine.transfers += 1
            return bool(self._host)

        def __float__(self) -> float:
            machine.transfers += 1
            return float(self._host)

        def item(self) -> Any:
            machine.transfers += 1
            return self._host.item()

        # What it is

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "version": 3}

        data = property(lambda self: SimpleNamespace(ptr=self._registered().ctypes.data))
        device = property(lambda self: Device(self._device))
        shape = property(lambda self: self._host.shape)
        dtype = property(lambda self: self._host.dtype)
        ndim = property(lambda self: self._host.ndim)
        size = property(lambda self: self._host.size)
        nbytes = property(lambda self: self._host.nbytes)
        itemsize = property(lambda self: self._host.itemsize)
        flags = property(lambda self: SimpleNamespace(c_contiguous=self._host.flags.c_contiguous))
        T = property(lambda self: Array(self._host.T))

        def _registered(self) -> np.ndarray:
            host = self._host
            start = host.ctypes.data
            if not any(a <= start < a + block.size for a, (block, _) in list(machine.blocks.items())) and host.size:
                whole = host if host.flags.c_contiguous else host.base  # of a view, such as one that is repeated
                machine.blocks[whole.ctypes.data] = np.ndarray(whole.nbytes, np.uint8, whole), self._device
            return host

        def __len__(self) -> int:
            return len(self._host)

        # What it answers

        def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            assert method == "__call__"
            fault()
            machine.asked.add(ufunc.__name__)
            return wrapped(getattr(ufunc, method)(*map(unwrapped, args), **kwargs))

        def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
            fault()
            assert all(issubclass(kind, Array) for kind in types), f"{function.__name__} of {types}"
            machine.asked.add(function.__name__)
            return wrapped(function(*map(unwrapped, args), **{name: unwrapped(x) for name, x in kwargs.items()}))

        def __getitem__(self, index: Any) -> Any:
            return wrapped(self._host[index if not isinstance(index, Array) else index._host])

        def __setitem__(self, index: Any, value: Any) -> None:
            self._host[index if not isinstance(index, Array) else index._host] = unwrapped(value)

        def __neg__(self) -> Array:
            return wrapped(-self._host)

        def __invert__(self) -> Array:
            return wrapped(~self._host)

        def __repr__(self) -> str:
            return f"Array({self._host!r})"

        __hash__ = None  # type: ignore[assignment]

    def fault() -> None:
        if machine.array_faults:
            raise machine.array_faults.pop(0)

    def unwrapped(value: Any) -> Any:
        if isinstance(value, Array):
            return value._host
        if isinstance(value, list | tuple):
            return type(value)(map(unwrapped, value))
        if isinstance(value, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        return value

    def wrapped(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(wrapped, value))
        return Array(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value

    def binary(name: str) -> None:
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(Array, f"__{name}__", lambda self, other: wrapped(function(self._host, unwrapped(other))))
        setattr(Array, f"__r{name}__", lambda self, other: wrapped(function(unwrapped(other), self._host)))

    class Special:
        """What stands for cupyx.scipy.special."""

        def __getattr__(self, name: str) -> Any:
            if name == "ndtri_exp":
                raise AttributeError(name)
            machine.asked.add(name)
            function = getattr(scipy.special, name)
            return lambda *args: wrapped(function(*map(unwrapped, args)))

    Array.special = Special()
    for name in OPERATORS:
        binary(name)
    for name in METHODS:
        setattr(Array, name, lambda self, *a, _n=name, **k: wrapped(getattr(self._host, _n)(*map(unwrapped, a), **k)))
    return Array
