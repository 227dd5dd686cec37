"""NPY and NPZ files give the array that was saved, or a refusal that names key and file: no other error, no waiting."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mcgrad.errors import ParameterError
from mcgrad.jobs.references import References

SAVED = np.arange(12.0).reshape(3, 4)


def npy(array=SAVED, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def header(text, version=(1, 0)):
    """Return the start of an NPY file with any header."""
    size = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text.encode()


def describing(shape, descr="'<f8'"):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")


def npz(entries, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def refused(folder, given):
    with pytest.raises(ParameterError) as caught:
        References(Path(folder)).value("x", given)
    assert caught.value.parameter == "x"
    assert given.partition(":")[0] in caught.value.given
    return caught.value


@pytest.mark.parametrize(
    "array", [SAVED, SAVED.T, SAVED.astype(">f4"), np.arange(3), np.array([True, False]), np.array(2.5), SAVED[:0]]
)
def test_arrays_are_read_as_they_were_saved(tmp_path, array):
    np.save(tmp_path / "t.npy", array)
    np.savez(tmp_path / "t.npz", **{"a": array, "b/c:d": SAVED})
    np.savez_compressed(tmp_path / "u.npz", a=array)
    value = References(tmp_path).value
    for given in ("t.npy", "t.npz:a", "u.npz:a", {"file": "t.npy"}, {"file": "u.npz", "entry": "a"}):
        np.testing.assert_array_equal(value("x", given), array, strict=True)
    np.testing.assert_array_equal(value("x", "t.npz:b/c:d"), SAVED)


BAD = {
    "empty": b"",
    "text": b"1,2\n3,4\n",
    "pickle": b"\x80\x04\x95.",
    "objects": npy(np.array([{}, None]), allow_pickle=True),
    "strings": npy(["a", "b"]),
    "complex": npy([1j]),
    "dates": npy(np.array(["2020-01-01"], "datetime64[D]")),
    "structured": npy(np.zeros(2, [("a", float)])),
    "version 3": npy(version=(3, 0)),
    "truncated": npy()[:-1],
    "surplus": npy() + b"\0",
    "two arrays": npy() * 2,
    "huge": describing(f"({10**18},)"),
    "beyond counting": describing(f"({'9' * 4000}, {'9' * 4000})"),
    "beyond Python": describing(f"({'9' * 5000},)"),
    "negative": describing("(-1, -2)") + bytes(16),
    "no shape": describing("None"),
    "no dtype": describing("(2,)", "'nonsense'"),
    "nested": header("(" * 9000),
    "signs": header("-" * 9000 + "1"),
    "long": header(" " * 60_000 + "{}"),
    "longer": header(" " * 60_000, (2, 0)).replace((60_000).to_bytes(4, "little"), b"\xff\xff\xff\xff"),
    "version": header("{}", (9, 9)),
    "NaN in it": header("{'descr': '<f8', 'fortran_order': 3, 'shape': ('a',)}"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_array_of_real_numbers(tmp_path, kind):
    (tmp_path / "t.npy").write_bytes(BAD[kind])
    (tmp_path / "t.npz").write_bytes(npz({"a.npy": BAD[kind]}, zipfile.ZIP_DEFLATED))
    assert "real numbers" in refused(tmp_path, "t.npy").accepted
    assert "real numbers" in refused(tmp_path, "t.npz:a").accepted
    assert len(refused(tmp_path, "t.npy").given) < 300


def test_one_format_is_not_taken_for_the_other(tmp_path):
    (tmp_path / "t.npy").write_bytes(npz({"a.npy": npy()}))
    (tmp_path / "t.npz").write_bytes(npy())
    refused(tmp_path, "t.npy")
    refused(tmp_path, "t.npz:a")


def test_entries(tmp_path):
    (tmp_path / "t.npz").write_bytes(npz({"a.npy": npy(), "notes.txt": b"text", "b/c.npy": npy()}))
    for given in ("t.npz:z", "t.npz:notes.txt", "t.npz", "t.npz:c"):
        assert refused(tmp_path, given).accepted == "'a', 'b/c'"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "t.npz", "a") as archive:
        archive.writestr("a.npy", npy(SAVED + 1))
    assert "2 entries of that name" in refused(tmp_path, "t.npz:a").given


def test_an_entry_that_unpacks_to_more_than_it_says(tmp_path):
    """A header of a petabyte, in an archive that claims the same, takes no memory."""
    content = bytearray(npz({"a.npy": describing("(125000000000000,)")}, zipfile.ZIP_DEFLATED))
    size = len(describing("(125000000000000,)")).to_bytes(4, "little")
    (tmp_path / "t.npz").write_bytes(content.replace(size, b"\xfe\xff\xff\xff"))
    assert "bytes" in refused(tmp_path, "t.npz:a").given


def test_other_compression_and_encryption(tmp_path):
    content = npz({"a.npy": npy()})
    central = content.rindex(b"PK\x01\x02")
    for place, value in ((8, 1), (10, 99)):  # flags: encrypted; a method that is unknown
        changed = bytearray(content)
        changed[central + place] = value
        (tmp_path / "t.npz").write_bytes(changed)
        refused(tmp_path, "t.npz:a")


@pytest.mark.parametrize("file", ["t.npy", "t.npz:a", "t.csv", "t.py:f"])
def test_what_is_no_regular_file(tmp_path, file):
    """A pipe without a writer would wait for ever."""
    path = tmp_path / file.partition(":")[0]
    assert "which is not there" in refused(tmp_path, file).given
    path.mkdir()
    assert "not a regular file" in refused(tmp_path, file).given
    path.rmdir()
    path.symlink_to(path)
    refused(tmp_path, file)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        assert "not a regular file" in refused(tmp_path, file).given
        path.unlink()
    if os.path.exists("/dev/zero"):
        path.symlink_to("/dev/zero")
        assert "not a regular file" in refused(tmp_path, file).given


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a" * 5000, "\udcff", "a/" * 3000])
def test_names_that_no_file_has(tmp_path, name):
    with pytest.raises(ParameterError):
        References(tmp_path).value("x", f"{name}.npy")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_files_and_folders_that_may_not_be_read():
    """Root, who may read everything, reads as another user."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder, "closed")
        closed.mkdir()
        for name, content in (("t.npy", npy()), ("t.npz", npz({"a.npy": npy()})), ("t.csv", b"a\n1\n")):
            Path(folder, name).write_bytes(content)
            Path(folder, name).chmod(0)
            (closed / name).write_bytes(content)
        closed.chmod(0)
        Path(folder).chmod(0o755)
        if root:
            os.seteuid(65534)
        try:
            for given in ("t.npy", "t.npz:a", "t.csv", "closed/t.npy", "closed/t.csv"):
                assert "Permission denied" in refused(folder, given).given
        finally:
            if root:
                os.seteuid(0)
            closed.chmod(0o700)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_npz_gives_the_right_numbers_or_none(tmp_path, method):
    """NPZ has a checksum over each entry."""
    content = npz({"a.npy": npy()}, method)
    rng, found = np.random.default_rng(0), 0
    value = References(tmp_path).value
    for i in range(300):
        changed = bytearray(content)
        if i < 60:
            del changed[rng.integers(len(changed)) :]
        else:
            changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        (tmp_path / "t.npz").write_bytes(changed)
        try:
            array = value("x", "t.npz:a")
        except ParameterError:
            continue
        found += 1
        np.testing.assert_array_equal(array, SAVED)
    assert 0 < found < 240


def test_a_damaged_npy_raises_nothing_of_others(tmp_path):
    """NPY has no checksum: what is left is the size."""
    content = npy()
    rng, found = np.random.default_rng(0), 0
    value = References(tmp_path).value
    for i in range(400):
        changed = bytearray(content)
        if i < 60:
            del changed[rng.integers(len(changed)) :]
        else:
            place = rng.integers(128) if i < 300 else rng.integers(len(changed))
            changed[place] = rng.integers(256)
        (tmp_path / "t.npy").write_bytes(changed)
        try:
            array = value("x", "t.npy")
        except ParameterError:
            continue
        found += 1
        assert array.nbytes == SAVED.nbytes
    assert 0 < found < 340


def test_memory_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "t.npy").write_bytes(npy())

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", fail)
    assert "MemoryError" in refused(tmp_path, "t.npy").given
