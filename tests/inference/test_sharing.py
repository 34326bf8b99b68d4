"""A model goes to the Hub, and nothing else of its folder; a server of this machine takes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from paddlenlp_ext.weights.formats.pdparams import write_pdparams
from tests.files.hub_server import Hub, taking

MODEL = {"config.json", "vocab.txt", "tokenizer_config.json", "model_state.pdparams", "README.md"}
# Waits between attempts take no time here.
PUSH = """
import time
time.sleep = lambda seconds: None
from paddlenlp_ext.__main__ import main
main()
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def hub() -> Iterator[Hub]:
    with taking() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run that ends with its best model beside the checkpoints."""
    output = tmp_path / "out"
    (output / "model_5").mkdir(parents=True)
    for place in (output, output / "model_5"):
        (place / "config.json").write_text('{"model_type": "bert"}')
        (place / "vocab.txt").write_text("[PAD]\n")
        (place / "tokenizer_config.json").write_text("{}")
        (place / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
        write_pdparams(place / "model_state.pdparams", {"w": np.arange(7, dtype=np.float32)})
        for name in ("optimizer.safetensors", "trainer_state.json", "predictions.jsonl"):
            (place / name).write_text("not for others")
    (output / "results.jsonl").write_text("{}\n")
    return output


def push(hub: Hub, *words: object, **environment: str) -> Ended:
    variables = {"HF_ENDPOINT": hub.address, "HF_TOKEN": hub.token, "HF_HUB_OFFLINE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", PUSH, "push", *map(str, words)],
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", **variables, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert hub.token not in ended.stdout + ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_a_model_is_uploaded_in_one_commit(hub, folder):
    code, out, err = push(hub, folder, "--repo_id", "me/model", "--private", "--revision", "first")
    assert (code, out) == (0, f"{hub.address}/me/model/commit/1\n"), err
    (made,) = hub.created
    assert made["name"] == "model"
    assert made.get("private") or made["visibility"] == "private"  # of older and newer versions
    assert hub.branches == ["first"]
    ((branch, files),) = hub.commits
    assert (branch, files.keys()) == ("first", MODEL)
    assert files == {name: (folder / name).read_bytes() for name in MODEL}
    assert {line.split()[0] for line in err.splitlines()} == MODEL


def test_what_breaks_off_changes_nothing_and_goes_on(hub, folder):
    (folder / "README.md").unlink()
    write_pdparams(folder / "pytorch_model.bin", {"w": np.arange(5, dtype=np.float32)})
    hub.breaks = 10**6
    code, out, err = push(hub, folder, "--repo_id", "me/model")
    note, line = err.splitlines()[-2:]
    assert (code, out, hub.commits, hub.sent) == (2, "", [], [])
    assert note == "note: there is no README.md: the Hub will not say what the model is"
    assert line.startswith(f"error: {hub.address}/me/model: nothing was changed: ")
    assert line.endswith("; the same command sends only what is still missing")
    hub.breaks = 0
    assert push(hub, folder, "--repo_id", "me/model").code == 0
    assert push(hub, folder, "--repo_id", "me/model").code == 0
    assert len(hub.sent) == len({*hub.sent}) == 2  # neither came again
    assert len(hub.commits) == 2


def test_who_may_not_write_is_told_how_to_log_in(hub, folder):
    code, out, err = push(hub, folder, "--repo_id", "me/model", HF_TOKEN="hf_wrong")
    assert (code, out, hub.commits) == (2, "", [])
    assert err.splitlines()[-1] == (
        f"error: {hub.address}/me/model: nothing was changed: the Hub does not know you; log in "
        "with `hf auth login`, or set HF_TOKEN to a token that may write"
    )


@pytest.mark.parametrize("lacks", ["config.json", "model_state.pdparams"])
def test_a_folder_without_a_model_is_refused(lacks, hub, folder):
    (folder / "model_5" / lacks).unlink()
    code, out, err = push(hub, folder / "model_5", "--repo_id", "me/model")
    assert (code, out, hub.created) == (2, "", [])
    assert err == (
        f"error: {folder}/model_5: expected a model (config.json and weights, as "
        "model_state.pdparams); give the folder of one, or of a run that has one\n"
    )


def test_names_that_are_none_and_offline_mode(hub, folder):
    err = push(hub, folder, "--repo_id", "model").err
    assert err.endswith("error: --repo_id: expected user/name, got 'model'\n")
    assert "bytes" not in err  # nothing is listed that is not sent
    err = push(hub, folder, "--repo_id", "me/model", HF_HUB_OFFLINE="1").err
    assert err.endswith("error: offline mode is on (HF_HUB_OFFLINE); unset it to upload\n")
    assert hub.created == []
