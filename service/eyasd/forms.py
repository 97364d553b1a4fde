"""The forms that the values of settings have, each with the sentence for one that is not so."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from eyasd.access.roles import parse_grants
from eyasd.core.addresses import is_loopback
from eyasd.core.errors import InvalidArgument
from eyasd.core.places import place_of
from eyasd.storage.address import check_address

_SHORTEST_KEY: Final = 16


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:50051")
    return text


Address = Annotated[str, AfterValidator(_address)]


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s]+/?", text):
        raise ValueError("it is not http://HOST:PORT, or https://HOST:PORT")
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def _root(text: str) -> str:
    try:
        place_of(text)
    except InvalidArgument as error:
        raise ValueError(error.message) from None
    return text


Root = Annotated[str, AfterValidator(_root)]
StoreAddress = Annotated[str, AfterValidator(check_address)]


def _keys(secret: SecretStr | None) -> SecretStr | None:
    if secret and any(len(key.strip()) < _SHORTEST_KEY for key in secret.get_secret_value().split(",")):
        raise ValueError(f"a key has at least {_SHORTEST_KEY} characters, and a comma stands between two")
    return secret


FeedbackKeys = Annotated[SecretStr | None, AfterValidator(_keys)]


def _token(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not secret.get_secret_value().strip():
        raise ValueError("it is empty: leave it unset where there shall be none")
    return secret


Token = Annotated[SecretStr | None, AfterValidator(_token)]


def _roles(text: str) -> str:
    parse_grants(text)
    return text


Roles = Annotated[str, AfterValidator(_roles)]


def _jwt_keys(place: str) -> str:
    url = urlsplit(place)
    here = url.scheme == "http" and is_loopback(url.hostname or "")
    if "://" in place and not (url.hostname and (url.scheme == "https" or here)):
        raise ValueError("it is no file, nor https://HOST/PATH")
    return place


JwtKeys = Annotated[str, AfterValidator(_jwt_keys)]
# Of those with a public key: who can check a signature by a shared one can make it.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def _server(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(f"{text!r} is no http://HOST or https://HOST: other stores of MLflow need a tracking server before them")
    if "@" in url.netloc:
        raise ValueError("it has a user before its host: set trackers.mlflow.user and trackers.mlflow.token")
    return text.rstrip("/")


TrackingServer = Annotated[str, AfterValidator(_server)]


def _experiment(text: str) -> str:
    try:
        text.format(model="", type="")
        fields = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except (LookupError, ValueError):
        fields = {""}
    if not fields <= {"model", "type"} or not text.strip():
        raise ValueError(f"{text!r} is no name with {{model}} or {{type}} in it")
    return text


Experiment = Annotated[str, AfterValidator(_experiment)]
