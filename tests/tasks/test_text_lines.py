"""Files that are given by name or pattern, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.text_lines import by_language, numbered_lines


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["xquad.de.json", "xquad.zh.json"], ["de", "zh"]),
        (["de_pud-first500.conllu", "en_ewt-dev.conllu"], ["de", "en"]),
        (["a/xquad.de.json", "b/xquad.de.json"], ["a_xquad", "b_xquad"]),
        (["../../x/en/test.conll", "../../x/de/test.conll"], ["en_test", "de_test"]),
        (["x/a/dev.conll", "y/a/dev.conll", "y/b/dev.conll"], ["x_a_dev", "y_a_dev", "y_b_dev"]),
        (["dev.conll", "dev.jsonl"], ["dev.conll", "dev.jsonl"]),
        (["x/a_b/c.conll", "x/a/b_c.conll"], ["c", "b_c"]),
        (["x/a_b/c.conll", "x/a/b/c.conll"], ["a_b_c", "b_c"]),
        (["/a_b/c.conll", "/a/b_c.conll", "/a/c.conll"], ["1", "2", "3"]),
        (["dev.conll", "dev.conll"], ["1", "2"]),
        (["test-en-de.json", "test-en-zh.json"], ["test-en-de", "test-en-zh"]),
        (
            [
                f"test-context-{one}-question-{two}.json"
                for one, two in (("ar", "ar"), ("ar", "de"), ("zh", "zh"))
            ],
            ["ar", "ar-de", "zh"],
        ),
        (["dev.conll", "test.conll"], ["dev", "test"]),
        (["dev.en.conll"], [""]),
        ([], []),
    ],
)
def test_files_are_named_by_their_languages(names, parts):
    assert [*by_language([Path(name) for name in names])] == parts


def test_only_line_feeds_end_lines(tmp_path):
    (tmp_path / "t").write_bytes("a\u2028b\x0c\r\nc".encode())
    assert [*numbered_lines(tmp_path / "t")] == [(1, "a\u2028b\x0c"), (2, "c")]
    with pytest.raises(DataError, match="cannot be read"):
        next(numbered_lines(tmp_path / "none"))
    with pytest.raises(DataError, match="cannot be read"):
        next(numbered_lines(tmp_path))
