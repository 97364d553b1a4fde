"""access.followed, access.credentials: what changes is taken, what cannot be read leaves what was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eyasd.access.credentials import Credentials, follow_tokens
from eyasd.access.identity import ANYBODY, SHARED
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import line_of, make_token
from eyasd.core.errors import Unauthenticated


class Told:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None]] = []

    def __call__(self, what: str, error: str | None) -> None:
        self.heard.append((what, error))


def line(token: str, more: str = "") -> str:
    return f"{line_of(token, 'ann', parse_grants('classify'), None)}{more}\n"


async def test_tokens_come_and_go_without_a_start(tmp_path: Path) -> None:
    file, told, old, new = tmp_path / "tokens", Told(), make_token(), make_token()
    file.write_text(line(old))
    credentials = Credentials(tokens=follow_tokens(file, told), now=lambda: 0.0)
    await credentials.look()
    assert told.heard == []
    file.write_text(line(old) + line(new))
    await credentials.look()
    for token in (old, new):
        assert (await credentials.identify(f"Bearer {token}")).name == "ann"
    file.write_text("no line")
    for _ in range(3):  # told once
        await credentials.look()
    assert (await credentials.identify(f"bearer {old}")).name == "ann"
    file.unlink()
    await credentials.look()
    assert (await credentials.identify(f"Bearer {old}")).name == "ann"
    file.write_text(line(new))
    await credentials.look()
    assert [error and error.split(":")[0] for _, error in told.heard] == [
        None,
        f"{file}, line 1",
        "[Errno 2] No such file or directory",
        None,
    ]
    with pytest.raises(Unauthenticated, match="bears no token, or a wrong one"):
        await credentials.identify(f"Bearer {old}")
    assert credentials.token_count == 1


async def test_a_token_is_good_until_it_expires(tmp_path: Path) -> None:
    file, token, now = tmp_path / "tokens", make_token(), [0.0]
    file.write_text(line(token, " expires=1970-01-02"))
    credentials = Credentials(tokens=follow_tokens(file, Told()), now=lambda: now[0])
    await credentials.identify(f"Bearer {token}")
    now[0] = 86_400.0
    with pytest.raises(Unauthenticated, match=r"The token of ann was good until 1970-01-02T00:00\+00:00: ask for another"):
        await credentials.identify(f"Bearer {token}")


async def test_following_goes_on_whatever_it_meets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, told, met = tmp_path / "tokens", Told(), asyncio.Event()
    file.write_text(line(make_token()))
    credentials = Credentials(tokens=follow_tokens(file, Told()), told=told)
    looks = iter([RuntimeError("nobody foresaw this"), None])

    async def look() -> None:
        if (error := next(looks, None)) is not None:
            raise error
        met.set()

    monkeypatch.setattr(credentials, "look", look)
    monkeypatch.setattr("eyasd.access.credentials._LOOK_SECONDS", 0.0)
    following = asyncio.create_task(credentials.follow())
    await asyncio.wait_for(met.wait(), 60)
    following.cancel()
    assert told.heard == [("credentials", "RuntimeError: nobody foresaw this")]


@pytest.mark.parametrize("authorization", ["", "hush", "Basic hush", "Bearer", "Bearer hus", "Bearer hush ", "Bearer  hush"])
async def test_who_does_not_bear_the_token(authorization: str) -> None:
    credentials = Credentials(shared="hush")
    with pytest.raises(Unauthenticated):
        await credentials.identify(authorization)
    with pytest.raises(Unauthenticated):  # whose certificates are worth nothing here
        await credentials.identify(authorization, ["ann"])
    assert await credentials.identify("Bearer hush") is SHARED
    assert await Credentials().identify(authorization) is ANYBODY
