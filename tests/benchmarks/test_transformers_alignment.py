"""Retrieval by our states is that by the states of transformers' model, to the last sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_ext.inference.alignment import Aligner
from paddlenlp_ext.inference.alignment_files import measure_files, read_files, write_all
from paddlenlp_ext.models.auto import AutoModel
from tests.inference.test_alignment import write_pairs
from tests.scripts import multilingual

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("make", [multilingual.xlm_r, multilingual.rembert])
def test_all_layers(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from benchmarks import transformers_alignment

    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    AutoModel.from_pretrained(folder).save_pretrained(folder, format="huggingface")
    (folder / "model_state.pdparams").unlink()
    pairs = write_pairs(tmp_path / "en-es.tsv", 7)
    capsys.readouterr()
    transformers_alignment.main([str(folder), str(pairs), "--batch_size", "3"])
    theirs = capsys.readouterr().out
    write_all(measure_files(Aligner(folder), read_files([pairs])), tmp_path)
    assert (tmp_path / "alignment.tsv").read_text() == theirs
