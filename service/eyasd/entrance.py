"""Who gets in, and where, by the settings: for daemons and their check."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from eyasd.access.audit import Audit
from eyasd.access.certificates import Certified
from eyasd.access.credentials import Credentials, follow_tokens
from eyasd.access.followed import Told
from eyasd.access.limits import Limits
from eyasd.access.tls import Certificates, TlsFiles
from eyasd.api.gate import Gate
from eyasd.config import Settings
from eyasd.core.addresses import is_loopback
from eyasd.core.errors import StartupFailed
from eyasd.telemetry import logging
from eyasd.telemetry.metrics import Metrics

_BURST_SECONDS: Final = 10.0


def check_exposure(settings: Settings) -> None:
    """Refuses to let strangers in by oversight. Raises StartupFailed.

    The page of metrics is not asked about: it changes nothing and shows no picture, and Prometheus has to reach it.
    """
    api = settings.api
    if api.insecure or has_credentials(settings):
        return
    for setting, address in (("api.listen", api.listen), ("api.http_listen", api.http_listen)):
        if address is not None and not is_loopback(address.rpartition(":")[0]):
            raise StartupFailed(
                f"{setting} is {address}, which other machines reach, and no credential is set, so that anybody could train and "
                "delete: set access.tokens or api.token, listen on 127.0.0.1, or say --insecure (api.insecure = true) where the "
                "network keeps strangers out."
            )


def has_credentials(settings: Settings) -> bool:
    """Returns whether callers have to say who they are."""
    access = settings.access
    return bool(settings.api.token is not None or access.tokens or access.certificates or access.jwt_issuer)


def is_private(settings: Settings) -> bool:
    """Returns whether this machine's own users are the only callers, and none has to say who he is, as at a trial."""
    addresses = filter(None, (settings.api.listen, settings.api.http_listen))
    return not has_credentials(settings) and all(is_loopback(address.rpartition(":")[0]) for address in addresses)


def tls_files(settings: Settings) -> TlsFiles | None:
    """Returns the files of the doors' certificates; None is plain text."""
    api = settings.api
    return TlsFiles(api.tls_certificate, api.tls_key, api.tls_client_ca) if api.tls_certificate and api.tls_key else None


def open_certificates(settings: Settings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Certificates | None:
    """Returns what the doors show, and follows the files. Raises StartupFailed."""
    files = tls_files(settings)
    try:
        return Certificates(files, _told(metrics, log)) if files else None
    except ValueError as error:
        raise StartupFailed(str(error)) from error


def open_credentials(settings: Settings, told: Told) -> Credentials:
    """Returns the credentials that callers can show. Raises StartupFailed."""
    api, access = settings.api, settings.access
    try:
        tokens = follow_tokens(access.tokens, told) if access.tokens else None
    except OSError as error:
        raise StartupFailed(f"access.tokens = {str(access.tokens)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StartupFailed(f"access.tokens cannot be used: {error}.") from error
    jwts = keys = None
    if access.jwt_issuer:
        try:
            from eyasd.access.jwts import JwtOptions, Jwts  # noqa: PLC0415 - which those need who have an issuer
            from eyasd.access.keys import Keys  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise StartupFailed("access.jwt_issuer needs PyJWT: install 'eyas[jwt]', or leave it unset.") from error
        keys = Keys(access.jwt_keys, told)
        options = JwtOptions(
            issuer=access.jwt_issuer,
            audience=access.jwt_audience,
            algorithms=access.jwt_algorithms,
            leeway_seconds=access.jwt_leeway_seconds,
            subject=access.jwt_subject_claim,
            claim=access.jwt_roles_claim,
            roles=access.jwt_roles,
        )
        jwts = Jwts(options, keys)
    return Credentials(
        shared=api.token.get_secret_value() if api.token is not None else None,
        tokens=tokens,
        certified=Certified(access.certificates) if access.certificates else None,
        jwts=jwts,
        keys=keys,
        told=told,
    )


def open_audit(settings: Settings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Audit:
    """Returns what takes changes down. Raises StartupFailed."""
    path: Path | None = settings.access.audit_file
    try:
        return Audit(path, logging.unfiltered(log), log, metrics.audit_failures.inc)
    except OSError as error:
        raise StartupFailed(
            f"The record of changes access.audit_file = {str(path)!r} cannot be written to ({error.strerror}): mend its "
            "permissions, or name another."
        ) from error


def open_gate(
    settings: Settings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, acceptors: int = 1
) -> tuple[Gate, Credentials]:
    """Returns what stands in front of every method, and the credentials, which are to be followed. Raises StartupFailed.

    Args:
        settings: say who may do what.
        metrics: count.
        log: hears of what changes.
        acceptors: how many processes share what a caller may ask for.
    """
    access = settings.access
    credentials = open_credentials(settings, _told(metrics, log))
    burst = access.burst_images or access.images_per_second * _BURST_SECONDS
    limits = Limits(access.images_per_second / acceptors, burst / acceptors)
    per_second = access.calls_per_second / acceptors
    calls = Limits(per_second, per_second * _BURST_SECONDS, what="calls")
    return Gate(credentials, limits, open_audit(settings, metrics, log), calls), credentials


def _told(metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Told:
    def told(what: str, error: str | None) -> None:
        metrics.credential_reloads.labels(what, "failed" if error else "done").inc()
        if error is None:
            log.info("credentials were read again", what=what)
        else:
            log.error("credentials cannot be read again, so those of before hold", what=what, error=error)

    return told
