"""The cache on disk: a folder that only this user may write, files with a checksum, a limit to their size."""
