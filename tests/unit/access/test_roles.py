"""access.roles, access.identity: what a grant covers, and how grants are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.access.certificates import Certified
from eyasd.access.identity import ANYBODY, Identity, Kind
from eyasd.access.roles import Role, matches, parse_grants, written


def identity(roles: str) -> Identity:
    return Identity("ann", Kind.TOKEN, parse_grants(roles))


@pytest.mark.parametrize(
    ("roles", "may", "may_not"),
    [
        ("classify", [(Role.CLASSIFY, "hats"), (Role.CLASSIFY, None)], [(Role.TRAIN, "hats"), (Role.ADMIN, None)]),
        ("classify:clothing*", [(Role.CLASSIFY, "clothing-2"), (Role.CLASSIFY, None)], [(Role.CLASSIFY, "hats")]),
        ("train:hats, classify", [(Role.TRAIN, "hats"), (Role.CLASSIFY, "shoes")], [(Role.TRAIN, "shoes"), (Role.FEEDBACK, None)]),
        ("admin:hats", [(Role.TRAIN, "hats"), (Role.FEEDBACK, None)], [(Role.CLASSIFY, "shoes")]),
        ("admin", [(role, model) for role in Role for model in (None, "hats")], []),
    ],
)
def test_what_somebody_may(roles: str, may: list[tuple[Role, str | None]], may_not: list[tuple[Role, str | None]]) -> None:
    assert all(identity(roles).may({role}, model) for role, model in may)
    assert not any(identity(roles).may({role}, model) for role, model in may_not)


def test_nobody_without_roles_may_anything() -> None:
    assert not any(Identity("ann", Kind.JWT, ()).may({role}) for role in Role)
    assert all(ANYBODY.may({role}, "hats") for role in Role)


@pytest.mark.parametrize("text", ["", "clasify", "classify,", "classify:", "classify:a b", "classify:A", "admin:a/b", "classify:é"])
def test_what_is_no_grant(text: str) -> None:
    with pytest.raises(ValueError, match="is no role: write|does not name models: write"):
        parse_grants(text)


@given(st.lists(st.sampled_from(["classify", "train:a*", "feedback:*b", "admin:x", "admin"]), min_size=1, unique=True))
def test_grants_are_written_as_they_are_read(parts: list[str]) -> None:
    assert written(parse_grants(",".join(parts))) == ",".join(parts)


@given(st.text("ab*.", max_size=8), st.text("ab.", max_size=8))
def test_a_star_stands_for_anything_and_nothing_else_does(pattern: str, text: str) -> None:
    assert matches(pattern, text) is bool(re.fullmatch("".join(".*" if c == "*" else re.escape(c) for c in pattern), text))


def test_many_stars_in_a_row_are_one() -> None:
    assert matches("*" * 64, "a" * 64)
    assert not matches("*" * 63 + "b", "a" * 64)


def test_names_of_a_certificate_have_roles() -> None:
    certified = Certified({"*.shop.internal": "classify", "ops": "admin"})
    assert str(certified.identify(["web.shop.internal", "ops"]).roles) == "classify,admin"
    assert certified.identify(["spiffe://x", "ops"]).name == "ops"
    stranger = certified.identify(["shop.internal.evil.example"])
    assert (stranger.name, stranger.grants, stranger.roles) == ("shop.internal.evil.example", (), "no role")
    assert certified.identify([]).grants == ()
