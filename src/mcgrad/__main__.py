"""``python -m mcgrad`` is the command line."""

from mcgrad.cli import process

if __name__ == "__main__":
    process()
