"""Batteries of other programs: how they are built, fed and read; small programs stand in for them here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import batteries
import interleavings
from outcome import Missing

STREAMS = interleavings.INTERLEAVINGS["streams"]
PRACTRAND = """RNG_test using PractRand version 0.95
RNG = RNG_stdin32, seed = unknown
test set = core, folding = standard (32 bit)

rng=RNG_stdin32, seed=unknown
length= 128 megabytes (2^27 bytes), time= 2.1 seconds
  no anomalies in 196 test result(s)

rng=RNG_stdin32, seed=unknown
length= 256 megabytes (2^28 bytes), time= 4.6 seconds
  Test Name                         Raw       Processed     Evaluation
  [Low1/32]BRank(12):256(2)         R= +24.1  p~=  1.5e-8    very suspicious
  BCFN(2+1,13-2,T)                  R=  -7.2  p =1-2.4e-3   unusual
  ...and 212 test result(s) without anomalies
"""


def test_reports_of_practrand_are_read():
    mild = PRACTRAND.replace("very suspicious", "unusual        ")
    assert batteries.read_practrand(PRACTRAND.split("\nrng=RNG_stdin32, seed=unknown\nlength= 256")[0]).tests == 196
    assert (batteries.read_practrand(mild).tests, batteries.read_practrand(mild).passed) == (214, True)
    grave = batteries.read_practrand(PRACTRAND)
    assert (grave.worst, grave.passed) == ("very suspicious: [Low1/32]BRank(12):256(2)", False)
    with pytest.raises(Missing, match="no report"):
        batteries.read_practrand("usage: RNG_test")


def test_tables_of_dieharder_and_testu01_are_read():
    row = "   diehard_birthdays|   0|       100|     100|{}|  {}  \n"
    good = batteries.read_dieharder(row.format("0.57892094", "PASSED") + row.format("0.99980000", "WEAK"))
    assert (good.tests, good.worst, good.passed) == (2, "diehard_birthdays 0: p = 0.99980000", True)
    assert not batteries.read_dieharder(row.format("0.00000000", "FAILED")).passed
    found = batteries.read_testu01("...\nP\tGap\t0.25\nP\tMaxOft AD\t0.9999999\nP\tnot run\t-1\n")
    assert (found.tests, found.worst, found.passed) == (2, "2.0e-07 MaxOft AD", False)


def test_programs_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="RNG_test is not on PATH: give the sources of PractRand by --practrand"):
        batteries.practrand(None, tmp_path)
    with pytest.raises(Missing, match="apt-get install dieharder"):
        batteries.dieharder(None, tmp_path)
    with pytest.raises(Missing, match="TestU01 is not installed: give its sources by --testu01"):
        batteries.testu01(None, tmp_path)
    with pytest.raises(Missing, match="No such file"):
        batteries.testu01(tmp_path, tmp_path)


def test_a_program_is_fed_until_it_has_enough():
    read = "import sys; print(sum(len(sys.stdin.buffer.read(1 << 16)) for _ in range(40)))"
    assert int(batteries.run([sys.executable, "-c", read], interleavings.blocks(STREAMS))) == 40 << 16
    with pytest.raises(Missing, match="status 3"):
        batteries.run([sys.executable, "-c", "import sys; sys.exit(3)"], interleavings.blocks(STREAMS))


TESTU01 = {  # what the driver calls, with TestU01's names and types: SmallCrush of one test, the mean of 2^17 words
    "unif01.h": """
#pragma once
typedef struct { unsigned int (*word)(void); } unif01_Gen;
unif01_Gen *unif01_CreateExternGenBits(char *name, unsigned int (*bits)(void));
""",
    "bbattery.h": """
#include "unif01.h"
extern int bbattery_NTests;
extern double bbattery_pVal[];
extern char *bbattery_TestNames[];
void bbattery_SmallCrush(unif01_Gen *gen);
void bbattery_Crush(unif01_Gen *gen);
void bbattery_BigCrush(unif01_Gen *gen);
""",
    "testu01.c": """
#include "bbattery.h"
int bbattery_NTests = 0;
double bbattery_pVal[1];
char *bbattery_TestNames[1] = {"mean"};
unif01_Gen *unif01_CreateExternGenBits(char *name, unsigned int (*bits)(void)) {
  static unif01_Gen generator;
  generator.word = bits;
  return &generator;
}
void bbattery_SmallCrush(unif01_Gen *generator) {
  double sum = 0;
  for (int k = 0; k < 1 << 17; k++) sum += generator->word() / 4294967296.0;
  bbattery_pVal[0] = sum / (1 << 17);
  bbattery_NTests = 1;
}
void bbattery_Crush(unif01_Gen *generator) {}
void bbattery_BigCrush(unif01_Gen *generator) {}
""",
}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_the_driver_of_testu01_is_built_and_reads_its_words(tmp_path):
    (tmp_path / "include").mkdir()
    (tmp_path / "lib").mkdir()
    for name, text in TESTU01.items():
        (tmp_path / "include" / name).write_text(text)
    command = ["gcc", "-c", str(tmp_path / "include" / "testu01.c"), "-o", str(tmp_path / "testu01.o")]
    subprocess.run(command, check=True)
    for library in ("testu01", "probdist", "mylib"):
        subprocess.run(["ar", "rc", tmp_path / "lib" / f"lib{library}.a", tmp_path / "testu01.o"], check=True)
    program = batteries.testu01(tmp_path, tmp_path)
    found = batteries.read_testu01(batteries.run([str(program), "SmallCrush"], interleavings.blocks(STREAMS)))
    mean = interleavings.words(STREAMS, 0, 1 << 15).mean() / 2**32
    assert found.p_values == pytest.approx([2 * min(mean, 1 - mean)], rel=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_practrand_is_built_and_reads_its_words(tmp_path):
    for folder in ("src/RNGs", "include", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "include" / "PractRand.h").write_text("unsigned least();\n")
    least = '#include "PractRand.h"\nunsigned least() { return 1 << 20; }\n'
    (tmp_path / "src" / "RNGs" / "least.cpp").write_text(least)
    (tmp_path / "tools" / "RNG_test.cpp").write_text(
        '#include <cstdio>\n#include "PractRand.h"\n'
        "int main() { unsigned n = 0; while (n < least() && getchar() != EOF) n++;\n"
        'std::printf("\\nlength= %u bytes\\n  no anomalies in 7 test result(s)\\n", n); }\n'
    )
    program = batteries.practrand(tmp_path, tmp_path)
    output = batteries.run([str(program)], interleavings.blocks(STREAMS))
    assert "length= 1048576 bytes" in output
    assert batteries.read_practrand(output).tests == 7
