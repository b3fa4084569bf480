"""Requests in RESP2, read as https://redis.io/docs/latest/develop/reference/protocol-spec/ has them: an array of bulk
strings. It shares no code with the filter."""

from __future__ import annotations


def one_command(query: bytes) -> list[bytes]:
    """The words of the one command that these bytes are."""
    words, rest = array(query)
    assert not rest, f"{len(rest)} bytes follow the first command, {words[0]!r}"
    return words


def array(data: bytes) -> tuple[list[bytes], bytes]:
    count, rest = header(data, b"*")
    assert count > 0, "a command without words"
    words = []
    for _ in range(count):
        size, rest = header(rest, b"$")
        word, end, rest = rest[:size], rest[size : size + 2], rest[size + 2 :]
        assert len(word) == size and end == b"\r\n", "a word that is not complete"
        words.append(word)
    return words, rest


def header(data: bytes, kind: bytes) -> tuple[int, bytes]:
    line, end, rest = data.partition(b"\r\n")
    assert end and line[:1] == kind and line[1:].isdigit(), f"no header {kind!r}"
    return int(line[1:]), rest
