"""Run machine code of a kernel, a block at a time, and count what its warps execute.

The threads of a block run together, those that are furthest behind first; where their ways part and meet again is as
the code says (BSSY, BSYNC, WARPSYNC, BAR). So every loop makes the turns it makes on a device, every branch goes the
way its data take it, and the sums that come out say whether all that was understood.
"""

import re
from collections import Counter

import numpy as np

from sass_emulator.block import AT_BARRIER, AT_SYNC, AT_WARP, DONE, RUNNING, STACK, Block
from sass_emulator.code import Code
from sass_emulator.operands import U32, is_predicate, register, truth, unsigned_name
from sass_emulator.operations import OPERATIONS

CONTROL = {"BRA", "EXIT", "BSSY", "BSYNC", "BREAK", "WARPSYNC", "BAR", "CALL", "RET"}
PARAMETERS = {8: 0x160, 9: 0x210}  # where arguments start in the bank of constants, by the major version of the chip


class Machine:
    """Runs the blocks of a launch.

    Parameters
    ----------
    text : str
        The disassembly.
    banks : dict
        Banks of constants, as bytes, but for the arguments'.
    major : int
        Major version of the chip's compute capability.
    """

    def __init__(self, text, banks, major):
        self.code, self.banks, self.major = Code(text), banks, major
        self._steps = {ins.address: self._compiled(ins) for ins in self.code}

    def launch(self, arguments, memory, blocks, threads, shared):
        """Run some blocks with packed arguments and device memory; return warp instructions executed, by address.

        Parameters
        ----------
        arguments : bytes
        memory : uint32 array
            What device addresses point into.
        blocks : iterable of int
            Which blocks; they run one after the other.
        threads, shared : int
            Of a block.
        """
        bank, start = bytearray(4096), PARAMETERS[self.major]
        bank[0:12] = np.array([threads, 1, 1], U32).tobytes()
        bank[12:24] = np.array([max(blocks) + 1, 1, 1], U32).tobytes()
        bank[0x28:0x2C] = np.array([STACK], U32).tobytes()  # where a thread's stack begins, downwards
        bank[start : start + len(arguments)] = arguments
        executed, self.hazards = Counter(), set()
        for number in blocks:
            block = Block(self.code, threads, number, max(blocks) + 1, {**self.banks, 0: bytes(bank)}, memory, shared)
            self._run(block)
            executed += block.executed
            self.hazards |= block.hazards  # memory, how it was touched, and the address of the instruction
            self.trace = block.trace  # what the first thread of the last block went through
        return executed

    def _run(self, s):
        with np.errstate(all="ignore"):
            while True:
                running = s.state == RUNNING
                if not running.any():
                    if (s.state == DONE).all():
                        return
                    self._release(s)
                    continue
                self._together(s, running)

    def _together(self, s, running):
        """Run the threads that are furthest behind until they meet others, or their way parts."""
        at = int(s.at[running].min())
        group = running & (s.at == at)
        others = s.at[running & ~group]
        meet = int(others.min()) if others.size else None
        warps = int(group.reshape(-1, 32).any(1).sum())
        whole, leads = bool(group.all()), bool(group[0])
        while True:
            step, guard, control, after = self._steps[at]
            s.executed[at] += warps
            s.now = at
            if leads:
                s.trace.append(at)
            s.mask, s.all = group, whole
            if guard is not None:
                s.mask = group & guard(s)
                s.all = whole and bool(s.mask.all())
            if control:
                s.at[group] = after
                step(s, group)
                return
            if s.all or s.mask.any():
                step(s)
            at = after
            if meet is not None and at >= meet:
                s.at[group] = at
                return

    def _release(self, s):
        """Let go those who wait for others that have all come or ended."""
        for warp in range(s.threads // 32):
            lanes = slice(32 * warp, 32 * warp + 32)
            state, free = s.state[lanes], False
            for barrier in {int(b) for b in s.waits_for[lanes][state == AT_SYNC]}:
                party = s.gathering[barrier][lanes] & (state != DONE)
                come = (state == AT_SYNC) & (s.waits_for[lanes] == barrier)
                if (party <= come).all():
                    state[come] = RUNNING
                    free = True
            if (
                not free
                and (state == AT_WARP).any()
                and ((state == AT_WARP) | (state == DONE) | (state == AT_SYNC)).all()
            ):
                state[state == AT_WARP] = RUNNING
        if not (s.state == RUNNING).any():
            waiting = s.state != DONE
            assert (s.state[waiting] == AT_BARRIER).all(), "threads wait for each other"
            s.state[waiting] = RUNNING
            s.barrier()

    def _compiled(self, ins):
        guard = truth(ins.guard) if ins.guard else None
        after = ins.address + 16
        if ins.base in CONTROL:
            return self._control(ins), guard, True, after
        if ins.base not in OPERATIONS:
            return _unknown(ins), guard, False, after
        try:
            return OPERATIONS[ins.base](ins), guard, False, after
        except (NotImplementedError, ValueError, AttributeError, KeyError, IndexError, TypeError):
            return _unknown(ins), guard, False, after

    def _control(self, ins):
        name = ins.base
        if name == "BRA":
            return self._branch(ins)
        if name == "EXIT":
            return lambda s, group: s.state.__setitem__(s.mask, DONE)
        if name in ("BSSY", "BSYNC", "BREAK"):
            return self._gather(ins, int(ins.operands[-1 if name == "BREAK" else 0][1:]))
        if name == "BAR" and "RED" in ins.parts:
            return self._barrier_of_a_question(ins)
        if name in ("WARPSYNC", "BAR"):
            return lambda s, group: s.state.__setitem__(group, AT_WARP if name == "WARPSYNC" else AT_BARRIER)
        if name == "CALL":
            target = ins.label()
            return lambda s, group: s.at.__setitem__(s.mask, target)
        return self._return(ins)

    def _barrier_of_a_question(self, ins):
        """A barrier that tells all threads whether something holds in any of them: see `result` in between_threads."""
        if "OR" not in ins.parts:
            raise NotImplementedError(ins)
        asked = truth(ins.operands[-1])

        def wait(s, group):
            s.said[group] = np.broadcast_to(asked(s), group.shape)[group]
            s.state[group] = AT_BARRIER

        return wait

    def _branch(self, ins):
        if {"DIV", "CONV"} & {*ins.parts}:  # to a slower way, for threads that are not together
            return lambda s, group: None
        target = ins.label()
        condition = truth(ins.operands[0]) if is_predicate(ins.operands[0]) else None

        def step(s, group):
            taken = s.mask if condition is None else s.mask & condition(s)
            s.at[taken] = target

        return step

    def _gather(self, ins, barrier):
        def begin(s, group):
            party = s.gathering.setdefault(barrier, np.zeros(s.threads, bool))
            warps = np.repeat(group.reshape(-1, 32).any(1), 32)
            party[warps] = group[warps]

        def wait(s, group):
            s.state[s.mask], s.waits_for[s.mask] = AT_SYNC, barrier

        def leave(s, group):
            s.gathering[barrier][s.mask] = False

        return {"BSSY": begin, "BSYNC": wait, "BREAK": leave}[ins.base]

    def _return(self, ins):
        kind, row = register(unsigned_name(ins.operands[0].split()[0])[0])
        base = 0
        if "REL" in ins.parts:
            name = re.search(r"`\((.+)\)", " ".join(ins.operands))
            base = self.code.labels[name[1]] if name else self.code.entry

        def step(s, group):
            s.at[s.mask] = s.files[kind][row][s.mask].astype(np.int64) + base

        return step


def _unknown(ins):
    def step(s):
        raise NotImplementedError(f"the emulator does not know {ins!r}")

    return step
