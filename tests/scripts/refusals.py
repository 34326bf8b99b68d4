"""What a script says to who made a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from paddlenlp_ext.cli.program import as_flags
from paddlenlp_ext.errors import UserError


@contextmanager
def refused(message: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Expect a user's mistake, whose message matches once its settings are spelled as flags."""
    with pytest.raises(UserError) as error:
        yield error
    assert re.search(message, as_flags(str(error.value))), str(error.value)
