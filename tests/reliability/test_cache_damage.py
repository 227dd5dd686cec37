"""A damaged entry of the cache is none: it is removed with one warning, and what it held is made again."""

import os
import pickle
import socket

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cache import entry, folder, warning
from mcgrad.cache.settings import CACHE_VARIABLE
from mcgrad.toolchain.machine_code import MachineCode

NAME = entry.file_name("0123456789abcdef" * 2, "cpu")
CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """Return where the one entry is, in a folder of this test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(warning, "_said", set())
    return tmp_path / NAME


def other_name(path):
    path.unlink()
    other = entry.file_name("f" * 32, "cpu")
    assert entry.keep(other, CONTENT)
    path.with_name(other).rename(path)


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def loop(path):
    path.unlink()
    path.symlink_to(NAME)


def in_place(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


def listening(path):
    with socket.socket(socket.AF_UNIX) as made:
        before = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        made.bind(path.name)
        os.chdir(before)


def rewrite(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


DAMAGE = {
    "empty": rewrite(lambda b: b""),
    "one byte": rewrite(lambda b: b[:1]),
    "half": rewrite(lambda b: b[: len(b) // 2]),
    "head alone": rewrite(lambda b: b[: len(entry.MAGIC) + entry.SIZE]),
    "without its last byte": rewrite(lambda b: b[:-1]),
    "a byte more": rewrite(lambda b: b + b"\0"),
    "twice": rewrite(lambda b: b + b),
    "zeros": rewrite(lambda b: bytes(len(b))),
    "a page of zeros": rewrite(lambda b: b[:1000] + bytes(1000) + b[2000:]),
    "text": rewrite(lambda b: "Grüße\n".encode() * 100),
    "a pickle": rewrite(lambda b: pickle.dumps([1, 2, 3])),
    "another format": rewrite(lambda b: b.replace(b"cache 1", b"cache 2")),
    "another entry's content": other_name,
    "a link": link,
    "a link to itself": loop,
    "a folder": in_place(lambda path: path.mkdir()),
    "a pipe": in_place(os.mkfifo),
    "a socket": in_place(listening),
    "huge": lambda path: os.truncate(path, folder.LARGEST + 1),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_a_miss_with_one_warning_and_the_entry_is_made_again(path, kind):
    assert entry.keep(NAME, CONTENT)
    assert entry.find(NAME) == CONTENT
    DAMAGE[kind](path)
    with pytest.warns(mg.CacheWarning, match=r"cpu\.mcgrad .*It was removed") as given:
        assert entry.find(NAME) is None
    assert len(given) == 1
    assert not os.path.lexists(path)
    assert entry.find(NAME) is None
    assert entry.keep(NAME, CONTENT)
    assert entry.find(NAME) == CONTENT


@pytest.mark.filterwarnings("ignore::mcgrad.errors.CacheWarning")
def test_no_single_bit_goes_unnoticed(path):
    assert entry.keep(NAME, CONTENT)
    sound = path.read_bytes()
    head = len(entry.MAGIC) + entry.SIZE
    rng = np.random.default_rng(1)
    places = [*range(8 * head), *rng.integers(8 * head, 8 * len(sound), 100)]
    for place in places:
        flipped = bytearray(sound)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert entry.find(NAME) is None
        assert not path.exists()


def test_a_folder_with_files_stays_with_a_warning(path):
    path.mkdir()
    (path / "file").write_text("a user's")
    with pytest.warns(mg.CacheWarning, match="It cannot be removed"):
        assert entry.find(NAME) is None
    with pytest.warns(mg.CacheWarning, match="not written"):
        assert not entry.keep(NAME, CONTENT)
    assert (path / "file").read_text() == "a user's"
    assert os.listdir(path.parent) == [NAME]


@pytest.mark.parametrize("content", [CONTENT, pickle.dumps(3), pickle.dumps((1, 2)), b"cmissing\nname\n."])
def test_a_sound_entry_that_does_not_load_is_a_miss(path, content):
    """As of a version of Numba that pickles otherwise, under the same number."""
    from numba import types
    from numba.core.registry import cpu_target

    assert entry.keep(NAME, content)
    code = MachineCode(NAME, content)
    if content == pickle.dumps((1, 2)):  # made for something else: not damaged
        assert code.load_overload((types.int64,), cpu_target.target_context) is None
        assert path.exists()
        return
    with pytest.warns(mg.CacheWarning, match="does not load"):
        assert code.load_overload((types.int64,), cpu_target.target_context) is None
    assert not path.exists()


def test_an_estimate_from_a_damaged_entry_has_the_same_bits(tmp_path):
    """The estimator's own entry; the process that meets the damage finds nothing of it in memory."""
    from mcgrad.toolchain import compile

    def estimate():
        compile._loaded.clear()
        return mg.estimate(lambda z: np.sin(z) * 7.25, mg.Normal(0.3, 1.2), 1000, backend="cpu")

    first = estimate()
    (path,) = tmp_path.iterdir()
    sound = bytearray(path.read_bytes())
    sound[len(sound) // 2] ^= 4
    path.write_bytes(sound)
    with pytest.warns(mg.CacheWarning, match="checksum"):
        again = estimate()
    assert (again.value, again.grad["loc"]) == (first.value, first.grad["loc"])
    (mended,) = tmp_path.iterdir()
    assert mended == path
    assert path.read_bytes() != sound
