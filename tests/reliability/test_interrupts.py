"""An interrupt at any instruction of where a run hands out its chunks: none is worked on after the run has ended."""

import itertools
import sys
from concurrent.futures import wait
from contextlib import closing
from threading import Barrier

from mcgrad.engine import threads

ITEMS, WORKERS = 5, 2
INNER = {code for code in threads.in_order.__code__.co_consts if hasattr(code, "co_code")}


def interrupted(work, at):
    """Run `in_order` and interrupt it at an instruction; return whether it has that many."""
    count = itertools.count()

    def trace(frame, event, arg):
        frame.f_trace_opcodes = frame.f_code in INNER
        if event == "opcode" and next(count) == at:
            raise KeyboardInterrupt
        return trace if frame.f_code in INNER or frame.f_code is threads.in_order.__code__ else None

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # from Python 3.12 on, some frame has to say so before tracing begins
    sys.settrace(trace)
    try:
        with closing(threads.in_order(work, iter(range(ITEMS)), WORKERS)) as results:
            for _ in results:
                pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def idle():
    """Wait until all threads of the pool are idle."""
    all_here = Barrier(WORKERS)
    wait([threads.pool(WORKERS).submit(all_here.wait) for _ in range(WORKERS)])


def test_an_interrupt_while_items_are_handed_out_leaves_none_behind():
    """Also one that comes after an item was submitted, and before the run knows of it."""
    begun, ended, points = [], [], 0

    def work(item):
        begun.append(item)
        sum(range(20_000))
        ended.append(item)

    while interrupted(work, points):
        there = len(begun)
        assert len(ended) == there
        idle()
        assert len(begun) == there, f"the interrupt at instruction {points} leaves work behind"
        points += 1
    assert points > 20
