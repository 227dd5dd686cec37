"""The results as bars on a log scale, one panel a dtype: `python bench/plot.py bench/results/cpu-<date>.json`."""

import json
import sys
from pathlib import Path

COLOURS = {
    "mcgrad": "#c0392b",
    "drjit": "#2c6fbb",
    "drjit-hand": "#8ab4e0",
    "torch": "#e08a1e",
    "jax": "#5a9e5a",
    "numpy": "#9a9a9a",
}
LABELS = {
    "drjit": "Dr.Jit",
    "drjit-hand": "Dr.Jit, derivative by hand",
    "torch": "torch.compile",
    "jax": "JAX",
    "numpy": "NumPy",
}


def short(rate):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.2g}{unit}" if rate < 100 * size else f"{rate / size:.0f}{unit}"
    return f"{rate:.0f}"


def panel(axes, rows, title):
    names = list(dict.fromkeys(row["problem"] for row in rows))
    for x, problem in enumerate(names):
        bars = [row for name in COLOURS for row in rows if row["problem"] == problem and row["peer"] == name]
        width = 0.84 / max(len(bars), 1)
        for i, row in enumerate(bars):
            left = x - 0.42 + (i + 0.5) * width
            axes.bar(left, row["best"], width * 0.92, color=COLOURS[row["peer"]], zorder=2)
            weight = "bold" if row["peer"] == "mcgrad" else "normal"
            style = {"ha": "center", "va": "bottom", "fontsize": 7, "rotation": 90, "weight": weight}
            axes.text(left, row["best"] * 1.12, short(row["best"]), **style)
    axes.set_yscale("log")
    rates = [row["best"] for row in rows]
    axes.set_ylim(min(rates) / 2.5, max(rates) * 5)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("draws per second")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def draw(result, path):
    """Write path (.png) and the same as .svg."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    rows = result["rows"]
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    figure, axes = plt.subplots(len(dtypes), 1, figsize=(9, 0.6 + 3 * len(dtypes)), squeeze=False, layout="constrained")
    for axis, dtype in zip(axes[:, 0], dtypes, strict=True):
        panel(axis, [row for row in rows if row["dtype"] == dtype], f"{dtype}, {result['threads']} threads")
    present = [name for name in COLOURS if any(row["peer"] == name for row in rows)]
    handles = [Patch(color=COLOURS[name], label=LABELS.get(name, name)) for name in present]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    figure.supxlabel(result["device"], fontsize=8, color="#666666")
    figure.savefig(path, dpi=160)
    figure.savefig(Path(path).with_suffix(".svg"))
    plt.close(figure)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text()), source.with_name("cpu.png"))
