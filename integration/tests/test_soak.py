"""What `make soak WHAT=tracking` finds: each mistake of a filter, and none of a filter without mistakes."""

from __future__ import annotations

import math

import pytest

from soaking.verdict import Life, Step, is_beside, mistakes, spread

LIMIT = 2


def life(*answers: tuple[float, str, str | None], ended: Step | None = None) -> Life:
    """A session that was written at 1 and ended at 10. `answers` have when a request began, its status and its user."""
    seen = Life("alice", "DEL", Step(1, 1.1), ended or Step(10, 10.1))
    for began, status, user in answers:
        seen.add(began, began + 0.01, status, user)
    return seen


def found(seen: Life, *flushes: Step) -> str:
    return "\n".join(mistakes(seen, flushes, LIMIT))


def test_session_that_ends_in_time_is_no_mistake():
    seen = life((2, "200", "alice"), (10.05, "401", None), (12, "200", "alice"), (12.2, "401", None))
    assert not found(seen)
    assert seen.lag == pytest.approx(1.9)


def test_request_after_the_limit_is_found():
    assert "2.400 s after the end by DEL" in found(life((12.5, "200", "alice")))


def test_outage_is_no_mistake_but_a_sign_out_is():
    assert not found(life((5, "503", None), (20, "503", None)))
    assert "signed out" in found(life((5, "401", None)))
    assert "although never" in found(life((5, "302", None), ended=Step(math.inf)))


def test_refused_answer_beside_the_end_is_no_mistake():
    assert not found(life((9.995, "401", None)))


def test_identity_of_another_user_is_found():
    assert "the identity of carol" in found(life((5, "200", "carol")))


@pytest.mark.parametrize("answer", ["VmDied", "ConnectionResetError", "500", "200"])
def test_answer_of_another_kind_is_found(answer):
    assert answer in found(life((5, answer, None)))


def test_flush_ends_what_was_written_before_it():
    flush = Step(4, 4.1)
    assert not found(life((3, "200", "alice"), (5, "401", None)), flush)
    assert "by FLUSHALL" in found(life((6.5, "200", "alice")), flush)
    assert "signed out" in found(life((3, "401", None)), flush)
    # Written meanwhile or later.
    assert not found(life((8, "200", "alice"), (9, "401", None)), Step(0.5, 1.05))
    assert "signed out" in found(life((9, "401", None)), Step(0.5, 0.9))


def test_end_beside_a_disturbance_is_counted_apart():
    seen = life((10.3, "200", "alice"))
    assert is_beside(seen, [Step(10.2, 11)], rest=3)
    assert is_beside(seen, [Step(5, 8)], rest=3)
    assert not is_beside(seen, [Step(5, 6.9), Step(10.4, 11)], rest=3)


def test_spread_is_by_the_nearest_rank():
    assert spread([number / 1000 for number in range(1, 1001)]) == (
        "p50 500.0, p99 990.0, p99.9 999.0, max 1000.0 ms of 1,000"
    )
    assert spread([]) == "none"
