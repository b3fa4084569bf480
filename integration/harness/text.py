"""Finding something in a text that has to be there."""

from __future__ import annotations

import re


def find(pattern: str, text: str, flags: int = re.MULTILINE) -> re.Match[str]:
    """The first match of a pattern; fails if there is none."""
    found = re.search(pattern, text, flags)
    assert found, f"{pattern} does not match anything in:\n{text}"
    return found
