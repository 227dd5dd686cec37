"""Tasks: parts of a run that any process works out, and the order in which their moments are merged."""
