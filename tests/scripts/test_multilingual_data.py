"""The script that makes pretraining data in many languages, with tokenizers of three families."""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.pretraining.hdf5 import Columns
from paddlenlp_ext.pretraining.language_corpora import open_corpora
from paddlenlp_ext.pretraining.shard_set import ShardSet, join_rows
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.refusals import refused

SCRIPT = multilingual.ROOT / "examples/language_model/multilingual/create_pretraining_data.py"
MAKERS = {
    "rembert": multilingual.rembert, "ernie_m": multilingual.ernie_m, "xlm_r": multilingual.xlm_r,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of XNLI's sample rows: English text; Chinese, Thai and German beside English."""
    folder = tmp_path_factory.mktemp("corpora")
    rows = (multilingual.DATA / "xnli/XNLI-1.0/xnli.dev.tsv").read_text("utf-8").splitlines()[1:]
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        language, *_, premise, hypothesis, prompt, pair = row.split("\t")[:10]
        texts.setdefault(language, {}).update({f"p{prompt}": premise, f"h{pair}": hypothesis})
    english = texts["en"]
    (folder / "en.txt").write_text("\n".join(english.values()) + "\n", "utf-8")
    for code in ("zh", "th"):
        pairs = [f"{english[at]}\t{text}" for at, text in texts[code].items() if at in english]
        text = "\n".join(pairs) + "\n"
        (folder / f"xnli.en-{code}.tsv.gz").write_bytes(gzip.compress(text.encode()))
    both = [at for at in texts["de"] if at in english]
    for code in ("en", "de"):
        lines = "".join(f"{texts[code][at]}\n" for at in both)
        (folder / f"xnli.en-de.{code}").write_text(lines, "utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multilingual.rembert(tmp_path_factory.mktemp("model"))


def words(model: Path, corpora: Path, out: Path) -> list[str]:
    files = [f"{corpora}/*.tsv.gz", f"{corpora}/xnli.en-de.de"]
    return [
        f"--tokenizer_name={model}", f"--text_files={corpora}/en.txt",
        "--parallel_files", *files, f"--output_dir={out}", "--max_seq_length=200",
        "--held_out_share=0.1",
    ]  # fmt: skip


def all_rows(shards: ShardSet | None) -> Columns:
    assert shards is not None
    return join_rows([shards.read(piece) for piece in shards.slices(10_000)]).columns


@pytest.mark.parametrize("family", MAKERS)
def test_creating_data(
    family: str, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    model = MAKERS[family](tmp_path / "model")
    created = script_of(SCRIPT).main(words(model, corpora, tmp_path / "shards"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"the shards are in {tmp_path}/shards"
    assert [line.partition(":")[0] for line in lines[:-1]] == ["en", "en-de", "en-th", "en-zh"]
    assert all(
        re.fullmatch(
            r"\S+: \d+ rows to train on, \d+ held out, \d+ tokens; \d+ lines left out for a "
            r"held-out sentence, 0 without a token; \d+ pairs cut",
            line,
        )
        for line in lines[:-1]
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = open_corpora(tmp_path / "shards", tokenizer, len(tokenizer), 200)
    assert found.languages == ["de", "en", "th", "zh"]
    assert found.sentences.num_rows == created["en"].rows["train"]
    assert [*found.held_out_pairs] == ["en-de", "en-th", "en-zh"]
    rows = all_rows(found.pairs)
    places = np.arange(200)
    real = (places > 0) & (places < rows["length"][:, None] - 1)
    # Words of several tokens in languages with spaces; single tokens where words are not known.
    of_first = real & (places < rows["first_length"][:, None] - 1)
    of_second = real & (places >= rows["first_length"][:, None] + tokenizer.assembly.separators - 1)
    assert 0.2 < rows["continues"][of_first].mean() < 0.9
    german = rows["second_language"] == 0
    assert 0.2 < rows["continues"][german][of_second[german]].mean() < 0.9
    chinese = rows["second_language"] == 3
    assert rows["continues"][chinese][of_second[chinese]].mean() < 0.1


def test_segmented_words(model: Path, corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("icu4py")
    flags = words(model, corpora, tmp_path / "shards")
    script_of(SCRIPT).main([*flags, "--segment_words"])
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = open_corpora(tmp_path / "shards", tokenizer, len(tokenizer), 200)
    assert {shard.attributes["words"][:4] for shard in found.pairs.shards} == {"icu "}
    rows = all_rows(found.pairs)
    for language in (2, 3):
        of_language = rows["second_language"] == language
        assert rows["continues"][of_language].sum() / rows["length"][of_language].sum() > 0.1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("en-de.tsv", "a\tb\nc\n", r"en-de\.tsv:2: has 1 column; expected two"),
        ("en-de.tsv", "a\tb\n\tc\n", r"en-de\.tsv:2: the sentence in en is empty"),
        ("en-qq.tsv", "a\tb\n", r"'qq' is no known language code; .* in --more_languages"),
        ("x.en-de.en", "a\nb\n", r"x\.en-de\.en:2: \S+x\.en-de\.de has no such line"),
    ],
)
def test_bad_text_is_refused_before_anything_is_written(
    model: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "x.en-de.de").write_text("c\n")
    flags = ["--tokenizer_name", str(model), "--output_dir", str(tmp_path / "out")]
    with refused(message):
        script_of(SCRIPT).main([*flags, "--parallel_files", str(tmp_path / name)])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused(
    model: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--tokenizer_name", str(model), "--output_dir", str(tmp_path / "out")]
    with refused("nothing to train on; give --text_files, --parallel_files or both"):
        script_of(SCRIPT).main(flags)
    monkeypatch.setitem(sys.modules, "icu4py", None)
    with refused(r"--segment_words: needs ICU .* pip install 'paddlenlp-ext\[words\]'"):
        script_of(SCRIPT).main([*flags, f"--text_files={corpora}/en.txt", "--segment_words"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_seq_length", "7"], "expected at least 8"),
        (["--held_out_share", "2"], "expected a number from 0 to 1, got '2'"),
        (["--output_dir", ""], "--output_dir: expected a path, got nothing"),
    ],
)
def test_bad_flags(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script_of(SCRIPT).parse_args(["--tokenizer_name", "x", "--output_dir", "y", *flags])
    assert message in capsys.readouterr().err
