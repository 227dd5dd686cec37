"""Methods: each turns "f and q" into a Program whose outputs, draw by draw, are what has to be averaged."""
