"""Nobody else's code runs: a folder, and each file in it, is used only where no other user may have written it."""

import os
import pickle
import stat
import subprocess
import sys
import tempfile

import pytest

import mcgrad as mg
from mcgrad.cache import entry, folder, trust, warning
from mcgrad.cache.settings import CACHE_VARIABLE, MODE_VARIABLE

NAME = entry.file_name("0123456789abcdef" * 2, "cpu")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
OTHER = 54321  # a user and a group that nobody is a member of
pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
as_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """Return a cache folder that is not there yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(MODE_VARIABLE, raising=False)
    monkeypatch.setattr(warning, "_said", set())
    trust._parent_distrust.cache_clear()
    return tmp_path / "cache"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def refused(match):
    """Hold that the cache is not used, neither read nor written, with one warning."""
    with pytest.warns(mg.CacheWarning, match=match) as given:
        done = entry.keep(NAME, b"new"), entry.find(NAME), folder.exists(NAME), folder.names()
    assert done == (False, None, False, [])
    assert len(given) == 1


@pytest.fixture(params=[0o000, 0o022, 0o077], ids="{:03o}".format)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("shared", "above", "made", "kept"),
    [("", 0o700, 0o700, 0o600), ("group", 0o750, 0o2770, 0o660), ("all", 0o755, 0o755, 0o644)],
)
def test_permissions_do_not_depend_on_the_umask(tmp_path, monkeypatch, umask, shared, above, made, kept):
    path = tmp_path / "above" / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(path))
    monkeypatch.setenv(MODE_VARIABLE, shared)
    assert entry.keep(NAME, b"content")
    assert (mode(path.parent), mode(path), mode(path / NAME)) == (above, made, kept)
    assert entry.find(NAME) == b"content"


@pytest.mark.parametrize("wrong", [0o777, 0o775, 0o707, 0o1777])
def test_a_folder_that_others_may_write(path, monkeypatch, wrong):
    monkeypatch.setattr(trust, "_is_safe", lambda at, gid: False)  # a group of several members
    path.mkdir()
    path.chmod(wrong)
    refused(rf"may be written by others \(mode {wrong:04o}.*{CACHE_VARIABLE}.*chmod go-w")
    assert os.listdir(path) == []


def test_a_folder_that_only_this_users_own_group_may_write(path, monkeypatch):
    """As the umask 002 makes it, which comes with such groups; not where an access list lets others in."""
    monkeypatch.setattr(trust, "_is_own_group", lambda gid: gid == path.stat().st_gid)
    path.mkdir()
    path.chmod(0o2775)
    assert entry.keep(NAME, b"content")
    (path / NAME).chmod(0o660)
    assert entry.find(NAME) == b"content"
    monkeypatch.setattr(trust, "_has_list", lambda at: True)
    refused("may be written by others")


def test_a_group_is_a_users_own_by_its_name_and_members(monkeypatch):
    import grp
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    for number, (group, members) in enumerate([(name, []), (name, [name]), (name, ["other"]), ("staff", [])]):
        found = grp.struct_group((group, "x", 10_000 + number, members))
        monkeypatch.setattr(grp, "getgrgid", lambda gid, found=found: found)
        assert trust._is_own_group(10_000 + number) == (number < 2)
    trust._is_own_group.cache_clear()


@as_root
@pytest.mark.parametrize("shared", ["private", "group", "all"])
def test_a_folder_of_another_user(path, monkeypatch, shared):
    monkeypatch.setenv(MODE_VARIABLE, shared)
    path.mkdir(0o700)
    os.chown(path, OTHER, OTHER)
    refused(f"belongs to user {OTHER}")


def test_a_folder_above_that_others_may_write(path):
    path.parent.chmod(0o777)
    refused(f"others may replace.*{path.parent.name} has mode 0777")
    assert not path.exists()


@as_root
def test_a_folder_above_of_another_user(path, monkeypatch):
    os.chown(path.parent, OTHER, os.getegid())
    refused(f"user {OTHER} may replace")
    monkeypatch.setenv(MODE_VARIABLE, "group")
    assert entry.keep(NAME, b"content")


def test_a_folder_above_a_link(path, tmp_path):
    """Neither where the link is nor where it leads to may others write."""
    real = tmp_path / "real"
    real.mkdir(0o700)
    path.symlink_to(real)
    assert entry.keep(NAME, b"content")
    assert entry.find(NAME) == b"content"
    trust._parent_distrust.cache_clear()
    path.parent.chmod(0o777)
    refused("others may replace")


@as_root
def test_a_link_of_another_user(path, tmp_path):
    """As any user may make one in /tmp."""
    real = tmp_path / "real"
    real.mkdir(0o700)
    path.symlink_to(real)
    path.parent.chmod(0o1777)
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    refused(f"user {OTHER} may lead .*cache elsewhere")


def test_a_folder_above_with_the_sticky_bit(path):
    path.parent.chmod(0o1777)
    assert entry.keep(NAME, b"content")


def test_what_is_not_checked(path, monkeypatch):
    """Where the user says so: a mount of a container's, as some runners of CI have it."""
    monkeypatch.setenv(MODE_VARIABLE, "unchecked")
    path.parent.chmod(0o777)
    path.mkdir()
    path.chmod(0o777)
    assert entry.keep(NAME, b"content")
    assert entry.find(NAME) == b"content"
    assert mode(path / NAME) == 0o600
    (path / NAME).chmod(0o666)
    assert entry.find(NAME) == b"content"
    monkeypatch.delenv(MODE_VARIABLE)
    refused(rf"may be written by others.*{MODE_VARIABLE}: .*unchecked")


def test_a_file_that_others_may_write(path):
    assert entry.keep(NAME, b"content")
    (path / NAME).chmod(0o666)
    with pytest.warns(mg.CacheWarning, match="may be written by others.*It was removed"):
        assert entry.find(NAME) is None
    assert os.listdir(path) == []


@as_root
def test_a_file_of_another_user(path):
    assert entry.keep(NAME, b"content")
    os.chown(path / NAME, OTHER, OTHER)
    with pytest.warns(mg.CacheWarning, match=f"belongs to user {OTHER}.*It was removed"):
        assert entry.find(NAME) is None


@as_root
def test_a_group_that_shares_a_folder(path, monkeypatch):
    monkeypatch.setenv(MODE_VARIABLE, "group")
    path.mkdir()
    os.chown(path, OTHER, os.getegid())
    path.chmod(0o2775)
    assert entry.keep(NAME, b"content")
    os.chown(path / NAME, OTHER, os.getegid())
    assert entry.find(NAME) == b"content"
    monkeypatch.setenv(MODE_VARIABLE, "private")
    refused(f"belongs to user {OTHER}")


AS_USER = """
import os, sys
import mcgrad.cache.entry  # before the rights to read the packages are gone
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
from mcgrad.cache import entry
print(entry.find(sys.argv[1]), entry.keep(sys.argv[1], b"theirs"), entry.find(sys.argv[1]))
"""


@as_root
@pytest.mark.parametrize(("shared", "found"), [("all", "b'content' False b'content'"), ("private", "None False None")])
def test_what_root_has_made_for_all_serves_every_user(monkeypatch, shared, found):
    """Read by a user who sets no variable. A folder that may only be read needs no warning; one that may not does."""
    monkeypatch.setenv(MODE_VARIABLE, shared)
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        monkeypatch.setenv(CACHE_VARIABLE, f"{above}/cache")
        assert entry.keep(NAME, b"content")
        environment = {name: value for name, value in os.environ.items() if name != MODE_VARIABLE}
        command = [sys.executable, "-c", AS_USER, NAME]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "No module" in done.stderr:
        pytest.skip("another user may not read the packages here")
    assert done.stdout.strip() == found, done.stderr
    assert done.stderr.count("CacheWarning") == done.stderr.count("may not be read") == (shared == "private")


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["MCGRAD_TEST_PLANTED"],)


def test_a_planted_pickle_does_not_run(path, tmp_path, monkeypatch):
    """In a folder that all may write, and, put there before the mode was mended, in one that is this user's alone."""
    from mcgrad.toolchain.machine_code import MachineCode

    planted = tmp_path / "planted"
    monkeypatch.setenv("MCGRAD_TEST_PLANTED", str(planted))
    assert entry.keep(NAME, pickle.dumps(Bomb()))
    (path / NAME).chmod(0o666)
    path.chmod(0o777)
    target = type("Target", (), {"refresh": lambda self: None})()
    with pytest.warns(mg.CacheWarning):
        assert MachineCode(NAME, entry.find(NAME)).load_overload((), target) is None
    path.chmod(0o700)
    with pytest.warns(mg.CacheWarning):
        assert MachineCode(NAME, entry.find(NAME)).load_overload((), target) is None
    assert not planted.exists()


def test_a_mode_that_is_none(path, monkeypatch):
    monkeypatch.setenv(MODE_VARIABLE, "public")
    with pytest.warns(mg.CacheWarning, match='MCGRAD_CACHE_MODE: given "public"; accepted: private, group'):
        assert entry.keep(NAME, b"content")
    assert mode(path) == 0o700
