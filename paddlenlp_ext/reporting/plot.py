"""`curves.png` of a run."""

from __future__ import annotations

import logging
from pathlib import Path

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.reporting import learning
from paddlenlp_ext.reporting.drawing import LIGHT, drawing, png_of
from paddlenlp_ext.reporting.lines import CURVES, HISTORY
from paddlenlp_ext.reporting.runs import Group, RunRecord

logger = logging.getLogger(__name__)


def plot_curves(folder: str | Path) -> Path | None:
    """Draw the losses, the metrics and the learning rate of a run over its steps.

    Args:
        folder: The run's, with its history.

    Returns:
        The picture, `curves.png`; None without matplotlib, or where it cannot be written, after a
        line that says so.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(f"no {CURVES}: drawing it takes matplotlib (pip install matplotlib)")
        return None
    try:
        return _draw(Path(folder))
    except WeightsError as error:
        logger.warning("%s", error)
        return None


def redraw_curves(folder: Path) -> Path:
    """Draw the curves of a run anew, from what its folder has of its history.

    Raises:
        UserError: It has none, or matplotlib is not installed.
        WeightsError: They cannot be written.
    """
    run = RunRecord.of(folder)
    if not (run.updates or run.evaluations):
        raise UserError(
            f"{folder / HISTORY}: expected the history of a run; give the `output_dir` of one"
        )
    return _draw(folder)


def _draw(folder: Path) -> Path:
    with drawing(LIGHT):
        run = RunRecord.of(folder)
        content = png_of(learning.learning_curves([Group(run.name, [run])], theme=LIGHT))
    with replace_file(folder / CURVES) as temporary:
        temporary.write_bytes(content)
    return folder / CURVES
