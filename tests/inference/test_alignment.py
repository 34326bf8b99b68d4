"""Alignment is measured as it is said: by means of states, by cosine, by masks of one side."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.inference import alignment
from paddlenlp_ext.inference.alignment import Aligner, AlignmentSettings, accuracy
from paddlenlp_ext.models.auto import AutoModel, model_class
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.scripts import multilingual

FIRST = [
    "a dog runs in the park", "the film is good", "where", "she said that he would come tomorrow",
    "no", "the film is good", "how many people are there in this room",
]  # fmt: skip
SECOND = [
    "un perro corre por el parque", "la pelicula es buena", "donde", "dijo que vendria manana",
    "no", "la pelicula es buena", "cuantas personas hay en este cuarto",
]  # fmt: skip
FAMILIES = {"rembert": multilingual.rembert, "ernie_m": multilingual.ernie_m,
            "xlm-roberta": multilingual.xlm_r}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def folders(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model without a head, and the same one with a head."""
    bare = FAMILIES[request.param](tmp_path_factory.mktemp("bare"))
    headed = tmp_path_factory.mktemp("headed")
    paddle.seed(6)
    model_class(request.param, "ForMaskedLM").from_pretrained(bare).save_pretrained(headed)
    AutoTokenizer.from_pretrained(bare).save_pretrained(headed)
    return bare, headed


def states_of(folder: Path, sentence: str) -> list[np.ndarray]:
    """Means of all layers over the tokens of one sentence, without any padding."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = paddle.to_tensor([tokenizer(sentence)["input_ids"]])
    states = model(input_ids=ids, output_hidden_states=True).hidden_states
    return [one[0].mean(0).numpy() for one in states]


def test_retrieval_is_that_of_single_sentences(folders: tuple[Path, Path]) -> None:
    bare, _ = folders
    found = Aligner(bare, AlignmentSettings(batch_size=3)).measure(FIRST, SECOND)
    assert (found.pairs, found.masked, [*found.retrieval]) == (7, (), [0, 1, 2])
    ours, theirs = (np.array([states_of(bare, one) for one in side]) for side in (FIRST, SECOND))
    for layer, there in found.retrieval.items():
        for queries, answers, texts, part in (
            (ours, theirs, SECOND, there.forward),
            (theirs, ours, FIRST, there.backward),
        ):
            rows = zip(queries[:, layer], texts, strict=True)
            cosines = [
                [q @ a / np.linalg.norm(q) / np.linalg.norm(a) for a in answers[:, layer]]
                for q, _ in rows
            ]
            hits = [texts[np.argmax(row)] == text for row, text in zip(cosines, texts, strict=True)]
            assert part == np.mean(hits)
    one = Aligner(bare, AlignmentSettings(layers=[1])).measure(FIRST, SECOND)
    assert one.retrieval == {1: found.retrieval[1]}


@pytest.mark.parametrize("continues", [False, True])
def test_masked_tokens_are_those_that_a_plain_call_fills_in(
    continues: bool, folders: tuple[Path, Path]
) -> None:
    _, headed = folders
    settings = AlignmentSettings(batch_size=2, mlm_probability=0.4, continue_positions=continues)
    aligner = Aligner(headed, settings)
    assert aligner.fills
    found = aligner.measure(FIRST, SECOND)
    tokenizer, model = aligner.tokenizer, aligner.model
    for side, (texts, others) in enumerate(((FIRST, SECOND), (SECOND, FIRST))):
        tokens, alone, beside = 0, 0, 0
        for number, (text, other) in enumerate(zip(texts, others, strict=True)):
            ids = np.array(tokenizer(text)["input_ids"])
            places = aligner._choose(ids, (42, side, number))
            ordinary = [one for one in ids if one not in tokenizer.all_special_ids]
            assert len(places) == max(1, round(0.4 * len(ordinary)))
            assert not np.isin(ids[places], tokenizer.all_special_ids).any()
            tokens += len(places)
            alone += hits(model, tokenizer, tokenizer(text), places)
            restart = None if continues else len(ids)
            beside += hits(model, tokenizer, tokenizer(text, other), places, restart)
        one = found.masked[side]
        assert (one.tokens, one.alone, one.beside) == (tokens, alone / tokens, beside / tokens)
    assert (
        Aligner(headed, AlignmentSettings(mlm_probability=0.0)).measure(FIRST, SECOND).masked == ()
    )


def hits(
    model: Any, tokenizer: Any, encoded: Any, places: np.ndarray, restart: int | None = None
) -> int:
    ids = np.array(encoded["input_ids"])
    hidden = ids.copy()
    hidden[places] = tokenizer.mask_token_id
    inputs = {"input_ids": paddle.to_tensor([hidden])}
    if "token_type_ids" in encoded:
        inputs["token_type_ids"] = paddle.to_tensor([encoded["token_type_ids"]])
    if restart is not None:
        opening = int(ids[restart] == tokenizer.sep_token_id)
        behind = [1 - opening + at for at in range(len(ids) - restart)]
        first = model.backbone.first_position_id
        positions = np.array([[*range(restart), *behind]]) + first
        inputs["position_ids"] = paddle.to_tensor(positions)
    logits = model(**inputs).logits[0].numpy()
    return int((logits[places].argmax(-1) == ids[places]).sum())


def test_a_model_that_reads_the_other_sentence_is_told_apart(folders, monkeypatch) -> None:
    """The figure with the translation is of a row that has it, the other one is not."""
    _, headed = folders
    aligner = Aligner(headed)
    seen: list[int] = []
    run = aligner.model.run

    def noted(**inputs: Any) -> Any:
        if "masked_positions" in inputs:
            separators = inputs["input_ids"] == aligner.tokenizer.sep_token_id
            seen.append(int(separators.sum(1).min()))
        return run(**inputs)

    monkeypatch.setattr(aligner.model, "run", noted)
    aligner.measure(FIRST, SECOND)
    assert seen[0::2] == [1, 1]
    assert min(seen[1::2]) >= 2


def test_pairs_that_are_too_long_are_counted(folders: tuple[Path, Path]) -> None:
    _, headed = folders
    found = Aligner(headed, AlignmentSettings(max_length=40)).measure(
        [*FIRST, "word " * 30], [*SECOND, "Wort"]
    )
    assert found.too_long >= 1
    assert found.pairs == 8
    with pytest.raises(UserError, match=r"`max_length` 99: .* reads 3 to "):
        Aligner(headed, AlignmentSettings(max_length=99))
    with pytest.raises(UserError, match=r"`layers` 3: .* has the layers 1 to 2, and 0 for the emb"):
        Aligner(headed, AlignmentSettings(layers=[0, 3]))


def test_nearest_by_cosine_and_by_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = np.array([[2, 0], [0, 3], [1, 1], [0, 1]], np.float32)
    answers = np.array([[9, 1], [1, 1], [0, 5], [0, 7]], np.float32)
    assert accuracy(queries, answers, ["a", "b", "c", "d"]) == 1 / 4
    assert accuracy(queries, answers, ["a", "b", "c", "c"]) == 2 / 4  # either is the right one
    monkeypatch.setattr(alignment, "BLOCK", 3)
    assert accuracy(queries, answers, ["a", "b", "c", "c"]) == 2 / 4


def command(*words: object) -> None:
    with pytest.raises(SystemExit) as end:
        console.main(["eval-alignment", *map(str, words), "--device", "cpu"])
    if end.value.code:
        raise RuntimeError(end.value.code)


def write_pairs(path: Path, count: int) -> Path:
    pairs = list(zip(FIRST, SECOND, strict=True))[:count]
    path.write_text("".join(f"{one}\t{other}\n" for one, other in pairs), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_command_writes_tables_and_a_picture(folders, tmp_path, capsys) -> None:
    bare, headed = folders
    files = [write_pairs(tmp_path / "en-es.tsv", 7), write_pairs(tmp_path / "x.en-tlh.tsv", 4)]
    command(
        headed, *files, "--output", tmp_path / "out", "--batch_size", 5, "--more_languages", "tlh"
    )
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["layer", "en-es", "en-tlh", "mean"]
    assert "masked 1  + other" in lines[0]
    assert lines[-1].startswith("written: ")
    assert "note" not in err
    found = Aligner(headed).measure(FIRST, SECOND)
    table = rows(tmp_path / "out/alignment.tsv")
    assert [(row["pairs"], row["count"], row["layer"]) for row in table] == [
        *(("en-es", "7", f"{layer}") for layer in range(3)),
        *(("en-tlh", "4", f"{layer}") for layer in range(3)),
    ]
    for row, there in zip(table, found.retrieval.values(), strict=False):
        numbers = there.forward, there.backward, there.mean
        assert [row[name] for name in ("forward", "backward", "mean")] == [
            f"{number:.6f}" for number in numbers
        ]
    masked = rows(tmp_path / "out/masked_tokens.tsv")
    assert [row["side"] for row in masked] == ["first", "second"] * 2
    assert [row["alone"] for row in masked[:2]] == [f"{one.alone:.6f}" for one in found.masked]
    assert (tmp_path / "out/alignment.png").read_bytes().startswith(b"\x89PNG")
    command(bare, files[0], "--output", tmp_path / "bare", "--max_pairs", 3, "--layers", 2)
    out, err = capsys.readouterr()
    assert "has no trained head for masked tokens" in err
    assert [row["count"] for row in rows(tmp_path / "bare/alignment.tsv")] == ["3"]
    assert not (tmp_path / "bare/masked_tokens.tsv").exists()


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = multilingual.xlm_r(tmp_path)
    capsys.readouterr()
    good = write_pairs(tmp_path / "en-es.tsv", 3)
    (tmp_path / "en-fr.tsv").write_text("one\tun\ntwo\n")
    (tmp_path / "x.en-sw.en").write_text("one\ntwo\n")
    (tmp_path / "x.en-sw.sw").write_text("moja\n")
    sides = (tmp_path / "x.en-sw.en", tmp_path / "x.en-sw.sw")
    for words, problem in (
        ((bare, good, tmp_path / "en-fr.tsv"), "en-fr.tsv:2: has 1 column; expected two"),
        ((bare, *sides), "x.en-sw.en:2: "),
        ((bare, write_pairs(tmp_path / "en-xx.tsv", 1)), "'xx' is no known language code"),
        ((bare, write_pairs(tmp_path / "en-it.tsv", 0)), "en-it.tsv:1: expected pairs"),
        ((bare, tmp_path / "none.tsv"), "none.tsv: no such file (`PAIRS`)"),
        ((good, good), "en-es.tsv: is a file; expected the folder"),
        ((tmp_path / "nothing", good), "nothing"),
        ((bare, good, "--layers", 7), "--layers 7: "),
    ):
        with pytest.raises(RuntimeError, match="2"):
            command(*words, "--output", tmp_path / "out")
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert problem in err
    assert not (tmp_path / "out").exists()


def test_pairs_are_read_before_a_model_is_loaded(tmp_path: Path) -> None:
    from paddlenlp_ext.inference.alignment_files import read_files

    write_pairs(tmp_path / "en-es.tsv", 5)
    assert [len(pairs) for pairs in read_files([tmp_path / "en-es.tsv"], 4).values()] == [4]
    with pytest.raises(DataError, match="expected the languages in its name"):
        read_files([tmp_path / "en-es.txt"])
