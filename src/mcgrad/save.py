"""Write results: as a whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from mcgrad import tree
from mcgrad.atomic import write
from mcgrad.errors import ParameterError
from mcgrad.result import Estimate


def folder_for(path: Path, name: str = "out") -> None:
    """Make the folder of a file that will be written, and refuse one that cannot be written into.

    Parameters
    ----------
    path : Path
        Of the file.
    name : str
        The parameter to blame.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(name, f"{path} ({error.strerror})", "a folder that can be made") from None
    if not os.access(path.parent, os.W_OK):
        raise ParameterError(name, f"{path.parent}, where this user may not write", "a folder to write into")


def save(estimate: Estimate, stem: Path) -> tuple[Path, Path]:
    """Write an estimate as JSON, which `Estimate.from_json` reads, and as NPZ, and return the two paths.

    The NPZ file holds ``value``, ``stderr``, ``n``, ``nonfinite``, ``seed``, and ``grad.PATH`` and ``grad_stderr.PATH``
    for every parameter. The JSON file comes last: where it is, both are.

    Parameters
    ----------
    estimate : Estimate
    stem : Path
        Path without the ending.
    """
    buffer, estimate = io.BytesIO(), estimate.to_host()
    arrays = {name: np.asarray(getattr(estimate, name)) for name in ("value", "stderr", "n", "nonfinite", "seed")}
    for name in ("grad", "grad_stderr"):
        arrays |= {f"{name}.{path}": np.asarray(x) for path, x in tree.flatten(getattr(estimate, name)).items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    json, npz = (stem.with_name(f"{stem.name}.{ending}") for ending in ("json", "npz"))
    write(npz, buffer.getvalue())
    write(json, f"{estimate.to_json()}\n".encode())
    return json, npz
