"""What a browser saw in the life of a session, and whether it should have seen that. This is without I/O, so that tests
can show that each mistake is found.

```text
      SET                      DEL, or a sign-out        the limit: redis_tracking_silence + redis_command_timeout
    began │ confirmed        began │ confirmed                        │
──────────┴──────────────────┴─────┴──────────────────────────────────┴──────────────►  when a request began
            200 or 503             200, 401 or 503                        401 or 503
```

All times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# What a request can get besides an answer of the upstream.
REFUSED = ("302", "401", "403")
OUTAGE = "503"


@dataclass(frozen=True)
class Step:
    """Something that changes what Redis has. It happened between these times."""

    began: float
    confirmed: float = math.inf
    what: str = ""


@dataclass
class Life:
    """One session, from its beginning until long after its end."""

    user: str
    way: str
    """How it is ended."""
    written: Step
    ended: Step = field(default_factory=lambda: Step(math.inf))
    passed: float = -math.inf
    """When the last request began that was let through."""
    passed_by: str = ""
    """Which proxy did that."""
    refused: float = math.inf
    """When the first answer came that the session is not there."""
    outages: list[tuple[float, str]] = field(default_factory=list)
    """When requests began that got a 503, and which proxy gave it."""
    answers: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    """Users whose identity was in an answer, and answers of other kinds."""

    def add(self, began: float, came: float, answer: str, user: str | None, by: str = "") -> None:
        """An answer of a proxy; `user` is the identity with which the request arrived at the upstream, if it did."""
        self.answers[answer] += 1
        if user is not None:
            if began > self.passed:
                self.passed, self.passed_by = began, by
            if user != self.user:
                self.others[f"the identity of {user}"] += 1
            if answer != "200":
                self.others[f"let through, with {answer}"] += 1
        elif answer in REFUSED:
            self.refused = min(self.refused, came)
        elif answer == OUTAGE:
            self.outages.append((began, by))
        else:
            self.others[answer] += 1

    @property
    def lag(self) -> float:
        """Seconds from the confirmed end to the last request that was let through; 0 if that began before."""
        return max(0, self.passed - self.ended.confirmed)

    @property
    def is_ended(self) -> bool:
        return self.ended.confirmed < math.inf


def mistakes(life: Life, flushes: Iterable[Step], limit: float) -> list[str]:
    """What must not be. `flushes` have ended all sessions that were written before."""
    found = [f"{life.user} got {what}, {count} times" for what, count in life.others.items()]
    # A write beside a FLUSHALL may be before it or after it.
    touching = [flush for flush in flushes if flush.confirmed > life.written.began]
    if life.refused < min([life.ended.began, *(flush.began for flush in touching)]):
        found.append(f"{life.user} was signed out {until(life.ended.began - life.refused)} its session was ended")
    ends = [
        (life.way, life.ended),
        *(("FLUSHALL", flush) for flush in touching if flush.began > life.written.confirmed),
    ]
    for way, end in ends:
        late = life.passed - end.confirmed
        if late > limit:
            found.append(
                f"{life.user} was let through by a request that began {late:.3f} s after the end by {way} was"
                f" confirmed; the limit is {limit:g} s"
            )
    return found


def until(seconds: float) -> str:
    return f"{seconds:.3f} s before" if seconds < math.inf else "although never"


def is_beside(life: Life, disturbances: Iterable[Step], rest: float) -> bool:
    """Whether something else was broken while the session ended, or had been broken less than `rest` seconds before."""
    until_when = max(life.ended.confirmed, life.passed)
    return any(one.began < until_when and life.ended.began < one.confirmed + rest for one in disturbances)


def worst(lives: Iterable[Life], disturbances: Iterable[Step], count: int = 5) -> list[str]:
    """The ends that were noticed last, and what was broken before."""
    return [
        f"{1000 * life.lag:.1f} ms, {life.way}, at {life.passed_by}, {since(disturbances, life.ended.confirmed)}"
        for life in sorted(lives, key=lambda life: -life.lag)[:count]
    ]


def unexplained(lives: Iterable[Life], disturbances: list[Step], rest: float) -> Counter[str]:
    """The 503 that nothing broken explains, by proxy and time."""
    return Counter(
        f"at {by}, {since(disturbances, when, digits=0)}"
        for life in lives
        for when, by in life.outages
        if not any(one.began < when + 1 and when < one.confirmed + rest for one in disturbances)
    )


def since(disturbances: Iterable[Step], when: float, digits: int = 1) -> str:
    before = [one for one in disturbances if one.confirmed < when]
    last = max(before, key=lambda one: one.confirmed, default=None)
    return f"{when - last.confirmed:.{digits}f} s after: {last.what}" if last else "before the first fault"


def spread(seconds: list[float]) -> str:
    """Some percentiles in milliseconds, by the nearest rank."""
    if not seconds:
        return "none"
    ranked = sorted(seconds)
    names = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1}
    ranks = {name: ranked[max(0, math.ceil(part * len(ranked)) - 1)] for name, part in names.items()}
    return ", ".join(f"{name} {1000 * value:.1f}" for name, value in ranks.items()) + f" ms of {len(ranked):,}"
