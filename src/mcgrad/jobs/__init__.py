"""Jobs: read job files and the files that they refer to, check the paths of results, write checkpoints.

`cli` runs the jobs; the data flow is TOML -> `Entry` -> `Job` -> `Estimator`.
"""
