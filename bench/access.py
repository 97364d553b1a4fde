"""What it costs to know who calls, and to encrypt: `python bench/access.py`.

    checks       what it takes to look at a credential, in microseconds
    calls        pictures/s, processor time a picture and latency of a daemon that asks for nothing, and of others that do
    connections  what it takes to connect and have one picture answered, in milliseconds

The daemons of `calls` run at the same time on one core, and each is loaded in turn for a moment, in another order each round; a
ratio is between two moments of one round. The pictures are of 32 x 32 and the network is tiny, so that all else weighs as much as
it can.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
import machine
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from serving.load import tree
from serving.rows import table
from serving.subject import Subject, tiny_subject

from eyas.v1 import classification_service_pb2 as pb
from eyasd.access.certificates import Certified
from eyasd.access.credentials import Credentials, follow_tokens
from eyasd.access.jwts import JwtOptions, Jwts
from eyasd.access.keys import Keys
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import line_of, make_token

METHOD = "/eyas.v1.ClassificationService/Classify"
IN_FLIGHT = 16
OTHERS = 1000  # tokens in the file beside the one that is used
ISSUER, AUDIENCE, ROLES = "https://id.example", "eyas", {"users": "classify"}


class House:
    """Credentials of every kind, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token, self.key, self.authority = make_token(), rsa.generate_private_key(65537, 2048), trustme.CA()
        issued = self.authority.issue_cert("localhost")
        (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
        (folder / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        (folder / "clients.pem").write_bytes(self.authority.cert_pem.bytes())
        tokens = [self.token, *(make_token() for _ in range(OTHERS))]
        (folder / "tokens").write_text("".join(f"{line_of(one, 'shop', parse_grants('classify'), None)}\n" for one in tokens))
        key = {**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "a", "use": "sig"}
        (folder / "jwks.json").write_text(json.dumps({"keys": [key]}))
        self.certificate = self.authority.issue_cert("shop.internal")

    def web_token(self, subject: str = "shop") -> str:
        """Returns one of a caller's."""
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": time.time() + 36_000, "roles": ["users"]}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "a"})


@dataclass(frozen=True)
class Mode:
    """A daemon, and how it is called.

    Attributes:
        name: in the table.
        settings: of the daemon.
        token: that calls bear; "" is none.
        tls: whether they are encrypted.
        certified: whether the connection shows a certificate.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    tls: bool = False
    certified: bool = False

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What calls bear."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def modes(house: House) -> list[Mode]:
    """Returns what is compared; the first is what the others are compared with."""
    at = house.folder
    tls = {"EYASD_API__TLS_CERTIFICATE": f"{at}/chain.pem", "EYASD_API__TLS_KEY": f"{at}/key.pem"}
    tokens = {"EYASD_ACCESS__TOKENS": f"{at}/tokens"}
    web = {
        "EYASD_ACCESS__JWT_ISSUER": ISSUER,
        "EYASD_ACCESS__JWT_AUDIENCE": AUDIENCE,
        "EYASD_ACCESS__JWT_KEYS": f"{at}/jwks.json",
        "EYASD_ACCESS__JWT_ROLES": json.dumps(ROLES),
    }
    certified = {"EYASD_API__TLS_CLIENT_CA": f"{at}/clients.pem", "EYASD_ACCESS__CERTIFICATES": '{"*.internal": "classify"}'}
    limited = {"EYASD_ACCESS__IMAGES_PER_SECOND": "1000000"}
    return [
        Mode("nothing asked"),
        Mode(f"one of {OTHERS:,} tokens", tokens, house.token),
        Mode("the same, and shares", tokens | limited, house.token),
        Mode("a web token", web, house.web_token()),
        Mode("TLS", tls, tls=True),
        Mode("TLS and a token", tls | tokens, house.token, tls=True),
        Mode("mutual TLS", tls | certified, tls=True, certified=True),
    ]


def main() -> None:
    options = arguments()
    print(machine.describe())
    options.data_dir.mkdir(parents=True, exist_ok=True)
    subject = tiny_subject(options.data_dir)
    os.sched_setaffinity(0, {options.load_core})
    with machine.scratch() as scratch, ExitStack() as stack:
        house = House(Path(scratch))
        asyncio.run(checks(house))
        running = [stack.enter_context(serve(mode, house, subject, options.server_core)) for mode in modes(house)]
        calls(running, options.rounds, options.seconds)
        connections(running, options.connections)


def untold(what: str, error: str | None) -> None:
    """Hears of changes, of which there are none."""


async def checks(house: House) -> None:
    """Prints what it takes to look at a credential."""
    keys = Keys(str(house.folder / "jwks.json"), untold)
    jwts = Jwts(JwtOptions(ISSUER, AUDIENCE, ("RS256",), 30, "sub", "roles", ROLES), keys)
    tokens = follow_tokens(house.folder / "tokens", untold)
    credentials = Credentials(tokens=tokens, jwts=jwts, keys=keys, certified=Certified({"*.internal": "classify"}))
    await credentials.look()
    again, fresh = f"Bearer {house.web_token()}", iter([f"Bearer {house.web_token(str(number))}" for number in range(2000)])
    bearer = f"Bearer {house.token}"

    async def timed(number: int, one: Callable[[], Any]) -> str:
        start = time.perf_counter()
        for _ in range(number):
            await one()
        return f"{(time.perf_counter() - start) / number * 1e6:.1f}"

    lines = [
        (f"a token, of {OTHERS + 1:,}", await timed(20_000, lambda: credentials.identify(bearer))),
        ("a web token that came before", await timed(20_000, lambda: credentials.identify(again))),
        ("a new web token, RS256", await timed(2000, lambda: credentials.identify(next(fresh)))),
        ("the names of a certificate", await timed(20_000, lambda: credentials.identify("", ("shop.internal",)))),
    ]
    print(f"\n## checks\n\n{table(('', 'us'), lines)}\n")


@dataclass(frozen=True)
class Running:
    """A daemon that answers."""

    mode: Mode
    pid: int
    request: bytes
    connect: Callable[[], grpc.Channel]
    channel: grpc.Channel

    def ask(self, channel: grpc.Channel) -> Any:
        """Begins a call, and returns its future."""
        return channel.unary_unary(METHOD).future(self.request, metadata=self.mode.metadata, timeout=30, wait_for_ready=True)

    def processor(self) -> float:
        """Returns the seconds of all its processes so far."""
        ticks = 0
        for pid in tree(self.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve(mode: Mode, house: House, subject: Subject, core: int) -> Iterator[Running]:
    """Starts a daemon."""
    port = machine.free_port()
    command = ["taskset", "-c", str(core), sys.executable, "-m", "eyasd", "server", "--data-dir", str(subject.data_dir)]
    command += ["--listen", f"localhost:{port}", "--metrics-port", "0"]
    settings = {"EYASD_API__LAME_DUCK_SECONDS": "0", "EYASD_TELEMETRY__LOG_LEVEL": "WARNING", **mode.settings}
    root = house.authority.cert_pem.bytes()
    chain = b"".join(part.bytes() for part in house.certificate.cert_chain_pems)
    own = (house.certificate.private_key_pem.bytes(), chain) if mode.certified else ()
    # A pool of its own, or connections would be shared.
    lone = [("grpc.use_local_subchannel_pool", 1)]

    def connect() -> grpc.Channel:
        address = f"localhost:{port}"
        if not mode.tls:
            return grpc.insecure_channel(address, lone)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(root, *own), lone)

    request = pb.ClassifyRequest(model=f"models/{subject.model}", images=[{"content": subject.pictures[0]}]).SerializeToString()
    with subprocess.Popen(command, env=os.environ | settings) as process, connect() as channel:
        try:
            running = Running(mode, process.pid, request, connect, channel)
            running.ask(channel).result()
            yield running
        finally:
            process.terminate()


def calls(running: Sequence[Running], rounds: int, seconds: float) -> None:
    """Prints rates, costs and latencies, and their ratios to those of the first."""
    figures: dict[str, list[tuple[float, float, float]]] = {one.mode.name: [] for one in running}
    for number in range(rounds + 1):
        turn = number % len(running)
        for one in (*running[turn:], *running[:turn])[:: 1 if number % 2 else -1]:
            measured = load(one, seconds)
            if number:  # the first round warms
                figures[one.mode.name].append(measured)
    first = figures[running[0].mode.name]
    lines = []
    for name, measured in figures.items():
        cells = [name]
        for column, form in enumerate(("{:,.0f}", "{:,.0f}", "{:.2f}")):
            values = [one[column] for one in measured]
            ratios = [value / base[column] for value, base in zip(values, first, strict=True)]
            cells += [form.format(statistics.median(values)), f"{statistics.median(ratios):.3f}"]
        lines.append(cells)
    head = (
        "",
        "pictures/s",
        "of the first",
        "processor, us a picture",
        "of the first",
        "one at a time, median, ms",
        "of the first",
    )
    print(f"\n## calls\n\n{table(head, lines)}\n", flush=True)


def load(one: Running, seconds: float) -> tuple[float, float, float]:
    """Returns pictures/s and microseconds of the server's processor a picture with several at a time, and ms with one."""
    before, start, answered = one.processor(), time.perf_counter(), 0
    waiting = deque(one.ask(one.channel) for _ in range(IN_FLIGHT))
    while time.perf_counter() < start + seconds:
        waiting.popleft().result()
        answered += 1
        waiting.append(one.ask(one.channel))
    answered += len([call.result() for call in waiting])
    took, cost = time.perf_counter() - start, one.processor() - before
    alone = []
    for _ in range(60):
        begun = time.perf_counter()
        one.ask(one.channel).result()
        alone.append(1000 * (time.perf_counter() - begun))
    return answered / took, 1e6 * cost / answered, statistics.median(alone)


def connections(running: Sequence[Running], number: int) -> None:
    """Prints what a connection and its first answer take."""
    lines = []
    for one in running:
        took = []
        before = one.processor()
        for _ in range(number):
            start = time.perf_counter()
            with one.connect() as channel:
                one.ask(channel).result()
                took.append(1000 * (time.perf_counter() - start))
        lines.append((one.mode.name, f"{statistics.median(took):.1f}", f"{1000 * (one.processor() - before) / number:.1f}"))
    print(f"\n## connections\n\n{table(('', 'ms', 'of it the processor of the server'), lines)}\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load (%(default)s)")
    parser.add_argument("--connections", type=int, default=40, help="of each daemon (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/access"), help="of the daemons (%(default)s)")
    parser.add_argument("--server-core", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--load-core", type=int, default=(os.cpu_count() or 1) - 1, help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
