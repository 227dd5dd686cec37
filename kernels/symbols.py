"""Symbols of machine code that no two processes share, as functions of both are linked into a third.

Numba tells functions of one name apart by a number in their symbols, which it counts from 1 in each process. Machine
code from the cache has the symbols of the process that made it. Where a function of another kernel has one of these,
such as the fillers of uniforms and of normals, which differ in a closure alone, LLVM links whichever was there first:
normals would silently be uniforms. So each process counts from a random number on, and so does a forked child.
"""

import os
from itertools import count

from numba.core.bytecode import FunctionIdentity


def restart():
    """Count from a random number of 63 bits on."""
    FunctionIdentity._unique_ids = count(int.from_bytes(os.urandom(8), "little") >> 1)


restart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=restart)
