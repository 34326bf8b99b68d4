"""Measure the alignment of a model on files of pairs; write it down as tables and a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.files import disk
from paddlenlp_ext.inference.alignment import Aligner, Alignment
from paddlenlp_ext.pretraining.language_files import CODES, find_parallel
from paddlenlp_ext.pretraining.parallel_text import TextPair, read_pairs

RETRIEVAL, MASKED, PICTURE = "alignment.tsv", "masked_tokens.tsv", "alignment.png"
Found = Mapping[str, Alignment]  # by the name of the file


def read_files(
    paths: Sequence[Path], limit: int | None = None, more_languages: Sequence[str] = ()
) -> dict[str, list[TextPair]]:
    """Read the pairs of all files before anything is computed, by their languages: "en-de".

    Args:
        paths: As `language_files.find_parallel` takes them.
        limit: Use the first pairs of each only.
        more_languages: Codes in names of files that ISO 639 does not have.

    Raises:
        DataError: A file cannot be used, or holds no pair.
    """
    pairs = {}
    for name, texts in find_parallel(paths, {*CODES, *more_languages}).items():
        found = (pair for text in texts for pair in read_pairs(text) if pair.first)
        pairs[name] = [*islice(found, limit)]
        if not pairs[name]:
            raise DataError(f"{texts[0].paths[0]}:1: expected pairs of sentences, got none")
    return pairs


def measure_files(aligner: Aligner, files: Mapping[str, Sequence[TextPair]]) -> Found:
    """Measure on the pairs of each file."""
    return {
        name: aligner.measure([one.first for one in pairs], [one.second for one in pairs])
        for name, pairs in files.items()
    }


def best_layer(found: Found) -> int:
    """Return the layer with the best retrieval, as a mean over files and directions."""
    layers = next(iter(found.values())).retrieval
    return max(layers, key=lambda layer: mean_retrieval(found, layer))


def mean_retrieval(found: Found, layer: int) -> float:
    """Return the mean over files and directions."""
    return fmean(one.retrieval[layer].mean for one in found.values())


def table(found: Found) -> str:
    """Write what was found of the best layer, a row for each file and one for their mean."""
    layer = best_layer(found)
    fills = all(one.masked for one in found.values())
    head = [f"layer {layer}", "pairs", "->", "<-", "mean"]
    head += ["masked 1", "+ other", "masked 2", "+ other"] * fills
    rows = [head]
    for name, one in found.items():
        there = one.retrieval[layer]
        numbers = [there.forward, there.backward, there.mean]
        numbers += [part for side in one.masked for part in (side.alone, side.beside)]
        rows.append([name, f"{one.pairs}", *(f"{100 * number:.1f}" for number in numbers)])
    columns = [[float(row[at]) for row in rows[1:]] for at in range(2, len(head))]
    rows.append(["mean", "", *(f"{fmean(column):.1f}" for column in columns)])
    width = max(len(row[0]) for row in rows)
    lines = [row[0].ljust(width) + "".join(cell.rjust(9) for cell in row[1:]) for row in rows]
    return "\n".join(lines) + "\n"


def notes(found: Found) -> list[str]:
    """Say of which files not all pairs could be used."""
    return [
        f"{name}: {one.too_long:,} pairs are too long for one row, and have no masked tokens"
        for name, one in found.items()
        if one.too_long
    ]


def write_all(found: Found, folder: Path) -> list[Path]:
    """Write all layers and masked tokens as tables, and the picture; return the files.

    Raises:
        UserError: They cannot be written.
    """
    retrieval = [
        (name, one.pairs, layer, there.forward, there.backward, there.mean)
        for name, one in found.items()
        for layer, there in one.retrieval.items()
    ]
    names = ["pairs", "count", "layer", "forward", "backward", "mean"]
    paths = [_write(folder / RETRIEVAL, names, retrieval)]
    masked = [
        (name, ("first", "second")[at], side.tokens, side.alone, side.beside)
        for name, one in found.items()
        for at, side in enumerate(one.masked)
    ]
    if masked:
        names = ["pairs", "side", "tokens", "alone", "with_other"]
        paths.append(_write(folder / MASKED, names, masked))
    picture = draw(found, folder)
    return [*paths, picture] if picture else paths


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(
                [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows
            )
    except OSError as error:
        raise UserError(f"{disk.unwritten(error, path)}; give another `output`") from error
    return path


def draw(found: Found, folder: Path) -> Path | None:
    """Draw retrieval by layer and by file, and masked tokens by file.

    Returns:
        The picture; None without matplotlib, after a line that says so.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {PICTURE}: drawing it takes matplotlib (pip install matplotlib)")
        return None
    layers = [*next(iter(found.values())).retrieval]
    best = best_layer(found)
    has_masks = all(one.masked for one in found.values())
    panels = (len(layers) > 1) + 1 + has_masks
    figure = Figure(figsize=(5.2 * panels, max(4.0, 0.24 * len(found) + 1.6)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [*figure.subplots(1, panels, squeeze=False)[0]]
    if len(layers) > 1:
        _draw_layers(axes.pop(0), found, layers)
    _draw_files(axes.pop(0), found, best)
    if has_masks:
        _draw_masked(axes.pop(0), found)
    path = folder / PICTURE
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise UserError(f"{disk.unwritten(error, path)}; give another `output`") from error
    return path


def _draw_layers(axes: Any, found: Found, layers: Sequence[int]) -> None:
    """Draw a thin line for each file, and their mean."""
    for number, one in enumerate(found.values()):
        values = [100 * one.retrieval[layer].mean for layer in layers]
        label = None if number else "each file"
        axes.plot(layers, values, color="0.75", linewidth=0.8, label=label)
    means = [100 * mean_retrieval(found, layer) for layer in layers]
    axes.plot(layers, means, marker="o", color="tab:blue", label="mean")
    axes.set(title="sentences found, %", xlabel="layer (0: embeddings)", ylim=(0, 100))
    axes.set_xticks(layers)
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_files(axes: Any, found: Found, layer: int) -> None:
    there = {name: one.retrieval[layer] for name, one in found.items()}
    order = sorted(there, key=lambda name: there[name].mean)
    forward = [100 * there[name].forward for name in order]
    backward = [100 * there[name].backward for name in order]
    _bars(axes, order, (("second by first", forward), ("first by second", backward)))
    axes.set(title=f"sentences found by layer {layer}, %", xlim=(0, 100))


def _draw_masked(axes: Any, found: Found) -> None:
    order = sorted(found, key=lambda name: fmean(side.beside for side in found[name].masked))
    alone = [100 * fmean(side.alone for side in found[name].masked) for name in order]
    beside = [100 * fmean(side.beside for side in found[name].masked) for name in order]
    _bars(axes, order, (("alone", alone), ("with the translation", beside)))
    axes.set(title="masked tokens filled in right, %", xlim=(0, 100))


def _bars(axes: Any, names: Sequence[str], series: Sequence[tuple[str, list[float]]]) -> None:
    for at, (label, values) in enumerate(series):
        places = [place - 0.4 * at for place in range(len(names))]
        axes.barh(places, values, height=0.4, label=label)
    axes.set_yticks([place - 0.2 for place in range(len(names))], names)
    axes.set_ylim(-0.8, len(names) - 0.6)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
