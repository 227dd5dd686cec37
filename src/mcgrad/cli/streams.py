"""Standard output and error of a process whose work goes on where they are closed, full, or without a reader."""

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
    """A text stream that keeps the first error of writing, and from then on drops what is written.

    Parameters
    ----------
    stream : text file or None
        None, as ``sys.stdout`` is where the process was started with it closed.

    Attributes
    ----------
    error : OSError or ValueError or None
        What writing failed with; ValueError is Python's for a stream that was closed.
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
        if name == "_stream":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless that has failed before."""
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
        """Write what is buffered, unless writing has failed before."""
        if self.error is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._drop(error)

    def _drop(self, error: OSError | ValueError) -> None:
        """Keep the error, and let what is left in the stream's buffer go nowhere, also as the interpreter ends."""
        self.error = error
        with suppress(AttributeError, OSError, ValueError):
            number, nowhere = self._stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:  # which it takes where that was closed
                os.dup2(nowhere, number)
                os.close(nowhere)


def complain(message: str) -> None:
    """Print a message to standard error, with the name of the program before it."""
    print(printable(f"mcgrad: {message}"), file=sys.stderr)


def lost(stream: object) -> bool:
    """Whether what is written to a stream is dropped."""
    return isinstance(stream, Stream) and stream.error is not None


@contextmanager
def lasting() -> Iterator[Stream]:
    """Put a `Stream` in place of standard output, which is given, and of standard error, while the context lasts.

    Warnings, which Python prints to standard error, are without control characters meanwhile, and without a line of
    code where they are of the machine rather than of a job's code.
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
    """Open the null device in place of standard files that are closed, lest a result's file be given their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
