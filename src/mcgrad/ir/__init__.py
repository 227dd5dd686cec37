"""The intermediate representation: a small closed set of ops on per-draw arrays of static shape."""
