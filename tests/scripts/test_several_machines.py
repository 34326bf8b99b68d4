"""Two launchers, as on two machines: the run is that of one process, and is saved once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.docs.test_readmes import script_of
from tests.scripts import launchers
from tests.scripts.test_bert_run_glue import SCRIPT, arguments, history, losses, tiny_bert


def test_two_machines_are_one(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    encoder = tiny_bert(tmp_path / "encoder")
    one, two = (tmp_path / name for name in ("one", "two"))
    phases = ["--do_train", "--do_predict"]
    script_of(SCRIPT).main(arguments(encoder, one, max_steps=5) + phases)
    given = arguments(encoder, two, max_steps=5, batch_size=4) + phases
    started = launchers.start(given, tmp_path)
    assert [process.wait(120) for process in started] == [0, 0], launchers.said(tmp_path)
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-5)
    evaluated = [[row for row in history(run) if "split" in row] for run in (one, two)]
    for expected, found in zip(*evaluated, strict=True):
        assert found["metrics"] == expected["metrics"]
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    logs = [path.read_text() for path in tmp_path.glob("log-*/workerlog.0")]
    assert sorted("global step 5," in log for log in logs) == [False, True]  # said once
    assert not list(tmp_path.glob("log-*/FAILED.json"))


def test_folders_of_their_own_are_said_and_refused_where_all_need_them(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    given = arguments(tiny_bert(tmp_path / "encoder"), Path("out"), max_steps=3, batch_size=4)
    phases = ["--do_train", "--do_predict"]
    started = launchers.start(given + phases, tmp_path, apart=True)
    for process in started:
        assert process.wait(120) != 0
    said = launchers.said(tmp_path)
    assert "out is not shared with " in said
    assert re.search("error: .*model_3: what is there of process 1 on .* is not that of ", said)
    assert "give an --output_dir that all machines share, or copy the folder" in said
    assert (tmp_path / "machine-0/out/model_3/manifest.json").exists()
    assert not (tmp_path / "machine-1/out/model_3").exists()
