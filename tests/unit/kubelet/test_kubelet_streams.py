from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from nri_cdi.kubelet.inventory import Device, Resource
from nri_cdi.kubelet.streams import DeviceStreams

EMPTY = Resource("v.com/x", "v.com/x")
ONE = Resource("v.com/x", "v.com/x", (Device("0", "v.com/x=0"),))
TWO = Resource("v.com/x", "v.com/x", (Device("0", "v.com/x=0", healthy=False, reason="gone"),))


def nothing() -> None:
    pass


def test_a_stream_begins_with_the_list_as_it_is_and_goes_on_with_each_new_one() -> None:
    streams = DeviceStreams(EMPTY, nothing)
    lists = streams.follow(streams.open())
    assert next(lists) == EMPTY
    streams.update(ONE)
    assert next(lists) == ONE
    streams.update(TWO)
    streams.update(EMPTY)
    assert next(lists) == EMPTY  # a list that was replaced before it was taken is left out


def test_a_stream_that_waits_is_woken_by_an_update_and_by_its_end() -> None:
    streams = DeviceStreams(EMPTY, nothing)
    stream = streams.open()
    lists = streams.follow(stream)
    assert next(lists) == EMPTY
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(next, lists, None)
        streams.update(ONE)
        assert waiting.result(5) == ONE
        waiting = pool.submit(next, lists, None)
        streams.end(stream)
        assert waiting.result(5) is None


def test_the_same_list_again_is_not_sent_again() -> None:
    streams = DeviceStreams(ONE, nothing)
    lists = streams.follow(streams.open())
    assert next(lists) == ONE
    streams.update(Resource(ONE.name, ONE.kind, tuple(ONE.devices)))
    streams.update(TWO)
    assert next(lists) == TWO


def test_closing_ends_every_stream_and_those_that_come_later() -> None:
    streams = DeviceStreams(ONE, nothing)
    early, late = streams.follow(streams.open()), streams.follow(streams.open())
    assert next(early) == ONE
    streams.close()
    assert list(islice(early, 2)) == []
    assert list(islice(late, 2)) == []


def test_open_and_ended_streams_are_counted_and_an_end_is_told_once() -> None:
    told: list[int] = []
    streams = DeviceStreams(ONE, lambda: told.append(streams.counts.ended))
    first, second = streams.open(), streams.open()
    assert (streams.counts.open, streams.counts.ended) == (2, 0)
    streams.end(first)
    streams.end(first)
    assert (streams.counts.open, streams.counts.ended) == (1, 1)
    assert (streams.is_open(first), streams.is_open(second)) == (False, True)
    assert told == [1]
    assert streams.counts.last_end > 0
