"""Write results, as a whole or not at all: an Estimate becomes a JSON file and an NPZ file of the same numbers."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.batch_record import FORMAT as FORMAT_OF_BATCH
from mcgrad.results.estimate import Estimate
from mcgrad.results.strict_json import DIGEST, dumps, loads, signed
from mcgrad.system.atomic import write, write_together

BATCH = FORMAT_OF_BATCH.partition("/")[0] + "/"  # how the format of a batch's results starts, in any version


def result_of(fields: Mapping[str, Any]) -> Estimate | BatchEstimate:
    """Return the result that fields of a file are, by their format.

    Raises
    ------
    ParameterError
        Where they are those of no result, or changed.
    """
    kind: type[Estimate | BatchEstimate] = Estimate
    if str(fields.get("format")).startswith(BATCH):
        kind = BatchEstimate
    return kind.from_dict(fields)


def folder_for(path: Path, name: str = "out") -> None:
    """Make the folder of a file that will be written, and refuse one that cannot be written into.

    Parameters
    ----------
    path : Path
        Of the file.
    name : str
        The parameter that an error names.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(name, f"{path} ({error.strerror})", "a folder that can be made") from None
    if not os.access(path.parent, os.W_OK):
        raise ParameterError(name, f"{path.parent}, where this user may not write", "a folder to write into")


def save(estimate: Estimate | BatchEstimate, stem: Path) -> tuple[Path, Path]:
    """Write an estimate as JSON, which its `from_json` reads, and as NPZ, and return the two paths.

    The NPZ file holds ``value``, ``stderr``, ``n``, ``nonfinite``, ``seed``, ``grad.PATH`` and ``grad_stderr.PATH`` for
    every parameter, and the ``format`` and ``digest`` of the JSON file that it belongs to; where f returns a dict, the
    names of its arrays follow, as in ``value.NAME`` and ``grad.PATH.NAME``. With second derivatives there are
    ``hessian.PATH`` (of two parameters ``hessian.PATH.PATH``) or ``hvp.PATH``, and their errors; with a covariance
    ``covariance``; with a proposal ``effective_sample_size``; of a batch the numbers of its ``rows``. The JSON file
    comes last: where it is, both are.

    Parameters
    ----------
    estimate : Estimate or BatchEstimate
    stem : Path
        Path without the ending.
    """
    fields = signed(estimate.to_dict())
    json, npz = paths(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)  # again, where it was removed meanwhile
    write_together({npz: _npz(_arrays(estimate, fields)), json: f"{dumps(fields)}\n".encode()})
    return json, npz


def save_elsewhere(save: Callable[[Path], Sequence[Path]], stem: Path) -> Path | None:
    """Save results into a new folder, where `stem` cannot be written: next to it, or in another folder.

    The folders tried are that of `stem`, the current one, and the one for temporary files, $TMPDIR; the new folder in
    one of them is this user's alone.

    Parameters
    ----------
    save : callable
        Called with a path without the ending; returns the files that it has written.
    stem : Path

    Returns
    -------
    Path or None
        The JSON file; None where none could be written to.
    """
    parents: list[Callable[[], str | Path]] = [lambda: stem.parent, os.getcwd, tempfile.gettempdir]
    for parent in parents:
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"mcgrad-{stem.name[:100]}-", dir=Path(parent()).absolute()))
            return save(folder / stem.name)[0]
        except Exception:  # also MemoryError: the next folder, or standard output, may still do
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
    return None


def paths(stem: Path) -> tuple[Path, Path]:
    """Return where results with this path without the ending are: the JSON file, and the NPZ file."""
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.npz")


def is_whole(stem: Path) -> bool:
    """Whether the NPZ file is there, and is what belongs to the JSON file.

    Raises
    ------
    OSError, ParameterError
        The JSON file cannot be read.
    """
    arrays = _arrays_of_json(stem)
    try:
        with np.load(io.BytesIO(paths(stem)[1].read_bytes()), allow_pickle=False) as found:
            return set(found.files) == set(arrays) and all(_same(found[name], x) for name, x in arrays.items())
    except Exception:  # what NumPy and zipfile raise on damage is of many kinds
        return False


def mend(stem: Path) -> None:
    """Write the NPZ file again from the JSON file.

    Raises
    ------
    OSError, ParameterError
        The JSON file cannot be read, or the NPZ file not be written.
    """
    write(paths(stem)[1], _npz(_arrays_of_json(stem)))


def _arrays_of_json(stem: Path) -> dict[str, npt.NDArray[Any]]:
    json = paths(stem)[0]
    fields = loads(str(json), json.read_bytes())
    return _arrays(result_of(fields), fields)


def _arrays(estimate: Estimate | BatchEstimate, fields: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    several = {name: getattr(estimate, name) for name in ("value", "stderr", "grad", "grad_stderr")}
    if second := estimate.components.second:
        several |= {name: getattr(estimate, name) for name in (second.of_results, f"{second.of_results}_stderr")}
    if estimate.components.covariance:
        several["covariance"] = estimate.covariance
    if estimate.components.weighted:
        several["effective_sample_size"] = estimate.effective_sample_size
    found = {
        f"{name}.{path}" if path else name: np.asarray(x)
        for name, arrays in several.items()
        for path, x in tree.flatten(arrays).items()
    }
    found |= {name: np.asarray(getattr(estimate, name)) for name in ("n", "nonfinite", "seed")}
    if isinstance(estimate, BatchEstimate):
        found["rows"] = estimate.rows
    return found | {name: np.asarray(fields[name]) for name in ("format", DIGEST)}


def _npz(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
