"""The toolchain: compile emitted source to machine code, for CPU and GPU, or load it from the cache."""
