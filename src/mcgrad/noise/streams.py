"""The first stream of each kind of pilot; those of an estimate are numbered from 0, so that all are different."""

BASELINES, AUTO, SCORES, STEPS = (k << 16 for k in (1, 2, 3, 4))
