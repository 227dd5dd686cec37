"""Strict JSON, which has neither arrays nor NaN: written, read back or refused, and a digest by which damage shows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError, shown

DIGEST = "digest"  # the key of a file's digest
ORDERED = ("shapes", "value_shapes")  # the keys whose values mean something else in another order
WHOLE = "a whole file that mcgrad wrote"


def listed(leaf: Any) -> Any:
    """Return an array as nested lists, anything else as it is."""
    return leaf.tolist() if isinstance(leaf, np.ndarray) else leaf


def strict(value: Any) -> Any:
    """Return `value` with floats that JSON lacks as strings that float() reads."""
    if isinstance(value, dict):
        return {name: strict(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [strict(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def signed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields as JSON has them, with their digest."""
    fields = strict(fields)
    return {**fields, DIGEST: digest(fields)}


def dumps(fields: dict[str, Any]) -> str:
    """Return fields that are :func:`signed` as text."""
    return json.dumps(fields, allow_nan=False)


def loads(name: str, text: str | bytes, accepted: str = WHOLE) -> dict[str, Any]:
    """Return the object that is JSON text.

    Parameters
    ----------
    name : str
        Of the text, for errors.
    text : str or bytes
        Bytes are UTF-8.
    accepted : str
        What would be accepted, for errors.

    Raises
    ------
    ParameterError
        Not an object of strict JSON: NaN, a number that float64 lacks, a name twice, too many levels, and the like.
    """
    try:
        fields = json.loads(
            (text if isinstance(text, str) else text.decode()).removeprefix("\ufeff"),  # as some editors put there
            parse_float=_float,
            parse_int=_int,
            parse_constant=_refuse,
            object_pairs_hook=_without_repeats,
        )
    except ValueError as error:  # neither JSON nor UTF-8
        raise ParameterError(name, str(error), accepted) from None
    except RecursionError:
        raise ParameterError(name, "too many levels of lists or objects", accepted) from None
    if not isinstance(fields, dict):
        raise ParameterError(name, shown(fields), accepted)
    return fields


def verify_digest(name: str, fields: Mapping[str, Any]) -> None:
    """Refuse fields that were changed after they were :func:`signed`, by the digest among them.

    Raises
    ------
    ParameterError
        Names ``{name}digest``.
    """
    try:
        found = digest(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"{name}{DIGEST}", f"{type(error).__name__}: {error}", "fields of JSON") from None
    if fields.get(DIGEST) != found:
        raise ParameterError(f"{name}{DIGEST}", f"that of other content, {shown(fields.get(DIGEST))}", f"{found!r}")


def digest(fields: Mapping[str, Any]) -> str:
    """Return a hash of the content of JSON fields, the one under "digest" left out.

    It is of values rather than of text: 1 and 1.0 are equal, and so are objects in another order, but for those whose
    order has a meaning.
    """
    hashed = hashlib.blake2b(digest_size=16)
    _add(hashed, {name: value for name, value in fields.items() if name != DIGEST})
    return hashed.hexdigest()


def _add(hashed: hashlib.blake2b, value: Any, ordered: bool = False) -> None:
    if isinstance(value, dict):
        hashed.update(b"{%d" % len(value))
        for name in value if ordered else sorted(value):
            _add(hashed, name)
            _add(hashed, value[name], name in ORDERED)
    elif isinstance(value, list):
        hashed.update(b"[%d" % len(value))
        if value and all(type(x) is float for x in value):
            hashed.update(_bytes(value))
            return
        for x in value:
            _add(hashed, x)
    elif isinstance(value, bool | str) or value is None:
        hashed.update(json.dumps(value).encode())
    elif isinstance(value, float) or (int(value).bit_length() < 1024 and int(float(value)) == value):
        hashed.update(_bytes([float(value)]))
    else:
        hashed.update(b"i%d" % value)


def _bytes(values: list[float]) -> bytes:
    """Return the bits of each number, after a letter."""
    table = np.empty((len(values), 9), np.uint8)
    table[:, 0] = ord("f")
    table[:, 1:] = np.array(values, "<f8").view(np.uint8).reshape(-1, 8)
    return table.tobytes()


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:60]}, which float64 does not hold")
    return value


def _int(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)  # as other programs write -0.0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant}, which JSON does not have")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in names if names.count(name) > 1))} twice")
    return fields
