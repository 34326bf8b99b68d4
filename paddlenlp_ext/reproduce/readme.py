"""Fill the tables of README files from what was measured, in English and in Chinese.

A table stands between two marks, `<!-- reproduce bert-glue -->` and `<!-- reproduced -->`; what is
between them is written anew. `README_zh.md` beside a `README.md` has the same tables.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.reproduce import record as records
from paddlenlp_ext.reproduce.pages import Words, cells_of, english, markdown, note
from paddlenlp_ext.reproduce.tables import known_tables, read_table

MARKED = re.compile(
    r"^(<!-- reproduce (\S+) -->\n)((?:(?!<!-- reproduce ).)*?)^(<!-- reproduced -->)$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"^[ \t]*<!--\s*reproduced?\b.*$", re.MULTILINE)  # also one that is misspelt
MEASURED = re.compile(r"\d seeds?\b|\d seeds\)|\d 个种子")  # in a table that has some number
logger = logging.getLogger(__name__)

CHINESE = {
    "Task": "任务",
    "Metric": "指标",
    "Model": "模型",
    "Reported": "报告",
    "reported": "报告",
    "Measured": "实测",
    "measured": "实测",
    "Difference": "差",
    "difference": "差",
    "not yet": "暂无",
    "Accuracy": "准确率",
    "accuracy": "准确率",
    "acc.": "准确率",
    "acc./F1": "准确率/F1",
    "accuracy / F1": "准确率 / F1",
    "F1 / accuracy": "F1 / 准确率",
    "Matthews correlation": "Matthews 相关系数",
    "Matthews corr": "Matthews 相关系数",
    "Pearson/Spearman corr": "Pearson/Spearman 相关系数",
    "matched acc./mismatched acc.": "matched/mismatched 准确率",
    "accuracy, matched / mismatched": "准确率，matched / mismatched",
    "{n} seed": "{n} 个种子",
    "{n} seeds": "{n} 个种子",
    "{n} of {planned} seeds": "{planned} 个种子中的 {n} 个",
    "; {n} other settings incomplete": "；另有 {n} 组设置未完成",
    "within chance": "在偶然范围内",
    "more than chance": "超出偶然",
    "one seed: no interval": "仅 1 个种子，无区间",
    "seeds do not deviate: no interval": "各种子相同，无区间",
    "nothing yet": "暂无实测结果：`paddlenlp-ext reproduce {name}`。",
    "choice best": "实测：每次运行取开发集上最好的一步，只测试一次；为各种子的均值。",
    "choice best dev": "实测：每次运行取开发集上最好的一步及其在开发集上的数值；为各种子的均值。",
    "settings": "多组设置中取开发集平均分最好的一组。",
    "choice last": "实测：每次运行取最后一步；为各种子的均值。",
    "deviation": "± 为各种子的标准差。",
    "interval reported": "差：实测减报告，± 为 Student t 分布 95% 区间的一半，"
    "其中报告值视为 {runs} 次运行的均值，其离散程度与我们的相同；"
    "每二十个数中有一个会偶然落在区间之外。",
    "interval sides": "差：我们的减对方的，± 为 Welch 95% 区间的一半；"
    "每二十个数中有一个会偶然落在区间之外。",
    "bold": "超出偶然的差用粗体表示。",
    "source": "报告：{source}。",
}


def chinese(word: str) -> str:
    """Translate a heading; names stay."""
    return CHINESE.get(word, word)


def update(page: Path, folder: Path) -> list[Path]:
    """Fill the tables of a page, and of its translation where there is one.

    Args:
        page: A Markdown file with marks.
        folder: In which the tables have theirs; without one nothing was measured.

    Returns:
        The files that have changed.

    Raises:
        UserError: The page has no marks, or names an unknown table.
    """
    translation = page.with_name(f"{page.stem}_zh{page.suffix}")
    texts = {page: filled(page, folder)}
    if translation.is_file():
        texts[translation] = filled(translation, folder)
    changed = [path for path, text in texts.items() if text != _text(path)]
    for path in changed:
        end = "\r\n" if b"\r\n" in path.read_bytes() else "\n"
        with replace_file(path) as temporary:
            temporary.write_text(texts[path], encoding="utf-8", newline=end)
    return changed


def filled(page: Path, folder: Path) -> str:
    """Return the text of a page with its tables filled; see `update`.

    A table that is not the package's is named by its path from the page. One that has numbers stays
    as it is where there is no record of it, and that is said.
    """
    words = chinese if page.stem.endswith("_zh") else english
    text = _text(page)
    if not MARKED.search(text):
        raise UserError(
            f"{page}: has no table to fill; put <!-- reproduce NAME --> and "
            "<!-- reproduced --> on lines of their own around it"
        )
    _require_pairs(page, text)

    def fill(found: re.Match[str]) -> str:
        name = found[2] if found[2] in known_tables() else str(page.parent / found[2])
        record = folder / read_table(name).name / records.RECORD
        if MEASURED.search(found[3]) and not record.is_file():
            logger.warning(
                "%s: %s stays as it is: %s is not there; give the `output_dir` of its runs",
                *(page, found[2], record),
            )
            return found[0]
        return f"{found[1]}\n{_body(name, folder, words)}\n{found[4]}"

    return MARKED.sub(fill, text)


def _require_pairs(page: Path, text: str) -> None:
    """Refuse marks that are not in pairs, between which there may be text of the user's.

    Raises:
        UserError: There is one.
    """
    inside = [found.span() for found in MARKED.finditer(text)]
    for mark in MARK.finditer(text):
        if not any(mark.start() in (start, end - len(mark[0])) for start, end in inside):
            line = text.count("\n", 0, mark.start()) + 1
            raise UserError(
                f"{page}:{line}: expected <!-- reproduce NAME --> and <!-- reproduced --> in turn, "
                f"on lines of their own, got {shown(mark[0])} without the other"
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; give a Markdown file") from error


def _body(name: str, folder: Path, words: Words) -> str:
    table = read_table(name)
    record = records.read(table, folder / table.name)
    is_empty = not any(side.seeds for sides in record.values() for side in sides.values())
    if is_empty and table.headings:
        return words("nothing yet").format(name=table.name) + "\n"
    cells = cells_of(table, record, words, measured_only=bool(table.headings))
    return markdown(cells) + f"\n{note(table, record, words)}\n" * (not is_empty)
