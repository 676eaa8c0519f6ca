from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from nri_cdi.kubelet.streams import DeviceStreams

EMPTY, ONE, TWO = b"", b"one device", b"another"


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
    streams.update(bytes(bytearray(ONE)))
    streams.update(TWO)
    assert next(lists) == TWO


def test_while_held_a_stream_gets_nothing_new_and_a_new_one_the_list_as_it_is() -> None:
    streams = DeviceStreams(ONE, nothing)
    old = streams.follow(streams.open())
    assert next(old) == ONE
    streams.hold(held=True)
    streams.update(TWO)
    assert next(streams.follow(streams.open())) == TWO
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(next, old)
        assert not waiting.done()
        streams.hold(held=False)
        assert waiting.result(5) == TWO


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
    streams.end(second)
    assert (streams.counts.open, streams.counts.ended) == (0, 2)
    assert told == [1, 2]
    assert streams.counts.last_end > 0
