"""Get the official files of XNLI and PAWS-X, those of the asked languages only."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.download import cache_folder
from paddlenlp_ext.tasks.archives import extract
from paddlenlp_ext.tasks.cross_lingual import (
    CrossLingualTask,
    check_languages,
    check_split,
    fill_in,
)
from paddlenlp_ext.tasks.download import fetch
from paddlenlp_ext.tasks.unpacked import find_changed, note


def official_folder(
    task: CrossLingualTask, split: str, languages: Sequence[str] | None = None
) -> Path:
    """Return a folder with the official files of a split, downloaded on the first use.

    Files that are not as they were unpacked are unpacked anew, with a warning.

    Args:
        task: Whose files.
        split: "train" of XNLI is an archive of its own, 26 times the size of the other two.
        languages: Those whose files are unpacked; all if absent.

    Returns:
        What `read_languages` takes as `data_dir`.

    Raises:
        DataError: The files cannot be had; the message has the address and the place to put the
            file by hand.
    """
    check_split(task, split)
    folder = cache_folder() / "data" / task.folder
    place = task.splits[split].files[0]
    names = dict.fromkeys(fill_in(place, code) for code in check_languages(task, languages))
    try:
        # Other users of the machine have no business in a cache that training trusts.
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            archive = task.archives[split]
            if missing := find_changed(folder, names, [archive.sha256]):
                raw = folder.with_name(f".{folder.name}.unpacked")
                shutil.rmtree(raw, ignore_errors=True)  # of a process that was killed
                members = {name: raw / name for name in missing}
                extract(fetch(archive), members, archive.sha256)
                for name in missing:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(raw / name, folder / name)
                shutil.rmtree(raw)
                note(folder, missing, [archive.sha256])
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder
