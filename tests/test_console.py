"""The console command: what it knows, how it answers, and that a wheel has all that it needs."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext import __version__
from paddlenlp_ext.cli import parsing
from paddlenlp_ext.inference import checked_export
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification, BertModel
from paddlenlp_ext.models.rembert import RemBertConfig, RemBertForMultipleChoice
from tests.docs.test_readmes import script_of
from tests.scripts.test_bert_run_glue import arguments, tiny_bert
from tests.tiny import FAMILY_SIZES, SIZES

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*/**/*.py"))
ALONE = {"compare", "get_ft_model", "convert"}  # tools, of which `convert` has a command of its own


def ended(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as end:
        console.main([str(word) for word in argv])
    return end.value.code, *capsys.readouterr()


def test_help_names_every_command_and_task(capsys):
    code, out, _ = ended(capsys, "--help")
    assert code == 0
    for name, (_, what) in console.COMMANDS.items():
        assert f"  {name} " in out
        assert what in out
    code, out, _ = ended(capsys, "train", "--help")
    assert code == 0
    for name, (script, _) in console.SCRIPTS.items():
        assert f"  {name} " in out
        assert f"examples/{script}" in out
    for words in ([], ["train"]):
        assert ended(capsys, *words)[0] == 2
    console.main(["--version"])
    assert capsys.readouterr().out == f"paddlenlp-ext {__version__}\n"


def test_every_script_has_a_name():
    known = {console.EXAMPLES / script for script, _ in console.SCRIPTS.values()}
    assert known == {path for path in SCRIPTS if path.stem not in ALONE}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["tarin"], "unknown command 'tarin'; did you mean train?; known: train, "),
        (["train", "glu"], "unknown task 'glu'; did you mean glue?; known: glue, "),
        (["train", "xyz"], "unknown task 'xyz'; known: glue, "),
    ],
)
def test_unknown_names(words, problem, capsys):
    code, out, err = ended(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err


@pytest.mark.parametrize(
    ("flags", "end"),
    [
        (["--task_nmae", "x"], "unrecognized arguments: --task_nmae x; did you mean --task_name?"),
        (["--size=3"], "unrecognized arguments: --size=3"),
        (["--batch_siez", "8"], "unrecognized arguments: --batch_siez 8; did you mean --batch_s"),
        (
            ["--device", "cuda", "--sede", "1"],
            "got 'cuda'; --sede is unknown; did you mean --seed?",
        ),
    ],
)
def test_unknown_flags(flags, end, tmp_path, capsys):
    parse = script_of(ROOT / "examples/language_model/bert/run_glue.py").parse_args
    with pytest.raises(SystemExit, match="2"):
        parse([*arguments(tmp_path, tmp_path), *flags])
    assert end in capsys.readouterr().err.splitlines()[-1]


def test_a_required_flag_that_is_misspelled(capsys):
    parse = script_of(ROOT / "examples/language_model/convbert/run_glue.py").parse_args
    with pytest.raises(SystemExit, match="2"):
        parse(["--task", "SST-2", "--ouptut_dir", "x", "--model_name", "y", "--model_type", "bert"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "--output_dir; --ouptut_dir is unknown; did you mean --output_dir? (--help" in line


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_help_shows_every_default(path, monkeypatch, capsys):
    made: list[parsing.Parser] = []
    original = parsing.Parser.__init__

    def note(self: parsing.Parser, **options: object) -> None:
        original(self, **options)
        made.append(self)

    monkeypatch.setattr(parsing.Parser, "__init__", note)
    with pytest.raises(SystemExit, match="0"):
        script_of(path).parse_args(["--help"])
    assert "usage:" in capsys.readouterr().out
    for action in made[0]._actions:
        shown = " ".join(made[0].formatter_class("x")._expand_help(action).split())
        default = action.default
        is_nothing = default is None or default is argparse.SUPPRESS or default == []
        has_none = action.required or is_nothing or action.const is False
        assert has_none or "default: " in shown, action.option_strings
        if isinstance(default, (int, float)) and action.const is not False:
            assert shown.endswith(f"(default: {default})"), action.option_strings
        if isinstance(default, list) and default:  # as one would type it
            typed = shown.rpartition("(default: ")[2].removesuffix(")")
            words = typed.split() if action.nargs else [typed]
            assert made[0]._get_values(action, words) == default, action.option_strings


def test_help_of_a_script_with_its_own_default():
    parser = parsing.Parser()
    parser.add_argument("--kind", help="of numbers; default: as the device has it")
    assert "of numbers; default: as the device has it\n" in parser.format_help()
    parser.set_defaults(kind="float16")
    assert "of numbers (default: float16)\n" in parser.format_help()


def test_help_is_quick(tmp_path):
    def seconds() -> float:  # of computing, which other processes do not change
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        words = (sys.executable, "-m", "paddlenlp_ext", "train", "glue", "--help")
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=with_checkout())
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began

    assert min(seconds() for _ in range(5)) < 0.5


def with_checkout() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def without_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_bert(tmp_path_factory.mktemp("classifier"))
    model = BertForSequenceClassification.from_pretrained(
        folder, num_labels=3, id2label={0: "up", 1: "down", 2: "so, so"}
    )
    model.save_pretrained(folder)
    return folder


def test_info_says_what_a_folder_holds(classifier, capsys):
    code, out, _ = ended(capsys, "info", classifier)
    said = dict(line.split(":", 1) for line in out.splitlines())
    said = {name: text.strip() for name, text in said.items()}
    count = sum(
        p.size for p in BertForSequenceClassification.from_pretrained(classifier).parameters()
    )
    assert code == 0
    assert (said["family"], said["class"]) == ("bert", "BertForSequenceClassification")
    assert said["sizes"].startswith("2 layers, 24 wide, 4 heads, ")
    assert said["parameters"].startswith(f"{count:,} (")
    assert said["labels"] == "0 up, 1 down, 2 so, so"
    assert said["tokenizer"] == "BertTokenizer"


def test_info_needs_no_paddle(classifier):
    code = (
        "import sys\nfrom paddlenlp_ext.inference.description import describe\n"
        "print(describe(sys.argv[1])['family'], 'paddle' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, classifier],
        check=True, capture_output=True, text=True, env=with_checkout(),
    )  # fmt: skip
    assert done.stdout == "bert False\n"


def test_info_of_presets_and_of_nothing(capsys):
    code, out, _ = ended(capsys, "info", "rembert")
    assert code == 0
    assert "32 layers, 1,152 wide, 18 heads, 250,300 tokens, 512 positions" in out
    assert "google/rembert on the Hub" in out
    code, _, err = ended(capsys, "info", "no-such-model")
    assert code == 2
    assert err.startswith("error: 'no-such-model' is neither a folder")


def test_export_writes_all_that_is_needed_and_compares(classifier, tmp_path, capsys):
    target = tmp_path / "new" / "served"
    code, out, _ = ended(capsys, "export", classifier, "--output_dir", target)
    assert code == 0, out
    names = {path.name for path in target.iterdir()}
    assert names >= {"inference.json", "inference.pdiparams", "config.json", "vocab.txt"}
    assert [path.name for path in target.parent.iterdir()] == ["served"]
    config = json.loads((target / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"]["2"] == "so, so"
    assert "from input_ids, token_type_ids, attention_mask (int64) to logits (float32)" in out
    assert "4 of 4 highest values agree" in out
    program = paddle.jit.load(str(target / "inference"))
    ids = np.array([[2, 7, 9, 3]])
    given = [paddle.to_tensor(one) for one in (ids, np.zeros_like(ids), np.ones_like(ids))]
    model = BertForSequenceClassification.from_pretrained(classifier)
    model.eval()
    np.testing.assert_allclose(program(*given).numpy(), model(given[0]).logits.numpy(), atol=1e-6)


def test_an_export_that_answers_otherwise_is_not_kept(classifier, tmp_path, monkeypatch, capsys):
    def wrong(runner: object, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.full((len(batch["input_ids"]), 3), 7.0, "float32")]

    monkeypatch.setattr(checked_export.ProgramRunner, "__call__", wrong)
    code, _, err = ended(capsys, "export", classifier, "--output_dir", tmp_path / "served")
    assert code == 2
    assert "more than 1e-04; nothing was written" in err
    assert [*tmp_path.iterdir()] == []


def test_predict_writes_what_the_model_and_its_program_say(classifier, tmp_path, capsys):
    (tmp_path / "new.csv").write_text('id,review\n7,"a fine, warm film"\n8,the the\n', "utf-8")
    (tmp_path / "same.jsonl").write_text('{"text": "a fine, warm film"}\n{"text": "the the"}\n')
    code, out, _ = ended(capsys, "predict", classifier, tmp_path / "new.csv")
    assert (code, out) == (
        0,
        f"predictions of 2 rows: {tmp_path}/predictions_new.tsv and predictions_new.jsonl\n",
    )
    table = (tmp_path / "predictions_new.tsv").read_text().splitlines()
    assert table[0] == "id\tlabel\tprobability_up\tprobability_down\tprobability_so, so"
    assert [row.split("\t")[0] for row in table[1:]] == ["new.csv:2", "new.csv:3"]
    checked_export.export_checked(classifier, tmp_path / "served")
    flags = ("--output", tmp_path / "out")
    assert ended(capsys, "predict", tmp_path / "served", tmp_path / "same.jsonl", *flags)[0] == 0
    again = (tmp_path / "out/predictions_same.tsv").read_text().splitlines()
    for row, other in zip(table[1:], again[1:], strict=True):
        (_, label, *scores), (_, other_label, *others) = row.split("\t"), other.split("\t")
        assert label == other_label
        assert sum(map(float, scores)) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose([*map(float, scores)], [*map(float, others)], atol=2e-6)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "review\nfine\n  \n", "a.csv:3: expected a text, got none in column 'review'"),
        ("a.csv", "x,y\n1,2\n", "say which one holds the text with --text_column_name"),
        ("a.csv", "review\n", "a.csv:1: expected rows, got none"),
        ("a.jsonl", "{\n", "a.jsonl:1: "),
        ("a.xls", "x", "expected a name that ends in"),
    ],
)
def test_predict_names_what_it_cannot_read(name, text, problem, classifier, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    code, out, err = ended(capsys, "predict", classifier, tmp_path / name)
    assert (code, out) == (2, "")
    assert problem in err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_of_a_run_stands_for_its_best_model(tmp_path, capsys):
    for name in ("model_1", "model_2"):
        BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path / name)
    for pointers, expected in (({"latest": "model_2"}, 2), ({"best": "../x/model_1\n"}, 1)):
        for name, text in pointers.items():
            (tmp_path / name).write_text(text)
        code, out, err = ended(capsys, "info", tmp_path)
        assert (code, err) == (0, f"{tmp_path}: takes its model model_{expected}\n")
        assert out.startswith(f"model:       {tmp_path}/model_{expected}\n")
    (tmp_path / "best").write_bytes(b"\xff")
    (tmp_path / "latest").write_text("model_3")
    code, _, err = ended(capsys, "info", tmp_path)
    assert (code, err.count("\n")) == (2, 1)


def test_export_of_choices_without_a_tokenizer(tmp_path):
    RemBertForMultipleChoice(RemBertConfig(**SIZES | FAMILY_SIZES["rembert"])).save_pretrained(
        tmp_path
    )
    said = checked_export.export_checked(tmp_path)
    assert "2 of 2 highest values agree" in said
    assert (tmp_path / "exported/inference.json").is_file()


def test_export_of_a_preset_asks_where_to(capsys):
    code, _, err = ended(capsys, "export", "rembert")
    assert code == 2
    assert err.startswith("error: --output_dir: expected a folder, since rembert has none")


def test_convert_is_the_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)  # a script has its own
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path / "paddle")
    flags = ("--input_dir", tmp_path / "paddle", "--output_dir", tmp_path / "hf")
    code, out, err = ended(capsys, "convert", *flags)
    assert code == 0, err
    assert f"{tmp_path}/paddle/model_state.pdparams -> {tmp_path}/hf/model.safetensors" in out
    code, _, err = ended(capsys, "convert", "--input", tmp_path, "--output_dir", tmp_path)
    assert code == 2
    assert "expected model.safetensors or" in err


def test_plot_draws_again_what_a_run_left(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    row = {"step": 1, "loss": 0.5, "learning_rate": 1e-4, "seconds": 0.1}
    (tmp_path / "history.jsonl").write_text(json.dumps(row) + "\n")
    assert ended(capsys, "plot", tmp_path)[:2] == (0, f"{tmp_path}/curves.png\n")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = ended(capsys, "plot", tmp_path / "none")
    assert code == 2
    assert "expected the history of a run; give the --output_dir of one" in err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel that is installed where nothing of the checkout is."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # building writes beside what it builds
    names = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "paddlenlp_ext", "examples"]
    source.mkdir()
    subprocess.run(["cp", "-r", *(ROOT / name for name in names), source], check=True)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run([*pip, *wheel], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (found,) = folder.glob("*.whl")
    python = folder / "venv/bin/python"
    install = ["--python", python, "install", "--no-deps", found]
    subprocess.run([*pip, *install], check=True, env=without_checkout())
    # What it needs is that of this environment, whose own paddlenlp_ext is not found so.
    (site,) = folder.glob("venv/lib/*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/paddlenlp-ext"


def test_an_installed_wheel_reports(installed, tmp_path):
    pytest.importorskip("matplotlib")
    row = {"step": 1, "loss": 0.5, "learning_rate": 1e-4, "seconds": 0.1}
    (tmp_path / "history.jsonl").write_text(json.dumps(row) + "\n")
    done = subprocess.run(
        [installed, "report", tmp_path], cwd=tmp_path, env=without_checkout(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_an_installed_wheel_trains(installed, tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    tiny_bert(encoder)
    flags = arguments(encoder, tmp_path / "out", max_steps=2, save_steps=2)
    done = subprocess.run(
        [installed, "train", "glue", *flags],
        cwd=tmp_path, env=without_checkout(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "global step 2, epoch: 0, batch: 2, loss: " in done.stdout
    assert (tmp_path / "out/model_2/config.json").is_file()
    where = "import paddlenlp_ext; print(paddlenlp_ext.__file__)"
    python = installed.with_name("python")
    shown = subprocess.run(
        [python, "-c", where], cwd=tmp_path, env=without_checkout(), capture_output=True
    )
    assert shown.stdout.decode().startswith(str(installed.parents[1]))
    tables = subprocess.run(
        [installed, "reproduce", "rembert", "--dry_run", "--seeds", "1"],
        cwd=tmp_path, env=without_checkout(), capture_output=True, text=True,
    )  # fmt: skip
    assert tables.stdout.count("paddlenlp-ext train cross-lingual ") == 2, tables.stderr
