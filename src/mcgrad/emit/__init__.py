"""From a Program to source text: lower, schedule into loop nests, lay out the workspace, write."""
