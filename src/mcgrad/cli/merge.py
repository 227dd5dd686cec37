"""The command ``mcgrad merge``: add up the shards of a run, print the estimate and write it as ``mcgrad run`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mcgrad.cli.standard_streams import complain
from mcgrad.errors import ParameterError
from mcgrad.jobs.merging import merge
from mcgrad.jobs.output_lock import locked
from mcgrad.jobs.targets import refuse_others
from mcgrad.results.files import folder_for, paths, save
from mcgrad.system.printable import near, printable


def merge_files(out: str, parts: Sequence[str], require_same: bool, force: bool) -> None:
    """Merge files, print the table of the result, and write it.

    Parameters
    ----------
    out : str
        Path of the result, without the ending.
    parts : sequence of str
        Files of shards, or of results.
    require_same : bool
        Whether to refuse parts of several kinds of processors.
    force : bool
        Whether to overwrite files that mcgrad did not write.

    Raises
    ------
    ParameterError
        Something does not fit; nothing is written then.
    """
    stem, files = Path(out).absolute(), [Path(part) for part in parts]
    targets = {os.path.realpath(path) for path in paths(stem)}
    for path in files:
        if os.path.realpath(path) in targets:
            raise ParameterError("OUT", f"{out}, where {path} is", "a path of which no part is")
    refuse_others(stem, "OUT", force)
    estimate = merge(files, require_same)
    folder_for(stem, "OUT")
    with locked(stem, "OUT", complain):
        print(printable(str(estimate)))
        written = save(estimate, stem)
    print(printable(f"\nwrote {' and '.join(map(near, written))}"))
