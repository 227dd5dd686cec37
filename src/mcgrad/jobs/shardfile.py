"""Files of shards: what one shard of a run has worked out, which `mcgrad merge` adds up with that of the others."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mcgrad.engine.outline import Outline
from mcgrad.engine.shard import Shard, ShardState
from mcgrad.engine.shard_run import ShardRun
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs.sampler import MOST_REPLICATES
from mcgrad.ir.program import Level, Program
from mcgrad.jobs import shard_states
from mcgrad.jobs.identity import BatchIdentity, Identity, PointIdentity
from mcgrad.reals import MOST_DRAWS
from mcgrad.results import record
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.files import paths, result_of
from mcgrad.results.packed import pack, unpack
from mcgrad.results.strict_json import dumps, loads, signed, verify_digest
from mcgrad.system.atomic import write

FORMAT = "mcgrad.Shard/1"
KIND = FORMAT.partition("/")[0] + "/"  # how the format starts, in any version
FIELDS = frozenset({"format", "identity", "state", "estimate", "outline", "digest"})


@dataclass(frozen=True)
class ShardFile:
    """What a file of a shard holds.

    Parameters
    ----------
    path : Path
    shard : Shard
    identity : dict
        The fields of the `Identity` of the whole run.
    run : ShardRun
    """

    path: Path
    shard: Shard
    identity: dict[str, Any]
    run: ShardRun

    @property
    def state(self) -> ShardState:
        """What is done."""
        return self.run.state


def to_json(run: ShardRun, identity: Identity) -> str:
    """Return what a shard has worked out as text that :func:`read` understands, exactly."""
    found = {
        "format": FORMAT,
        "identity": asdict(identity),
        "state": shard_states.to_fields(run.state),
        "estimate": None if run.estimate is None else run.estimate.to_dict(),
        "outline": None if run.outline is None else _of_outline(run.outline),
    }
    return dumps(signed(found))


def save(run: ShardRun, identity: Identity, stem: Path) -> Path:
    """Write what a shard has worked out, as a whole or not at all, and return the path.

    Parameters
    ----------
    run : ShardRun
    identity : Identity
        Of the shard.
    stem : Path
        Path without the ending.
    """
    path = paths(stem)[0]
    stem.parent.mkdir(parents=True, exist_ok=True)  # again, where it was removed meanwhile
    write(path, f"{to_json(run, identity)}\n".encode())
    return path


def read(path: Path, given: Mapping[str, Any] | None = None) -> ShardFile:
    """Read the file of a shard.

    Parameters
    ----------
    path : Path
    given : dict, optional
        Its content, where that is known.

    Raises
    ------
    ParameterError
        The file is damaged, or none of a shard. The message has the file and the field.
    """
    found = content(path) if given is None else given
    with renamed(lambda name: f"{path}, {name}"):
        if found.get("format") != FORMAT:
            raise ParameterError("format", shown(found.get("format", "no format")), repr(FORMAT))
        if set(found) != FIELDS:
            raise ParameterError("fields", shown(sorted(found)), ", ".join(sorted(FIELDS)))
        verify_digest("", found)
        for name in ("state", "estimate", "outline"):
            if not isinstance(found[name], Mapping if name == "state" else Mapping | None):
                raise ParameterError(name, shown(found[name]), "an object")
        with renamed(lambda name: f"identity.{name}"):
            identity = _identity(found["identity"])
        whole = {name: value for name, value in identity.items() if name != "shard"}
        shard = Shard.given("identity.shard", "/".join(map(str, identity["shard"])))
        with renamed(lambda name: f"state.{name}"):
            state = shard_states.from_fields(found["state"], identity["n"], identity["dtype"])
        with renamed(lambda name: f"estimate.{name}"):
            estimate: Estimate | BatchEstimate | None = found["estimate"] and result_of(found["estimate"])
        with renamed(lambda name: f"outline.{name}"):
            outline = found["outline"] and _outline(found["outline"])
    return ShardFile(path, shard, whole, ShardRun(state, estimate, outline))


def _identity(given: Any) -> Mapping[str, Any]:
    """Return the fields of an identity of a shard, which are those of one of its classes."""
    names = set(given) if isinstance(given, Mapping) else None
    if not any(names == {each.name for each in fields(kind)} for kind in (Identity, PointIdentity, BatchIdentity)):
        raise ParameterError("fields", shown(given), "those of the identity of a shard")
    record.integer("n", given["n"], 1, MOST_DRAWS)
    record.integer("replicates", given.get("replicates", 1), 1, MOST_REPLICATES)
    record.float_dtype(given["dtype"])
    for name in ("problem", "version"):
        record.string(name, given[name])
    for name in ("shard", "batch_shape"):
        numbers = given.get(name, [])
        if not isinstance(numbers, list):
            raise ParameterError(name, shown(numbers), "a list of whole numbers")
        for number in numbers:
            record.integer(name, number, 0, MOST_DRAWS)
    return given  # type: ignore[no-any-return]


def content(path: Path) -> dict[str, Any]:
    """Return the fields of a file of JSON that mcgrad wrote."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ParameterError(str(path), error.strerror or str(error), "a whole file that mcgrad wrote") from None
    return loads(str(path), text, "a whole file that mcgrad wrote")


def _of_outline(outline: Outline) -> dict[str, Any]:
    program = binascii.b2a_base64(outline.program.to_bytes(), newline=False).decode()
    values = {name.path: pack(x) for name, x in outline.values.items()}
    return {
        "program": program,
        "values": values,
        "free": {path: pack(x.astype(np.uint8)) for path, x in outline.free.items()},
    }


def _outline(given: Any) -> Outline:
    if not isinstance(given, Mapping) or set(given) != {"program", "values", "free"}:
        raise ParameterError("fields", shown(given), "an object with program, values and free")
    try:
        program = Program.from_bytes(binascii.a2b_base64(given["program"], strict_mode=True))
    except (TypeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError("program", str(error), "a Program in base64") from None
    inputs = [var for var in program.equations() if var.op == "input"]
    values, free = given["values"], given["free"]
    if not isinstance(values, Mapping) or set(values) != {var.attrs.path for var in inputs}:
        raise ParameterError("values", shown(values), "those of the inputs of the Program")
    shapes = {out.path: out.var.shape for out in program.outputs}
    if not isinstance(free, Mapping) or not set(free) <= set(shapes):
        raise ParameterError("free", shown(free), "masks by the paths of outputs")
    found = {}
    for var in inputs:
        shape = (-1, *var.shape) if var.level is Level.ROW else var.shape
        found[var.attrs] = unpack(f"values.{var.attrs.path}", values[var.attrs.path], "float64", shape)
    masks = {path: unpack(f"free.{path}", x, "uint8", shapes[path]).astype(bool) for path, x in free.items()}
    return Outline(program, found, masks)
