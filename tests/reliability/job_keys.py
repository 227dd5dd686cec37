"""Wrong values in job files: refused by our own error, which names the key; or taken, and then the job runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, in_turn

MODEL = """
import numpy as np

start = np.array([0.1, 0.2])


def f(z, *, tau=1.0, X=1.0):
    return np.sum(tau * X * np.sin(z))
"""
JOB = {
    "integrand": '"model.py:f"',
    "distribution": '{family = "Normal", loc = [0.3, 0.5], scale = 1.2}',
    "params": "{tau = 2.0}",
    "data": "{X = [1.0, 2.0]}",
    "backend": '"numpy"',
    "compare": '"none"',
    "n": "100",
}
KEYS = (
    *("name", "integrand", "distribution", "params", "data", "wrt", "n", "seed", "dtype", "backend", "threads"),
    *("nonfinite", "method", "baseline", "k", "compare", "n_compare", "out", "job", "no_such_key"),
    *("batched_params", "batched_data", "reduce", "rows", "common_noise", "distribution.batch_ndim"),
    *("distribution.family", "distribution.loc", "distribution.scale", "params.tau", "data.X", "distribution.base"),
)
WRONG = (
    *("true", "false", "0", "1", "-1", "2", "3", "7", "-9223372036854775808", "9223372036854775807", "1" * 30),
    *("1" * 5000, "0x7fffffffffffffff", "1.5", "-0.0", "1e308", "-1e308", "1e400", "nan", "inf", "-inf"),
    *('""', '"a"', '"/"', '".."', '"../x"', '"a/b"', '"a:b"', '":"', r'"\u0000"', r'"\u001b[2J"', r'"\u202e"', r'"\\"'),
    *(f'"{"x" * length}"' for length in (240, 300, 5000)),
    *('"ÄΩ漢"', '"score"', '"auto"', '"CON"', '" "', '"."', '"~"', '"$HOME"', '"%n%s"', '"{0}"', '"[bold]"', '"[/x]"'),
    *('"model.py"', '"model.py:"', '"model.py:f"', '"model.py:np"', '"model.py:start"', '"model.py:f.x.y"'),
    *('"missing.py:f"', '"missing.csv:x"', '"missing.npz:x"', '"missing.npy"', '"results:x"', '"job.toml"', '".csv"'),
    *("[]", "[1]", "[[]]", "[[1.0], [1.0, 2.0]]", '["a"]', "[1, 'a']", "[true]", "[[[[1]]]]", "[{}]", "[nan]"),
    *(
        "[" * 100 + "1" + "]" * 100,
        "[" * 3000 + "]" * 3000,
        "{a = " * 50 + "1" + "}" * 50,
        "{a = " * 900 + "1" + "}" * 900,
    ),
    *(
        "{}",
        "{a = 1}",
        "{tau = {tau = 1}}",
        '{family = "Normal"}',
        '{family = "Joint"}',
        "{family = 3}",
        "{loc = 'score'}",
    ),
    *('{family = "Transformed", base = {family = "Normal"}, fn = "Exp"}', "{'' = 1}", "{'a.b' = 1}", r'{"\u0000" = 1}'),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "'''\na\nb\n'''"),
)
TEXTS = (
    b"", b"\xff\xfe", b"\xef\xbb\xbfn = 1", b"n = 1\x00", b"= 1", b"[[job]]\n" * 3, b"[job]\nn = 1", b"n = 1\nn = 2",
    b"[" * 100_000, b"job = []", b"job = [1]", b"[[job]]\n[[job.job]]", b"a." * 5000 + b"b = 1", b"\r\n\r", b"# only\n",
    b"n = 'a\nb'", b"x" * 1_000_000, b"\x1b]0;owned\x07 = 1",
)  # fmt: skip


def _value(folder: Path, text: str, key: str) -> str:
    (folder / "model.py").write_text(MODEL)
    (folder / "job.toml").write_text(text, encoding="utf-8")
    ended = command(folder, "run", "job.toml", traceback=True)
    theirs = "(model.py), which raised" in ended.err or "cannot be traced" in ended.err  # f, out of place
    if ended.value not in (0, 2) or ("Traceback" in ended.err and not theirs):
        raise Lost(f"status {ended.value}: {ended.err[-200:]}")
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in ended.err + ended.out):
        raise Lost("prints control characters")
    if ended.value == 0:
        return RIGHT
    whole = "job.toml: given" in ended.err  # no TOML, or nested too deeply: before keys are looked at
    if not (whole or theirs) and key.partition(".")[0] not in ended.err and key.rpartition(".")[2] not in ended.err:
        raise Lost(f"refuses without naming {key}: {ended.err[-200:]}")
    if len(ended.err) > 3000:
        raise Lost(f"refuses in {len(ended.err)} characters")
    return REFUSED


def _document(job: dict[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in job.items())


def of_key(key: str) -> Callable[[Random], Case]:
    order: list[str] = []

    def make(rng: Random) -> Case:
        if not order:  # each value in turn, in an order by chance
            order.extend(rng.sample(WRONG, len(WRONG)))
        value = order.pop()

        def act(folder: Path) -> str:
            job = dict(JOB)
            top, _, inner = key.partition(".")
            if inner:
                old = job[top].strip("{}").split(", ")
                kept = [item for item in old if not item.startswith(inner)] if "[" not in job[top] else []
                if top == "distribution":
                    kept = [x for x in ('family = "Normal"', "loc = [0.3, 0.5]", "scale = 1.2") if inner not in x]
                job[top] = "{" + ", ".join([*kept, f"{inner} = {value}"]) + "}"
            else:
                job[top] = value
            return _value(folder, _document(job), key)

        return Case(f"wrong value of {key}", value[:60], act)

    return make


OPTIONS = {
    "--n": ("1", "0", "-1", "1e3", "1e400", "nan", "inf", "x", "", "1.5", "1" * 5000, "\x1b[2J", "\udcff"),
    "--seed": ("-1", "1e3", "nan", "x", "", "0.5", "1" * 40, "18446744073709551616"),
    "--threads": ("0", "-1", "1e400", "x", "", "0.5", "nan", "3", "1" * 30),
    "--dtype": ("float16", "", "float32", "Float64", "\x1b[2J", "0"),
    "--backend": ("gpu", "", "numpy", "cuda", "\x1b[2J", "0"),
    "--checkpoint": ("-1", "nan", "inf", "x", "", "0", "1e400"),
    "--out": ("", "job.toml", "/proc/nowhere", "x" * 300, "\x1b[2J", "a/b/c", "~", "\udcff", "/dev/null", "model.py/x"),
    "--no-such": ("x",),
}


def of_option(option: str) -> Callable[[Random], Case]:
    def make(rng: Random) -> Case:
        value, more = rng.choice(OPTIONS[option]), rng.choice([[], ["--resume"], ["--force", "--verify"]])

        def act(folder: Path) -> str:
            (folder / "model.py").write_text(MODEL)
            (folder / "job.toml").write_text(_document({**JOB, "n": "100"}), encoding="utf-8")
            before = (folder / "job.toml").read_bytes(), (folder / "model.py").read_bytes()
            ended = command(folder, "run", f"{option}={value}", *more, "job.toml")
            if ended.value not in (0, 2):
                raise Lost(f"status {ended.value}: {ended.err[-200:]}")
            if any(ord(letter) < 32 and letter not in "\n\t" for letter in ended.err + ended.out):
                raise Lost("prints control characters")
            if before != ((folder / "job.toml").read_bytes(), (folder / "model.py").read_bytes()):
                raise Lost("changes the user's files")
            if ended.value == 2 and option.strip("-") not in ended.err:
                raise Lost(f"refuses without naming the option: {ended.err[-200:]}")
            return REFUSED if ended.value else RIGHT

        return Case(f"option {option}", f"{value!r:.60}, {more}", act)

    return make


def of_text(rng: Random) -> Case:
    text = rng.choice(TEXTS)

    def act(folder: Path) -> str:
        (folder / "job.toml").write_bytes(text)
        ended = command(folder, "run", "job.toml")
        if ended.value != 2 or "job.toml" not in ended.err or "\x1b" in ended.err:
            raise Lost(f"status {ended.value}: {ended.err[-200:]}")
        return REFUSED

    return Case("not a job file", repr(text[:20]), act)


def of_path(rng: Random) -> Case:
    """Give what is no file that can be read to the end."""
    what = rng.choice(["missing", "a folder", "a FIFO", "/dev/zero", "/dev/null", "a loop", "x" * 300, "\x1b[2J", ""])

    def act(folder: Path) -> str:
        import os

        (folder / "a folder").mkdir()
        os.mkfifo(folder / "a FIFO")
        (folder / "a loop").symlink_to("a loop")
        ended = command(folder, "run", what)
        if ended.value != 2 or "\x1b" in ended.err:
            raise Lost(f"status {ended.value}: {ended.err[-200:]}")
        return REFUSED

    return Case("no job file", repr(what), act)


def flipped(rng: Random) -> Case:
    """Flip bits of a good job file."""
    seed = rng.getrandbits(32)

    def act(folder: Path) -> str:
        rng = Random(seed)
        (folder / "model.py").write_text(MODEL)
        content = bytearray(_document(JOB).encode())
        for _ in range(rng.choice([1, 1, 3])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (folder / "job.toml").write_bytes(content)
        ended = command(folder, "run", "job.toml")
        if ended.value not in (0, 2):
            raise Lost(f"status {ended.value}: {ended.err[-200:]}")
        return REFUSED if ended.value else RIGHT

    return Case("bits flipped", f"seed {seed}", act)


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    return in_turn(rng, [*map(of_key, KEYS), *map(of_option, OPTIONS), of_text, of_path, flipped])
