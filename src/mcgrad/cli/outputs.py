"""Check the paths of the results of a batch before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mcgrad.errors import ParameterError
from mcgrad.jobs.checkpoint import is_of_others, path_for
from mcgrad.jobs.jobfile import Entry, Refused
from mcgrad.jobs.references import at
from mcgrad.jobs.targets import is_result, obstacle, refuse_others
from mcgrad.results.files import paths
from mcgrad.system.atomic import remove_stale
from mcgrad.system.printable import near

DAY = 86_400.0  # seconds
Key: TypeAlias = tuple[int, int] | str


def refuse_targets(entries: Sequence[Entry | Refused], force: bool, resume: bool) -> list[Entry | Refused]:
    """Return the jobs; those are refused whose results would overwrite a file that is not mcgrad's.

    Files that any of the jobs refers to are refused also with `force`, under any name or link. With `resume`, a job
    that may be complete is refused only once it is found incomplete, as nothing is written for a complete one.
    """
    jobs = [entry for entry in entries if isinstance(entry, Entry)]
    inputs = {_key(path): entry for entry in jobs for path in _inputs(entry)}
    return [_looked_at(entry, inputs, force, resume) if isinstance(entry, Entry) else entry for entry in entries]


def remove_leftovers(entries: Sequence[Entry | Refused]) -> None:
    """Remove temporary files of killed runs, a day old or more, from the folders of results."""
    stems: dict[Path, list[str]] = {}
    for entry in entries:
        if isinstance(entry, Entry):
            stems.setdefault(entry.out.parent, []).append(re.escape(entry.out.name))
    for folder, names in stems.items():
        either = "|".join(names)
        earlier = rf"\.(?:(?:{either})\.(?:json|npz)|\.(?:{either})\.checkpoint\.json)\.\d+\.tmp"
        remove_stale(folder, DAY, earlier)


def _looked_at(entry: Entry, inputs: dict[Key, Entry], force: bool, resume: bool) -> Entry | Refused:
    name = entry.location.key("out")
    try:
        for path in (*paths(entry.out), path_for(entry.out)):
            reader = inputs.get(_key(path))
            if reader:
                given = f"{near(path)}, which {reader.name} ({reader.location}) reads"
                raise ParameterError(name, given, "a path that no job of the batch refers to")
        refuse_others(entry.out, name, force)
        _refuse_at_checkpoint(path_for(entry.out), name, force)
    except ParameterError as error:
        if resume and is_result(paths(entry.out)[0]):
            return replace(entry, refusal=error)
        return Refused(entry.name, entry.location, error)
    return entry


def _refuse_at_checkpoint(path: Path, name: str, force: bool) -> None:
    """Refuse a path for results where the path of the checkpoint is that of a folder, or of a file of the user's."""
    why, remedy = obstacle(path), "a path whose checkpoint can be written"
    if not why and not force and is_of_others(path):
        why, remedy = "which mcgrad did not write", "another path, or --force to write over that file"
    if why:
        raise ParameterError(name, f"{near(path)}, {why}", remedy)


def _inputs(entry: Entry) -> Iterator[Path]:
    """Yield the job file and each path that a string of the job may mean: all of it, or the part before a colon."""
    folder = entry.references.folder
    yield folder / Path(entry.location.file).name
    for text in _strings({key: value for key, value in entry.table.items() if key not in ("name", "out")}):
        parts = text.split(":")
        yield from (at(folder, ":".join(parts[:count])) for count in range(1, len(parts) + 1))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _key(path: Path) -> Key:
    """Return a key that is equal for all names of one file."""
    try:
        status = path.stat()
        return status.st_dev, status.st_ino
    except (OSError, ValueError):
        pass
    try:
        return os.path.realpath(path)  # no file yet; an earlier job of the batch may write it
    except (OSError, ValueError):  # a NUL character in the path
        return str(path)
