"""Job files: TOML that says what to estimate."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcgrad import arguments, bijections, distributions, noise, tree
from mcgrad.backends import registry
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError, shown
from mcgrad.estimators.plan import GROUP, PATHWISE
from mcgrad.integrand import Integrand
from mcgrad.job import Job, Place
from mcgrad.references import References
from mcgrad.run import thread_count

KEYS = (
    "name",
    "integrand",
    "distribution",
    "params",
    "data",
    "wrt",
    "n",
    "seed",
    "dtype",
    "backend",
    "threads",
    "nonfinite",
    "method",
    "baseline",
    "k",
    "compare",
    "n_compare",
    "out",
)
FAMILIES: dict[str, type[Distribution]] = {
    name: family
    for name, family in vars(distributions).items()
    if inspect.isclass(family) and issubclass(family, Distribution) and family is not Distribution
}
FUNCTIONS = ("transform", "log_prob", "inverse", "log_det", "cdf", "sampler")
COMPARED = 20_000


@dataclass(frozen=True)
class Entry:
    """A job as its file has it: keys are checked, what they refer to is not read yet.

    Parameters
    ----------
    place : Place
    fields : dict
        Those attributes of the `Job` that are plain values.
    references : References
    table : dict
        All keys.
    """

    place: Place
    fields: dict[str, Any]
    references: References
    table: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the job is called."""
        return str(self.fields["name"])

    @property
    def n(self) -> int:
        """Number of draws."""
        return int(self.fields["n"])

    @property
    def out(self) -> Path:
        """Where results go, without the ending."""
        return Path(self.fields["out"])

    def into(self, folder: str) -> Entry:
        """Return the job with its results in another folder, which the command line gave."""
        place = replace(self.place, options=self.place.options | {"out"})
        return replace(self, place=place, fields=self.fields | {"out": Path(folder) / self.out.name})

    def job(self) -> Job:
        """Read what the keys refer to."""
        table, references = self.table, self.references
        with self.place.inside(""):
            integrand = references.python("integrand", table["integrand"], "a function f(z, **params, **data)")
            if not callable(integrand) and not isinstance(integrand, Integrand):
                given = f"{table['integrand']!r}, which is {shown(integrand)}"
                raise ParameterError("integrand", given, "a function or an Integrand")
            return Job(
                place=self.place,
                integrand=integrand,
                q=_distribution("distribution", table["distribution"], references),
                params=references.values("params", table.get("params", {})),
                data=references.values("data", table.get("data", {})),
                **self.fields,
            )


@dataclass(frozen=True)
class Refused:
    """A job that its file describes wrongly.

    Parameters
    ----------
    name : str
        The job's, or the file's.
    place : Place
    error : ParameterError
    """

    name: str
    place: Place
    error: ParameterError


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> list[Job]:
    """Read a job file, and all that it refers to; parameters are as for `read`.

    Raises
    ------
    ParameterError
        Names the file, the table and the key, what was given and what is accepted.
    """
    entries = []
    for entry in read(path, overrides):
        if isinstance(entry, Refused):
            raise entry.error
        entries.append(entry)
    refuse_clashes(entries)
    return [entry.job() for entry in entries]


def read(path: str | Path, overrides: Mapping[str, Any] | None = None) -> list[Entry | Refused]:
    """Read a job file; what is wrong with one job leaves the others as they are.

    Parameters
    ----------
    path : str or Path
        TOML: one job at the top level, or several [[job]] tables, for which keys at the top level are defaults.
    overrides : dict, optional
        Values of keys that go before the file's.
    """
    file, path = str(path), Path(path)
    overrides = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        tables = _tables(path, Place(file, options=frozenset(overrides)))
    except ParameterError as error:
        return [Refused(path.stem, Place(file), error)]
    references = References(path.parent)
    found: list[Entry | Refused] = []
    for i, (place, table) in enumerate(tables):
        stem = path.stem if len(tables) == 1 else f"{path.stem}-{i + 1}"
        try:
            found.append(_entry(place, {**table, **overrides}, references, stem))
        except ParameterError as error:
            name = table.get("name")
            found.append(Refused(name if isinstance(name, str) else stem, place, error))
    return found


def refuse_clashes(entries: Iterable[Entry]) -> None:
    """Refuse two jobs that would write the same files."""
    owners: dict[Path, Entry] = {}
    for entry in entries:
        other = owners.setdefault(entry.out.resolve(), entry)
        if other is not entry:
            given = f"{str(entry.out)!r} for {entry.name} ({entry.place}), as for {other.name} ({other.place})"
            raise ParameterError(entry.place.key("out"), given, "a path of its own, or a name of its own")


def _tables(path: Path, place: Place) -> list[tuple[Place, dict[str, Any]]]:
    """Return the place and the keys of each job, defaults put in."""
    try:
        with path.open("rb") as stream:
            top = tomllib.load(stream)
    except OSError as error:
        raise ParameterError(place.file, error.strerror or str(error), "a TOML file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(place.file, str(error), "TOML") from None
    tables = top.pop("job", None)
    if tables is None:
        return [(place, top)]
    if isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables):
        return [(replace(place, table=f"[[job]] {i + 1}"), {**top, **table}) for i, table in enumerate(tables)]
    accepted = "one [[job]] table or more, or the job's keys at the top level"
    raise ParameterError(f"{place.file}, job", shown(tables), accepted)


def _entry(place: Place, table: Mapping[str, Any], references: References, stem: str) -> Entry:
    for key in table:
        if key not in KEYS:
            raise ParameterError(place.key(key), "no such key", ", ".join(KEYS))
    for key in ("integrand", "distribution", "n"):
        if key not in table:
            raise ParameterError(place.key(key), "nothing", NEEDED[key])
    name = table.get("name", stem)
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ParameterError(place.key("name"), shown(name), "a name that may name files")
    with place.inside(""):
        n = arguments.count("n", table["n"], 2)
        out = table.get("out", f"results/{name}")
        if not isinstance(out, str) or not Path(out).name:
            raise ParameterError("out", shown(out), 'a path without its ending, such as "results/elbo"')
        dtype = table.get("dtype")
        fields = {
            "name": name,
            "wrt": _wrt(table.get("wrt")),
            "n": n,
            "seed": arguments.seed(table.get("seed", 0)),
            "dtype": None if dtype is None else arguments.choice("dtype", dtype, arguments.DTYPES),
            "backend": registry.check_name(table.get("backend", registry.AUTO)),
            "threads": thread_count(table.get("threads")),
            "nonfinite": arguments.choice("nonfinite", table.get("nonfinite", "propagate"), arguments.NONFINITE),
            "method": _method(table.get("method", PATHWISE)),
            "baseline": table.get("baseline"),
            "k": arguments.count("k", table.get("k", GROUP), 2),
            "compare": arguments.choice("compare", table.get("compare", "numpy"), ("numpy", "none")) == "numpy",
            "n_compare": arguments.count("n_compare", table.get("n_compare", min(n, COMPARED)), 2),
            "out": references.folder / out,
        }
    return Entry(place, fields, references, table)


NEEDED = {
    "integrand": '"FILE.py:NAME", a function f(z, **params, **data)',
    "distribution": 'a table such as {family = "Normal", loc = 0.3, scale = 1.2}, or "FILE.py:NAME"',
    "n": "a number of draws, such as 1_000_000",
}


def _wrt(given: Any) -> list[str] | None:
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ParameterError("wrt", shown(given), 'a list of parameters\' names, such as ["loc"]')
    return names


def _method(given: Any) -> str | dict[str, str]:
    """Return one name, or names by parameter; what they may be the estimator says."""
    names = tree.flatten(given) if isinstance(given, Mapping) else {"": given}
    if not names or not all(isinstance(name, str) for name in names.values()):
        raise ParameterError("method", shown(given), 'a name such as "score", or a table of such by parameter')
    return names if isinstance(given, Mapping) else str(given)


def _distribution(key: str, given: Any, references: References) -> Distribution:
    if isinstance(given, str):
        found = references.python(key, given, "a distribution or a function that returns one")
        if callable(found):
            with _prefixed(key):
                found = found()
        if not isinstance(found, Distribution):
            raise ParameterError(key, f"{given!r}, which gives {shown(found)}", "what gives a distribution")
        return found
    if not isinstance(given, Mapping):
        raise ParameterError(key, shown(given), NEEDED["distribution"])
    table = dict(given)
    family = table.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        given = "nothing" if family is None else shown(family)
        raise ParameterError(f"{key}.family", given, " or ".join(repr(name) for name in FAMILIES))
    if family == "Joint":
        parts = {name: _distribution(f"{key}.{name}", part, references) for name, part in table.items()}
        with _prefixed(key):
            return distributions.Joint(**parts)
    _names(key, family, table)
    values: dict[str, Any] = {}
    for name, value in table.items():
        path = f"{key}.{name}"
        if name in FUNCTIONS:
            values[name] = references.python(path, value, "a function")
        elif name == "fn":
            values[name] = _bijection(path, value, references)
        elif name == "base" or (isinstance(value, Mapping) and "family" in value):
            values[name] = _distribution(path, value, references)
        elif name == "noise":
            values[name] = _noise(path, value)
        elif name == "params":
            values[name] = references.values(path, value)
        else:
            values[name] = references.value(path, value)
    with _prefixed(key):
        return FAMILIES[family](**values)


def _bijection(key: str, given: Any, references: References) -> Any:
    found = getattr(bijections, given, None) if isinstance(given, str) else None
    if inspect.isclass(found) and issubclass(found, bijections.Bijection):
        return found()
    return references.python(key, given, "a function, a bijection, or a bijection's name, such as Exp")


def _names(key: str, family: str, table: Mapping[str, Any]) -> None:
    accepted = inspect.signature(FAMILIES[family]).parameters
    names = [name for name in accepted if name != "constraints"]
    for name in table:
        if name not in names:
            raise ParameterError(f"{key}.{name}", f"no parameter of {family}", ", ".join(names))
    for name in names:
        if name not in table and accepted[name].default is inspect.Parameter.empty:
            raise ParameterError(f"{key}.{name}", "nothing", f"a value; {family} needs {', '.join(names)}")


def _noise(key: str, given: Any) -> noise.NoiseSpec:
    if isinstance(given, Mapping) and given and "kind" not in given:
        return {name: _noise(f"{key}.{name}", part) for name, part in given.items()}
    if not isinstance(given, Mapping) or set(given) - {"kind", "shape"}:
        raise ParameterError(key, shown(given), '{kind = "normal", shape = [3]}, or a table of such')
    shape = given.get("shape", [])
    with _prefixed(key):
        return noise.Noise(given["kind"], tuple(shape) if isinstance(shape, list) else (shape,))


@contextmanager
def _prefixed(key: str) -> Iterator[None]:
    try:
        yield
    except ParameterError as error:
        raise ParameterError(f"{key}.{error.parameter}", error.given, error.accepted) from error
