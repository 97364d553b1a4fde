"""registry.aliases: complete histories, one winner, harmless repetition."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from eyasd.core.errors import AliasConflict, AliasNotFound, NothingToRollBack, StorageFailed
from eyasd.registry.aliases import Aliases
from eyasd.storage.local import LocalStore
from eyasd.storage.store import Store


class RacedStore(LocalStore):
    """A store in which somebody else always creates the record first."""

    def create(self, key: str, content: bytes) -> bool:
        super().create(key, content.replace(b'"version": 2', b'"version": 9'))
        return super().create(key, content)


@pytest.fixture
def store(tmp_path: object) -> Store:
    return LocalStore(tmp_path)  # type: ignore[arg-type]


def test_the_history_is_complete_and_the_newest_record_is_in_force(store: Store) -> None:
    aliases = Aliases(store)
    for version in (1, 2, 1):
        aliases.set("m", "production", version, actor="ann", reason=f"to {version}")
    history = aliases.history("m", "production")
    assert [(r.record, r.previous, r.version, r.reason) for r in history] == [
        (1, None, 1, "to 1"),
        (2, 1, 2, "to 2"),
        (3, 2, 1, "to 1"),
    ]
    assert aliases.current("m") == {"production": history[-1]}


def test_setting_an_alias_to_where_it_points_adds_nothing(store: Store) -> None:
    aliases = Aliases(store)
    first = aliases.set("m", "production", 1, actor="ann", reason="")
    assert aliases.set("m", "production", 1, actor="bob", reason="again") == first
    assert aliases.history("m", "production") == [first]


def test_who_comes_second_is_told(tmp_path: object) -> None:
    store = RacedStore(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(AliasConflict, match="m@production was moved by somebody else"):
        Aliases(store).set("m", "production", 2, actor="ann", reason="")
    record = Aliases(store).get("m", "production")
    assert record is not None
    assert record.version == 9


def test_no_alias_is_none(store: Store) -> None:
    assert Aliases(store).get("m", "canary") is None
    assert Aliases(store).current("m") == {}


def test_a_damaged_record_is_named(store: Store) -> None:
    store.write("m/aliases/production/00000001.json", b"{")
    with pytest.raises(StorageFailed, match=r"m/aliases/production/00000001\.json is damaged"):
        Aliases(store).get("m", "production")


def moved(store: Store, *versions: int) -> Aliases:
    aliases = Aliases(store)
    for version in versions:
        aliases.set("m", "production", version, actor="ann", reason="")
    return aliases


def test_a_rollback_goes_back_one_move_and_the_next_one_further(store: Store) -> None:
    aliases = moved(store, 1, 2, 3)
    first = aliases.rollback("m", "production", actor="bob", reason="it is slow")
    assert (first.record, first.version, first.previous, first.undoes, first.actor, first.reason) == (
        4,
        2,
        3,
        3,
        "bob",
        "it is slow",
    )
    assert aliases.rollback("m", "production", actor="bob", reason="").version == 1
    with pytest.raises(NothingToRollBack, match="m@production has not pointed anywhere before version 1"):
        aliases.rollback("m", "production", actor="bob", reason="")
    assert [record.version for record in aliases.history("m", "production")] == [1, 2, 3, 2, 1]


def test_what_is_set_after_a_rollback_can_be_rolled_back(store: Store) -> None:
    aliases = moved(store, 1, 2)
    aliases.rollback("m", "production", actor="bob", reason="")
    aliases.set("m", "production", 3, actor="ann", reason="")
    assert aliases.rollback("m", "production", actor="bob", reason="").version == 1


def test_a_rollback_of_something_else_does_nothing(store: Store) -> None:
    aliases = moved(store, 1, 2)
    with pytest.raises(AliasConflict, match="points to version 2, not 3: nothing was rolled back"):
        aliases.rollback("m", "production", actor="bob", reason="", expected=3)
    assert len(aliases.history("m", "production")) == 2
    assert aliases.rollback("m", "production", actor="bob", reason="", expected=2).version == 1


def test_of_two_rollbacks_at_once_one_wins(tmp_path: object) -> None:
    moved(LocalStore(tmp_path), 1, 2, 3)  # type: ignore[arg-type]
    with pytest.raises(AliasConflict, match="moved by somebody else"):
        Aliases(RacedStore(tmp_path)).rollback("m", "production", actor="ann", reason="")  # type: ignore[arg-type]
    assert [record.record for record in Aliases(LocalStore(tmp_path)).history("m", "production")] == [1, 2, 3, 4]  # type: ignore[arg-type]


def test_there_is_nothing_to_roll_back_of_an_alias_that_does_not_exist(store: Store) -> None:
    with pytest.raises(AliasNotFound, match="has no alias 'canary'"):
        Aliases(store).rollback("m", "canary", actor="ann", reason="")


def test_what_was_in_force_at_a_moment(store: Store) -> None:
    aliases = moved(store, 1, 2)
    one, two = aliases.history("m", "production")
    assert aliases.at("m", "production", one.time - timedelta(seconds=1)) is None
    assert aliases.at("m", "production", one.time) == one
    assert aliases.at("m", "production", two.time - timedelta(microseconds=1)) == one
    assert aliases.at("m", "production", two.time + timedelta(days=1)) == two


def test_who_looked_too_early_is_told(store: Store) -> None:
    aliases = moved(store, 1, 2)
    with pytest.raises(AliasConflict, match="moved by somebody else"):
        aliases.set("m", "production", 3, actor="ann", reason="", after=1)
    assert aliases.set("m", "production", 3, actor="ann", reason="", after=2).record == 3


def test_of_two_hundred_races_each_has_one_winner(tmp_path: Path) -> None:
    """Two processes' threads would do as well: what decides is one link in the file system."""
    stores = [Aliases(LocalStore(tmp_path)) for _ in range(2)]
    start = threading.Barrier(2)

    def race(writer: int) -> list[bool]:
        won = []
        for number in range(200):
            start.wait()
            newest = stores[writer].get("m", "production")
            seen = newest.record if newest else 0
            start.wait()  # both have looked before either writes
            try:
                stores[writer].set("m", "production", 2 * number + writer + 1, actor=f"writer {writer}", reason="", after=seen)
                won.append(True)
            except AliasConflict:
                won.append(False)
        return won

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(zip(*pool.map(race, range(2)), strict=True))
    assert all(sum(outcome) == 1 for outcome in outcomes)
    history = stores[0].history("m", "production")
    assert [record.record for record in history] == list(range(1, 201))
    assert [record.previous for record in history] == [None, *(record.version for record in history[:-1])]
    assert [record.actor for record in history] == [f"writer {outcome.index(True)}" for outcome in outcomes]
