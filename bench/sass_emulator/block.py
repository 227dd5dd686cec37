"""The state of a block of threads: registers, predicates, memory, where each thread is, and who touched what."""

from collections import Counter

import numpy as np

from sass_emulator.operands import U32, U64

RUNNING, AT_SYNC, AT_WARP, AT_BARRIER, DONE = range(5)
STACK = 1 << 12  # bytes of each thread's own memory
SEVERAL = 63  # warps; a block has no more than 32


class Touched:
    """Which warp wrote and which read every word of a memory since the last barrier."""

    def __init__(self, words):
        self.since = 0
        self.writer, self.reader = np.zeros((2, words), np.int64)  # 64 for each barrier before, and the warp's number

    def forget(self):
        self.since += 64

    def hazard(self, place, warp, writes):
        """Note an access; return whether another warp's is in its way."""
        me = self.since + warp + 1
        before = self.writer[place]
        found = bool(((before > self.since) & (before != me)).any())
        read = self.reader[place]
        foreign = (read > self.since) & (read != me)
        if writes:
            self.writer[place] = me
            return found or bool(foreign.any() or (self.writer[place] != me).any())
        self.reader[place] = np.where(foreign, self.since + SEVERAL, me)
        self.reader[place[self.reader[place] != me]] = self.since + SEVERAL
        return found


class Block:
    """The state of a block's threads."""

    def __init__(self, code, threads, block, grid, banks, memory, shared):
        self.code, self.threads, self.block, self.grid = code, threads, block, grid
        self.files = {"R": np.zeros((257, threads), U32), "UR": np.zeros((65, threads), U32)}
        self.truths = {"P": np.zeros((8, threads), bool), "UP": np.zeros((8, threads), bool)}
        self.truths["P"][7] = self.truths["UP"][7] = True
        self.banks, self.memory = banks, {"device": memory, "shared": np.zeros(shared // 4 + 1024, U32)}
        self.memory["local"] = np.zeros(threads * STACK // 4, U32)
        self.at = np.full(threads, code.entry)
        self.state = np.zeros(threads, np.int8)
        self.gathering, self.waits_for = {}, np.zeros(threads, np.int8)
        self.said, self.answer = np.zeros(threads, bool), False  # at a barrier that asks all threads, and what came out
        self.mask = np.ones(threads, bool)
        self.all = True
        self.executed, self.trace = Counter(), []
        self.touched = {name: Touched(len(words)) for name, words in self.memory.items()}
        self.hazards = set()

    def pair(self, kind, row):
        file = self.files[kind]
        low = file[row].astype(U64)
        return low if row in (255, 63) else low | file[row + 1].astype(U64) << U64(32)

    def write(self, kind, row, value):
        if row >= (255 if kind == "R" else 63):
            return
        if self.all:
            self.files[kind][row] = value
        else:
            np.copyto(self.files[kind][row], value, where=self.mask)

    def decide(self, kind, row, value):
        if self.all:
            self.truths[kind][row] = value
        else:
            np.copyto(self.truths[kind][row], value, where=self.mask)

    def special(self, name):
        thread = np.arange(self.threads, dtype=U32)
        known = {"SR_TID.X": thread, "SR_LANEID": thread % U32(32), "SR_CTAID.X": U32(self.block)}
        return np.broadcast_to(known.get(name, U32(0)), thread.shape)

    def _places(self, memory, address):
        """Index of the first word of every thread's access."""
        words = self.memory[memory]
        if memory == "local":
            address = np.broadcast_to(address, self.threads) + U64(STACK) * np.arange(self.threads, dtype=U64)
        place = np.broadcast_to(address, self.threads).astype(np.int64)
        if memory == "shared":
            place = place & 0xFFFFFF
        assert (place[self.mask] % 4 == 0).all()
        places = place[self.mask] // 4
        assert ((places >= 0) & (places < len(words))).all(), "outside of memory"
        return words, places

    def _note(self, memory, place, count, how):
        """Keep who touches what; another warp's write since the last barrier, or before another's, is a hazard."""
        warp = (np.flatnonzero(self.mask) // 32).astype(np.int32)
        for i in range(count):
            if self.touched[memory].hazard(place + i, warp, how == "written"):
                self.hazards.add((memory, how, self.now))

    def barrier(self):
        """Everybody is at a barrier: what was done before is in order."""
        self.answer, self.said = bool(self.said.any()), np.zeros(self.threads, bool)
        for touched in self.touched.values():
            touched.forget()

    def load(self, memory, address, kind, row, count):
        words, place = self._places(memory, address)
        self._note(memory, place, count, "read")
        for i in range(count):
            value = np.zeros(self.threads, U32)
            value[self.mask] = words[place + i]
            self.write(kind, row + i if row < 255 else row, value)

    def store(self, memory, address, kind, row, count):
        words, place = self._places(memory, address)
        self._note(memory, place, count, "written")
        for i in range(count):
            words[place + i] = self.files[kind][row + i if row < 255 else row][self.mask]
