"""Tokens: of predictions, of callers in files, JSON web tokens and the keys that they are checked with, and of attempts of jobs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import jwt
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from eyasd.access.jwts import JwtOptions, Jwts
from eyasd.access.keys import Keys, _parse
from eyasd.access.roles import parse_grants, written
from eyasd.access.tokens import NAME, Tokens, line_of
from eyasd.core.errors import Unauthenticated
from eyasd.serving.answer import Prediction
from eyasd.serving.feedback.ids import PredictionIds, _sign, _signer
from eyasd.serving.feedback.judged import Stamp
from fuzz.target import Target, sentence, split, text_of
from hostile.damage import damaged, damaged_json

_SECRETS: Final = ("first secret", "second secret")
_NOW: Final = 1_800_000_000
_SIGNATURE_BYTES: Final = 16
_WORDS: Final = (b"-", b"_", b"=", b"==", b"+", b"/", b"A", b"\n", b".")


@cache
def _ids() -> PredictionIds:
    return PredictionIds(_SECRETS, lambda: _NOW)


@cache
def _minted() -> Mapping[str, Stamp]:
    """Returns ids that were made here, each with what it says."""
    probabilities, made = np.array([0.1, 0.7, 0.2], np.float32), {}
    for secret in _SECRETS:
        ids = PredictionIds((secret,), lambda: _NOW)
        for model, version, thresholds in (
            ("a", 1, None),
            ("a" * 64, 999_999_999, (0.1, 0.5, 0.5)),
            ("b.c-d_e", 2, (0.9, 0.9, 0.9)),
        ):
            text = ids.mint(
                model, version, Prediction("red", 1, 0.7, applies=True), probabilities, thresholds, routed=True, canary=version == 2
            )
            stamp = _ids().read(text)
            assert stamp is not None
            assert (stamp.model, stamp.version, stamp.class_index, stamp.time) == (model, version, 1, _NOW)
            made[text] = stamp
    return made


def _is_signed(text: str) -> bool:
    """Says by itself what `PredictionIds` has to say: whether a key has signed what this very text stands for."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        return False
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return False
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:
        return False
    body, signature = content[:-_SIGNATURE_BYTES], content[-_SIGNATURE_BYTES:]
    keys = (hashlib.blake2b(secret.encode(), digest_size=32, person=b"eyas prediction").digest() for secret in _SECRETS)
    return any(hashlib.blake2b(body, key=key, digest_size=_SIGNATURE_BYTES).digest() == signature for key in keys)


def check_prediction(data: bytes) -> None:
    """An id is accepted if and only if a key has signed it; one that was made here, changed in any way, never is."""
    text = data.decode(errors="replace")
    stamp = _ids().read(text)
    assert (stamp is not None) <= _is_signed(text)
    if text in _minted():
        assert stamp == _minted()[text]
    signed = _sign(_signer(_SECRETS[0]), data)
    read = _ids().read(base64.urlsafe_b64encode(data + signed).rstrip(b"=").decode())
    assert read is None or read.model.encode() in data
    assert _ids().read(base64.urlsafe_b64encode(data + _sign(_signer("another secret"), data)).rstrip(b"=").decode()) is None


def _vary_prediction(data: bytes, random: Random) -> bytes:
    """Returns an id that was made here with a character that is another, or is not there; or two halves of two."""
    made = list(_minted())
    text, other = random.choice(made), random.choice(made)
    at = random.randrange(len(text))
    kind = random.randrange(6)
    if kind == 0:
        return (text[:at] + random.choice("AZaz09-_=+/ \n\u0661") + text[at + 1 :]).encode()
    if kind == 1:
        return (text[:at] + other[at:]).encode()
    if kind == 2:
        return (text + random.choice(("=", "A", "\n", " ", "=="))).encode()
    if kind == 3:
        content = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-_SIGNATURE_BYTES])
        return damaged(bytes(content), random)
    return damaged(text.encode(), random) if kind == 4 else damaged(data, random)


_HEX: Final = re.compile(r"[0-9a-f]{12,}")


def check_lines(data: bytes) -> None:
    """A file of tokens is read, and written again means the same; or is refused with its line, and nothing of a digest is told."""
    text = text_of(data)
    try:
        tokens = Tokens.parse({"tokens": text})
    except ValueError as error:
        told = sentence(str(error))
        assert told.startswith("tokens, line ")
        assert not any(digest in told for digest in _HEX.findall(text) if len(digest) == 64)
        return
    for digest, entry in tokens._entries.items():
        until = f" expires={entry.expires.isoformat()}" if entry.expires is not None else ""
        assert NAME.fullmatch(entry.identity.name)
        line = f"{entry.identity.name} sha256:{digest.hex()} {written(entry.identity.grants)}{until}"
        assert Tokens.parse({"tokens": line})._entries == {digest: entry}
        assert parse_grants(written(entry.identity.grants)) == entry.identity.grants


_PRIVATE: Final = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_CLAIMS: Final[dict[str, Any]] = {"iss": "https://id", "aud": "eyas", "sub": "ann", "exp": 4_000_000_000, "roles": ["users", "x"]}
_OPTIONS: Final = JwtOptions("https://id", "eyas", ("EdDSA",), 30, "sub", "roles", {"users": "classify:col*", "ops": "admin"})


@cache
def _jwks() -> bytes:
    return json.dumps({"keys": [{**OKPAlgorithm.to_jwk(_PRIVATE.public_key(), as_dict=True), "kid": "a", "use": "sig"}]}).encode()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _jwts() -> Jwts:
    file = Path(tempfile.mkdtemp(prefix="eyas-fuzz-")) / "jwks.json"
    file.write_bytes(_jwks())
    keys = Keys(str(file), lambda *_: None, lambda: 0.0)
    _loop().run_until_complete(keys.look())
    file.unlink()
    file.parent.rmdir()
    return Jwts(_OPTIONS, keys)


def _part(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def check_jwt(data: bytes) -> None:
    """A web token that nobody has signed is refused, and one that the issuer has says what is true of it, or is refused, too."""
    kind, *pieces = split(data, 3)
    header, claims = pieces
    if kind == b"s":
        signed = _part(header) + b"." + _part(claims)
        token = (signed + b"." + _part(_PRIVATE.sign(signed))).decode()
    else:
        token = text_of(header + b"." + claims + b"." + kind)
    Jwts.resembles(token)
    try:
        identity = _loop().run_until_complete(_jwts().identify(token))
    except Unauthenticated as error:
        sentence(error.message)
        return
    assert kind == b"s" or data in _tokens()
    said = json.loads(claims if kind == b"s" else base64.urlsafe_b64decode(claims + b"=="))
    assert said["iss"] == "https://id"
    assert "eyas" in said["aud"]
    assert int(said["exp"]) + 30 > time.time()
    assert identity.name == said["sub"]


@cache
def _tokens() -> tuple[bytes, ...]:
    """Returns inputs of `check_jwt` that hold a whole token that was signed."""
    header, claims, signature = jwt.encode(_CLAIMS, _PRIVATE, algorithm="EdDSA", headers={"kid": "a"}).encode().split(b".")
    return (signature + b"\0" + header + b"\0" + claims,)


def _jwt_seeds() -> Iterator[bytes]:
    yield from _tokens()
    header, claims = json.dumps({"alg": "EdDSA", "typ": "JWT", "kid": "a"}), json.dumps(_CLAIMS)
    yield f"s\0{header}\0{claims}".encode()
    yield f's\0{{"alg": "none"}}\0{claims}'.encode()
    for one in (
        {"exp": "4000000000"},
        {"exp": 1e9},
        {"aud": ["eyas", "x"]},
        {"nbf": 0, "iat": 1},
        {"roles": "users ops"},
        {"sub": ""},
        {"jti": [1]},
    ):
        yield f"s\0{header}\0{json.dumps(_CLAIMS | one)}".encode()
    yield b"s\0" + header.encode() + b"\0" + claims.encode().replace(b"4000000000", b"1e999")
    for bad in (
        b"[" * 1_200,
        b'{"a":' * 1_000,
        b'{"alg": NaN}',
        b"\xff",
        b"1" * 5_000,
        b'{"alg": "EdDSA", "kid": [1]}',
        b'{"alg": "EdDSA", "crit": ["x"]}',
    ):
        yield b"s\0" + bad + b"\0" + claims.encode()
        yield b"s\0" + header.encode() + b"\0" + bad
        yield b"x\0" + _part(bad) + b"\0" + _part(claims.encode())


def _vary_jwt(data: bytes, random: Random) -> bytes:
    kind, header, claims = split(data, 3)
    if kind != b"s":
        return damaged(data, random)
    if random.random() < 0.4:
        header = damaged_json(header, random)
    else:
        claims = damaged_json(claims, random)
    return b"\0".join((kind, header, claims))


def check_keys(data: bytes) -> None:
    """An issuer's keys are read, or refused with a sentence; none is a secret that both sides know."""
    try:
        keys = _parse(data)
    except ValueError as error:
        sentence(str(error))
        return
    assert all(key.key_type in {"RSA", "EC", "OKP"} for key in keys.values())


def _key_seeds() -> Iterator[bytes]:
    yield _jwks()
    numbers = {"n": base64.urlsafe_b64encode(b"\xc3" * 256).decode().rstrip("="), "e": "AQAB"}
    yield json.dumps(
        {
            "keys": [
                {"kty": "RSA", "kid": "b", **numbers},
                {"kty": "oct", "k": "AAAA"},
                {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            ]
        }
    ).encode()
    yield from (b'{"keys": []}', b'{"keys": null}', b"[]", b'{"keys": [1]}', b'{"keys": {"a": 1}}', b"[" * 3_000)


def _line_seeds() -> Iterator[bytes]:
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    yield line_of("eyas_one", "shop", parse_grants("classify:clothing*,feedback"), expires).encode()
    yield f"# what it is\n\n{line_of('eyas_two', 'a@b.c', parse_grants('admin'), None)}\n".encode()
    line = line_of("eyas_three", "ann", parse_grants("train"), None)
    for other in (
        line.upper(),
        line + " expires=2027",
        line + " expires=0001-01-01T00:00:00+14:00",
        line + "\x1c" + line,
        line + " x y",
        line[:60],
    ):
        yield other.encode()


TARGETS: Final = (
    Target(
        "predictions", check_prediction, lambda: [text.encode() for text in _minted()], _WORDS, _vary_prediction, 400,
    ),
    Target("lines", check_lines, _line_seeds, (b"sha256:", b"expires=", b"classify", b"admin", b"train", b":", b",", b"*", b"\x1c",
    b"\xc2\x85"), most_bytes=600),
    Target("jwts", check_jwt, _jwt_seeds, (b'"exp"', b'"kid"', b'"alg"', b'"EdDSA"', b'"none"', b'"aud"', b"NaN", b"1e999"),
    _vary_jwt, 2_000),
    Target("keys", check_keys, _key_seeds, (b'"kty"', b'"RSA"', b'"EC"', b'"OKP"', b'"oct"', b'"crv"', b'"use"'), damaged_json),
)  # fmt: skip
