"""The official files of XNLI and PAWS-X: unpacked once, where the readers look for them."""

import shutil
import zipfile
from pathlib import Path

import pytest

from paddlenlp_ext.tasks import download
from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI, read_languages
from paddlenlp_ext.tasks.download import official_folder

DATA = Path(__file__).parents[2] / "data"
SPLITS = [(task, split) for task in (XNLI, PAWS_X) for split in ("train", "dev", "test")]


def test_official_files_are_unpacked_once_and_only_those_asked_for(tmp_path, monkeypatch):
    archive = tmp_path / "XNLI-MT-1.0.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((DATA / "xnli/XNLI-MT-1.0").rglob("*.tsv")):
            zipped.write(path, path.relative_to(DATA / "xnli"))
            zipped.writestr(f"__MACOSX/XNLI-MT-1.0/multinli/._{path.name}", b"\0")
    fetched = []

    def fetch(wanted):
        fetched.append(wanted.name)
        return archive

    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "fetch", fetch)
    extract = download.extract
    monkeypatch.setattr(download, "extract", lambda path, members, _: extract(path, members))
    english = XNLI.official_files("train", ["en"])
    folder = official_folder(XNLI, "train", english)
    assert [path.name for path in folder.rglob("*.tsv")] == ["multinli.train.en.tsv"]
    assert official_folder(XNLI, "train", english) == folder
    assert fetched == ["XNLI-MT-1.0.zip"]
    assert official_folder(XNLI, "train") == folder
    assert read_languages(XNLI, "train", folder) == read_languages(XNLI, "train", DATA)
    assert fetched == ["XNLI-MT-1.0.zip"] * 2
    changed = folder / "XNLI-MT-1.0/multinli/multinli.train.de.tsv"
    changed.write_bytes(changed.read_bytes()[:-5])
    assert read_languages(XNLI, "train", official_folder(XNLI, "train")) == read_languages(
        XNLI, "train", DATA
    )
    assert fetched == ["XNLI-MT-1.0.zip"] * 3


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_official_paths_are_those_of_the_sample_data(task, split, tmp_path, monkeypatch):
    names = []
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    monkeypatch.setattr(download, "fetch", lambda archive: tmp_path / archive.name)

    def extract(archive, members, sha256):
        names.extend(members)
        for name, target in members.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DATA / task.folder / name, target)

    monkeypatch.setattr(download, "extract", extract)
    folder = official_folder(task, split)
    assert all((folder / name).is_file() for name in names)
    assert read_languages(task, split, folder) == read_languages(task, split, DATA)
