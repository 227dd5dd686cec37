"""The first stream of each kind of pilot; those of an estimate are numbered from 0, so that all are different."""

BASELINES, AUTO, SCORES, STEPS = (k << 16 for k in (1, 2, 3, 4))
SCRAMBLES, OWEN_KEYS, REPLICATES = (k << 16 for k in (5, 6, 7))  # of point sets: the random words of their scrambles
CONTROLS = 8 << 16
ROW_SHIFTS = 9 << 16  # of point sets: by what the points of a row of a batch are shifted
LEVELS = 10 << 16  # of multilevel estimates: by which each level has a seed of its own
