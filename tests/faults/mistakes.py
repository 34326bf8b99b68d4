"""What users get wrong: every flag of every script with values that cannot be, and wrong files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

from tests.docs.test_readmes import script_of
from tests.faults.scripts import Flags, Script, scripts
from tests.faults.table import Fault, Measured, Scale, joined

NUMBERS = ("many", "", "-1", "0", "nan", "inf", "-inf", "1e400", "0.5", "9" * 30)
TEXTS = ("", "nowhere", "../\0", "a\nb", "x" * 5000)
PLACES = ("model_name_or_path", "data_dir", "input_dir", "input_file", "vocab_file", "eval_dir")
PLACES += ("output_dir", "output_file", "resume_from_checkpoint", "bert_model", "tokenizer_name")
LINE = re.compile(r"^(error|[\w.]+\.py: error): .*(-|/)", re.MULTILINE)


def mistakes(scale: Scale) -> Measured:
    """Make every mistake with every script."""
    parts = []
    for name, script in scripts(scale.folder).items():
        cases = list(_cases(scale.folder, script))[:: scale.of(1, 60)]
        accepted = 0
        bad = []
        for number, (what, changes) in enumerate(cases):
            if "languages" in (action.dest for action in _actions(script)):
                changes = {"languages": "en"} | changes
            place = scale.folder / "runs" / f"{name}-{number}".replace(" ", "-")
            code, said = script.run(place, changes)
            accepted += code == 0
            if code not in (0, 2) or (code == 2 and not _is_refusal(said)):
                bad.append(what)
                print(f"{name}, {what}: {code}\n{said[-2000:]}", file=sys.stderr)
        text = f"{name}: {len(cases) - accepted - len(bad)} refused, {accepted} harmless"
        worst = f", {len(bad)} not: {'; '.join(bad)[:200]}" if bad else ""
        parts.append(Measured(text + worst, not bad))
    return joined(*parts)


def _is_refusal(said: str) -> bool:
    """Whether there is one line of error, with a flag or a file in it, and no traceback."""
    return "Traceback" not in said and len(LINE.findall(said)) == 1


def _cases(folder: Path, script: Script) -> Iterator[tuple[str, Flags]]:
    """Yield each mistake: what it is, and the flags that are changed."""
    for action in _actions(script):
        flag = action.option_strings[-1][2:]
        if flag in PLACES or action.nargs == 0:
            continue
        is_text = action.choices is not None or action.type is None
        for value in TEXTS if is_text else NUMBERS:
            yield f"--{flag} {value[:20]!r}", {flag: value}
    for flag in PLACES:
        if flag in script.flags or flag in (script.output, "resume_from_checkpoint", "data_dir"):
            yield from _places(folder, flag)
    for flag in script.flags:
        yield f"without --{flag}", {flag: None}
    yield "an unknown flag", {"lerning_rate": "1"}


def _places(folder: Path, flag: str) -> Iterator[tuple[str, Flags]]:
    """Yield paths that are not what they should be."""
    wrong = folder / "wrong"
    wrong.mkdir(exist_ok=True)
    (wrong / "empty").mkdir(exist_ok=True)
    (wrong / "file").write_bytes(b"\x00\xff\n" * 9)
    (wrong / "text").write_text("a\tb\n", encoding="utf-8")
    junk = wrong / "junk"  # files of all names that are looked for, with nothing of use in them
    junk.mkdir(exist_ok=True)
    names = ("config.json", "vocab.txt", "model_state.pdparams", "train.tsv", "train.hdf5")
    names += ("tokenizer_config.json", "manifest.json", "sentencepiece.model", "train.data")
    names += ("sentencepiece.bpe.model", "multinli.train.en.tsv", "xnli.dev.tsv", "corpus.txt")
    for name in names:
        (junk / name).write_bytes(b"{\x00\xff")
    (wrong / "loop").unlink(missing_ok=True)
    (wrong / "loop").symlink_to("loop")
    for name in ("nowhere", "empty", "file", "text", "junk", "loop", "file/below", "n" * 300):
        yield f"--{flag} {name[:20]}", {flag: wrong / name}
    yield f"--{flag} ''", {flag: ""}


def _actions(script: Script) -> list[argparse.Action]:
    """The flags of a script, asked of its parser."""
    found: list[argparse.ArgumentParser] = []

    def note(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise InterruptedError

    module = script_of(script.path)
    with mock.patch.object(argparse.ArgumentParser, "parse_args", note), suppress(InterruptedError):
        module.parse_args([])
    return [action for action in found[0]._actions if action.dest != "help"]


FAULTS = (
    Fault(
        27,
        "mistakes of users: each flag of each script with values that cannot be, wrong paths and "
        "files",
        "exit code 2 and one line with the flag or the file, or no harm; never a traceback",
        mistakes,
    ),
)
