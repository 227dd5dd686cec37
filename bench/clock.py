"""The clock of a GPU while it works: nvidia-smi prints it several times a second, a thread reads what it prints."""

import statistics
import subprocess
import threading

FIELDS = ("clocks.sm", "power.draw", "temperature.gpu", "utilization.gpu")
EVERY = 100  # milliseconds between samples
BUSY = 50  # per cent of the time: what counts as at work


def graphics():
    """Name, highest clock (MHz) and driver of the first GPU, as nvidia-smi says; None without one."""
    query = ["nvidia-smi", "--query-gpu=name,clocks.max.sm,driver_version", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    name, most, driver = (x.strip() for x in said.splitlines()[0].split(",")[:3])
    return {"name": name, "most": number(most), "driver": driver}


def number(text):
    """A number that nvidia-smi prints; None where it prints that it does not know."""
    try:
        return float(text)
    except ValueError:
        return None


class Clock:
    """Samples while the context is open; `summary` says what they were while the device worked."""

    def __init__(self):
        self.samples, self._process = [], None

    def __enter__(self):
        command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits", f"-lms={EVERY}"]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return self
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *error):
        if self._process:
            self._process.kill()
            self._process.wait()

    def _read(self):
        for line in self._process.stdout:
            self.samples.append([number(x.strip()) for x in line.split(",")[: len(FIELDS)]])

    def summary(self, since=0):
        """Median clock, power and temperature of the samples from `since` on, of those at work where that is known."""
        rows = [row for row in self.samples[since:] if len(row) == len(FIELDS) and row[0] is not None]
        busy = [row for row in rows if row[3] is None or row[3] >= BUSY] or rows
        if not busy:
            return {"samples": 0}
        middle = [statistics.median(found) if (found := [x for x in column if x is not None]) else None
                  for column in zip(*busy, strict=True)]  # fmt: skip
        return {"samples": len(busy), "clock": middle[0], "watts": middle[1], "degrees": middle[2]}
