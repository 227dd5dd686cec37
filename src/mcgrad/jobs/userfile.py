"""Run the Python files of a job, once each, and return objects in them; exceptions become errors that name the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from mcgrad.errors import McgradError, ParameterError, UserCodeError, renamed, shown
from mcgrad.jobs import failure, neighbours, signals
from mcgrad.jobs.surroundings import Surroundings


class PythonFiles:
    """The Python files that one job file refers to.

    Attributes
    ----------
    surroundings : Surroundings
        Context in which their code runs, here and in later calls.
    """

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self._modules: dict[Path, ModuleType] = {}

    def find(self, key: str, path: Path, name: str, accepted: str) -> Any:
        """Return the object of a dotted name in a file, which is run at its first use.

        Parameters
        ----------
        key : str
            Of the job, for errors.
        path : Path
            Absolute.
        name : str
        accepted : str
            The accepted kind of object, for errors.
        """
        module = self._module(key, path)
        with self._refusing(key, path.name, path):
            found: Any = module
            for part in name.split("."):
                if not hasattr(found, part):
                    names = [x for x, value in vars(module).items() if callable(value) and not x.startswith("_")]
                    given = f"{name!r}, which {path.name} does not define"
                    raise ParameterError(key, given, ", ".join(names) or accepted)
                found = getattr(found, part)
            return found

    def result(self, key: str, given: str, found: Any, path: Path) -> Any:
        """Return the result of a function without arguments, or an object that is no such function as it is.

        Parameters
        ----------
        key, given : str
            Key of the job and its value, for errors.
        found : object
        path : Path
            The file of the object.
        """
        with self._refusing(key, repr(given), path), renamed(lambda name: f"{key}.{name}"):  # errors of the result
            return found() if callable(found) else found

    def mapping(self, key: str, given: str, found: Any, path: Path) -> dict[str, Any]:
        """Return a dict, or the dict that a function without arguments returns; parameters as for `result`."""
        found = self.result(key, given, found, path)
        if not isinstance(found, Mapping):
            raise ParameterError(key, f"{given!r}, which gives {shown(found)}", "what gives a dict by name")
        with self._refusing(key, repr(given), path):
            return dict(found)

    def _module(self, key: str, path: Path) -> ModuleType:
        if path not in self._modules:
            with self._refusing(key, path.name, path, running=True):
                self._modules[path] = neighbours.run(path)
        return self._modules[path]

    @contextmanager
    def _refusing(self, key: str, given: str, path: Path, running: bool = False) -> Iterator[None]:
        """Raise a UserCodeError with the line where a file's code raises; errors of mcgrad from its functions pass."""
        try:
            with self.surroundings:
                neighbours.use(path.parent)
                yield
        except BaseException as error:  # SystemExit, and a KeyboardInterrupt that is from no signal, too
            if signals.ends_the_process(error) or (isinstance(error, McgradError) and not running):
                raise
            trace, lines = _inside(error, path)
            where = ", line ".join([given if running else f"{given} ({path.name}", *map(str, lines[-1:])])
            where += "" if running else ")"
            what = (
                "a Python file that runs" if running else "an object, or a function without arguments that returns one"
            )
            refused = UserCodeError(key, f"{where}, which raised {failure.described(error)}", what)
            raise refused from error.with_traceback(trace)


def _inside(error: BaseException, path: Path) -> tuple[TracebackType | None, list[int]]:
    """Return the traceback of an error from the file's frame on, and the lines of that file in it."""
    first, lines, trace = None, [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            first = first or trace
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return first or error.__traceback__, lines
