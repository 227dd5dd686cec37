"""Where the streams of pilots begin: an estimate's are numbered from 0, so no two of them have draws in common."""

BASELINES, AUTO, SCORES, STEPS = (k << 16 for k in (1, 2, 3, 4))
