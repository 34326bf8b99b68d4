"""Pictures of how runs have learned: losses, learning rate, metrics and time over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from colorsys import hls_to_rgb
from typing import Any

import numpy as np

from paddlenlp_ext.metrics import is_lower_better
from paddlenlp_ext.reporting.curves import Curve, average, band, smoothed, thinned
from paddlenlp_ext.reporting.drawing import Theme, legend, new_figure, title_lines
from paddlenlp_ext.reporting.runs import Group, parts_of

PANEL = (3.7, 2.8)  # inches
ONLY_ROW = 3.4  # inches, of panels in one row
LEGEND = (2.0, 0.175)  # inches at the right, and of each line
DASHES = ("-", "--", ":", "-.")
RAW = "raw"  # a line behind its smoothed one
TOO_WIDE = (
    30.0  # of a perplexity's highest to its lowest value, beyond which its axis is logarithmic
)


def learning_curves(groups: Sequence[Group], *, theme: Theme) -> Any:
    """Draw the loss, the learning rate and each metric over the steps.

    Of one group, the training loss stands behind its smoothed curve, and of a split of many parts,
    as languages, the average is thick and each part thin. Of several groups, each has a colour, and
    parts are their average. Several seeds are their mean in a band of a standard deviation.
    """
    metrics = [*dict.fromkeys(name for group in groups for name in group.metrics)]
    panels = ["loss", *metrics, "learning rate"]
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = ONLY_ROW if rows == 1 else rows * PANEL[1]
    figure = new_figure(columns * PANEL[0] + LEGEND[0], height)
    all_axes = [*np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())]
    for axes in all_axes[len(panels) :]:
        axes.remove()
    handles: dict[str, Any] = {}
    for axes, panel in zip(all_axes, panels, strict=False):
        axes.set(title="\n".join(title_lines(panel, PANEL[0] - 1)), xlabel="step")
        for place, group in enumerate(groups):
            colour = None if len(groups) == 1 else theme.colour(place, len(groups))
            if panel == "learning rate":
                curves = [run.of_updates("learning_rate") for run in group.runs]
                _line(axes, curves, colour or theme.ink)
                continue
            if panel == "loss":
                handles |= _training(axes, group, theme, colour)
            handles |= _evaluations(axes, group, panel, theme, colour)
        _fit(axes, panel)
    if len(groups) == 1:
        handles |= _mark_best(all_axes[: len(panels)], groups[0], theme)
    if handles:
        beside = math.ceil(len(handles) * LEGEND[1] / height)
        legend(figure, handles, loc="outside right upper", ncols=beside)
    return figure


def step_times(groups: Sequence[Group], *, theme: Theme) -> Any:
    """Draw the seconds of the updates over the steps, smoothed over those of each."""
    figure = new_figure(2 * PANEL[0] + LEGEND[0], PANEL[1])
    axes = figure.subplots()
    axes.set(title="seconds of an update", xlabel="step")
    handles = {}
    for place, group in enumerate(groups):
        colour = theme.colour(place, len(groups))
        curves = [run.of_updates("seconds") for run in group.runs]
        if len(groups) == len(group.runs) == 1:
            _line(axes, curves, colour, linewidth=0.5, alpha=0.35)
        handles[group.name] = _line(axes, [smoothed(one) for one in curves], colour)
    runs = [run for group in groups for run in group.runs]
    axes.set_ylim(bottom=0, top=_high([run.of_updates("seconds") for run in runs]))
    if len(groups) > 1:
        legend(figure, handles, loc="outside right upper")
    return figure


def _training(axes: Any, group: Group, theme: Theme, colour: str | None) -> dict[str, Any]:
    """Draw the loss of the updates; return what the legend says of it."""
    curves = [curve for run in group.runs if len(curve := run.loss())]
    if not curves:
        return {}
    own = colour or theme.colours[0]
    if colour is None and len(curves) == 1:
        axes.plot(*_points(thinned(curves[0])), color=own, linewidth=0.5, alpha=0.35, gid=RAW)
    line = _line(axes, [smoothed(one) for one in curves], own)
    return {"train" if colour is None else group.name: line}


def _evaluations(
    axes: Any, group: Group, name: str, theme: Theme, colour: str | None
) -> dict[str, Any]:
    """Draw what was measured of each split; return what the legend says of it."""
    handles: dict[str, Any] = {}
    many = parts_of(group.splits)
    single = [one for one in group.splits if one.partition("_")[0] not in many]
    for place, (whole, parts) in enumerate(many.items()):
        by_part = {part: group.curves(f"{whole}_{part}", name) for part in parts}
        means = [average(list(one)) for one in zip(*by_part.values(), strict=True)]
        own = colour or theme.colours[1]
        line = _line(axes, means, own, linewidth=2.6, marker="o", markersize=4, zorder=4)
        label = f"{whole}, average" if colour is None else f"{group.name} {whole}, average"
        handles[label] = line
        if colour is None:
            handles |= _thin(axes, by_part, theme, place)
    for place, split in enumerate(single):
        own = colour or theme.colour(place + 1, len(single) + 1)
        dash = DASHES[(place + 1) % len(DASHES)] if colour else "-"
        curves = group.curves(split, name)
        line = _line(axes, curves, own, linestyle=dash, marker="o", markersize=3)
        handles[split if colour is None else f"{group.name} {split}"] = line
    return handles


def _thin(axes: Any, by_part: dict[str, list[Curve]], theme: Theme, place: int) -> dict[str, Any]:
    """Draw the parts of a split as thin lines, each of a colour and dashes of its own."""
    handles = {}
    for number, (part, curves) in enumerate(by_part.items()):
        look = {"linestyle": DASHES[number % 3], "linewidth": 0.9, "alpha": 0.9}
        colour = hls_to_rgb(0.9 * number / len(by_part), theme.lightness, 0.7)
        line = _line(axes, curves, colour, has_band=False, **look)
        handles[part if not place else f"{part} ({place + 1})"] = line
    return handles


def _mark_best(panels: Sequence[Any], group: Group, theme: Theme) -> dict[str, Any]:
    """Mark the best step of each run in all panels."""
    steps = [run.best_step for run in group.runs]
    known = [step for step in steps if step is not None]
    handles: dict[str, Any] = {}
    for axes in panels:
        for step in known:
            look = {"color": theme.ink, "linewidth": 0.9, "linestyle": ":", "zorder": 1}
            line = axes.axvline(step, **look)
            label = f"best: step {known[0]:,}" if len(set(known)) == 1 else "best step of each seed"
            handles[label] = line
    return handles


def _line(
    axes: Any, curves: Sequence[Curve], colour: Any, *, has_band: bool = True, **look: Any
) -> Any:
    """Draw curves of several seeds as their mean, with a band if wanted; return the line."""
    found = band(curves)
    mean = thinned(found.curve)
    look = {"linewidth": 1.4, **look}
    (line,) = axes.plot(*_points(mean), color=colour, **look)
    if has_band and found.is_wide:
        low, high = (
            thinned(Curve(found.curve.steps, found.curve.values + sign * found.deviation))
            for sign in (-1, 1)
        )
        if len(low) < len(found.curve):  # thinned at other steps than the upper edge
            low = Curve(high.steps, np.interp(high.steps, low.steps, low.values))
        axes.fill_between(high.steps, low.values, high.values, color=colour, alpha=0.2, linewidth=0)
    return line


def _points(curve: Curve) -> tuple[Any, Any]:
    return curve.steps, curve.values


def _fit(axes: Any, panel: str) -> None:
    """Give a panel the axis that its numbers fit on; a few wild updates do not stretch it."""
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    if panel == "learning rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
        return
    found: dict[bool, list[float]] = {True: [], False: []}
    for line in axes.lines:
        values = np.asarray(line.get_ydata(), float)
        found[line.get_gid() == RAW] += values[np.isfinite(values)].tolist()
    if found[True]:
        found[False] += np.quantile(found[True], (0.002, 0.995)).tolist()
    if not found[False]:
        return
    low, high = min(found[False]), max(found[False])
    if is_lower_better(panel) and panel != "loss" and low > 0 and high / low > TOO_WIDE:
        axes.set_yscale("log")
    elif found[True]:
        room = 0.05 * (high - low) or 0.01
        axes.set_ylim(low - room, high + room)


def _high(curves: Sequence[Curve]) -> float | None:
    """Return what all but a few of the values are below, with room above."""
    values = [value for curve in curves for value in curve.values if math.isfinite(value)]
    return float(np.quantile(values, 0.98)) * 1.3 if values else None
