"""The CUDA backend: emitted kernels on one or more GPUs, whose memory and streams are CuPy's."""
