"""Read job files, TOML with one or more jobs, into entries; `Entry.job` reads the files that one names, for a `Job`."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.engine.options import Options
from mcgrad.engine.shard import Shard
from mcgrad.engine.threads import thread_count
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs import arguments
from mcgrad.inputs.control import Control
from mcgrad.inputs.integrand import Integrand
from mcgrad.jobs import distribution as jobdistribution
from mcgrad.jobs.datafile import described
from mcgrad.jobs.job import Job, Location
from mcgrad.jobs.references import References, at
from mcgrad.jobs.toml_tables import refuse_depth, tables
from mcgrad.results.stopping import StoppingRule
from mcgrad.system.printable import line, near

KEYS = (
    "name",
    "integrand",
    "distribution",
    "proposal",
    "params",
    "data",
    "wrt",
    "cotangent",
    "hessian",
    "hessian_method",
    "hvp",
    "covariance",
    "n",
    "until",
    "seed",
    "dtype",
    "backend",
    "threads",
    "nonfinite",
    "method",
    "baseline",
    "k",
    "batched_params",
    "batched_data",
    "reduce",
    "rows",
    "common_noise",
    "antithetic",
    "control",
    "coefficients",
    "sampler",
    "replicates",
    "scramble",
    "compare",
    "n_compare",
    "out",
)
PLAIN = (  # options as they are
    *("baseline", "k", "backend", "nonfinite", "covariance", "reduce", "common_noise"),
    *("hessian", "hessian_method", "antithetic", "coefficients", "sampler", "replicates", "scramble"),
)
COMPARED = 20_000
LONGEST = 200  # bytes of a result's name; file systems allow 255, with the prefix and the ending
FOLDING = sys.platform in ("darwin", "win32")  # file systems here ignore case, and how letters are composed


@dataclass(frozen=True)
class Entry:
    """A job of a job file: its keys are checked, the files that they refer to are not read yet.

    Parameters
    ----------
    name, location, n, until, seed, compare, n_compare, out
        As for `Job`.
    options : Options
        Without params, data, cotangent, hvp and proposal.
    references : References
        For the files that keys refer to.
    table : dict
        All keys.
    refusal : ParameterError or None
        Why the job may not run, unless its result is complete already.
    shard : Shard or None
        Which part of the run is worked out, if not all.
    """

    name: str
    location: Location
    n: int | None
    until: StoppingRule | None
    seed: int
    options: Options
    compare: bool
    n_compare: int
    out: Path
    references: References
    table: Mapping[str, Any]
    refusal: ParameterError | None = None
    shard: Shard | None = None

    def into(self, folder: str) -> Entry:
        """Return the job with its results in another folder, from the command line."""
        location = replace(self.location, options=self.location.options | {"out"})
        return replace(self, location=location, out=at(Path(), folder).absolute() / self.out.name)

    def of_shard(self, shard: Shard) -> Entry:
        """Return one shard of the job, whose file has a name of its own.

        Raises
        ------
        ParameterError
            The job has no number of draws.
        """
        if self.until:
            given = f"a run until its error is small enough, with --shard {shard}"
            raise ParameterError(self.location.key("until"), given, "n, the draws of all shards together")
        return replace(self, shard=shard, out=self.out.with_name(f"{self.out.name}{shard.ending}"))

    def job(self) -> Job:
        """Read the files that the keys refer to, and return the job."""
        table, references = self.table, self.references
        with renamed(self.location.key):
            integrand = references.python("integrand", table["integrand"], "a function f(z, **params, **data)")
            if not callable(integrand) and not isinstance(integrand, Integrand):
                given = f"{table['integrand']!r}, which is {shown(integrand)}"
                raise ParameterError("integrand", given, "a function or an Integrand")
            return Job(
                name=self.name,
                location=self.location,
                integrand=integrand,
                q=jobdistribution.distribution("distribution", table["distribution"], references),
                options=replace(
                    self.options,
                    params=references.values("params", table.get("params", {})),
                    data=references.values("data", table.get("data", {})),
                    cotangent=_cotangent(table.get("cotangent"), references),
                    hvp=references.values("hvp", table["hvp"]) if "hvp" in table else None,
                    proposal=_proposal(table.get("proposal"), references),
                    control=_control(table.get("control"), references),
                ),
                n=self.n,
                until=self.until,
                seed=self.seed,
                compare=self.compare,
                n_compare=self.n_compare,
                out=self.out,
                rows=_rows(table.get("rows"), references),
                shard=self.shard,
                surroundings=references.surroundings,
            )


@dataclass(frozen=True)
class Refused:
    """A job whose keys or values are not accepted.

    Parameters
    ----------
    name : str
        The job's, or the file's.
    location : Location
    error : ParameterError
    """

    name: str
    location: Location
    error: ParameterError


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> list[Job]:
    """Read a job file, and the files that it refers to; parameters are as for `read`.

    Raises
    ------
    ParameterError
        The file is no job file; the message has the file, the table and the key.
    """
    entries = []
    for entry in read(path, overrides):
        if isinstance(entry, Refused):
            raise entry.error
        entries.append(entry)
    refuse_clashes(entries)
    return [entry.job() for entry in entries]


def read(path: str | Path, overrides: Mapping[str, Any] | None = None) -> list[Entry | Refused]:
    """Read a job file; an error in one job does not affect the others.

    Parameters
    ----------
    path : str or Path
        TOML: one job at the top level, or several [[job]] tables, for which keys at the top level are defaults.
    overrides : dict, optional
        Values of keys that replace those of the file.
    """
    file, path = line(str(path)), Path(path)
    overrides = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        found = tables(path, Location(file, options=frozenset(overrides)))
        references = References(path.parent.absolute())  # now: users' code may go to another folder
    except ParameterError as error:
        return [Refused(path.stem, Location(file), error)]
    entries: list[Entry | Refused] = []
    for i, (location, table) in enumerate(found):
        stem = path.stem if len(found) == 1 else f"{path.stem}-{i + 1}"
        try:
            entries.append(_entry(location, {**table, **overrides}, references, stem))
        except ParameterError as error:
            name = table.get("name")
            entries.append(Refused(name if isinstance(name, str) and _names_files(name) else stem, location, error))
    return entries


def refuse_clashes(entries: Iterable[Entry]) -> None:
    """Refuse two jobs that would write the same files."""
    owners: dict[str, Entry] = {}
    for entry in entries:
        other = owners.setdefault(_target(entry.out), entry)
        if other is not entry:
            given = f"{near(entry.out)!r} for {entry.name} ({entry.location}), as for {other.name} ({other.location})"
            raise ParameterError(entry.location.key("out"), given, "a path of its own, or a name of its own")


def _target(out: Path) -> str:
    """Return a key that is equal for two paths of one file."""
    path = os.path.realpath(out)
    return unicodedata.normalize("NFC", path.casefold()) if FOLDING else path


def _names_files(name: str) -> bool:
    """Return whether this is a valid name of a file on any system, with an ending appended."""
    if name in ("", ".", "..") or any(part in name for part in "/\\") or line(name) != name:
        return False
    try:
        return len(os.fsencode(name)) <= LONGEST
    except UnicodeEncodeError:  # the encoding of file names in this locale does not have these letters
        return False


def _entry(location: Location, table: Mapping[str, Any], references: References, stem: str) -> Entry:
    for key, value in table.items():
        if key not in KEYS:
            raise ParameterError(location.key(key), "no such key", ", ".join(KEYS))
        refuse_depth(location.key(key), value)
    for key in ("integrand", "distribution", "n"):
        if key not in table and not (key == "n" and "until" in table):
            raise ParameterError(location.key(key), "nothing", NEEDED[key])
    name = table.get("name", stem)
    if not isinstance(name, str) or not _names_files(name):
        raise ParameterError(location.key("name"), shown(name), NAME)
    with renamed(location.key):
        n, until = _length(table)
        out = table.get("out", f"results/{name}")
        if not isinstance(out, str) or "\0" in out or not _names_files(Path(out).name):
            raise ParameterError("out", shown(out), f'a path without its ending, such as "results/elbo", to {NAME}')
        return Entry(
            name=name,
            location=location,
            n=n,
            until=until,
            seed=arguments.seed(table.get("seed", 0)),
            options=_options(table, n),
            compare=arguments.one_of("compare", table.get("compare", "numpy"), ("numpy", "none")) == "numpy",
            n_compare=arguments.count("n_compare", table.get("n_compare", min(n or COMPARED, COMPARED)), 2),
            out=at(references.folder, out),
            references=references,
            table=table,
        )


def _length(table: Mapping[str, Any]) -> tuple[int | None, StoppingRule | None]:
    """Return the number of draws, or the rule by which the run stops."""
    if "until" not in table:
        return arguments.count("n", table["n"], 2), None
    if "n" in table:
        raise ParameterError("n", f"{shown(table['n'])}, and until", "one of the two; until.max_draws is a limit")
    return None, StoppingRule.given("until", table["until"])


def _options(table: Mapping[str, Any], n: int | None) -> Options:
    """Return the options of an Estimator that are plain values in the file."""
    dtype = table.get("dtype")
    return Options(
        wrt=_names("wrt", table.get("wrt"), '["loc"]'),
        batched_params=_names("batched_params", table.get("batched_params"), '["w"]') or (),
        batched_data=_names("batched_data", table.get("batched_data"), '["x"]') or (),
        method=_method(table.get("method", Options.method)),
        dtype=None if dtype is None else arguments.one_of("dtype", dtype, arguments.DTYPES),
        threads=thread_count(table.get("threads")),
        draws=n,
        **{key: table[key] for key in PLAIN if key in table},
    )


NAME = f"a name of at most {LONGEST} bytes that may name files: without slashes and control characters"
NEEDED = {
    "integrand": '"FILE.py:NAME", a function f(z, **params, **data)',
    "distribution": jobdistribution.ACCEPTED,
    "n": "a number of draws, such as 1_000_000, or until = { rtol = 1e-3 }",
}


def _names(key: str, given: Any, example: str) -> list[str] | None:
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ParameterError(key, shown(given), f"a list of parameters' names, such as {example}")
    return names


def _rows(given: Any, references: References) -> Any:
    """Return the numbers of rows: whole numbers, which a CSV file has as floats."""
    if given is None:
        return None
    numbers = np.asarray(references.value("rows", given))
    whole = numbers.dtype.kind == "f" and bool((np.abs(numbers) < 2**53).all() and (np.trunc(numbers) == numbers).all())
    return numbers.astype(np.int64) if whole else numbers


def _proposal(given: Any, references: References) -> Distribution | None:
    """Return the distribution that draws come from in place of the job's, where there is one."""
    return None if given is None else jobdistribution.distribution("proposal", given, references)


def _cotangent(given: Any, references: References) -> Any:
    """Return the weights of what the integrand returns: one value, or a table of values."""
    if isinstance(given, Mapping) and not described(given):
        return references.values("cotangent", given)
    return None if given is None else references.value("cotangent", given)


def _control(given: Any, references: References) -> Any:
    """Return control variates: by name, or "FILE.py:NAME", a mcgrad.Control; one, or a list."""
    if isinstance(given, list):
        return [_control(each, references) for each in given]
    if not isinstance(given, str) or ".py:" not in given:
        return given
    found = references.python("control", given, "a mcgrad.Control")
    if not isinstance(found, Control):
        raise ParameterError("control", f"{given!r}, which is {shown(found)}", "a mcgrad.Control")
    return found


def _method(given: Any) -> str | dict[str, str]:
    """Return one name, or names by parameter, which the Estimator checks."""
    with renamed(lambda name: f"method.{name}"):
        names = tree.flatten(given) if isinstance(given, Mapping) else {"": given}
    if not names or not all(isinstance(name, str) for name in names.values()):
        raise ParameterError("method", shown(given), 'a name such as "score", or a table of such by parameter')
    return names if isinstance(given, Mapping) else str(given)
