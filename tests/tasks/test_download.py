"""Official archives become a task's folder: unpacked, split, and without their broken rows."""

import hashlib
import io
import tarfile
import threading
import zipfile
from dataclasses import replace

import pytest

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.scratch import make_scratch
from paddlenlp_ext.tasks import download as module
from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.task import Archive, Table, Task

HEADER = b"id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\r\n"
MRPC = GLUE["mrpc"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def by_hand(cache, url, data, folder=""):
    """Put a file into the cache as a user would who has no connection."""
    archive = Archive(url, len(data), hashlib.sha256(data).hexdigest(), folder)
    (cache / "archives").mkdir(parents=True, exist_ok=True)
    (cache / "archives" / archive.name).write_bytes(data)
    return archive


def qqp(cache, train, dev=b"0\t1\t2\tWho?\tWhere?\t0\n"):
    path = cache.parent / "made.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("QQP/train.tsv", HEADER + train)
        zipped.writestr("QQP/dev.tsv", HEADER + dev)
        zipped.writestr("QQP/original/quora_duplicate_questions.tsv", b"not asked for")
    archive = by_hand(cache, "https://example.org/glue/QQP-clean.zip", path.read_bytes(), "QQP/")
    return replace(GLUE["qqp"], archives=(archive,))


def test_every_task_has_its_own_archive():
    # Tables that swap QQP's and STS-B's addresses are in circulation.
    tasks = [*GLUE.values(), XNLI, PAWS_X]
    assert all(task.archives for task in tasks)
    for task in GLUE.values():
        assert task.folder == f"glue/{task.name}"
        if task is not MRPC:
            (archive,) = task.archives
            assert archive.name.startswith(task.name)
            assert archive.name.endswith(".zip")
    archives = [archive for task in tasks for archive in task.archives]
    assert len({one.sha256 for one in archives}) == len({one.url for one in archives}) == 13
    assert all(len(bytes.fromhex(archive.sha256)) == 32 for archive in archives)
    assert all(archive.url.startswith("https://") for archive in archives)


def test_one_row_is_all_that_a_task_needs(cache):
    path = cache.parent / "made.tar.gz"
    with tarfile.open(path, "w:gz") as tarred:
        for split in ("train", "dev"):
            data = b"text\tlabel\n" + split.encode() + b"\t1\n"
            info = tarfile.TarInfo(f"new-1.0/{split}.tsv")
            info.size = len(data)
            tarred.addfile(info, io.BytesIO(data))
    archive = by_hand(cache, "https://example.org/made.tar.gz", path.read_bytes(), "new-1.0/")
    task = Task(
        "New",
        {split: Table((f"{split}.tsv",), ("text",), "label") for split in ("train", "dev")},
        metrics.accuracy,
        labels=("0", "1"),
        archives=(archive,),
    )
    folder = official_folder(task)
    assert folder == cache / "data" / "New"
    assert [read_examples(task, split, folder)[0].text_a for split in task.splits] == [*task.splits]


def test_a_task_without_archives_is_told_what_to_give():
    with pytest.raises(DataError, match=r"^New has no official archive; give .* as `data_dir`$"):
        official_folder(Task("New", {}, metrics.accuracy))


def test_an_archive_becomes_a_folder_without_the_rows_that_are_broken(cache):
    good = [b'%d\t1\t2\tWhat is %d?\tIs it "%d?\t%d' % (n, n, n, n % 2) for n in range(6000)]
    # As in the official file: a question with a line break, and one that is empty.
    rows = [*good[:100], b"100\t1\t2\tWhat is", b"it?\tWhich?\t0", *good[101:4000]]
    rows += [b"4000\t1\t2\tHow can I create an app?\t\t0", *good[4001:]]
    task = qqp(cache, b"\r\n".join(rows) + b"\r\n")
    folder = official_folder(task)
    assert folder == cache / "data" / "glue" / "QQP"
    examples = read_examples(task, "train", folder)
    assert len(examples) == 6000 - 2
    assert examples[-1].text_a == "What is 5999?"
    assert len(read_examples(task, "dev", folder)) == 1
    assert (folder / "bad_rows.txt").read_text().splitlines() == [
        "train.tsv:102: expected 6 columns, got 4",
        "train.tsv:103: expected 6 columns, got 3",
        "train.tsv:4003: expected a text, got none in column 'question2'",
    ]
    files = ["bad_rows.txt", "dev.tsv", "manifest.json", "train.tsv"]
    assert sorted(one.name for one in folder.iterdir()) == files
    assert [one.name for one in folder.parent.iterdir()] in (
        ["QQP", "QQP.lock"],
        ["QQP.lock", "QQP"],
    )


def test_too_many_broken_rows_are_no_accident(cache):
    task = qqp(cache, b"0\t1\t2\tWho?\tWhere?\t0\n" * 900 + b"broken\n")
    with pytest.raises(
        DataError, match=r"QQP: 1 of 901 rows of train.tsv .* train.tsv:902: expected"
    ):
        official_folder(task)


def test_a_folder_that_is_there_is_taken_and_a_half_one_is_made_whole(cache):
    task = qqp(cache, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3)
    folder = official_folder(task)
    (folder / "train.tsv").unlink()
    leftover = make_scratch(folder.parent, "QQP")  # of a process that was killed
    (leftover / "work" / "old.tsv").touch()
    mine = folder.with_name(".QQP.unpacked")
    mine.mkdir()
    assert len(read_examples(task, "train", official_folder(task))) == 3
    assert not leftover.exists()
    assert mine.exists()
    (cache / "archives" / "QQP-clean.zip").unlink()
    assert official_folder(task) == folder


def test_files_that_were_changed_or_put_there_are_unpacked_again(cache, caplog):
    task = qqp(cache, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3)
    folder = cache / "data" / "glue" / "QQP"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):  # also what an earlier version has unpacked
        (folder / name).write_bytes(HEADER + b"0\t1\t2\tSmuggled?\tIn?\t1\n")
    assert len(read_examples(task, "train", official_folder(task))) == 3
    assert caplog.messages == [
        f"{folder / name}: is not what was unpacked there; it is unpacked again"
        for name in ("train.tsv", "dev.tsv")
    ]
    caplog.clear()
    assert official_folder(task) == folder
    assert not caplog.messages
    whole = (folder / "train.tsv").read_bytes()
    (folder / "train.tsv").write_bytes(whole.replace(b"Who", b"Why", 1))
    official_folder(task)
    assert (folder / "train.tsv").read_bytes() == whole
    for broken in ("", "[]", '{"train.tsv": 5}', "\xff"):
        (folder / "manifest.json").write_text(broken, "latin-1")
        official_folder(task)
    (cache / "archives" / "QQP-clean.zip").unlink()
    (folder / "dev.tsv").write_bytes(b"Smuggled?")
    with pytest.raises(DataError, match=r"QQP-clean.zip: offline mode is on"):
        official_folder(task)


def test_the_bytes_that_are_unpacked_are_those_that_were_verified(cache, monkeypatch):
    task = qqp(cache, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3)
    fetch = module.fetch

    def swap(archive):
        path = fetch(archive)
        with zipfile.ZipFile(path, "w") as zipped:
            for name in ("train.tsv", "dev.tsv"):
                zipped.writestr(f"QQP/{name}", HEADER + b"0\t1\t2\tSmuggled?\tIn?\t1\n")
        return path

    monkeypatch.setattr(module, "fetch", swap)
    with pytest.raises(DataError, match=r"QQP-clean.zip: expected SHA-256"):
        official_folder(task)


def test_processes_wait_for_the_one_that_unpacks(cache, monkeypatch):
    task = qqp(cache, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3000)
    unpacked, folders = [], []
    extract = module.extract
    monkeypatch.setattr(module, "extract", lambda *given: (unpacked.append(1), extract(*given)))
    threads = [
        threading.Thread(target=lambda: folders.append(official_folder(task))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(unpacked) == 1
    assert folders == [cache / "data" / "glue" / "QQP"] * 6
    assert len(read_examples(task, "train", folders[0])) == 3000


def test_paraphrases_are_split_by_the_list_of_dev_rows(cache):
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    rows = [f"{n % 2}\t{n}\t{n + 100}\tIt's \"{n}.\tNumber {n} – so!\r\n" for n in range(9)]
    corpus = (header + "".join(rows)).encode()
    ids = b"3\t103\n5\t105\n8\t999\n"
    contents = zip(MRPC.archives, (corpus, ids, corpus), strict=True)
    archives = tuple(
        replace(by_hand(cache, archive.url, data), splits=archive.splits)
        for archive, data in contents
    )
    task = replace(MRPC, archives=archives)
    folder = official_folder(task)
    assert {path.name for path in folder.glob("*.tsv")} == {"train.tsv", "dev.tsv"}
    assert official_folder(task, "test") == folder
    numbers = {
        split: [int(one.text_b.split()[1]) for one in read_examples(MRPC, split, folder)]
        for split in (*MRPC.splits, *MRPC.unlabelled)
    }
    assert numbers == {"train": [0, 1, 2, 4, 6, 7, 8], "dev": [3, 5], "test": [*range(9)]}


def test_without_connection_the_message_says_what_to_put_where(cache):
    with pytest.raises(DataError) as told:  # the tests are offline
        official_folder(GLUE["rte"])
    message = str(told.value)
    assert message.startswith(
        "https://dl.fbaipublicfiles.com/glue/data/RTE.zip: offline mode is on"
    )
    assert f"put it at {cache}/archives/RTE.zip" in message
    assert "`data_dir`" in message
    assert (cache.stat().st_mode & 0o777) == 0o700
    assert "\n" not in message


def test_another_file_put_there_by_hand_is_refused(cache):
    by_hand(cache, GLUE["rte"].archives[0].url, b"<html>please log in</html>")
    with pytest.raises(DataError, match=r"RTE.zip: expected 697,150 bytes, got 26"):
        official_folder(GLUE["rte"])


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"file/cache.* cannot be written"):
        official_folder(MRPC)
