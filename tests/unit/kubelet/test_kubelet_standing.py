from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet import standing
from nri_cdi.kubelet.loop import POLL
from nri_cdi.kubelet.standing import Counted, Own, Seen, Standing, Step, Streams, decide

OLD, NEW = (1, 1, 1), (1, 2, 2)
FRESH = Standing()
BOUND = Standing(bound=True)
REGISTERED = Standing(bound=True, tried=OLD, registered=True, registered_at=100.0)
WELL = Seen(OLD, Own.OURS, Streams(open=1))


@pytest.mark.parametrize(
    ("state", "seen", "now", "step"),
    [
        # Binding comes before anything is said to the kubelet.
        (FRESH, Seen(OLD, Own.NO_DIRECTORY, Streams()), 0.0, Step.WAIT),
        (FRESH, Seen(OLD, Own.GONE, Streams()), 0.0, Step.BIND),
        (FRESH, Seen(None, Own.GONE, Streams()), 0.0, Step.BIND),
        (FRESH, Seen(OLD, Own.TAKEN, Streams()), 0.0, Step.BIND),  # an older instance's: a new one takes over
        (BOUND, Seen(OLD, Own.TAKEN, Streams()), 0.0, Step.WAIT),  # a newer instance's: an old one stands by
        (REGISTERED, replace(WELL, own=Own.GONE), 100.0, Step.BIND),
        (REGISTERED, Seen(NEW, Own.GONE, Streams(0, 1, 99.0)), 100.0, Step.BIND),
        # Then the kubelet.
        (BOUND, Seen(None, Own.OURS, Streams()), 0.0, Step.WAIT),
        (BOUND, Seen(OLD, Own.OURS, Streams()), 0.0, Step.REGISTER),
        (REGISTERED, WELL, 100.0, Step.WAIT),
        (REGISTERED, WELL, 1e9, Step.WAIT),
        (REGISTERED, replace(WELL, kubelet=None), 100.0, Step.WAIT),
        (REGISTERED, replace(WELL, kubelet=NEW), 100.0, Step.REGISTER),
        # A stream that ended, and the moment that its end needs to settle.
        (REGISTERED, Seen(OLD, Own.OURS, Streams(0, 1, 200.0)), 200.0, Step.WAIT),
        (REGISTERED, Seen(OLD, Own.OURS, Streams(0, 1, 200.0)), 200.1, Step.REGISTER),
        (REGISTERED, Seen(OLD, Own.OURS, Streams(1, 1, 200.0)), 200.1, Step.REGISTER),  # of two, one
        (replace(REGISTERED, streams_ended=1), Seen(OLD, Own.OURS, Streams(1, 1, 200.0)), 200.1, Step.WAIT),
        # Another plugin that registered after us is let be, and followed when it has ended; not faster than the kubelet can count.
        (REGISTERED, replace(WELL, counted=Counted.THEIRS), 1e9, Step.WAIT),
        (REGISTERED, Seen(OLD, Own.OURS, Streams(1, 1, 200.0), Counted.THEIRS), 1e9, Step.WAIT),
        (REGISTERED, Seen(NEW, Own.OURS, Streams(0, 1, 200.0), Counted.THEIRS), 200.0, Step.REGISTER),
        (REGISTERED, replace(WELL, counted=Counted.NOBODYS), 104.9, Step.WAIT),
        (REGISTERED, replace(WELL, counted=Counted.NOBODYS), 105.1, Step.REGISTER),
        # ListAndWatch that never came.
        (REGISTERED, Seen(OLD, Own.OURS, Streams()), 104.9, Step.WAIT),
        (REGISTERED, Seen(OLD, Own.OURS, Streams()), 105.1, Step.REGISTER),
        # A refusal is tried again when its time has come, or when the kubelet is another one.
        (Standing(bound=True, tried=OLD, failures=1, not_before=5.0), Seen(OLD, Own.OURS, Streams()), 4.9, Step.WAIT),
        (
            Standing(bound=True, tried=OLD, failures=1, not_before=5.0),
            Seen(OLD, Own.OURS, Streams()),
            5.0,
            Step.REGISTER,
        ),
        (
            Standing(bound=True, tried=OLD, failures=1, not_before=5.0),
            Seen(NEW, Own.OURS, Streams()),
            4.0,
            Step.REGISTER,
        ),
        (Standing(bind_after=5.0), Seen(OLD, Own.GONE, Streams()), 4.9, Step.WAIT),
        (Standing(bind_after=5.0), Seen(OLD, Own.GONE, Streams()), 5.0, Step.BIND),
    ],
)
def test_what_is_seen_decides_what_is_done_next(state: Standing, seen: Seen, now: float, step: Step) -> None:
    assert decide(state, seen, now).step is step


def test_waiting_for_a_moment_names_that_moment() -> None:
    ended = Seen(OLD, Own.OURS, Streams(0, 1, 200.0))
    assert decide(REGISTERED, ended, 200.0).until == 200.0 + standing.SETTLE


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(None, Own.OURS, Streams()), "kubelet.sock is not there"),
        (Seen(OLD, Own.NO_DIRECTORY, Streams()), "--kubelet-dir"),
        (Seen(OLD, Own.TAKEN, Streams()), "another instance"),
        (replace(WELL, counted=Counted.THEIRS), "remove that plugin"),
        (WELL, ""),
    ],
)
def test_a_wait_that_an_operator_should_know_of_says_what_it_waits_for(seen: Seen, words: str) -> None:
    why = decide(REGISTERED, seen, 100.0).why.format(socket="kubelet.sock", directory="d", path="p")
    assert words in why
    assert bool(words) == bool(why)


def test_a_socket_that_could_not_be_bound_is_tried_again_soon_and_a_refusal_does_not_delay_it() -> None:
    assert standing.failed(FRESH, 7.0).bind_after == 7.0 + standing.BIND_RETRY
    refused = standing.refused(REGISTERED, WELL, 100.0)
    assert decide(refused, replace(WELL, own=Own.GONE), 100.0).step is Step.BIND


def test_refusals_are_tried_again_at_doubling_distances_up_to_ten_seconds() -> None:
    state, now, distances = BOUND, 0.0, []
    for _ in range(10):
        state = standing.refused(state, WELL, now)
        distances.append(round(state.not_before - now, 3))
        now = state.not_before
    assert distances == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    assert standing.refused(state, replace(WELL, kubelet=NEW), now).failures == 1


def test_a_quarrel_over_the_resource_slows_down_and_an_ordinary_update_does_not() -> None:
    state, now, distances = BOUND, 0.0, []
    for ended in range(14):
        state = standing.registered(state, Seen(OLD, Own.OURS, Streams(0, ended, now)), now)
        gone = Seen(OLD, Own.OURS, Streams(0, ended + 1, now))
        before = now
        while decide(state, gone, now).step is Step.WAIT:
            until = decide(state, gone, now).until
            assert until is not None
            now = until
        distances.append(round(now - before, 3))
    assert distances[:3] == [0.05] * 3
    assert distances[3:10] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert distances[10:] == [standing.RETRY_MAX] * 4
    later = standing.registered(state, Seen(OLD, Own.OURS, Streams(0, 14, now)), state.not_before + standing.QUICK)
    assert later.quick == 0


@dataclass
class World:
    """A kubelet, our socket and a rim that polls, in simulated time. Whatever happens, the rim obeys `decide`."""

    now: float = 0.0
    state: Standing = field(default_factory=Standing)
    kubelet: tuple[int, int, int] | None = None
    own: Own = Own.NO_DIRECTORY
    open: int = 0
    ended: int = 0
    last_end: float = 0.0
    kubelets: int = 0
    accepts: bool = True
    known: bool = False

    def seen(self) -> Seen:
        return Seen(self.kubelet, self.own, Streams(self.open, self.ended, self.last_end))

    def end_streams(self) -> None:
        if self.open:
            self.open, self.ended, self.last_end = 0, self.ended + self.open, self.now
        self.known = False

    def happen(self, event: str) -> None:
        match event:
            case "kubelet starts":
                self.end_streams()
                self.own = Own.GONE
                self.kubelets += 1
                self.kubelet = (1, 1, self.kubelets)
            case "kubelet stops" | "stream ends":
                self.end_streams()
            case "kubelet.sock removed":
                self.kubelet = None
                self.end_streams()
            case "our socket removed":
                self.own = Own.GONE if self.own is not Own.NO_DIRECTORY else self.own
            case "taken":
                self.own = Own.TAKEN if self.own is Own.OURS else self.own
            case "kubelet refuses":
                self.accepts = False
            case "kubelet accepts":
                self.accepts = True

    def turn(self) -> float:
        seen = self.seen()
        decision = decide(self.state, seen, self.now)
        if decision.step is Step.BIND:
            assert self.own is not Own.NO_DIRECTORY
            self.own = Own.OURS
            self.state = standing.bound(self.state)
        elif decision.step is Step.REGISTER:
            assert self.own is Own.OURS, "registered without serving"
            assert self.kubelet is not None
            if self.accepts:
                self.state = standing.registered(self.state, seen, self.now)
                self.open += 1
                self.known = True
            else:
                self.state = standing.refused(self.state, seen, self.now)
        else:
            return POLL if decision.until is None else max(min(POLL, decision.until - self.now), 1e-6)
        return 0.0

    def run(self, seconds: float) -> int:
        end, turns = self.now + seconds, 0
        while self.now < end:
            turns += 1
            self.now += self.turn()
        return turns


EVENTS = [
    "kubelet starts",
    "kubelet stops",
    "kubelet.sock removed",
    "stream ends",
    "our socket removed",
    "taken",
    "kubelet refuses",
    "kubelet accepts",
]


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.floats(0.0, 2.0)), max_size=20))
def test_whatever_happens_a_kubelet_that_starts_knows_us_within_300_ms(history: list[tuple[str, float]]) -> None:
    world = World()
    for event, pause in history:
        world.happen(event)
        turns = world.run(pause)
        assert turns < 100, "the rim spins"
    world.happen("kubelet accepts")
    world.happen("kubelet starts")
    world.run(0.3)
    assert world.known


@pytest.mark.parametrize("event", ["kubelet starts", "stream ends"])
def test_what_made_the_kubelet_forget_us_is_repaired_within_300_ms(event: str) -> None:
    world = World()
    world.happen("kubelet starts")
    world.run(10.0)
    opened = world.open + world.ended
    world.happen(event)
    assert (world.open, world.known) == (0, False)
    world.run(0.3)
    assert (world.open, world.ended) == (1, opened)


def test_while_all_is_well_nothing_is_registered_again() -> None:
    world = World()
    world.happen("kubelet starts")
    world.run(1.0)
    state = world.state
    world.run(60.0)
    assert world.state == state
    assert world.open == 1
