"""NVIDIA's machine code (SASS, sm_80 and sm_90) on the processor: what a kernel executes and what it computes."""
