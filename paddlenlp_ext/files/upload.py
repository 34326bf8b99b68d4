"""Upload files to the Hugging Face Hub in one commit: all of them are there, or nothing changes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.download import is_offline
from paddlenlp_ext.files.hub import endpoint, is_repository
from paddlenlp_ext.files.web import launcher_proxies, printable
from paddlenlp_ext.process.redaction import hide

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
_CURES = {
    401: f"the Hub does not know you; {_LOGIN}",
    403: f"your token may not write there; {_LOGIN}, or give another `repo_id`",
    404: f"there is no such repository, or your token may not see it; {_LOGIN}",
}


def upload(
    paths: Sequence[Path], repository: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Upload files under their names; what the Hub has already is not sent again.

    Args:
        paths: Of the files.
        repository: "user/name"; made if it is not there.
        private: Whether it is made so that only its owner sees it.
        revision: A branch, made if it is not there; None is the main one.

    Returns:
        The address of the commit.

    Raises:
        UserError: The Hub does not take them, or cannot be reached.
    """
    require_address(repository)
    # Only now: it takes a good part of a second.
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    # Its warnings of another attempt name addresses with a key.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi(endpoint(), library_name="paddlenlp-ext", library_version=__version__)
    operations = [CommitOperationAdd(path.name, path) for path in paths]
    try:
        with launcher_proxies():
            api.create_repo(repository, private=private, exist_ok=True)
            if revision:
                api.create_branch(repository, branch=revision, exist_ok=True)
            message = "Upload a model of paddlenlp-ext"
            done = api.create_commit(
                repository, operations, commit_message=message, revision=revision
            )
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        raise UserError(_line(error, repository)) from error
    return done.commit_url


def require_address(repository: str) -> None:
    """Raise unless something may be sent to a repository of this name.

    Raises:
        UserError: It is no name of one, or offline mode is on.
    """
    if not is_repository(repository):
        raise UserError(f"`repo_id`: expected user/name, got {printable(repository)!r}")
    if is_offline():
        raise UserError("offline mode is on (HF_HUB_OFFLINE); unset it to upload")


def _line(error: Exception, repository: str) -> str:
    """Say why an upload did not succeed, and what helps."""
    where = f"{endpoint()}/{repository}: nothing was changed"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if cure := _CURES.get(status or 0):
        return f"{where}: {cure}"
    why = f"the answer is {status}" if status else type(error).__name__
    said = hide(printable(error))
    return f"{where}: {why} ({said}); the same command sends only what is still missing"
