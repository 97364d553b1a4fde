"""What a connection may do: sizes, pings, how long it is silent and how old it becomes; with the attacks that it stands.

The names are those of gRPC's core. That of the least time between a client's pings lacks the `recv` of its C constant there.
"""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024

_LIMITS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two daemons on one port would share its calls without a word; one of them must fail to start.
    ("grpc.so_reuseport", 0),
    # gRPC's own default is no limit. 20,000 calls that one connection opened and reset took 3 s of a core and failed half of the
    # others' calls; with this limit 0.2 s, and none. Half-sent messages hold up nobody, see `arrivals`.
    ("grpc.max_concurrent_streams", 100),
    # gRPC would widen the windows of a connection by what it turned out to carry, and let 16 MB and more come of each message that
    # nobody has asked for: 4.7 GB on two connections. So `window_bytes` come, and the rest when it is asked for.
    ("grpc.http2.bdp_probe", 0),
    # Of more calls at once, a client keeps the others back until it is their turn. What gRPC has not cleaned up yet it would count
    # as well, and so refuse a quarter of them, UNAVAILABLE; so there is room for these, and for no more: with this bound, 100,000
    # resets on a machine without a core to spare took 30 MB instead of 240 to 370, and cost the others 0.1 s a call instead of 1.
    ("grpc.http.overload_protection", 1),
    ("grpc.http2.max_deallocating_streams", 400),
    # Of calls that Python has not taken over yet, those that were reset among them, gRPC cancels others beyond 1,000 at random, and
    # beyond 3,000 all: 5,000 resets while a busy machine kept the thread waiting cost 19 of 20 good calls. One takes 16 KB.
    ("grpc.server.max_pending_requests", 8_000),
    ("grpc.server.max_pending_requests_hard_limit", 8_000),
    # Without it 500 connections that said nothing were never closed.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # A connection that is not there any more, unplugged or behind a firewall that forgot it, is found out.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients commonly ping every 10 s at most, also between calls; gRPC's own rule, once in 5 minutes, ends their connections.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Of a connection without calls; the next call makes another.
    ("grpc.max_connection_idle_ms", 60_000),
    # What is under way on a connection that has become too old has so long to end; a stream is ended before, see `streaming`.
    ("grpc.max_connection_age_grace_ms", 300_000),
)


def options(
    connection_age_seconds: float, connections: int, window_bytes: int, *, shares_port: bool = False
) -> tuple[tuple[str, int], ...]:
    """Returns the options of a server.

    Args:
        connection_age_seconds: after which a connection takes no further calls, give or take a tenth, so that its client looks for
            servers anew and the load moves to those that have come.
        connections: how many there may be; the next one is closed as it comes.
        window_bytes: what may come of each call unasked. Of 64 KB, a caller 40 ms away has a photograph of 144 KB answered in 90 ms
            instead of 47, and a stream of them at 22/s; of 512 KB in 48 ms, and at 73/s (docs/benchmarks.md).
        shares_port: whether other processes of this daemon listen on the port, too.
    """
    limits = dict(_LIMITS) | {"grpc.so_reuseport": int(shares_port)}
    return (
        *limits.items(),
        ("grpc.max_connection_age_ms", round(connection_age_seconds * 1000)),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.http2.lookahead_bytes", window_bytes),
    )
