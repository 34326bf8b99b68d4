"""Files of the Hugging Face Hub or of a mirror, in the cache that all tools have in common.

The layout of the cache is that of `huggingface_hub`: in a repository's folder, `refs/main` names a
commit, and `snapshots/<commit>/<file>` is a link to `blobs/<tag>`. Commits and tags come from the
server, which may be anybody's: they become names only if they are what the Hub's are, and nothing
is read or written outside the cache, whatever links lie in it.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import stat
import urllib.error
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file, replacing, temporary_name
from paddlenlp_ext.files.download import (
    HEADERS,
    PASSING,
    NoHomeError,
    download,
    no_connection,
)
from paddlenlp_ext.files.web import DownloadError, NotThereError, ask, length, printable

PROBE_TIMEOUT = 10.0  # seconds that the hub has for a first answer

WEIGHTS = (".safetensors", ".bin", ".pdparams", ".pt", ".pth")  # suffixes of large files

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_COMMIT = re.compile("[0-9a-f]{40}")
_TAG = re.compile("[0-9a-f]{40,64}")


class NoRepositoryError(DownloadError):
    """There is no such repository, or it is closed."""


class AwayError(DownloadError):
    """The server does not answer, or says that it is in trouble."""


class _Facts(NamedTuple):
    """What the server says of a file."""

    commit: str
    tag: str
    size: int | None


def endpoint() -> str:
    """Return the address of the hub, or of the mirror that the user has chosen."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_repository(name: str) -> bool:
    """Return whether a name is one that a repository of the Hub can have: "user/name"."""
    return _REPOSITORY.fullmatch(name) is not None


def cached(repository: str, name: str, cache: Path | None = None) -> Path | None:
    """Return a file of the cache, if it is there.

    Args:
        repository: On the Hub.
        name: The file, by its path there.
        cache: The cache; None for the one that huggingface_hub has.

    Raises:
        DownloadError: Others can write to the cache, or the file lies outside it.
    """
    folder = _checked(_folder(repository, cache))
    commit = _ref(folder)
    if not re.fullmatch(r"\w+", commit):
        return None
    path = folder / "snapshots" / commit / plain_name(name)
    return _inside(path, folder.parent) if path.is_file() else None


def fetch(repository: str, name: str, cache: Path | None = None) -> Path:
    """Return a file of the cache, downloaded if it is not there or is not the present one.

    Args:
        repository: On the Hub.
        name: The file, by its path there.
        cache: The cache; None for the one that huggingface_hub has.

    Raises:
        NotThereError: The repository has no such file.
        NoRepositoryError: There is no such repository.
        AwayError: The hub does not answer.
        DownloadError: It cannot be had for another reason, or the answer is refused.
    """
    url = f"{endpoint()}/{repository}/resolve/main/{quote(plain_name(name))}"
    token = _token()
    facts = _ask(url, token)
    folder = _checked(_folder(repository, cache))
    blob, path = folder / "blobs" / facts.tag, folder / "snapshots" / facts.commit / name
    try:
        for parent in (blob.parent, path.parent, folder / "refs"):
            _inside(parent, folder.parent).mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            is_small = not name.endswith(WEIGHTS)
            download(
                url,
                blob,
                size=facts.size,
                token=token,
                is_small=is_small,
                is_versioned=not is_small,
                label=name,
            )
            _link(path, blob)
        if _ref(folder) != facts.commit:
            with replacing(folder / "refs" / "main") as temporary:
                temporary.write_text(facts.commit)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error
    return _inside(path, folder.parent)


def _ask(url: str, token: str | None) -> _Facts:
    """Ask for the commit, the tag and the size of a file."""
    try:
        with ask(url, HEADERS, token=token, method="HEAD", timeout=PROBE_TIMEOUT) as response:
            return _facts(response.headers, has_body=True)
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:  # it lies elsewhere
            return _facts(error.headers, has_body=False)
        said = error.headers.get("X-Error-Code", "")
        if error.code in (401, 403) or said in ("RepoNotFound", "RevisionNotFound", "GatedRepo"):
            raise NoRepositoryError("no such repository") from error
        answer = f"the server answers {error.code}"
        if error.code in (404, 410):
            raise NotThereError(answer) from error
        if error.code in PASSING or error.code >= 500:
            raise AwayError(f"no connection: {answer}") from error
        raise DownloadError(answer) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AwayError(no_connection(error)) from error


def _facts(headers: Message, *, has_body: bool) -> _Facts:
    """Read what a server says of a file, and refuse what the Hub never says.

    Raises:
        DownloadError: The commit or the tag is no digest.
    """
    commit = headers.get("X-Repo-Commit", "")
    said = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    tag = said.removeprefix("W/").strip('"')
    for name, value, form, digits in (
        ("X-Repo-Commit", commit, _COMMIT, "40"),
        ("ETag", tag, _TAG, "40 to 64"),
    ):
        if not form.fullmatch(value):
            raise DownloadError(
                f"the answer is refused: expected {digits} hexadecimal digits as {name}, got "
                f"{printable(value, 24)!r}"
            )
    size = headers.get("X-Linked-Size") or (headers.get("Content-Length") if has_body else None)
    return _Facts(commit, tag, length(size))


def _link(path: Path, blob: Path) -> None:
    """Put a file into a snapshot: as a link, or as a copy where there are no links."""
    temporary = temporary_name(path)
    try:
        temporary.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        with replacing(path) as copy:
            shutil.copyfile(blob, copy)
    else:
        os.replace(temporary, path)


def _ref(folder: Path) -> str:
    try:
        return read_file(folder / "refs" / "main", 1000).decode().strip()
    except (UserError, ValueError):
        return ""


def plain_name(name: str) -> str:
    """Return a name of a file as it is, if it leads nowhere else.

    Raises:
        DownloadError: It does.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise DownloadError(f"{printable(name, 60)!r} is no name of a file of a model")
    return name


def _token() -> str | None:
    # Imported late: it takes a good part of a second, which `--help` does not have.
    from huggingface_hub import constants, get_token

    return None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()


def _cache() -> Path:
    from huggingface_hub import constants

    try:
        return Path(constants.HF_HUB_CACHE).expanduser()
    except RuntimeError:
        raise NoHomeError(
            "this user has no home folder; set HF_HOME to a folder that can be written to"
        ) from None


def _folder(repository: str, cache: Path | None) -> Path:
    return (cache or _cache()) / f"models--{repository.replace('/', '--')}"


def _checked(folder: Path) -> Path:
    """Return a repository's folder, unless everybody can write to it or to the cache.

    Raises:
        DownloadError: Everybody can.
    """
    for path in (folder.parent, folder):
        try:
            is_open = path.stat().st_mode & stat.S_IWOTH
        except OSError:
            continue
        if is_open and os.name == "posix":
            raise DownloadError(
                f"{path}: everybody can write to it, so what lies there is not used; take that "
                "right away if all in it is yours (chmod o-w), or set HF_HOME to another folder"
            )
    return folder


def _inside(path: Path, cache: Path) -> Path:
    """Return a path as it is, if links lead to nothing outside the cache.

    Raises:
        DownloadError: They do.
    """
    if not path.resolve().is_relative_to(cache.resolve()):
        raise DownloadError(f"{path}: is a link that leads out of the cache, so it is not followed")
    return path
