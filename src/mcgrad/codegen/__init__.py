"""Code generation: from a Program to source text, by way of loop nests."""
