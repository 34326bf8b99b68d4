"""Malformed rows in the files of every script, and scripts that have no connection."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from tests.docs.test_readmes import script_of
from tests.faults.scripts import DATA, Flags, Script, command_line, forked, scripts
from tests.faults.suites import DOWNLOAD, HUB, Suite
from tests.faults.table import Fault, Measured, Scale, all_of, joined

CACHED = "tiny/model"  # a repository of the hub
BAD_ROWS, GOOD_ROWS, BATCH = 1000, 8, 4
BLANK = (b"", b" \xc2\xa0")


def bad_rows(scale: Scale) -> Measured:
    """Train each script on a file with bad rows of all kinds, which it leaves out, or stops at."""
    glue, xnli = _sst2(scale.folder), _xnli(scale.folder)
    cases: dict[str, tuple[Path, list[int], Flags]] = {
        "BERT run_glue": (*glue, {"task_name": "SST-2"}),
        "ConvBERT run_glue": (*glue, {"task_name": "SST-2"}),
        "RemBERT main": (*xnli, {"train_batch_size": BATCH}),
        "ERNIE-M run_classifier": (*xnli, {}),
    }
    parts = []
    for name, (file, lines, changes) in cases.items():
        script = scripts(scale.folder)[name]
        place = scale.folder / "rows" / name.replace(" ", "-")
        given = changes | {"data_dir": file.parent, "max_train_samples": None, "batch_size": BATCH}
        given |= {"num_train_epochs": 1, "logging_steps": 1}
        if "max_steps" in script.flags:
            given["max_steps"] = None
        if "batch_size" not in script.flags:
            del given["batch_size"]
        code, said = script.run(place / "skip", given | {"on_bad_row": "skip"})
        named = re.findall(rf"^left out {file.name}:(\d+): .+$", said, re.MULTILINE)
        right = code == 0 and sorted(map(int, named)) == lines
        updates = _updates(place / "skip/out/history.jsonl") if right else 0
        right &= updates == GOOD_ROWS // BATCH
        code, said = script.run(place / "error", given)
        stopped = code == 2 and f"error: {file}:{_first_that_stops(file, lines)}: " in said
        what = f"named by {name}, which trains on the other {GOOD_ROWS}"
        parts.append(all_of(len(named) if right and stopped else 0, BAD_ROWS, what))
    return joined(*parts)


def _first_that_stops(file: Path, lines: Sequence[int]) -> int:
    """The first bad line, but XNLI's own files have rows without a text, which stop nothing."""
    rows = file.read_bytes().split(b"\n")
    blank = [b"\t".join([text, b"fine", b"neutral"]) for text in BLANK]
    return next(line for line in lines if rows[line - 1] not in blank)


def _updates(history: Path) -> int:
    rows = map(json.loads, history.read_text(encoding="utf-8").splitlines())
    return sum("split" not in row for row in rows)


def _sst2(folder: Path) -> tuple[Path, list[int]]:
    """A file of SST-2 and the numbers of its bad lines."""
    place = folder / "SST-2"
    shutil.copytree(DATA / "glue/SST-2", place)
    return place / "train.tsv", _write(place / "train.tsv", b"sentence\tlabel", [b"fine"], b"1")


def _xnli(folder: Path) -> tuple[Path, list[int]]:
    """A training file of XNLI, and the numbers of its bad lines."""
    place = folder / "xnli"
    place.mkdir()
    for path in (DATA / "xnli").rglob("*.tsv"):
        shutil.copy(path, place)
    file = place / "multinli.train.en.tsv"
    return file, _write(file, b"premise\thypo\tlabel", [b"So", b"fine"], b"neutral")


def _write(file: Path, header: bytes, texts: Sequence[bytes], label: bytes) -> list[int]:
    """Write rows of each kind, and good ones between them; return the numbers of the bad lines."""
    kinds = [*_bad(texts, label)]
    bad = [kinds[at % len(kinds)] for at in range(BAD_ROWS)]
    good = b"\t".join([*texts, label])
    lines = [(line, True) for line in bad] + [(good, False)] * (GOOD_ROWS - 1)
    random.Random(3).shuffle(lines)
    lines.append((good, False))  # else empty lines at the end would be no rows
    file.write_bytes(b"\n".join([header, *(line for line, _ in lines)]) + b"\n")
    return [number for number, (_, is_bad) in enumerate(lines, start=2) if is_bad]


def _bad(texts: Sequence[bytes], label: bytes) -> list[bytes]:
    """Twenty kinds of malformed rows."""
    first, *rest = texts
    other = [*BLANK, b"\0", b"na\xefve", b"na\xc3", b"\xed\xa0\x80", b"x" * 1_000_000]
    labels = [b"", b"7", b"perhaps", label + b" ", b'"' + label + b'"', b"1.0", b"\xff"]
    return [
        first,  # columns are missing
        b"\t".join([*texts, label, label]),
        b"\t".join([*texts, label, b""]),
        b"    ".join([*texts, label]),
        b"",
        b"\r",
        *(b"\t".join([text, *rest, label]) for text in other),
        *(b"\t".join([*texts, wrong]) for wrong in labels),
    ]


def offline(scale: Scale) -> Measured:
    """Run each script without a connection: on files here and in the hub's cache, or on none."""
    connections = scale.folder / "connections"
    found = scripts(scale.folder)
    works = cached = named = 0
    for name, script in found.items():
        place = scale.folder / "offline" / name.replace(" ", "-")
        preset, changes = _preset(script)
        works += _without(script, place / "files", {}, connections)[0] == 0
        code, said = _without(script, place / "empty", changes, connections)
        line = next((one for one in said.splitlines() if one.startswith("error: ")), "")
        named += code == 2 and "offline" in line and preset in line and "Traceback" not in said
        changes = {flag: value and CACHED for flag, value in changes.items()}
        _cache(_own(script), place / "full/hub")
        cached += _without(script, place / "full", changes, connections)[0] == 0
    tried = len(connections.read_text().splitlines()) if connections.exists() else 0
    return joined(
        all_of(works, len(found), "scripts work with files"),
        all_of(cached, len(found), "with a repository in the cache"),
        all_of(named, len(found), "say what an empty cache lacks"),
        Measured(f"{tried} connections", tried == 0),
    )


def _cache(folder: Path, hub: Path) -> None:
    """Put a model's files where the Hugging Face Hub's library keeps a repository's."""
    repository = hub / f"models--{CACHED.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots/1")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("1")


def _own(script: Script) -> Path:
    """The folder of the model, or of the vocabulary, that the script is run with."""
    named = [script.flags.get(flag) for flag in ("model_name_or_path", "tokenizer_name")]
    found = next((folder for folder in named if folder), None)
    return Path(found or script.flags["vocab_file"].parent)


def _preset(script: Script) -> tuple[str, Flags]:
    """A preset of the script's family, and the flags that name it."""
    if "tokenizer_name" in script.flags:
        return "rembert", {"tokenizer_name": "rembert"}
    if "vocab_file" in script.flags:
        return "bert-base-uncased", {"vocab_file": None, "bert_model": "bert-base-uncased"}
    families = {"rembert": "rembert", "ernie_m": "ernie-m-base"}
    folder = script.path.parent.name
    kind = "electra-small" if script.flags.get("model_type") == "electra" else "bert-base-uncased"
    preset = families.get(folder) or kind
    return preset, {"model_name_or_path": preset}


def _without(script: Script, place: Path, changes: Flags, connections: Path) -> tuple[int, str]:
    """Run a script whose every look for an address and every connection is noted, and fails."""

    def refuse(*given: Any, **_: Any) -> NoReturn:
        with connections.open("a") as file:
            file.write(f"{given!r}\n")
        raise OSError("no connection in this test")

    def main() -> object:
        folders = {"PADDLENLP_EXT_HOME": str(place / "cache"), "HF_HUB_OFFLINE": "1"}
        with (
            mock.patch.dict("os.environ", folders),
            mock.patch("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub")),
            mock.patch.object(socket, "getaddrinfo", refuse),
            mock.patch.object(socket.socket, "connect", refuse),
            mock.patch.object(socket.socket, "connect_ex", refuse),
        ):
            return script_of(script.path).main(command_line(given))

    place.mkdir(parents=True, exist_ok=True)
    given = {**script.flags, script.output: place / "out"} | changes
    return forked(main, place / "said", 60)


ROWS = "tasks/test_rows.py::test"
KINDS = Suite(
    (
        f"{ROWS}_of_a_thousand_bad_rows_each_is_named_and_the_counts_add_up",
        f"{ROWS}_each_kind_of_bad_row_is_named_and_stops",
        f"{ROWS}_scores_out_of_range_are_named",
    ),
    "named with their reasons by the reader",
)
OFFLINE = Suite(
    (
        f"{DOWNLOAD}_offline_nothing_is_asked_for",
        f"{HUB}_offline_says_what_was_looked_for_and_where_to_put_it",
        f"{HUB}_files_put_into_the_cache_by_hand_are_found",
        f"{HUB}_a_repository_of_the_hub",
        "tasks/test_download.py::test_without_connection_the_message_says_what_to_put_where",
    ),
    "tests of downloads without a connection",
)

FAULTS = (
    Fault(
        11,
        "1,000 malformed rows of 20 kinds among good ones, in the training file of each script",
        "each named by file, line and reason, or the first stops the run; counts add up",
        lambda scale: joined(bad_rows(scale), KINDS(scale)),
    ),
    Fault(
        19,
        "all scripts offline, with files, with files of the cache, and with an empty cache; "
        "sockets are patched",
        "no connection; it works, or one line says what is missing",
        lambda scale: joined(offline(scale), OFFLINE(scale)),
    ),
)
