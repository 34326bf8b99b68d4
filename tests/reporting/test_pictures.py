"""Pictures: what is in them, that it can be told apart, and that nothing covers anything."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.reporting import drawing, learning, mistakes
from paddlenlp_ext.reporting.curves import Curve, band, smoothed, thinned
from paddlenlp_ext.reporting.drawing import THEMES, Names
from paddlenlp_ext.reporting.languages import bars, language_tables
from paddlenlp_ext.reporting.runs import RunRecord, grouped
from paddlenlp_ext.training import outcomes
from paddlenlp_ext.training.events import Predicted
from tests.reporting.runs import LANGUAGES, make_run, outcome, write_lines

pytest.importorskip("matplotlib")
PARTS = [f"dev_{language}" for language in LANGUAGES]


def groups_of(folder, *runs):
    return grouped([RunRecord.read(make_run(folder / str(n), **run)) for n, run in enumerate(runs)])


def require_tidy(figure: Any) -> None:
    """Nothing stands outside, and no legend, title or tick on another one."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    whole = figure.bbox.padded(1)
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    for box in boxes:
        assert whole.contains(*box.min)
        assert whole.contains(*box.max)
    for one, other in combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            shown = [tick for tick in ticks if tick.get_text() and tick.get_visible()]
            inked = [tick.get_window_extent(renderer).padded(-1) for tick in shown]
            assert not any(a.overlaps(b) for a, b in combinations(inked, 2))
        written = [text.get_window_extent(renderer).padded(-0.5) for text in axes.texts]
        assert not any(a.overlaps(b) for a, b in combinations(written, 2))


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
@pytest.mark.parametrize("seeds", [1, 5])
def test_fifteen_languages(theme, seeds, tmp_path):
    runs = [{"seed": seed, "splits": PARTS} for seed in range(seeds)]
    (group,) = groups = groups_of(tmp_path, *runs)
    assert len(group.runs) == seeds
    with drawing.drawing(theme):
        figure = learning.learning_curves(groups, theme=theme)
        assert [axes.get_title() for axes in figure.axes] == ["loss", "acc", "learning rate"]
        names = [text.get_text() for text in figure.legends[0].texts]
        assert names[:2] == ["train", "dev, average"]
        assert names[2:-1] == LANGUAGES
        assert names[-1].startswith("best")
        widths = {line.get_linewidth() for line in figure.axes[1].lines[1:16]}
        assert figure.axes[1].lines[0].get_linewidth() > 2 * max(widths)
        looks = {(str(one.get_color()), one.get_linestyle()) for one in figure.axes[1].lines[1:16]}
        assert len(looks) == 15
        # Raw behind the smoothed line of one seed; a band of several.
        assert bool(figure.axes[0].collections) == (seeds > 1)
        require_tidy(figure)
        (table,) = language_tables(groups)
        reported = {"a paper": {"en": 85.5, "average": 77.3}, "others": {"xx": 1.0}}
        figure = bars(table, reported, Names(), theme=theme)
        ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
        assert ticks == [*LANGUAGES, "average"]
        names = [text.get_text() for text in figure.legends[0].texts]
        assert names[1:] == ["reported: a paper"]
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert heights[-1] == pytest.approx(np.mean(heights[:-1]))
        require_tidy(figure)
        papers = {f"{name}, Cross-lingual Transfer": {"en": 80.0} for name in "ABCDEFG"}
        require_tidy(bars(table, papers, Names(), theme=theme))


@pytest.mark.parametrize("metrics", [("acc",), ("mcc", "f1"), ("a", "b", "c", "d", "e")])
def test_each_metric_has_its_axis_and_groups_have_colours(metrics, tmp_path):
    runs = [{"seed": s, "rate": r, "metrics": metrics} for r in ("2e-5", "5e-5") for s in (1, 2)]
    groups = groups_of(tmp_path, *runs)
    assert [group.name for group in groups] == ["lr2e-5", "lr5e-5"]
    with drawing.drawing(THEMES[0]):
        figure = learning.learning_curves(groups, theme=THEMES[0])
        assert [axes.get_title() for axes in figure.axes] == ["loss", *metrics, "learning rate"]
        names = [text.get_text() for text in figure.legends[0].texts]
        assert names == ["lr2e-5", "lr2e-5 dev", "lr5e-5", "lr5e-5 dev"]
        require_tidy(figure)
        require_tidy(learning.step_times(groups, theme=THEMES[0]))


def test_perplexity_stands_apart_and_fits(tmp_path):
    rows = [
        {"step": step, "loss": 2.0, "split": "dev", "metrics": {"accuracy": 0.1, "perplexity": p}}
        for step, p in ((10, 3000.0), (20, 40.0), (30, None), (40, 12.0))
    ]
    write_lines(tmp_path / "history.jsonl", rows)
    with drawing.drawing(THEMES[0]):
        run = RunRecord.read(tmp_path)
        figure = learning.learning_curves(grouped([run]), theme=THEMES[0])
    scales = {axes.get_title(): axes.get_yscale() for axes in figure.axes}
    assert (scales["perplexity"], scales["accuracy"]) == ("log", "linear")
    assert run.best_step == 10  # the first metric; of equal ones the first


def test_a_few_wild_updates_do_not_flatten_the_rest(tmp_path):
    rows = [{"step": step, "loss": 1e6 if step == 7 else 0.5} for step in range(1, 1001)]
    write_lines(tmp_path / "history.jsonl", rows)
    with drawing.drawing(THEMES[0]):
        figure = learning.learning_curves(grouped([RunRecord.read(tmp_path)]), theme=THEMES[0])
    smooth = max(max(one.get_ydata()) for one in figure.axes[0].lines if one.get_gid() is None)
    assert figure.axes[0].get_ylim()[1] < 1.1 * smooth < 1e5


def test_bands_are_means_and_deviations():
    curves = [
        Curve.of([(1, 1.0), (3, 3.0)]), Curve.of([(1, 2.0), (2, None), (3, 5.0)]),
        Curve.of([(3, 4.0), (5, 0.0)]), Curve.of([]),
    ]  # fmt: skip
    found = band(curves)
    assert found.curve.steps.tolist() == [1, 2, 3, 5]
    np.testing.assert_allclose(found.curve.values, [1.5, 2.0, 4.0, 0.0])
    np.testing.assert_allclose(found.deviation, [np.sqrt(0.5), np.nan, 1.0, np.nan])
    assert not band([]).is_wide
    long = Curve(np.arange(9_000.0), np.sin(np.arange(9_000.0)))
    assert len(thinned(long)) <= 2_000
    assert thinned(long).values.max() == long.values.max()
    inner = smoothed(long).values[200:-200]
    np.testing.assert_allclose(
        inner, np.convolve(long.values, np.ones(225) / 225, "same")[200:-200]
    )


@pytest.mark.parametrize("labels", [2, 3, 14, 31])
def test_confusion_names_its_labels(labels, tmp_path):
    names = [f"label {number} of a long name" for number in range(labels)]
    found = mistakes.Mistakes()
    mistakes._add(found, "dev", outcome(names))
    mistakes._add(found, "dev", outcome(names))
    mistakes._add(found, "dev", outcome([*names[:-1], "another"]))  # left out
    assert found.confusion is not None
    assert found.confusion.sum() == 2 * (20 * labels + labels**2)
    with drawing.drawing(THEMES[0]):
        figure = mistakes.confusion_matrix("dev", found, Names(), theme=THEMES[0])
        ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        assert len(ticks) == min(labels, 24)
        assert ticks[0] == "label 0 of a long name"
        assert ticks[-1] == ("8 others" if labels == 31 else names[-1])
        assert len(figure.axes[0].texts) == (labels**2 if labels <= 14 else 0)
        require_tidy(figure)
        figure = mistakes.reliability({"dev": found}, theme=THEMES[0])
        require_tidy(figure)
    (label,) = [t.get_text() for t in figure.legends[0].texts if "dev" in t.get_text()]
    assert label == f"dev: error {(2 * 1.5 + 2 * 0.5) / 80:.3f}"


@pytest.mark.parametrize("labels", [2, 3, 14])
@pytest.mark.parametrize("name", ["words of a name " * 9, "a_long_word_" * 20, "很长的名称" * 30])
def test_long_names_fit(name, labels, tmp_path):
    splits = [f"dev_{number}{name}" for number in range(4)]
    groups = groups_of(tmp_path, *({"splits": splits, "rate": rate} for rate in ("2e-5", "5e-5")))
    found = mistakes.Mistakes()
    mistakes._add(found, "dev", outcome([str(number) for number in range(labels)]))
    found.points = [(1.0, 2.0), (3.0, 2.5)]
    calibrated = {f"{place} of {name} {place}": found for place in range(labels)}
    (table,) = language_tables(groups)
    with drawing.drawing(THEMES[0]):
        for figure in (
            learning.learning_curves(groups, theme=THEMES[0]),
            bars(table, {name: {table.parts[0]: 80.0}}, Names(), theme=THEMES[0]),
            mistakes.confusion_matrix(name, found, Names(), theme=THEMES[0]),
            mistakes.scores(name, found, theme=THEMES[0]),
            mistakes.reliability(calibrated, theme=THEMES[0]),
        ):
            require_tidy(figure)
            for axes in figure.axes:
                assert axes.bbox.height / figure.dpi > 0.6


def test_names_that_differ_in_their_middle_are_told_apart(tmp_path):
    names = [f"{'a name of a split ' * 3}{rate}{' of a long group' * 3}: error" for rate in (1, 2)]
    found = mistakes.Mistakes()
    mistakes._add(found, "dev", outcome("xy"))
    with drawing.drawing(THEMES[0]):
        figure = mistakes.reliability(dict.fromkeys(names, found), theme=THEMES[0])
        require_tidy(figure)
    texts = [text.get_text() for text in figure.legends[0].texts]
    assert len({*texts}) == 3


def test_each_of_many_groups_has_its_colour(tmp_path):
    runs = [{"rate": f"{number}e-5"} for number in range(1, 13)]
    groups = groups_of(tmp_path, *runs)
    with drawing.drawing(THEMES[0]):
        figure = learning.learning_curves(groups, theme=THEMES[0])
        require_tidy(figure)
    lines = figure.legends[0].legend_handles
    looks = {(str(line.get_color()), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == 24
    assert len({THEMES[0].colour(n, 12) for n in range(12)}) == 12


def test_each_reported_row_has_its_mark(tmp_path):
    groups = groups_of(tmp_path, {"splits": PARTS})
    (table,) = language_tables(groups)
    papers = {f"paper {number}": {"en": 70.0 + number} for number in range(11)}
    with drawing.drawing(THEMES[0]):
        figure = bars(table, papers, Names(), theme=THEMES[0])
        require_tidy(figure)
    marks = [line.get_marker() for line in figure.axes[0].lines]
    assert len({one for one in marks if one not in ("None", None, "_")}) == 11


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("labels", [2, 3, 4])
def test_several_labels_are_found_or_missed(is_told, labels):
    names = [*"abcd"[:labels]]
    random = np.random.default_rng(labels)
    logits = random.normal(size=(29, labels)).astype(np.float32)
    gold = (random.random(logits.shape) < 0.4).astype(np.float32)
    classes = outcomes.outcome(Predicted(logits, gold.argmax(-1)), names, lambda row: {})
    several = outcomes.outcome(Predicted(logits, gold), names, lambda row: {})
    for told, columns in (
        (several, ["found", "missed", "wrongly found"]),
        (classes, names),
    ):
        found = mistakes.Mistakes()
        if not is_told:  # as before
            told.pop("several", None)
        mistakes._add(found, "dev", told)
        mistakes._add(found, "dev", classes if told is several else several)  # left out
        assert found.confusion.tolist() == told["confusion"]
        with drawing.drawing(THEMES[0]):
            figure = mistakes.confusion_matrix("dev", found, Names(), theme=THEMES[0])
        ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
        assert ticks == columns


def test_names_are_drawn_alike_on_a_whole_page(monkeypatch):
    names = Names()
    with drawing.drawing(THEMES[0]):
        monkeypatch.setattr(drawing, "_letters", lambda: frozenset(map(ord, "abc#1 …'")))
        for _theme in THEMES:
            assert names.of(["差评", "a" * 30, "c", "c"]) == ["#1", "a" * 23 + "…", "c", "c'"]
            assert names.of(["好评", "a" * 31, "差评", "#1"]) == [
                *("#2", "a" * 23 + "…'", "#1", "#1'"),
            ]
    assert names.notes == {
        "#1": "差评", "#2": "好评", "#1'": "#1", "c'": "c",
        "a" * 23 + "…": "a" * 30, "a" * 23 + "…'": "a" * 31,
    }  # fmt: skip


def test_letters_that_no_font_has_become_numbers(monkeypatch):
    names = Names()
    with drawing.drawing(THEMES[0]):
        monkeypatch.setattr(drawing, "_letters", lambda: frozenset(map(ord, "abcdefg …")))
        assert names.of(["abc", "差评", "a" * 30, "a" * 31]) == [
            *("abc", "#1", "a" * 23 + "…", "a" * 23 + "…'"),
        ]
    assert names.notes["#1"] == "差评"


def test_chinese_labels_are_drawn_by_a_fallback():
    import matplotlib.font_manager as fonts

    with drawing.drawing(THEMES[0]):
        chinese = [name for name in drawing.families() if "CJK" in name or "WenQuanYi" in name]
        if not chinese:
            pytest.skip("no Chinese font is installed")
        assert Names().of(["差评", "好评"]) == ["差评", "好评"]
        assert fonts.findfont(chinese[0], fallback_to_default=False)
        found = mistakes.Mistakes()
        mistakes._add(found, "验证", outcome(["差评", "好评"]))
        require_tidy(mistakes.confusion_matrix("验证", found, Names(), theme=THEMES[0]))


def test_the_users_own_settings_of_matplotlib_stay():
    import matplotlib

    with matplotlib.rc_context({"font.size": 31}):
        before = dict(matplotlib.rcParams)
        with drawing.drawing(THEMES[1]):
            assert matplotlib.rcParams["font.size"] == 9
        assert dict(matplotlib.rcParams) == before
