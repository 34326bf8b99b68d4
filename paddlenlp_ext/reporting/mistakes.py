"""What models get right and wrong: confusion, calibration, scores beside predicted ones, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.reporting.drawing import (
    ENTRY,
    LINE,
    Names,
    Theme,
    legend,
    new_figure,
    title_lines,
)
from paddlenlp_ext.reporting.lines import Line
from paddlenlp_ext.reporting.runs import Group, parts_of

MOST_LABELS = 24  # of a matrix
MOST_WRITTEN = 14  # labels of a matrix whose cells have their numbers
CELL = 0.42  # inches
SQUARE = (4.6, 4.2)
BINS = 10  # of a prediction's probability

Counts = npt.NDArray[np.float64]


@dataclass
class Mistakes:
    """Of the runs of a group, and of the parts of a split, together.

    Attributes:
        labels: By their numbers.
        has_several: Whether a row may have several labels.
        confusion: Rows by label and by what was predicted; [C, C]. Of several labels at once, rows
            by label, and by whether it is found, missed, or wrongly found; [C, 3].
        calibration: Predictions by their confidence: how many, the sum of their confidences, and
            how many are right; [10, 3].
        points: Right scores, and predicted ones, of a regression.
        errors: The worst, each with its split.
    """

    labels: list[str] = field(default_factory=list)
    has_several: bool = False
    confusion: Counts | None = None
    calibration: Counts | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    errors: list[Line] = field(default_factory=list)

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error: how far confidence and share of right ones differ."""
        if self.calibration is None or not self.calibration[:, 0].sum():
            return None
        count, confidence, right = self.calibration.T
        return float(np.abs(confidence - right).sum() / count.sum())


def mistakes_of(group: Group) -> dict[str, Mistakes]:
    """Bring together what the runs of a group say, by split; of many parts of one, the whole."""
    found: dict[str, Mistakes] = {}
    for run in group.runs:
        _step, splits = run.outcome()
        many = parts_of([*splits])
        for split, outcome in splits.items():
            whole = split.partition("_")[0]
            if type(outcome) is dict:
                name = f"{whole}, all parts" if whole in many else split
                _add(found.setdefault(name, Mistakes()), split, outcome)
    for one in found.values():
        one.errors.sort(key=lambda error: -error["loss"])
    return found


def confusion_matrix(split: str, found: Mistakes, names: Names, *, theme: Theme) -> Any:
    """Draw what was predicted of each label: the share as a colour, and the number of rows."""
    from matplotlib import colormaps

    counts = found.confusion
    assert counts is not None
    labels = names.of(found.labels)
    if len(labels) > MOST_LABELS:
        counts, labels = _most_frequent(counts, labels)
    columns = ["found", "missed", "wrongly found"] if found.has_several else labels
    longest = max(map(len, labels))
    side = max(2.6, CELL * len(labels))
    wide = max(2.6, CELL * len(columns) * (2 if found.has_several else 1))
    title = title_lines(f"{split}: rows by label and by prediction", wide)
    high = side + 0.7 + LINE * len(title)
    figure = new_figure(wide + 1.4 + 0.075 * longest, high + 0.075 * longest)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scale = colormaps[theme.scale]
    axes.imshow(shares, cmap=scale, vmin=0, vmax=1, aspect="auto")
    axes.set(title="\n".join(title), ylabel="label")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if longest > 4 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("" if found.has_several else "predicted")
    axes.grid(visible=False)
    for (row, column), count in np.ndenumerate(counts) if len(labels) <= MOST_WRITTEN else ():
        red, green, blue, _ = scale(shares[row, column])
        is_bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.55
        colour = "#000000" if is_bright else "#ffffff"
        text = f"{count:,.0f}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color=colour,
            fontsize=9 if len(text) < 5 else 7,
        )
    return figure


def reliability(found: Mapping[str, Mistakes], *, theme: Theme) -> Any:
    """Draw the share of right predictions by their confidence, and how many have it.

    Args:
        found: What to draw, by what it is called.
        theme: Colours.
    """
    figure = new_figure(5.2, 4.2 + ENTRY * (1 + len(found)))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    handles: dict[str, Any] = {}
    look = {"color": theme.ink, "linewidth": 0.8, "linestyle": ":"}
    (handles["as it should be"],) = upper.plot([0, 1], [0, 1], **look)
    for number, (name, one) in enumerate(found.items()):
        assert one.calibration is not None
        colour = theme.colour(number, len(found))
        count, confidence, right = one.calibration.T
        there = count > 0
        (handles[f"{name}: error {one.calibration_error:.3f}"],) = upper.plot(
            confidence[there] / count[there], right[there] / count[there],
            color=colour, marker="o", markersize=4,
        )  # fmt: skip
        edges = np.linspace(0, 1, len(count) + 1)
        lower.stairs(count / count.sum(), edges, color=colour, fill=len(found) == 1, alpha=0.8)
    upper.set(title="calibration", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    lower.set(xlabel="probability of the prediction", ylabel="share of rows")
    legend(figure, handles, loc="outside lower center")
    return figure


def scores(split: str, found: Mistakes, *, theme: Theme) -> Any:
    """Draw predicted scores beside the right ones."""
    figure = new_figure(*SQUARE)
    axes = figure.subplots()
    right, predicted = np.array(found.points).T
    low, high = min(right.min(), predicted.min()), max(right.max(), predicted.max())
    axes.plot([low, high], [low, high], color=theme.ink, linewidth=0.8, linestyle=":")
    axes.plot(right, predicted, ".", color=theme.colours[0], markersize=4, alpha=0.5)
    title = "\n".join(title_lines(f"{split}: scores", SQUARE[0] - 1))
    axes.set(title=title, xlabel="right", ylabel="predicted")
    return figure


def worst_errors(found: Mapping[str, Mistakes], most: int) -> Iterator[Line]:
    """Yield the worst errors of all splits, each row once, however many runs got it wrong."""
    seen: set[tuple[Any, ...]] = set()
    errors = (error for one in found.values() for error in one.errors)
    for error in sorted(errors, key=lambda error: -error["loss"]):
        place = error["split"], error.get("source"), error.get("text")
        if place not in seen and len(seen) < most:
            seen.add(place)
            yield error


def _add(total: Mistakes, split: str, outcome: Line) -> None:
    """Add what one run says of one split; what it says in another form is left out."""
    labels = [str(one) for one in _list(outcome.get("labels"))]
    counts, believed = _matrix(outcome.get("confusion")), _matrix(outcome.get("calibration"), 3)
    has_several = _has_several(outcome, len(labels), counts, believed)
    if not total.labels:
        total.labels, total.has_several = labels, has_several
    is_alike = (labels, has_several) == (total.labels, total.has_several)
    shape = len(labels), 3 if has_several else len(labels)
    if is_alike and counts is not None and counts.shape == shape:
        total.confusion = counts if total.confusion is None else total.confusion + counts
    if is_alike and believed is not None and len(believed) == BINS:
        total.calibration = believed if total.calibration is None else total.calibration + believed
    if (points := _matrix(outcome.get("points"), 2)) is not None:
        total.points += [(right, predicted) for right, predicted in points.tolist()]
    for error in _list(outcome.get("errors")):
        if type(error) is dict and type(error.get("loss")) in (int, float):
            told = {n: value for n, value in error.items() if isinstance(value, (str, int, float))}
            total.errors.append({**told, "split": split})


def _has_several(
    outcome: Line, labels: int, counts: Counts | None, believed: Counts | None
) -> bool:
    """Whether a row may have several labels.

    A file of before it was written tells it by what is counted: of classes every prediction, but of
    several labels not those that are rightly not found.
    """
    if "several" in outcome or counts is None:
        return outcome.get("several") is True
    if counts.shape[1] != labels or labels != 3 or believed is None:
        return bool(counts.shape[1] != labels)
    return bool(counts.sum() < believed[:, 0].sum())


def _list(value: Any) -> list[Any]:
    """Return a list, empty where there is none."""
    return value if type(value) is list else []


def _matrix(value: Any, width: int | None = None) -> Counts | None:
    """Return rows of numbers, of so many columns; None where they are none."""
    try:
        found = np.array(_list(value), float)
    except (ValueError, TypeError):
        return None
    if found.ndim != 2 or not np.isfinite(found).all():
        return None
    return found if width in (None, found.shape[1]) else None


def _most_frequent(counts: Counts, labels: Sequence[str]) -> tuple[Counts, list[str]]:
    """Keep the most frequent labels, and put the others together."""
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    kept, rest = np.sort(order[: MOST_LABELS - 1]), order[MOST_LABELS - 1 :]

    def merged(matrix: Counts) -> Counts:
        return np.concatenate([matrix[kept], matrix[rest].sum(axis=0, keepdims=True)])

    counts = merged(counts)
    if counts.shape[1] == len(labels):
        counts = merged(counts.T).T
    return counts, [*(labels[place] for place in kept), f"{len(rest)} others"]
