"""access.jwts, access.keys: which web tokens are taken, whatever they say of themselves, and how keys come and go."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from eyasd.access.credentials import Credentials
from eyasd.access.jwts import JwtOptions, Jwts
from eyasd.access.keys import Keys
from eyasd.core.errors import Unauthenticated, Unavailable

NOW = 1_800_000_000
RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {"iss": "https://id", "aud": "eyas", "sub": "ann", "exp": NOW + 60, "roles": ["users", "x"]}
OPTIONS = JwtOptions("https://id", "eyas", ("RS256", "ES256"), 30, "sub", "roles", {"users": "classify:col*", "ops": "admin"})


class Clock:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Told:
    def __init__(self) -> None:
        self.errors: list[str | None] = []

    def __call__(self, what: str, error: str | None) -> None:
        self.errors.append(error)


def jwks(**keys: Any) -> str:
    made = []
    for name, key in keys.items():
        algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
        made.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
    return json.dumps({"keys": made})


def signed(key: Any = RSA, kid: str | None = "a", algorithm: str = "RS256", **changed: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


class House:
    """An issuer whose keys are in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self.told = folder / "jwks.json", Told()
        self.clock, self.wall = Clock(0.0), Clock(NOW)
        self.file.write_text(jwks(a=RSA, b=EC))
        self.keys = Keys(str(self.file), self.told, self.clock)
        self.jwts = Jwts(OPTIONS, self.keys, self.wall)
        self.credentials = Credentials(shared="hush.hush.hush", jwts=self.jwts, keys=self.keys)
        # PyJWT asks the clock of the machine.
        monkeypatch.setattr("jwt.api_jwt.datetime", type("Time", (), {"now": lambda tz: self}))

    def timestamp(self) -> float:
        return self.wall.seconds

    async def says(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as refused:
            await self.credentials.identify(f"Bearer {token}")
        return refused.value.message.removeprefix("The call's JSON web token ").partition(": get a new one")[0]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


async def test_claims_are_worth_roles(house: House) -> None:
    identity = await house.credentials.identify(f"Bearer {signed()}")
    assert (identity.name, identity.kind, identity.roles) == ("ann", "jwt", "classify:col*")
    assert (
        await house.credentials.identify(f"Bearer {signed(EC, 'b', 'ES256', roles='users ops')}")
    ).roles == "classify:col*,admin"
    for roles in (None, "x", 7, {"users": 1}, [["users"]]):
        assert (await house.credentials.identify(f"Bearer {signed(roles=roles, jti=str(roles))}")).grants == ()
    within = Jwts(JwtOptions("https://id", "eyas", ("RS256",), 0, "sub", "realm.roles", {"users": "train"}), house.keys)
    assert (await within.identify(signed(realm={"roles": ["users"]}))).roles == "train"
    assert (await within.identify(signed(**{"realm.roles": "users"}))).roles == "train"
    assert (await house.credentials.identify("Bearer hush.hush.hush")).name == "api.token"


def forged() -> dict[str, tuple[str, str]]:
    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, signature = signed().split(".")
    with pytest.MonkeyPatch.context() as patch:  # PyJWT does not sign with a public key
        patch.setattr("jwt.algorithms.HMACAlgorithm.prepare_key", lambda self, key: key)
        confused = jwt.encode(CLAIMS, secret, algorithm="HS256", headers={"kid": "a"})
    return {
        "no signature": (
            jwt.encode(CLAIMS, None, algorithm="none") + "AAAA",
            "is signed by 'none', and only RS256, ES256 are taken",
        ),
        "the public key as a secret": (confused, "is signed by 'HS256', and only RS256, ES256 are taken"),
        "an algorithm not allowed": (signed(algorithm="PS256"), "is signed by 'PS256', and only RS256, ES256 are taken"),
        "another kind of key": (signed(kid="b"), "is signed by another kind of key than it says"),
        "another's key": (signed(OTHER), "is not valid (InvalidSignatureError)"),
        "an unknown key": (signed(kid="z"), "is signed by a key that its issuer does not have"),
        "no name of a key": (signed(kid=None), "is signed by a key that its issuer does not have"),
        "other claims": (f"{head}.{signed(sub='bob').split('.')[1]}.{signature}", "is not valid (InvalidSignatureError)"),
        "another issuer": (signed(iss="https://evil"), "is of another issuer"),
        "another audience": (signed(aud="mail"), "is meant for another audience"),
        "no audience": (signed(aud=None), "is not valid (MissingRequiredClaimError)"),
        "no expiry": (signed(exp=None), "is not valid (MissingRequiredClaimError)"),
        "too old": (signed(exp=NOW - 31), "has expired"),
        "an expiry beyond every float": (signed(exp=10**400), "is not valid (OverflowError)"),
        "an endless expiry": (signed(exp=float("inf")), "is not valid (DecodeError)"),
        "not yet": (signed(nbf=NOW + 31), "is not valid (ImmatureSignatureError)"),
        "no subject": (signed(sub=None), "is not valid (MissingRequiredClaimError)"),
        "a subject that cannot be seen": (signed(sub="a\nb"), "has no sub of 1 to 128 characters that can be seen"),
        "no JSON": ("aa.bb.cc", "is not valid (DecodeError)"),
        "half of it": (f"{head}.{body}.AAAA", "is not valid (InvalidSignatureError)"),
    }


@pytest.mark.parametrize("name", forged())
async def test_what_is_not_taken(house: House, name: str) -> None:
    token, says = forged()[name]
    assert await house.says(token) == says


async def test_clocks_may_differ_by_so_much_and_what_is_remembered_expires_too(house: House) -> None:
    token = signed(exp=NOW - 29)
    for _ in range(2):
        assert (await house.credentials.identify(f"Bearer {token}")).name == "ann"
    house.wall.seconds += 2
    assert await house.says(token) == "has expired"


async def test_keys_are_exchanged(house: House) -> None:
    old = signed()
    await house.credentials.identify(f"Bearer {old}")
    house.file.write_text(jwks(c=OTHER))
    house.clock.seconds += 11
    # A key that is not known has them read again at once; what the old one has signed is worth nothing from then on.
    assert (await house.credentials.identify(f"Bearer {signed(OTHER, 'c')}")).name == "ann"
    assert await house.says(old) == "is signed by a key that its issuer does not have"
    house.file.write_text("no JSON")
    house.clock.seconds += 2
    await house.credentials.look()
    assert house.told.errors == [None, 'what was read is no JWKS, {"keys": [...]}']
    assert (await house.credentials.identify(f"Bearer {signed(OTHER, 'c')}")).name == "ann"
    house.file.write_text(json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}))
    house.clock.seconds += 2
    await house.credentials.look()
    assert house.told.errors[-1] == "what was read holds no public key for signatures"


async def test_keys_that_could_never_be_read_are_said_to_be_away(tmp_path: Path) -> None:
    told, clock = Told(), Clock(0.0)
    keys = Keys(str(tmp_path / "none"), told, clock)
    jwts = Jwts(OPTIONS, keys, Clock(NOW))
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be read now: try again later"):
            await jwts.identify(signed())
    assert len(told.errors) == 1
    (tmp_path / "none").write_text(jwks(a=RSA))
    clock.seconds += 2
    await keys.look()
    assert keys.are_known


class Issuer(http.server.BaseHTTPRequestHandler):
    asked: int
    answer: tuple[int, str]

    def do_GET(self) -> None:
        type(self).asked += 1
        status, text = self.answer
        self.send_response(status)
        if status == 302:
            self.send_header("Location", text)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def issuer() -> Iterator[tuple[type[Issuer], str]]:
    handler = type("Here", (Issuer,), {"asked": 0, "answer": (200, jwks(a=RSA))})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()


async def test_keys_behind_a_url_are_asked_for_seldom(issuer: tuple[type[Issuer], str]) -> None:
    handler, url = issuer
    clock = Clock(0.0)
    keys = Keys(url, Told(), clock)
    await keys.look()
    assert await keys.find("a") is not None
    for _ in range(100):  # whatever names are made up
        assert await keys.find("made up") is None
    assert handler.asked == 2
    handler.answer = (500, "")
    clock.seconds += 301
    await keys.look()
    assert handler.asked == 3
    assert await keys.find("a") is not None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        '{"keys": 7}',
        '{"keys": [7]}',
        '{"keys": [{"kty": ["RSA"]}]}',
        '{"keys": [{"kty": "RSA", "n": 5, "e": null}]}',
        '{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}',
        '{"keys": [{"kty": "OKP", "kid": ["a"]}]}',
        "[" * 100_000,
    ],
)
async def test_what_is_no_key_ends_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "jwks").write_text(content)
    told = Told()
    keys = Keys(str(tmp_path / "jwks"), told, Clock(0.0))
    await keys.look()
    assert not keys.are_known
    assert len(told.errors) == 1


@pytest.mark.parametrize("answer", [(302, "file:///etc/passwd"), (302, "http://169.254.169.254/"), (200, "x" * 1_100_000)])
async def test_an_issuer_leads_nowhere_else_and_sends_no_more_than_keys(
    issuer: tuple[type[Issuer], str], answer: tuple[int, str]
) -> None:
    handler, url = issuer
    handler.answer = answer
    told = Told()
    keys = Keys(url, told, Clock(0.0))
    await keys.look()
    assert not keys.are_known
    assert told.errors != []
