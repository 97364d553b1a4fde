"""Where the daemon's settings come from, and how they are shown.

Defaults < TOML file < environment (`EYASD_SERVING__MAX_BATCH_SIZE`) < command line. An unknown key is an error. `settings` says
what can be set.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from eyasd.core.errors import StartupFailed
from eyasd.otel_variables import OtelVariables
from eyasd.settings import (
    AccessSettings,
    ApiSettings,
    CaptureSettings,
    DatasetsSettings,
    JobsSettings,
    KubernetesSettings,
    RegistrySettings,
    ServingSettings,
    TelemetrySettings,
    TrackersSettings,
    TrainingSettings,
)


class Settings(BaseSettings):
    """Every setting of a daemon."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="EYASD_", env_nested_delimiter="__", use_attribute_docstrings=True
    )
    _file: ClassVar[Path | None] = None

    data_dir: Path = Path("eyas-data")
    """Folder of models/, uploads (datasets/, uploads/), jobs (jobs/, jobs.sqlite), cache/, fetched/ and captured/ pictures."""
    api: ApiSettings = ApiSettings()
    access: AccessSettings = AccessSettings()
    registry: RegistrySettings = RegistrySettings()
    datasets: DatasetsSettings = DatasetsSettings()
    serving: ServingSettings = ServingSettings()
    capture: CaptureSettings = CaptureSettings()
    jobs: JobsSettings = JobsSettings()
    training: TrainingSettings = TrainingSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    trackers: TrackersSettings = TrackersSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Orders the sources: command line, environment, file, and the variables that OpenTelemetry has named."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls._file), OtelVariables(settings_cls)


def read_settings(file: Path | None, overrides: dict[str, Any]) -> Settings:
    """Returns the effective settings.

    Args:
        file: a TOML file, or None.
        overrides: nested values of the command line, such as `{"api": {"listen": "127.0.0.1:1"}}`.

    Raises:
        StartupFailed: one sentence that names each wrong key, its value and its rule.
    """
    if file is not None and not file.is_file():
        raise StartupFailed(f"There is no configuration file {str(file)!r}: name another with --config.")
    reader = type("Settings", (Settings,), {"_file": file, "__module__": __name__})
    try:
        settings: Settings = reader(**overrides)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))} ({_shown(e['loc'], e.get('input'))}): {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise StartupFailed(f"The configuration is wrong: {wrong}. `eyasd config` prints every setting.") from None
    except ValueError as error:  # the TOML itself
        raise StartupFailed(f"The configuration file {str(file)!r} is not TOML: {error}.") from None
    if (settings.api.tls_certificate is None) != (settings.api.tls_key is None):
        raise StartupFailed("The configuration is wrong: api.tls_certificate and api.tls_key are set together or not at all.")
    check_together(settings)
    return settings


def check_together(settings: Settings) -> None:
    """Refuses settings that make no sense beside each other. Raises StartupFailed."""
    api, access = settings.api, settings.access
    jwt = (access.jwt_issuer, access.jwt_audience, access.jwt_keys, access.jwt_roles)
    named = api.token is not None or access.tokens or access.certificates or access.jwt_issuer
    for wrong, what in (
        (api.tls_client_ca and not api.tls_certificate, "api.tls_client_ca needs api.tls_certificate and api.tls_key."),
        (
            access.certificates and not api.tls_client_ca,
            "access.certificates gives roles, and no certificate is asked for: set api.tls_client_ca.",
        ),
        (
            api.tls_client_ca and not named,
            'api.tls_client_ca asks for certificates, and none has a role: set access.certificates, for all {"*" = "admin"}.',
        ),
        (
            api.tls_client_ca and settings.kubernetes.store,
            "api.tls_client_ca asks for certificates, and the pods of kubernetes.store have none: leave one of them unset.",
        ),
        (
            any(jwt) and not all(jwt),
            "access.jwt_issuer, jwt_audience, jwt_keys and jwt_roles are set together or not at all.",
        ),
        (
            settings.serving.decode_processes and settings.serving.decoder == "gpu",
            'serving.decode_processes are locked up, without a GPU: set it to 0, or serving.decoder = "cpu".',
        ),
    ):
        if wrong:
            raise StartupFailed(f"The configuration is wrong: {what}")


def _shown(place: tuple[int | str, ...], value: object) -> str:
    """Returns a wrong value, unless it is a secret, and without what is before the @ of an address: it may be a password."""
    room: Any = Settings
    for part in place:
        field = getattr(room, "model_fields", {}).get(part)
        room = None if field is None else field.annotation
        if SecretStr in (room, *get_args(room)):
            return "***"
    return re.sub(r"(\w+://)[^/]*@", r"\1***@", repr(value))


def revealed(settings: Settings) -> dict[str, Any]:
    """Returns the settings with their secrets, as JSON has them, for another process of this daemon: `read_settings(None, ...)`."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    _reveal(settings, values)
    return values


def _reveal(room: BaseModel, values: dict[str, Any]) -> None:
    for name, value in room:
        if isinstance(value, SecretStr):
            values[name] = value.get_secret_value()
        elif isinstance(value, BaseModel):
            _reveal(value, values[name])


def describe(settings: Settings) -> str:
    """Returns the effective settings as a commented TOML file; secrets are masked."""
    lines: list[str] = []
    _describe(settings, "", lines)
    return "\n".join(lines) + "\n"


def _describe(room: BaseModel, path: str, lines: list[str]) -> None:
    rooms = [(name, value) for name, value in room if isinstance(value, BaseModel)]
    if path:
        lines += ["", f"[{path}]"]
    for name, field in type(room).model_fields.items():
        value = getattr(room, name)
        if isinstance(value, BaseModel):
            continue
        lines.append(f"# {field.description}")
        lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    for name, value in rooms:
        _describe(value, f"{path}.{name}" if path else name, lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')  # SecretStr prints as stars
    return f'"{escaped}"'
