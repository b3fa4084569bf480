"""Every secret of a test run, and a search for them in texts.

Envoys add the secrets of their configuration, browsers their cookies, providers the codes and tokens that they issue.
A text is searched for the beginning and the end of each secret, also in percent-encoding. So a log that cuts long
values is caught too.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote, urlsplit

# Length of the beginning and of the end that are searched for; a shorter secret is searched for as a whole.
WINDOW = 16
WORD = re.compile(rf"[\w+/=-]{{{WINDOW},}}", re.ASCII)
# The names of options with a secret.
SECRET_OPTION = re.compile(r"secret(?!s_)|password", re.IGNORECASE)


class KnownSecrets:
    """Grows during a run. Each search first calls the `sources`, which return pairs of a name and a value."""

    def __init__(self) -> None:
        self._windows: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self.sources: list[Callable[[], Iterable[tuple[str, str]]]] = []

    def add(self, what: str, value: str) -> None:
        for part in parts_of(value):
            if len(part) < WINDOW:
                self._short[part] = what
            else:
                self._windows[part[:WINDOW]] = self._windows[part[-WINDOW:]] = what

    def add_options(self, options: str | dict | None) -> None:
        """Adds the secrets of a filter JSON, even of an invalid one, or of the environment. A test
        chooses them, and must not choose a word that a log may have by chance."""
        try:
            options = json.loads(options) if isinstance(options, str) else options
        except ValueError:
            return
        for name, value in options.items() if isinstance(options, dict) else ():
            if isinstance(value, str) and SECRET_OPTION.search(name):
                chosen = [value]
                # Several cookie secrets have commas between them.
                derived = [base64.b64encode(value.encode()).decode(), *long_parts(value)]
            else:
                urls = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
                chosen = [unquote(password) for url in urls if (password := password_of(url))]
                derived = []
            if any(word.isascii() and word.isalpha() and len(word) < WINDOW for word in chosen):
                raise ValueError(f"{name} is a short word: use secrets.token_urlsafe(24)")
            for secret in filter(None, chosen + derived):
                self.add(name, secret)

    def found_in(self, text: str) -> set[str]:
        """The names of the secrets that are in a text."""
        for source in self.sources:
            for what, value in source():
                self.add(what, value)
        found = set()
        for form in dict.fromkeys((text, unquote(text))):
            found |= {what for secret, what in self._short.items() if secret in form}
            found |= {self._windows[window] for window in windows(form) if window in self._windows}
        return found

    def check(self, where: str, text: str) -> None:
        """Fails if a text has a secret; names the kind of the secret, and not the secret."""
        found = self.found_in(text)
        assert not found, f"{where} has a secret: {', '.join(sorted(found))}"


def password_of(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def long_parts(value: str) -> list[str]:
    return [part for part in value.split(",") if len(part) >= WINDOW]


def parts_of(value: str) -> Iterator[str]:
    """The secret parts of a value: the value itself, the parts of a signed value, of a JWT, of a ticket."""
    parts = [part for part in re.split(r"[.|]", value) if len(part) >= WINDOW] or [value]
    # Not the first part of a JWT, which names the algorithm and is the same for all.
    yield from parts[1:] if value.startswith("eyJ") and len(parts) > 1 else parts
    yield from (part for part in ticket_of(value) if len(part) >= WINDOW)


def ticket_of(cookie: str) -> list[str]:
    """The parts of the ticket in a session cookie: its key in Redis without the name, and its secret."""
    signed = cookie.split("|")[0]
    try:
        ticket = base64.urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).decode("ascii")
    except ValueError:
        return []
    key, dot, secret = ticket.rpartition(".")
    return [key.rpartition("-")[2], secret] if dot else []


def windows(text: str) -> Iterator[str]:
    for word in WORD.findall(text):
        for start in range(len(word) - WINDOW + 1):
            yield word[start : start + WINDOW]


SECRETS = KnownSecrets()
