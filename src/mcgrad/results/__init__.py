"""Results: estimates with their standard errors, as objects, printed tables and files."""
