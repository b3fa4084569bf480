"""The reader of commands by which every other test here is judged."""

from __future__ import annotations

import pytest

from .resp import one_command

GET = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
NOT_ONE = {
    "two": GET + GET,
    "inline": b"GET a\r\n",
    "half": GET[:-3],
    "more": GET + b"\r\n",
    "none": b"*0\r\n",
    "a longer word": b"*1\r\n$3\r\nGETS\r\n",
    "nothing": b"",
}


def test_one_command_is_its_words():
    # https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server
    assert one_command(b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n") == [b"LLEN", b"mylist"]


@pytest.mark.parametrize("query", NOT_ONE.values(), ids=NOT_ONE)
def test_query_that_is_not_one_command_is_noticed(query):
    with pytest.raises(AssertionError):
        one_command(query)
