"""Bring the tensors of a foreign file into a model's names and layout, and back.

PyTorch keeps the weight of a linear layer as [out, in], Paddle as [in, out]. Which tensors are such
weights is asked of the model (`transposed`); a square weight would pass any guess from shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import origin_of
from paddlenlp_ext.weights.names import NameTable, collapse, shorten

Array = NDArray[Any]
Shape = tuple[int, ...]

MOST = 3  # names of a kind that a refusal writes out
# What names begin with in a checkpoint of pretraining by replaced tokens, which holds two nets.
NETS = ("generator.", "discriminator.")


@dataclass(frozen=True)
class LoadReport:
    """How a file and a model differ; all of it, sorted.

    Attributes:
        missing: Our tensors that the file does not have.
        unexpected: Tensors of the file that the model does not have, under their own names.
        mismatched: Our name, shape in the file (in our layout), shape in the model.
        differing: Tensors of the file that should repeat another one and do not, theirs and ours;
            the model has ours.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()
    differing: tuple[tuple[str, str], ...] = ()

    def describe(self, most: int | None = None) -> str:
        """Say it in one line; "everything fits" if nothing differs.

        Args:
            most: How many names of each kind are written out; None writes all.
        """
        shapes = [f"{name} {list(file)} for {list(model)}" for name, file, model in self.mismatched]
        repeated = [f"{theirs} (kept: {ours})" for theirs, ours in self.differing]
        parts = {
            "not in the file": collapse(self.missing, most),
            "not in the model": collapse(self.unexpected, most),
            "of another shape": shorten(shapes, most),
            "not equal to what they repeat": shorten(repeated, most),
        }
        return "; ".join(f"{what}: {names}" for what, names in parts.items() if names) or (
            "everything fits"
        )


def load_state(
    tensors: Mapping[str, Array],
    table: NameTable,
    expected: Mapping[str, Shape],
    transposed: Collection[str] = (),
) -> tuple[dict[str, Array], LoadReport]:
    """Give the tensors of a file our names and layout.

    A file of a model with a head fits a bare model and the other way round. A tensor that repeats
    another one stands in for it where the file has only the repetition.

    Args:
        tensors: What `read_weights` returned.
        table: The names of the file's format.
        expected: Names and shapes of the model's parameters, each parameter once.
        transposed: Our names of the weights that the file keeps as [out, in].

    Returns:
        The tensors that fit, under our names (views where possible, not always contiguous), and
        what did not fit.

    Raises:
        WeightsError: The file holds one tensor under two names.
    """
    renaming = table.to_ours(tensors, bare=table.is_bare(expected))
    unexpected = list(renaming.unknown)
    sources: dict[str, str] = {}
    for theirs, ours in (*renaming.names.items(), *renaming.repeats.items()):
        if ours not in expected:
            unexpected.append(theirs)
        else:
            sources.setdefault(ours, theirs)
    differing = [
        (theirs, ours)
        for theirs, ours in renaming.repeats.items()
        if ours in expected and not _same(tensors[theirs], tensors[sources[ours]])
    ]
    state: dict[str, Array] = {}
    mismatched: list[tuple[str, Shape, Shape]] = []
    for ours, theirs in sources.items():
        array = tensors[theirs]
        if ours in transposed and array.ndim == 2:
            array = array.T
        if table.is_column(ours) and array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.shape == tuple(expected[ours]):
            state[ours] = array
        else:
            mismatched.append((ours, array.shape, tuple(expected[ours])))
    missing = expected.keys() - sources.keys()
    return state, LoadReport(
        tuple(sorted(missing)),
        tuple(sorted(unexpected)),
        tuple(sorted(mismatched)),
        tuple(sorted(differing)),
    )


def export_state(
    state: Mapping[str, Array], table: NameTable, transposed: Collection[str] = ()
) -> dict[str, Array]:
    """Give a model's tensors the names and layout of a foreign format; undoes `load_state`.

    Args:
        state: The model's parameters, each once.
        table: The names of the format.
        transposed: Our names of the weights that the format keeps as [out, in].

    Returns:
        Theirs to arrays, views where possible; tied tensors are the same array twice.

    Raises:
        WeightsError: The table has no row for some of the names.
    """
    laid_out: dict[str, Array] = {}
    for ours, array in state.items():
        if ours in transposed:
            laid_out[ours] = array.T
        elif table.is_column(ours):
            laid_out[ours] = array[:, np.newaxis]
        else:
            laid_out[ours] = array
    exported = {theirs: laid_out[ours] for ours, theirs in table.to_theirs(state).items()}
    exported |= {theirs: laid_out[ours] for theirs, ours in table.tied_to(state).items()}
    for theirs, ours in table.position_buffers_in(state).items():
        exported[theirs] = np.arange(len(state[ours]), dtype=np.int64)[np.newaxis]
    return exported


def require_fit(report: LoadReport, source: str, may_be_new: Callable[[str], bool]) -> None:
    """Refuse a file that leaves a hole in the model.

    Args:
        report: What `load_state` found.
        source: File or folder, for the message.
        may_be_new: Whether our tensor of this name may be newly initialized (a new head's).

    Raises:
        WeightsError: A tensor is missing that may not be new, or has another shape.
    """
    lost = tuple(name for name in report.missing if not may_be_new(name))
    if lost or report.mismatched:
        wrong = LoadReport(lost, report.unexpected if lost else (), report.mismatched)
        said = _of_nets(wrong) or (
            f"does not fit the model; {wrong.describe(MOST)}; "
            "take the model class and the config.json that the weights were made with"
        )
        raise WeightsError(f"{source}: {said}")


def _of_nets(wrong: LoadReport) -> str:
    """Say that a file holds two nets and one was wanted, or the other way round; else nothing."""
    found = {name.partition(".")[0] + "." for name in wrong.unexpected} & {*NETS}
    if found and not any(name.startswith(NETS) for name in wrong.missing):
        return (
            "is a checkpoint of pretraining, with a generator and a discriminator; take them out "
            "with get_ft_model.py, and give the discriminator's folder, which it names"
        )
    if wrong.missing and not found and all(name.startswith(NETS) for name in wrong.missing):
        return (
            "holds a single model, and pretraining by replaced tokens has a generator and a "
            "discriminator; give a checkpoint of it (model_<step>.pdparams), or a preset's name to "
            "begin with new weights; for fine-tuning this folder is fit as it is"
        )
    return ""


def _same(left: Array, right: Array) -> bool:
    # A tensor of a file can be much larger than the file.
    room = 8 * memoryview(origin_of(left)).nbytes
    return left.shape == right.shape and left.size <= room and bool(np.array_equal(left, right))
