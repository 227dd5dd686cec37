"""Batteries of tests by other programs, which read words from their standard input: PractRand, TestU01, dieharder.

Each is found on PATH, or built into a temporary folder from a tree of sources. What is not there is left out, with the
reason. A run returns the name, how much was read as the program says it, and what is farthest from random.
"""

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Thread

from outcome import Missing, Outcome, least

DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unif01.h"
#include "bbattery.h"

static unsigned int words[1 << 16];
static size_t at = 0, have = 0;

static unsigned int next(void) {
  if (at == have) {
    have = fread(words, sizeof words[0], sizeof words / sizeof words[0], stdin);
    at = 0;
    if (have == 0) exit(3);
  }
  return words[at++];
}

int main(int count, char **names) {
  unif01_Gen *generator = unif01_CreateExternGenBits("stdin", next);
  if (count > 1 && strcmp(names[1], "Crush") == 0) bbattery_Crush(generator);
  else if (count > 1 && strcmp(names[1], "BigCrush") == 0) bbattery_BigCrush(generator);
  else bbattery_SmallCrush(generator);
  for (int k = 0; k < bbattery_NTests; k++) printf("P\t%s\t%.17g\n", bbattery_TestNames[k], bbattery_pVal[k]);
  return 0;
}
"""
GRADES = ("unusual", "mildly suspicious", "suspicious", "very suspicious", "fail")  # PractRand's, from mild to grave
DIEHARDER = (*range(5), *range(8, 14), *range(15, 18), 100, 101, 102, 204, *range(205, 210))  # by number
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(command, blocks):
    """Feed a program blocks of words until it ends; what it printed."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        feeder = Thread(target=feed, args=(program.stdin, blocks), daemon=True)
        feeder.start()
        output = program.stdout.read().decode(errors="replace")
        feeder.join()
    if program.returncode:
        raise Missing(f"{command[0]} ended with status {program.returncode}")
    return output


def feed(pipe, blocks):
    """Write blocks into a pipe until its reader closes it; a generator that fails ends the input, too."""
    with suppress(BrokenPipeError, ConnectionResetError), pipe:
        for block in blocks:
            pipe.write(block)


def practrand(folder, scratch):
    """Return the path of RNG_test."""
    if found := _there("RNG_test", folder):
        return found
    if folder is None:
        raise Missing("RNG_test is not on PATH: give the sources of PractRand by --practrand")
    sources = [*Path(folder, "src").rglob("*.cpp"), Path(folder, "tools", "RNG_test.cpp")]
    if (program := Path(scratch, "RNG_test")).exists():
        return program
    compiler = ["g++", "-std=c++14", "-O3", "-pthread", "-I", f"{folder}/include", "-I", f"{folder}/tools"]
    _build(compiler, sources, program)
    return program


def testu01(folder, scratch):
    """Return the path of a driver, linked with TestU01 where the compiler finds it or built from its sources."""
    source, program = Path(scratch, "driver.c"), Path(scratch, "testu01")
    if program.exists():
        return program
    source.write_text(DRIVER)
    where = []
    if folder is not None:
        if not Path(folder, "lib").is_dir():
            for command in (["./configure", f"--prefix={scratch}/installed"], ["make", "install"]):
                _call(command, folder)
            folder = Path(scratch, "installed")
        where = ["-I", f"{folder}/include", "-L", f"{folder}/lib", f"-Wl,-rpath,{folder}/lib"]
    try:
        _build(["gcc", "-O2", *where], [source], program, ["-ltestu01", "-lprobdist", "-lmylib", "-lm"])
    except Missing as why:
        raise (why if folder else Missing("TestU01 is not installed: give its sources by --testu01")) from why
    return program


def dieharder(folder, scratch):
    """Return the path of dieharder, which Debian has.

    `DIEHARDER` are its tests, without those that it calls suspect itself and those of Brown that take most of an
    hour.
    """
    if found := _there("dieharder", folder):
        return found
    raise Missing("dieharder is not on PATH: apt-get install dieharder")


def read_practrand(output):
    """Read the last report of RNG_test: all results are about all that was read by then."""
    report = ANSI.sub("", output).split("\nlength=")[-1]
    quiet = re.search(r"(?:no anomalies in|\.\.\.and) (\d+) test result", report)
    if quiet is None:
        raise Missing("no report of RNG_test was found in its output")
    lines = [re.split(r"\s{2,}", line.strip()) for line in report.splitlines() if re.search(r"\sR=", line)]
    odd = [(name, grade) for name, *_, grade in lines]
    graded = [(GRADES.index(re.sub(r"[\s!]+$", "", grade).lower()), name, grade) for name, grade in odd]
    grade, name, said = max(graded, default=(-1, "", ""))
    worst = f"{said}: {name}" if odd else "no anomalies"
    return Outcome(int(quiet[1]) + len(odd), worst, grade < GRADES.index("suspicious"))


def read_testu01(output):
    """Read the p-values that the driver prints."""
    found = {name: float(p) for name, p in re.findall(r"^P\t(.*)\t(.*)$", output, re.MULTILINE) if float(p) >= 0}
    return least({name: 2 * min(p, 1 - p) for name, p in found.items()})


def read_dieharder(output):
    """Read dieharder's table; its own word decides, WEAK is one in a hundred of good generators' tests."""
    rows = re.findall(r"^\s*(\w+)\|\s*(\d+)\|[^|]*\|[^|]*\|\s*([\d.]+)\|\s*(\w+)", output, re.MULTILINE)
    if not rows:
        raise Missing("no p-values were found in dieharder's output")
    name, lag, p, _ = min(rows, key=lambda row: min(float(row[2]), 1 - float(row[2])))
    return Outcome(len(rows), f"{name} {lag}: p = {p}", all(row[3] != "FAILED" for row in rows))


def _there(name, folder):
    return shutil.which(name) or (shutil.which(name, path=str(folder)) if folder else None)


def _build(command, sources, program, libraries=()):
    _call([*command, *map(str, sources), "-o", str(program), *libraries], None)


def _call(command, folder):
    try:
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise Missing(f"{command[0]}: {error.strerror}") from error
    if made.returncode:
        lines = made.stderr.splitlines() or [f"status {made.returncode}"]
        raise Missing(f"{command[0]} failed: {next((line for line in lines if 'error' in line), lines[-1])}")
