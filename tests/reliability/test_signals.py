"""One signal ends a batch, whatever runs; the table says which jobs never ran."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from mcgrad import cli
from mcgrad.cli import main
from mcgrad.jobs import signals
from tests.processes import running

MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process of pytest-xdist's ignores
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which one that nohup has started ignores
from mcgrad.cli import process
process()
"""
BATCH = """
integrand = "model.py:f"
distribution = {family = "Normal", loc = 0.3}
n = 500
backend = "numpy"
[[job]]
name = "first"
[[job]]
name = "second"
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_an_import_that_never_ends(tmp_path, sent):
    """It runs in a thread that Python cannot interrupt, and would be waited for."""
    code = "print('importing', flush=True)\nimport time\nwhile True:\n    time.sleep(0.01)\n"
    (tmp_path / "model.py").write_text(code)
    (tmp_path / "batch.toml").write_text(BATCH)
    command = [sys.executable, "-c", MAIN, "run", "batch.toml"]
    with running(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(sent)
        printed, error = process.communicate(timeout=300)
    assert process.returncode == 128 + sent
    assert error == f"mcgrad: {'interrupted' if sent == signal.SIGINT else f'ended by {sent.name}'}\n"
    assert printed.split("\n")[1:3] == ["2 jobs: 2 not run", "first   not run  batch.toml, [[job]] 1"]


def test_threads_that_a_file_leaves_running_are_waited_for_and_named(tmp_path):
    (tmp_path / "model.py").write_text(
        "import sys, threading\nimport numpy as np\n"
        "threading.Thread(target=sys.stdin.read, name='reader').start()\ndef f(z):\n    return np.sin(z)\n"
    )
    (tmp_path / "batch.toml").write_text(BATCH)
    command = [sys.executable, "-c", MAIN, "run", "batch.toml"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with running(command, cwd=tmp_path, **pipes) as process:
        said = process.stderr.readline()
        process.communicate(timeout=300)
    assert said == "mcgrad: waits for threads that a job's file has left running: reader\n"
    assert process.returncode == 0


SWALLOWS = """
import signal, threading
import numpy as np

def f(z):
    if threading.current_thread() is threading.main_thread():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            pass
    return np.sin(z)
"""


def test_a_signal_that_users_code_swallows_ends_the_batch(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SWALLOWS)
    (tmp_path / "batch.toml").write_text(BATCH.replace('"numpy"', '"cpu"'))
    assert main(["run", "batch.toml"]) == 143
    printed = capsys.readouterr()
    assert printed.err == "mcgrad: ended by SIGTERM\n"
    assert "2 jobs: 1 interrupted, 1 not run" in printed.out
    assert (tmp_path / "results/first.json").exists()  # written before the comparison that f was traced for
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")  # JAX, where other tests have loaded it
def test_forked_children_die_of_signals_as_before():
    """A pool of `multiprocessing`, as a user's file may make, ends its children by SIGTERM."""
    with signals.stoppable():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        child = os.fork()
        if not child:
            os._exit(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
        assert os.waitpid(child, 0)[1] == 0


def test_what_is_a_signal_and_what_only_looks_like_one(monkeypatch):
    with signals.stoppable():
        with pytest.raises(signals.Stopped) as stopped:
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # some send it twice: what is being saved is saved
        assert signals.received() is stopped.value
        assert signals.ends_the_process(stopped.value)
        assert not signals.ends_the_process(SystemExit())
        monkeypatch.setattr(signals, "REPEATED", 0.0)
        with pytest.raises(signals.Stopped):  # later ones end what has caught the first
            signal.raise_signal(signal.SIGTERM)
        assert signals.received() is stopped.value
    assert signals.received() is None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert signals.ends_the_process(KeyboardInterrupt())  # as without mcgrad's command line
        with signals.stoppable():
            assert not signals.ends_the_process(KeyboardInterrupt())
        found = []
        thread = threading.Thread(target=lambda: found.append(signals.ends_the_process(KeyboardInterrupt())))
        thread.start()
        thread.join()
        assert found == [False]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
        with signals.stoppable():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_options_are_read(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", interrupted)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "mcgrad: interrupted\n"
