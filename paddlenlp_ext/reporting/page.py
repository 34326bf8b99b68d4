"""The report on runs: one HTML file that needs nothing else, and its pictures as PNGs."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.reporting import learning, mistakes, tables
from paddlenlp_ext.reporting.drawing import ADVICE, MARK, THEMES, Names, drawing, png_of
from paddlenlp_ext.reporting.languages import Reported, bars, language_tables
from paddlenlp_ext.reporting.runs import Group, RunRecord, grouped
from paddlenlp_ext.reporting.tables import escaped

PAGE = "report.html"
PICTURES = "report"  # the folder of the PNGs
NAME = re.compile(r"(curves|calibration|times|(parts|confusion|scores)-\d+)(-dark)?\.png")


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes:
        name: Of its file, without the ending.
        title: What it shows; who cannot see it is told so.
        draw: Makes the figure, in a `theme`.
    """

    name: str
    title: str
    draw: Callable[..., Any]


def write_report(
    folders: Sequence[Path],
    output: Path | None = None,
    *,
    reported: Reported | None = None,
    errors: int = 20,
    has_texts: bool = True,
) -> list[Path]:
    """Write the report on runs, whether they have ended or go on.

    Args:
        folders: Their `output_dir`s.
        output: Folder of the report; None is that of the run, or the one that all runs are in.
        reported: Rows of papers, drawn beside what was measured by language.
        errors: How many of the worst errors are listed.
        has_texts: Whether their texts are shown.

    Returns:
        The page and the pictures.

    Raises:
        UserError: There is no run, matplotlib is not installed, or there is another's page or
            picture already.
        WeightsError: Something cannot be written.
    """
    spelled: dict[str, Path] = {}  # a run that is given twice is one
    for folder in folders:
        spelled.setdefault(os.path.realpath(folder), folder)
    runs = [RunRecord.read(folder) for folder in spelled.values()]
    if output is None:
        output = Path(os.path.commonpath([run.folder.absolute() for run in runs]))
        output = folders[0] if len(runs) == 1 else output
        if output == output.parent.absolute():
            raise UserError("`output`: expected a folder, since the runs have none in common")
    groups, names = grouped(runs), Names()
    pictures = [*_pictures(groups, reported, names)]
    drawn = [picture.name + theme.name for theme in THEMES for picture in pictures]
    paths = {name: output / PICTURES / f"{name}.png" for name in drawn}
    for path in (output / PAGE, *paths.values()):
        if os.path.lexists(path) and not _is_ours(path):
            raise UserError(f"{path}: was not written here; give another `output`")
    written: dict[str, bytes] = {}
    for theme in THEMES:
        with drawing(theme):
            for picture in pictures:
                written[picture.name + theme.name] = png_of(picture.draw(theme=theme))
    text = _page(groups, pictures, written, names, errors=errors, has_texts=has_texts)
    _make_room(output / PICTURES, [*paths.values()])
    files = {output / PAGE: text.encode("utf-8", "backslashreplace")}
    files |= {paths[name]: content for name, content in written.items()}
    for path, content in files.items():
        with replace_file(path) as temporary:
            temporary.write_bytes(content)
    return [*files]


def _make_room(folder: Path, kept: Sequence[Path]) -> None:
    """Make the folder of the pictures, and remove those of an earlier report on other runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path not in kept and NAME.fullmatch(path.name) and _is_ours(path):
                path.unlink()
    except OSError as error:
        raise UserError(
            f"{folder.parent}: cannot be written: {error.strerror}; give another `output`"
        ) from None


def _is_ours(path: Path) -> bool:
    """Whether a page or a picture is one of an earlier report."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return MARK.encode() in file.read(500)
    return False


def _pictures(
    groups: Sequence[Group], reported: Reported | None, names: Names
) -> Iterator[Picture]:
    """Choose the pictures of what the runs have."""
    runs = [run for group in groups for run in group.runs]
    if any(run.updates or run.evaluations for run in runs):
        yield Picture("curves", "Learning curves", partial(learning.learning_curves, groups))
    of_parts = language_tables(groups)
    is_tested = any(table.split == "test" for table in of_parts)
    for place, table in enumerate(of_parts, 1):
        title = f"{table.metric} of {table.split} by language or part"
        rows = None if is_tested and table.split != "test" else reported
        yield Picture(f"parts-{place}", title, partial(bars, table, rows, names))
    found = {group.name: mistakes.mistakes_of(group) for group in groups}
    by_name = {
        " of ".join([split] + [group] * (len(found) > 1)): one
        for group, by_split in found.items()
        for split, one in by_split.items()
    }
    for place, (name, one) in enumerate(by_name.items(), 1):
        if one.confusion is not None and one.labels:
            draw = partial(mistakes.confusion_matrix, name, one, names)
            yield Picture(f"confusion-{place}", f"What was predicted: {name}", draw)
        if one.points:
            draw = partial(mistakes.scores, name, one)
            yield Picture(f"scores-{place}", f"Scores: {name}", draw)
    calibrated = {n: one for n, one in by_name.items() if one.calibration_error is not None}
    if calibrated:
        title = "How far probabilities can be believed"
        yield Picture("calibration", title, partial(mistakes.reliability, calibrated))
    if any(len(run.of_updates("seconds")) for run in runs):
        yield Picture("times", "Time of updates", partial(learning.step_times, groups))


def _page(
    groups: Sequence[Group],
    pictures: Sequence[Picture],
    drawn: dict[str, bytes],
    names: Names,
    *,
    errors: int,
    has_texts: bool,
) -> str:
    """Write the page."""
    runs = [run for group in groups for run in group.runs]
    sections = [("Runs", tables.of_runs(groups))]
    for picture in pictures:
        light, dark = (_data(drawn[picture.name + theme.name]) for theme in THEMES)
        title = escaped(picture.title)
        shown = (
            f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
            f'<img src="{light}" alt="{title}"></picture>'
        )
        sections.append((title, shown))
    if names.notes:
        notes = ", ".join(
            f"{escaped(drawn)}: {escaped(name)}" for drawn, name in names.notes.items()
        )
        lacks = any(text.startswith("#") for text in names.notes)
        advice = f" Numbers stand for letters that no font here has ({ADVICE})." * lacks
        sections.append(("Names in pictures", f"<p>{notes}.{advice}</p>"))
    classes = tables.of_classes(groups)
    if classes:
        sections.append(("Labels", classes))
    for group in groups:
        found = mistakes.worst_errors(mistakes.mistakes_of(group), errors)
        if listed := tables.of_errors(found, has_texts=has_texts):
            sections.append((f"Worst errors{_of(group, groups)}", listed))
    sections.append(("What was run", "".join(map(tables.of_facts, runs))))
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return template.substitute(
        mark=f"{MARK} {__version__}",
        title=escaped(title),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        sections="\n".join(
            f"<section><h2>{name}</h2>\n{body}</section>" for name, body in sections
        ),
    )


def _of(group: Group, groups: Sequence[Group]) -> str:
    return f" of {escaped(group.name)}" * (len(groups) > 1)


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
