"""Write a kernel anew so that it reads the key of its draws from memory: another key there, and it makes other draws.

A CUDA graph repeats launches with the arguments that they had when they were captured; what lies in memory may change.
"""

from __future__ import annotations

from dataclasses import replace

from mcgrad.codegen.cuda.kernel import ARGUMENTS, TYPES, Emitted

WORDS = "key0, key1"  # the first arguments: the lower and the higher half of a seed
PLACES = "key0_at, key1_at"  # and what takes their place: pointers to the two
READ = f"    {WORDS} = at(key0_at, int32(0)), at(key1_at, int32(0))"


def with_key_in_memory(emitted: Emitted) -> Emitted:
    """Return a kernel with pointers to the two words of the key in the place of these.

    Parameters
    ----------
    emitted : Emitted
        With constants and shift in memory, too: not `by_value`.
    """
    assert not emitted.by_value
    words, others = "types.uint32, types.uint32, ", TYPES.removeprefix("types.uint32, types.uint32, ")
    head, line, body = emitted.source.partition(f"def kernel({ARGUMENTS}, ")
    signature, _, rest = body.partition("\n")
    text, _, lines = rest.partition("\n")  # of the docstring, which is one line
    assert words + others == TYPES
    assert TYPES in head
    assert text.strip().startswith('"""')
    head = head.replace(TYPES, f"pointer(types.uint32), pointer(types.uint32), {others}")
    line = line.replace(WORDS, PLACES)
    return replace(emitted, source=f"{head}{line}{signature}\n{text}\n{READ}\n{lines}", key_in_memory=True)
