"""Methods: each turns f and q into a Program of the value and the gradient, whose outputs are averaged over draws."""
