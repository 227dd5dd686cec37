"""Loop nests of a Program, before any target's text: lower, schedule, tile, lay out the workspace."""
