"""Standard output and error that do not raise: after an error of writing, output is dropped, and the run continues."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from mcgrad.errors import BackendWarning, CacheWarning
from mcgrad.system.printable import printable

OF_THE_MACHINE = (BackendWarning, CacheWarning)


class Stream:
    """A text stream that records the first error of writing, and drops all later text.

    Parameters
    ----------
    stream : text file or None
        None, as ``sys.stdout`` is in a process that was started with it closed.

    Attributes
    ----------
    error : OSError or ValueError or None
        The first error of writing; ValueError is that of a closed stream.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.error: OSError | ValueError | None = None
        if stream is None:
            self.error = OSError("it is closed")
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # while a copy is made
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless writing has failed before."""
        if self.error is None:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:
                self._drop(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for text in lines:
            self.write(text)

    def flush(self) -> None:
        """Flush the buffer, unless writing has failed before."""
        if self.error is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._drop(error)

    def _drop(self, error: OSError | ValueError) -> None:
        """Record the error, and discard the stream's buffer, which the interpreter would flush as it ends."""
        self.error = error
        with suppress(AttributeError, OSError, ValueError):
            number, nowhere = self._stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:  # equal where that descriptor was closed
                os.dup2(nowhere, number)
                os.close(nowhere)


def complain(message: str) -> None:
    """Print a message to standard error, after the name of the program."""
    print(printable(f"mcgrad: {message}"), file=sys.stderr)


def lost(stream: object) -> bool:
    """Return whether text written to a stream is dropped."""
    return isinstance(stream, Stream) and stream.error is not None


@contextmanager
def lasting() -> Iterator[Stream]:
    """Replace standard output, which is given, and standard error by a `Stream` each in the context.

    Warnings, which Python prints to standard error, have no control characters in the context, and no line of code if
    they are about the machine rather than a job's code.
    """
    _occupy()
    before, formatted = (sys.stdout, sys.stderr), warnings.formatwarning
    warnings.formatwarning = lambda message, category, *where, **options: printable(
        f"mcgrad: warning: {message}\n"
        if issubclass(category, OF_THE_MACHINE)
        else formatted(message, category, *where, **options)
    )
    out, error = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, error)
    try:
        yield out
    finally:
        out.flush()
        error.flush()
        sys.stdout, sys.stderr = before
        warnings.formatwarning = formatted


def _occupy() -> None:
    """Open the null device for closed standard files, so that a file of results cannot get their descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
