"""Draw the tables of `docs/results.md` on pretraining as curves, which the READMEs show.

    python -m benchmarks.pretraining_curves docs/curves

It takes matplotlib (`pip install -e ".[plot]"`). The same tables give the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "docs/results.md"
BERT = "## BERT pretrained on a handbook"
CONVBERT = "## ConvBERT-small pretrained with replaced tokens"
ERNIE_M = "### Masked words right, over the updates"
COLOURS = ("#1f77b4", "#d62728", "#7f7f7f")
Table = list[dict[str, str]]


def read_table(text: str, heading: str) -> Table:
    """Read the first table below a heading: a row is its cells by the columns' names."""
    lines = text.partition(heading + "\n")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    names, _, *cells = rows
    return [dict(zip(names, row, strict=True)) for row in cells]


def plot(axes: Any, rows: Table, column: str, label: str, colour: str) -> None:
    """Draw one column over the steps."""
    steps = [int(row["Step"]) for row in rows]
    axes.plot(steps, [float(row[column]) for row in rows], marker="o", label=label, color=colour)


def bert(left: Any, right: Any, rows: Table) -> None:
    """Loss and next sentences of each model."""
    for model, colour in zip(dict.fromkeys(row["Model"] for row in rows), COLOURS, strict=False):
        own = [row for row in rows if row["Model"] == model]
        plot(left, own, "Masked-token loss", model, colour)
        plot(right, own, "Next sentences right", model, colour)
    left.set(title="loss of a masked token, held out")
    right.set(title="next sentences told right, %, held out")


def convbert(left: Any, right: Any, rows: Table) -> None:
    """The generator's loss; what the discriminator tells right."""
    plot(left, rows, "Generator loss", "generator", COLOURS[0])
    columns = {"Discriminator accuracy": "discriminator", 'Always "original"': 'always "original"'}
    for (column, label), colour in zip(columns.items(), COLOURS[1:], strict=True):
        plot(right, rows, column, label, colour)
    left.set(title="loss of a masked token, held out")
    right.set(title="tokens told right, %, held out")


def ernie_m(left: Any, right: Any, rows: Table) -> None:
    """Masked words of each mixture: from random weights, and of the second stage."""
    for axes, second in ((left, False), (right, True)):
        mixtures = [row for row in rows if row["Objectives"].startswith("stage 2") is second]
        names = dict.fromkeys(row["Objectives"] for row in mixtures)
        for name, colour in zip(names, COLOURS, strict=False):
            own = [row for row in mixtures if row["Objectives"] == name]
            seeds = f"{own[0]['Seeds']} seed{'s' * (own[0]['Seeds'] != '1')}"
            label = f"{name.removeprefix('stage 2: ')}, {seeds}"
            plot(axes, own, "Masked words right", label, colour)
    left.set(title="masked words right, %, held out", ylim=(5, 25))
    right.set(title="the same in stage 2", ylim=(5, 25))


def draw(path: Path, paint: Any, rows: Table) -> None:
    """Write one picture of two panels."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Text stays text, and names inside the file do not change from run to run.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure = Figure(figsize=(9, 3.4), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        panels = figure.subplots(1, 2)
        paint(*panels, rows)
        for axes in panels:
            axes.set(xlabel="step")
            axes.grid(alpha=0.3)
            axes.legend()
        figure.savefig(path, metadata={"Date": None, "Description": description(rows)})


def description(rows: Table) -> str:
    """Write the table down, so that a picture tells what it was drawn from."""
    return "; ".join(", ".join(f"{name} {value}" for name, value in row.items()) for row in rows)


PICTURES = {
    "bert-pretraining.svg": (bert, BERT),
    "convbert-pretraining.svg": (convbert, CONVBERT),
    "ernie_m-pretraining.svg": (ernie_m, ERNIE_M),
}


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for the pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    text = RESULTS.read_text(encoding="utf-8")
    for name, (paint, heading) in PICTURES.items():
        draw(folder / name, paint, read_table(text, heading))
        print(f"{folder / name}: {(folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
