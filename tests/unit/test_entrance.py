"""entrance: nobody listens to strangers by oversight."""

from __future__ import annotations

from typing import Any

import pytest

from eyasd.__main__ import main
from eyasd.config import read_settings
from eyasd.core.addresses import is_loopback
from eyasd.core.errors import StartupFailed
from eyasd.entrance import check_exposure, is_private


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("127.0.0.1:50051", True),
        ("127.9.8.7:1", True),
        ("localhost:0", True),
        ("[::1]:50051", True),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        ("10.0.0.7:50051", False),
        ("eyas.internal:50051", False),
        ("localhost.evil.example:50051", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, stays: bool) -> None:
    assert is_loopback(address.rpartition(":")[0]) is stays


@pytest.mark.parametrize("setting", ["listen", "http_listen"])
def test_without_credentials_other_machines_are_not_listened_to(setting: str) -> None:
    open_ = {setting: "0.0.0.0:1"}
    with pytest.raises(StartupFailed, match=rf"api\.{setting} is 0\.0\.0\.0:1.* set access\.tokens or .* say --insecure"):
        check_exposure(read_settings(None, {"api": open_}))
    check_exposure(read_settings(None, {"api": open_ | {"insecure": True}}))
    check_exposure(read_settings(None, {"api": open_ | {"token": "a token"}}))
    check_exposure(read_settings(None, {"api": {setting: "127.0.0.1:1"}}))


@pytest.mark.parametrize(
    ("api", "private"),
    [
        ({}, True),
        ({"http_listen": "[::1]:8080"}, True),
        ({"token": "a token"}, False),
        ({"listen": "0.0.0.0:1", "insecure": True}, False),
        ({"http_listen": "10.0.0.7:8080", "insecure": True}, False),
    ],
)
def test_files_of_the_machine_are_read_for_its_own_users_alone(api: dict[str, Any], private: bool) -> None:
    assert is_private(read_settings(None, {"api": api})) is private


def test_the_daemon_says_so_and_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--listen", "0.0.0.0:0", "--metrics-port", "0"]) == 1
    assert capsys.readouterr().err.startswith(
        "eyasd: api.listen is 0.0.0.0:0, which other machines reach, and no credential is set"
    )


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_none_by_oversight(token: str) -> None:
    with pytest.raises(StartupFailed, match=r"api\.token \(\*\*\*\): it is empty"):
        read_settings(None, {"api": {"token": token}})
