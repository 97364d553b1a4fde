"""registry.aliases: complete histories, one winner, harmless repetition."""

from __future__ import annotations

import pytest

from eyasd.core.errors import AliasConflict, StorageFailed
from eyasd.registry.aliases import Aliases
from eyasd.registry.store import LocalStore, Store


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
