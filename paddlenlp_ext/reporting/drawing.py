"""How pictures look: colours on a light and a dark ground, fonts, and where they are written."""

from __future__ import annotations

import logging
import math
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from colorsys import hls_to_rgb
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

from paddlenlp_ext.errors import UserError, one_line

MARK = "paddlenlp-ext report"  # by which pages and pictures of ours are known
DPI = 120
LONGEST = 24  # letters of a name in a picture
LONGEST_OF_LEGEND = 44  # and beside one
LONGEST_OF_TITLE = 160
LETTER = 0.085  # inches of one of a title; Chinese ones have up to twice as much
LINE = 0.17  # and of its lines
ENTRY = 0.19  # and of those of a legend
SMALL = 0.065  # of a letter of these
SYMBOL = 0.6  # of what stands before one

# Fonts after matplotlib's own, for the writings that it lacks; those that are installed are used.
FALLBACKS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Microsoft YaHei", "SimHei", "PingFang SC"),
    *(
        "Hiragino Sans GB",
        "Heiti SC",
        "Noto Sans CJK JP",
        "Noto Sans CJK TC",
        "Droid Sans Fallback",
    ),
    *("Noto Sans Arabic", "Noto Naskh Arabic", "Noto Sans Thai", "Noto Sans Devanagari"),
    *("Noto Sans Hebrew", "Noto Sans Tamil", "Noto Sans Georgian", "Lohit Devanagari", "Loma"),
    *("Noto Sans Bengali", "Noto Sans Ethiopic", "Noto Sans Telugu"),
    *("Arial Unicode MS", "Segoe UI", "Tahoma"),
)
ADVICE = (
    "for Chinese, Japanese and Korean fonts-noto-cjk, for others fonts-noto-core on Debian and "
    "Ubuntu; google-noto-sans-cjk-fonts and google-noto-sans-fonts on Fedora"
)


@dataclass(frozen=True)
class Theme:
    """Colours on one ground.

    Attributes:
        name: What files of it end with; empty for the one that is shown elsewhere too.
        ground: Behind everything.
        ink: Of text and axes.
        faint: Of grids and edges.
        colours: Of curves, told apart by most colour-blind people too (after Okabe and Ito).
        lightness: Of colours beyond these, from 0 to 1.
        scale: Of matplotlib, for what is many and what is few.
    """

    name: str
    ground: str
    ink: str
    faint: str
    colours: tuple[str, ...]
    lightness: float
    scale: str

    def colour(self, number: int, count: int) -> Any:
        """Return the colour of one of so many, each of which has its own."""
        if count <= len(self.colours):
            return self.colours[number]
        return hls_to_rgb(0.9 * number / count, self.lightness, 0.7)


LIGHT = Theme(
    "", "#ffffff", "#222222", "#d4d4d4",
    ("#0072b2", "#d55e00", "#009e73", "#b1559d", "#8a6d00", "#3a9bd9", "#7a7a7a", "#000000"),
    0.4, "Blues",
)  # fmt: skip
DARK = Theme(
    "-dark", "#161a1f", "#e6e6e6", "#3d444d",
    ("#56b4e9", "#ff9447", "#2fc79b", "#e58fd0", "#e8c547", "#9ad2ff", "#b0b0b0", "#ffffff"),
    0.68, "cividis",
)  # fmt: skip
THEMES = (LIGHT, DARK)


@cache
def families() -> tuple[str, ...]:
    """Return the fonts that text is drawn with, one after the other for what the first lacks."""
    from matplotlib import font_manager

    known = set(font_manager.get_font_names())
    if not known & {*FALLBACKS}:  # what was installed since matplotlib listed the fonts
        listed = {font.fname for font in font_manager.fontManager.ttflist}
        for path in sorted({*font_manager.findSystemFonts()} - listed):
            with suppress(OSError, RuntimeError):  # of another kind
                font_manager.fontManager.addfont(path)
        known = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in FALLBACKS if name in known))


@cache
def _letters() -> frozenset[int]:
    """Return the code points that any of the fonts has."""
    from matplotlib import font_manager

    found: set[int] = set()
    for family in families():
        path = font_manager.findfont(font_manager.FontProperties(family=[family]))
        found.update(font_manager.get_font(path).get_charmap())
    return frozenset(found)


def legible(text: str) -> str:
    """Return a text with a question mark for each letter that no font here has."""
    return "".join(letter if ord(letter) in _letters() else "?" for letter in text)


def title_lines(text: str, width: float) -> list[str]:
    """Break a title into lines of so many inches; a very long one loses its middle."""
    text = legible(one_line(text, LONGEST_OF_TITLE))
    is_wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return textwrap.wrap(text, int(width / (2 * LETTER if is_wide else LETTER)))


def legend(figure: Any, handles: Mapping[str, Any], **options: Any) -> None:
    """Put a legend beside the panels of a figure, or below, which grows by what is long.

    Names lose their middle where they are long and differ without it.

    Args:
        figure: Of panels.
        handles: Lines and bars by their names.
        options: Of matplotlib's legend.
    """
    longest, most = LONGEST_OF_LEGEND, max(map(len, handles), default=0)
    while longest < most and len({one_line(name, longest) for name in handles}) < len(handles):
        longest += 4
    wide, high = figure.get_size_inches()
    if "right" in options["loc"]:
        figure.set_figwidth(wide + SMALL * (longest - LONGEST_OF_LEGEND))
    else:
        entry = SMALL * min(longest, most) + SYMBOL
        beside = options.get("ncols", 1)
        options["ncols"] = max(1, min(beside, int(wide // entry)))
        more = math.ceil(len(handles) / options["ncols"]) - math.ceil(len(handles) / beside)
        figure.set_size_inches(max(wide, entry), high + ENTRY * more)
    names = [legible(one_line(name, longest)) for name in handles]
    figure.legend([*handles.values()], names, **options)


@dataclass
class Names:
    """Names as they are drawn: short ones, and numbers for what no font here can write.

    A name is drawn in the same way in all pictures of a page, and no two in one way.

    Attributes:
        drawn: The names by what is drawn of them.
        numbers: Those of names.
    """

    drawn: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> dict[str, str]:
        """What is drawn otherwise than it is called, by what is drawn."""
        return {text: name for text, name in self.drawn.items() if text != name}

    def of(self, names: Sequence[str]) -> list[str]:
        """Return how names are drawn, each otherwise than the rest."""
        found: list[str] = []
        for name in names:
            text = " ".join(name.split()) or "(empty)"
            if not all(ord(letter) in _letters() for letter in text):
                text = f"#{self.numbers.setdefault(name, len(self.numbers) + 1)}"
            elif len(text) > LONGEST:
                text = f"{text[: LONGEST - 1]}…"
            while text in found or self.drawn.setdefault(text, name) != name:
                text += "'"
            found.append(text)
        return found


@contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Draw in this block with a theme's colours and fonts, and leave the user's own settings.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from cycler import cycler
        from matplotlib import rc_context, rcdefaults, rcParams
    except ImportError:
        raise UserError(
            'pictures take matplotlib, which is not installed: pip install "paddlenlp-ext[plot]"'
        ) from None
    own = {
        "font.family": [*families()],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.unicode_minus": False,
        "axes.prop_cycle": cycler(color=theme.colours),
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.facecolor": theme.ground,
        "savefig.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "axes.edgecolor": theme.ink,
        "text.color": theme.ink,
        "text.parse_math": False,  # labels of users may hold dollar signs
    } | dict.fromkeys(
        ("axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor"), theme.ink
    )
    # It warns where a font has one weight only.
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with rc_context():
            rcdefaults()
            rcParams.update(own)
            yield
    finally:
        logger.setLevel(level)


def new_figure(width: float, height: float) -> Any:
    """Make a figure of so many inches, which no window knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any) -> bytes:
    """Return a figure as a PNG that has the mark, the same bytes for the same figure."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": MARK})
    return file.getvalue()
