"""access.tokens: lines and what they open; nothing of a token is in its line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eyasd.__main__ import main
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import Tokens, expiry, line_of, make_token, read_texts

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def line(token: str, name: str = "ann", roles: str = "classify", expires: datetime | None = None) -> str:
    return line_of(token, name, parse_grants(roles), expires)


def test_a_token_is_found_by_its_line_and_is_not_in_it() -> None:
    first, second = make_token(), make_token()
    text = f"# of the shop\n\n{line(first)}\n  {line(second, roles='train:hats,classify', expires=NOW)}\n"
    assert first not in text
    tokens = Tokens.parse({"tokens": text})
    assert len(tokens) == 2
    entry, again = tokens.find(first), tokens.find(second)
    assert entry is not None
    assert again is not None
    assert (entry.identity.name, entry.identity.roles, entry.expires) == ("ann", "classify", None)
    assert (again.identity.name, again.identity.roles, again.expires) == ("ann", "train:hats,classify", NOW)
    for wrong in ("", first[:-1], first + " ", first.upper(), make_token(), "\udcff"):
        assert tokens.find(wrong) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ann", "line 1: write NAME sha256:DIGEST ROLES"),
        (
            "ann eyas_FueDwSbdqBJrBNQD6r0SuCOA45HRpj classify",
            "line 1: the second word .* was a token written there itself",
        ),
        ("\nann sha256:abc classify", "line 2: the second word"),
        (f"{line('a')[:-8]}clasify", "line 1: 'clasify' is no role"),
        (f"{line('a')} 2027", "line 1: '2027' is not expires="),
        (f"{line('a')} expires=soon", "is not expires="),
        (f"{line('a')}\n{line('a', 'bob')}", "line 2: the token of bob is in another line"),
        (line("a").replace("ann", "an/n"), "line 1: the first word is no name"),
        (line("a").replace("ann ", "ann"), "write NAME"),
        (f"ann {line('a').split()[1]} {line('a').split()[1]}", "line 1: a word stands where another should: write NAME"),
        (f"{line('a')} eyas_not.told-", "line 1: a word stands where another should: write NAME"),
        (f"eyas_not.told- {line('a')}", "line 1: the first word is no name"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        Tokens.parse({"tokens": text})
    assert "eyas_" not in str(refused.value)


def test_a_folder_is_read_as_a_mounted_secret_is(tmp_path: Path) -> None:
    first, second = make_token(), make_token()
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "shop").write_text(line(first))
    (tmp_path / "shop").symlink_to("..data/shop")
    (tmp_path / "ops").write_text(f"{line(second, 'ops')}\n")
    (tmp_path / ".hidden").write_text("no line")
    assert len(Tokens.parse(read_texts(tmp_path))) == 2
    (tmp_path / "ops").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="ops is no text"):
        read_texts(tmp_path)


def test_when_a_token_ends() -> None:
    assert expiry("90d", NOW) == NOW + timedelta(days=90)
    assert expiry("2027-01-31", NOW) == datetime(2027, 1, 31, tzinfo=UTC)
    assert expiry("2027-01-31T12:00:00+02:00", NOW) == datetime(2027, 1, 31, 10, tzinfo=UTC)
    with pytest.raises(ValueError, match="'expires=soon' is not"):
        expiry("soon", NOW)


def test_the_command_prints_a_token_and_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "ann", "--roles", "classify:clothing*,feedback", "--expires", "2027-01-31"]) == 0
    told = capsys.readouterr()
    token = told.out.strip()
    assert token not in told.err
    entry = Tokens.parse({"": told.err.splitlines()[-1]}).find(token)
    assert entry is not None
    assert (entry.identity.roles, entry.expires) == ("classify:clothing*,feedback", datetime(2027, 1, 31, tzinfo=UTC))
    for wrong in (["an/n", "--roles", "train"], ["ann", "--roles", "fly"], ["ann", "--roles", "train", "--expires", "soon"]):
        assert main(["token", *wrong]) == 1
        assert capsys.readouterr().err.startswith("eyasd: '")
