"""Users' code that misbehaves: it fails its own job, by name, and no other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, in_turn, numbers

ACTS = {
    "sys.exit(0)": "import sys; sys.exit(0)",
    "sys.exit(message)": "import sys; sys.exit('bye')",
    "quit()": "raise SystemExit",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "BaseException": "raise BaseException('odd')",
    "StopIteration": "raise StopIteration",
    "BrokenPipeError": "raise BrokenPipeError(32, 'theirs')",
    "MemoryError": "raise MemoryError",
    "endless recursion": "r = lambda: r(); r()",
    "exception without text": "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "exception group": "raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
    "McgradError": "import mcgrad; raise mcgrad.ParameterError('theirs', 'x', 'y')",
    "escapes in its text": r"raise ValueError('\x1b[2J\x1b]0;owned\x07')",
    "a lone surrogate in its text": r"raise ValueError('\udc80')",
}
STATES = {  # what a file may change for all that comes after, and is put back or does no harm
    "os.chdir": "import os; os.chdir('/')",
    "chdir to a folder that goes": "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "os.umask(0o777)": "import os; os.umask(0o777)",
    "sys.path emptied": "import sys; sys.path.clear()",
    "sys.stdout closed": "import sys; sys.stdout.close()",
    "sys.stdout None": "import sys; sys.stdout = None",
    "descriptor 1 closed": "import os; os.close(1)",
    "sys.stderr closed": "import sys; sys.stderr.close()",
    "np.seterr": "import numpy as np; np.seterr(all='raise')",
    "warnings are errors": "import warnings; warnings.simplefilter('error')",
    "recursion limit": "import sys; sys.setrecursionlimit(200)",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "signal handlers": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "environment emptied": "import os; os.environ.clear()",
    "atexit raises": "import atexit; atexit.register(lambda: 1 / 0)",
    "a thread that stays": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "sys.modules without numpy": "import sys; sys.modules.pop('mcgrad.results.estimate', None)",
    "np.random.seed": "import numpy as np; np.random.seed(0)",
    "excepthook": "import sys; sys.excepthook = lambda *x: 1 / 0",
    "a trace function": "import sys; sys.settrace(lambda *x: None)",
    "builtins changed": "import builtins; builtins.input = None",
}
PLACES = {  # where the user's code runs
    "import": "{act}\n\n\ndef f(z, *, x):\n    return x * np.sin(z)\n\n\ndef load():\n    return {{'x': 2.0}}\n",
    "integrand": "def f(z, *, x):\n    {act}\n    return x * np.sin(z)\n\n\ndef load():\n    return {{'x': 2.0}}\n",
    "data": "def f(z, *, x):\n    return x * np.sin(z)\n\n\ndef load():\n    {act}\n    return {{'x': 2.0}}\n",
}
GOOD = "import numpy as np\n\n\ndef f(z, *, x):\n    return x * np.sin(z)\n\n\ndef load():\n    return {'x': 2.0}\n"
BATCH = """
distribution = {family = "Normal", loc = "start.csv:loc", scale = 1.2}
backend = "numpy"
n = 1000

[[job]]
name = "before"
integrand = "good.py:f"
data = "good.py:load"

[[job]]
name = "bad"
integrand = "bad.py:f"
data = "bad.py:load"

[[job]]
name = "after"
integrand = "good.py:f"
data = "good.py:load"
"""


def prepared(folder: Path, act: str, place: str) -> None:
    (folder / "good.py").write_text(GOOD.replace("np.sin(z)", "np.sum(np.sin(z))"))
    bad = "import numpy as np\n\n" + PLACES[place].format(act=act).replace("np.sin(z)", "np.sum(np.sin(z))")
    (folder / "bad.py").write_text(bad)
    (folder / "start.csv").write_text("loc\n0.3\n0.5\n")
    (folder / "batch.toml").write_text(BATCH)


def _value(folder: Path, job: str) -> float | None:
    path = folder / "results" / f"{job}.json"
    return numbers(path)["value"] if path.exists() else None


def of_act(kind: str, acts: dict[str, str]) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        name, place = rng.choice(list(acts)), rng.choice(list(PLACES))

        def act(folder: Path) -> str:
            prepared(folder, acts[name], place)
            ended = command(folder, "run", "batch.toml", traceback=True)
            before, bad, after = (_value(folder, job) for job in ("before", "bad", "after"))
            if before is None or before != after:
                raise Lost(f"values {before}, {after} of the other jobs; status {ended.value}: {ended.err[-200:]}")
            if "\x1b]0;" in ended.out + ended.err:
                raise Lost("prints escapes as they are")
            if bad == before:
                if ended.value != 0 and acts is not STATES:
                    raise Lost(f"status {ended.value} though all jobs are done")
                return RIGHT
            if bad is not None:
                raise Lost(f"gives {bad}, not {before}")
            if ended.value != 1:
                raise Lost(f"status {ended.value} where one job of three failed: {ended.err[-200:]}")
            if "bad" not in ended.err:
                raise Lost("does not name the job that failed")
            return REFUSED

        return Case(kind, f"{name}, {place}", act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return exceptions and changes of state in turn."""
    makers = [of_act("raises in import, data or integrand", ACTS), of_act("changes the process's state", STATES)]
    return in_turn(rng, makers)
