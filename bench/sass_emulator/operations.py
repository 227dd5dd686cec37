"""What each instruction does, by its name without parts.

This is documented nowhere; it follows from PTX, and the sums that emulated kernels leave are held to the reference.
"""

import numpy as np

from sass_emulator import between_threads, floats, integers

OPERATIONS = {
    "FADD": floats.float_operation(2, np.add),
    "FMUL": floats.float_operation(2, np.multiply),
    "FFMA": floats.float_operation(3, floats.fma32),
    "DADD": floats.float_operation(2, np.add, wide=True),
    "DMUL": floats.float_operation(2, np.multiply, wide=True),
    "DFMA": floats.float_operation(3, floats.fma64, wide=True),
    "FSETP": floats.float_compare(wide=False),
    "DSETP": floats.float_compare(wide=True),
    "FSET": floats.set_float,
    "FSEL": floats.choose_float,
    "FMNMX": floats.extreme_float,
    "MUFU": floats.special,
    "HFMA2": floats.halves,
    "FCHK": floats.division_check,
    "F2I": floats.float_to_integer,
    "F2F": floats.float_to_float,
    "FRND": floats.round_float,
    "IABS": integers.magnitude,
    "CS2R": integers.zero_pair,
    "VIADDMNMX": integers.extreme_of_sum,
    "SHFL": between_threads.shuffle,
    "B2R": between_threads.result,
    **dict.fromkeys(("I2F", "I2FP"), floats.integer_to_float),
    **dict.fromkeys(("IADD3", "UIADD3", "VIADD"), integers.iadd3),
    **dict.fromkeys(("IMAD", "UIMAD"), integers.imad),
    **dict.fromkeys(("ISETP", "UISETP"), integers.isetp),
    **dict.fromkeys(("LOP3", "ULOP3"), integers.lop3),
    **dict.fromkeys(("PLOP3", "UPLOP3"), integers.plop3),
    **dict.fromkeys(("SHF", "USHF"), integers.shf),
    **dict.fromkeys(("LEA", "ULEA"), integers.lea),
    **dict.fromkeys(("MOV", "UMOV", "R2UR"), integers.move),
    **dict.fromkeys(("SEL", "USEL"), integers.choose),
    **dict.fromkeys(("IMNMX", "VIMNMX"), integers.extreme_integer),
    **dict.fromkeys(("PRMT", "UPRMT"), integers.permute),
    **dict.fromkeys(("VOTE", "VOTEU"), between_threads.vote),
    **dict.fromkeys(("P2R", "UP2UR"), between_threads.pack_predicates),
    **dict.fromkeys(("R2P", "UR2UP"), between_threads.unpack_predicates),
    **dict.fromkeys(("S2R", "S2UR"), between_threads.special_register),
    **dict.fromkeys(("LDC", "ULDC"), between_threads.load_constant),
    **dict.fromkeys(("LDS", "LDG", "LDL", "LD"), between_threads.load),
    **dict.fromkeys(("STS", "STG", "STL", "ST"), between_threads.store),
    **dict.fromkeys(("NOP", "BMOV", "YIELD", "MEMBAR", "ERRBAR", "DEPBAR", "CCTL"), between_threads.nothing),
}
