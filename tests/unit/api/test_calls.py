"""api.door.calls: whose calls there is room for, and who is not refused for the crowd that another brings."""

from __future__ import annotations

from eyasd.api.door.calls import Calls, Shares


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def enter(calls: Calls, peer: str, most: int = 1000) -> int:
    """Has a connection open as many as it may, and returns how many these are."""
    number = 0
    while number < most and calls.has_room(peer):
        calls.entered(peer)
        number += 1
    return number


def test_who_holds_all_that_he_may_leaves_the_next_one_some() -> None:
    calls = Calls(512)
    held = {peer: enter(calls, peer) for peer in "abcdefgh"}
    assert list(held.values()) == [256, 128, 64, 32, 16, 8, 4, 2]
    for _ in range(128):
        calls.left("a")
    assert enter(calls, "new") == 65
    assert not calls.has_room("b")


def test_connections_of_a_hundred_each_have_room_for_a_while() -> None:
    calls = Calls(1536)
    assert [enter(calls, str(number), 100) for number in range(14)] == [100] * 14


def test_there_is_an_end() -> None:
    calls = Calls(2)
    assert [enter(calls, peer) for peer in "abc"] == [1, 1, 0]
    calls.left("a")
    assert [enter(calls, peer) for peer in "bc"] == [0, 1]


def test_what_is_large_is_let_in_while_there_is_room_at_all() -> None:
    answers = Shares(100)
    answers.entered("a", 90)
    assert not answers.has_room("a")
    assert answers.has_room("b")
    answers.entered("b", 90)
    assert not answers.has_room("c")
    answers.left("a", 90)
    assert [answers.has_room(peer) for peer in "abc"] == [True, False, True]


def test_who_calls_seldom_is_told_from_who_brings_the_crowd() -> None:
    clock = Clock()
    calls = Calls(512, clock)
    assert not any(calls.came(peer) for peer in "abcd" * 10)
    assert not [calls.came("flood") for _ in range(1000)][-1]
    assert calls.came("a")
    assert calls.came("new")
    clock.now += 1.5
    assert not calls.came("flood")
    assert calls.came("a")
    for _ in range(12):
        clock.now += 1.5
        calls.came("a")
    assert not calls.came("a")
