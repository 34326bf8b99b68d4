"""Put generated tables between the markers of a document."""

from __future__ import annotations

import re
from collections.abc import Sequence


def replace_section(document: str, name: str, lines: Sequence[str]) -> str:
    """Replace what stands between the two markers of a section.

    Args:
        document: Markdown with `<!-- begin NAME -->` and `<!-- end NAME -->` on lines of their own.
        name: Of the section.
        lines: What will stand there.

    Raises:
        ValueError: The document lacks the markers, or has them twice.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"^{re.escape(begin)}$.*?^{re.escape(end)}$", re.DOTALL | re.MULTILINE)
    content = "\n".join([begin, "", *lines, "", end])
    changed, count = pattern.subn(lambda _: content, document)
    if count != 1:
        raise ValueError(f"the document has {count} sections {begin} … {end}, and needs one")
    return changed
