"""What is held out of the experiment's texts is trained on in no language; how runs are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cross_lingual_pretraining as experiment
from tests.scripts.multilingual import ernie_m


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Two languages' translations of sentences, some of which both have."""
    for language, numbers in {"de": range(40), "es": range(20, 60)}.items():
        lines = "".join(f"sentence {n}\t{language} satz {n}\n" for n in numbers)
        for folder in ("tatoeba", "debian-handbook/parallel"):
            path = tmp_path / folder / f"en-{language}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines.replace("sentence", folder), encoding="utf-8")
    return tmp_path


def arguments(text: Path, *more: str) -> list[str]:
    model = text / "model"
    model.mkdir()
    ernie_m(model)
    given = ["--text", str(text), "--sentencepiece", str(model / "sentencepiece.bpe.model")]
    return [str(text / "out"), *given, "--languages", "de", "es", *more]


def test_held_out_sentences_are_trained_on_in_no_language(text: Path) -> None:
    args = experiment.parse_args(arguments(text))
    experiment.write_corpus(args, text / "corpus")
    held_out, trained = set(), set()
    for path in (text / "corpus/held-out").iterdir():
        held_out |= {line.split("\t")[0] for line in path.read_text().splitlines()}
    for path in (text / "corpus/parallel").iterdir():
        trained |= {line.split("\t")[0] for line in path.read_text().splitlines()}
    assert len(held_out) > 10
    assert len(trained) > 60
    assert not held_out & trained
    for path in (text / "corpus/retrieval").iterdir():
        found = {line.split("\t")[0] for line in path.read_text().splitlines()}
        assert found < held_out
        assert all(one.startswith("tatoeba ") for one in found)
    english = (text / "corpus/monolingual/en.txt").read_text()
    assert sorted(english.split()) == sorted(" ".join(trained).split())
    assert all(f"{one}\n" not in english for one in held_out)


def test_the_vocabulary_has_the_pieces_of_the_texts(text: Path) -> None:
    args = experiment.parse_args(arguments(text))
    experiment.write_shape(args, text / "shape")
    words = (text / "shape/vocab.txt").read_text(encoding="utf-8").splitlines()
    whole = (text / "model/vocab.txt").read_text(encoding="utf-8").splitlines()
    assert words[:4] + words[-1:] == [*experiment.SPECIAL]
    assert {*words} < {*whole}
    assert json.loads((text / "shape/config.json").read_text())["vocab_size"] == len(words)


def test_runs_become_a_table(tmp_path: Path) -> None:
    for seed, retrieval in ((1, 20.0), (2, 23.0)):
        run = experiment.run_folder(tmp_path, "MMLM + TLM", seed)
        run.mkdir(parents=True)
        numbers = {"retrieval": retrieval, "masked": 31.26, "steps": 8, "seconds": 2.0}
        (run / "measured.json").write_text(json.dumps(numbers))
    *_, row = experiment.table(tmp_path, (1, 2, 3)).splitlines()
    assert row == "| MMLM + TLM | 8 | 2 | 21.5 ± 2.1 | 31.3 ± 0.0 |"
    path = tmp_path / "alignment.tsv"
    numbers = {"de": (0.8, 0.3, 0.2), "es": (0.9, 0.5, 0.5)}
    rows = [f"en-{to}\t{layer}\t{mean}" for to in numbers for layer, mean in enumerate(numbers[to])]
    path.write_text("\n".join(["pairs\tlayer\tmean", *rows]))
    assert experiment.retrieval(path) == {"retrieval": pytest.approx(40.0), "layer": 1.0}
    path = tmp_path / "history.jsonl"
    rows = [{"step": 4, "loss": 1.0}]
    rows += [
        {"step": 4, "split": name, "metrics": {"acc": acc}}
        for name, acc in (("a", 0.1), ("b", 0.3))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert experiment.masked(path) == {4: pytest.approx(20.0)}


def test_curves_are_means_over_seeds_and_stage_2_goes_on(text: Path) -> None:
    args = experiment.parse_args([*arguments(text), "--steps", "8"])
    stage_1, stage_2 = "MMLM + TLM", "stage 2: MMLM + TLM + CAMLM"
    for name, step, seed, accuracy in (
        (stage_1, 4, 1, 0.1), (stage_1, 4, 3, 0.3), (stage_2, 2, 1, 0.25),
    ):  # fmt: skip
        run = experiment.run_folder(args.folder, name, seed)
        run.mkdir(parents=True)
        row = {"step": step, "split": "en-de", "metrics": {"acc": accuracy}}
        (run / "history.jsonl").write_text(json.dumps(row) + "\n")
    _, _, *rows = experiment.curves(args).splitlines()
    assert rows == [f"| {stage_1} | 4 | 2 | 20.0 |", f"| {stage_2} | 10 | 1 | 25.0 |"]
