"""The variables to which OpenTelemetry has given its names, as settings: of what is set nowhere else."""

from __future__ import annotations

import os
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from eyasd.core.errors import StartupFailed


class OtelVariables(PydanticBaseSettingsSource):
    """What OpenTelemetry's own variables say of traces, see https://opentelemetry.io/docs/specs/otel/configuration/."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """See `PydanticBaseSettingsSource`; `__call__` has all of them."""
        return getattr(field, "default", None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Returns the settings that follow."""
        endpoint = _variable("EXPORTER_OTLP_TRACES_ENDPOINT") or _variable("EXPORTER_OTLP_ENDPOINT")
        off = _variable("SDK_DISABLED").lower() == "true" or _variable("TRACES_EXPORTER") not in {"", "otlp"}
        protocol = _variable("EXPORTER_OTLP_TRACES_PROTOCOL") or _variable("EXPORTER_OTLP_PROTOCOL")
        if endpoint and not off and protocol not in {"", "grpc"}:
            raise StartupFailed(
                f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, and Eyas speaks grpc to collectors: set it to grpc, and "
                "OTEL_EXPORTER_OTLP_ENDPOINT to the collector's port for that, mostly 4317; or OTEL_TRACES_EXPORTER to none."
            )
        share = {"always_on": "1", "always_off": "0", "traceidratio": _variable("TRACES_SAMPLER_ARG")}
        found = {
            "otlp_endpoint": "" if off else endpoint,
            "otlp_headers": _variable("EXPORTER_OTLP_TRACES_HEADERS") or _variable("EXPORTER_OTLP_HEADERS"),
            "service_name": _variable("SERVICE_NAME"),
            "trace_ratio": share.get(_variable("TRACES_SAMPLER").removeprefix("parentbased_"), ""),
        }
        return {"telemetry": {name: value for name, value in found.items() if value}}


def _variable(name: str) -> str:
    return os.environ.get(f"OTEL_{name}", "").strip()
