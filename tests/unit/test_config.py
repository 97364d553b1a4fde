"""config: sources in order, mistakes in one sentence, secrets masked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from eyasd.__main__ import main
from eyasd.config import describe, read_settings, revealed
from eyasd.core.errors import StartupFailed
from eyasd.machine import datasets_url

TLS = '[api]\ntls_certificate = "c"\ntls_key = "k"\ntls_client_ca = "a"\n'


def test_the_command_line_beats_the_environment_and_that_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "eyas.toml"
    file.write_text('[serving]\nmax_batch_size = 3\nmax_delay_ms = 3\n[api]\nlisten = "127.0.0.1:3"\n')
    monkeypatch.setenv("EYASD_SERVING__MAX_BATCH_SIZE", "2")
    monkeypatch.setenv("EYASD_API__LISTEN", "127.0.0.1:2")
    settings = read_settings(file, {"api": {"listen": "127.0.0.1:1"}})
    assert (settings.serving.max_batch_size, settings.serving.max_delay_ms, settings.api.listen) == (2, 3.0, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[serving]\nmax_bach_size = 3", r"serving\.max_bach_size \(3\): Extra inputs"),
        ("[serving]\nmax_batch_size = -1", r"serving\.max_batch_size \(-1\): .* greater than or equal to 0"),
        ("[training]\ncache_bytes = -1", r"training\.cache_bytes \(-1\): .* greater than or equal to 0"),
        ('[registry]\nurl = "/srv"', r"registry\.url \('/srv'\): '/srv' is no address of a store"),
        ('[registry]\nurl = "s3://k:secret@bucket"', r"registry\.url \('s3://\*\*\*@bucket'\): s3://bucket has more than a bucket"),
        (
            '[serving]\nfeedback_key = "a key of 16 chars, short"',
            r"feedback_key \(\*\*\*\): a key has at least 16 characters, and a",
        ),
        ('[jobs]\nreport_key = "short"', r"jobs\.report_key \(\*\*\*\): "),
        (
            '[trackers.mlflow]\nurl = "file:///runs"',
            r"mlflow\.url \('file:///runs'\): 'file:///runs' is no http://HOST or https://HOST",
        ),
        (
            '[trackers.mlflow]\nurl = "http://me:pass@host"',
            r"\('http://\*\*\*@host'\): it has a user before its host",
        ),
        ('[trackers.mlflow]\nexperiment = "{owner}"', r"'\{owner\}' is no name with \{model\} or \{type\} in it"),
        ('[trackers.mlflow]\nexperiment = "a{"', r"'a\{' is no name with"),
        ('[api]\nlisten = "here"', "'here' is not HOST:PORT"),
        ('[api]\ntls_key = "k"', "tls_certificate and api.tls_key are set together"),
        ('[api]\ntls_client_ca = "c"', "api.tls_client_ca needs api.tls_certificate"),
        (f"{TLS}", "asks for certificates, and none has a role"),
        (f'{TLS}[access]\ntokens = "t"\n[kubernetes]\nstore = "s3://falcons/pods"', "the pods of kubernetes.store have none"),
        ('[access]\ncertificates = {"*" = "admin"}', "no certificate is asked for: set api.tls_client_ca"),
        ('[access]\ncertificates = {"*" = "root"}', r"access.certificates.\* \('root'\): 'root' is no role"),
        ('[access]\njwt_issuer = "https://id"', "jwt_audience, jwt_keys and jwt_roles are set together"),
        ('[access]\njwt_keys = "http://id.example/keys"', "jwt_keys .*: it is no file, nor https://HOST/PATH"),
        ('[access]\njwt_algorithms = ["HS256"]', r"jwt_algorithms.0 \('HS256'\): Input should be 'RS256'"),
        ("[[", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "eyas.toml").write_text(text)
    with pytest.raises(StartupFailed, match=says):
        read_settings(tmp_path / "eyas.toml", {})


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(StartupFailed, match="no configuration file 'nowhere.toml'"):
        read_settings(Path("nowhere.toml"), {})


def test_what_is_printed_can_be_read_again_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EYASD_API__TOKEN", "hush-hush")
    monkeypatch.setenv("EYASD_KUBERNETES__VOLUMES", '{"/var/lib/eyas": "eyas-data", "/photos": "photos"}')
    monkeypatch.setenv("EYASD_KUBERNETES__TOLERATIONS", '[{"key": "gpu", "operator": "Exists"}]')
    assert main(["config", "--listen", "127.0.0.1:7", "--metrics-port", "8", "--data-dir", "/somewhere"]) == 0
    printed = capsys.readouterr().out
    assert "hush-hush" not in printed
    read = tomllib.loads(printed)
    assert (read["data_dir"], read["api"]["listen"], read["api"]["token"]) == ("/somewhere", "127.0.0.1:7", "**********")
    assert read["telemetry"]["metrics_listen"] == "127.0.0.1:8"
    assert read["kubernetes"]["volumes"] == {"/var/lib/eyas": "eyas-data", "/photos": "photos"}
    assert read["kubernetes"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    (tmp_path / "again.toml").write_text(printed)
    for variable in ("API__TOKEN", "KUBERNETES__VOLUMES", "KUBERNETES__TOLERATIONS"):
        monkeypatch.delenv(f"EYASD_{variable}")
    assert describe(read_settings(tmp_path / "again.toml", {})) == printed


def test_every_setting_is_described() -> None:
    assert "# None" not in describe(read_settings(None, {}))


def test_where_uploads_are() -> None:
    def url(models: str | None, datasets: str | None = None) -> str | None:
        return datasets_url(read_settings(None, {"registry": {"url": models}, "datasets": {"url": datasets}}))

    assert url(None) is None
    assert url("s3://falcons/models") == "s3://falcons/models-datasets"
    assert url("s3://falcons/models", "s3://falcons/photos") == "s3://falcons/photos"
    assert url(None, "gs://falcons") == "gs://falcons"
    with pytest.raises(StartupFailed, match="registry.url = s3://falcons has no place beside it: set datasets.url"):
        url("s3://falcons")
    for within in (("s3://falcons", "s3://falcons/a"), ("s3://falcons/a/b", "s3://falcons/a"), ("file:///srv", "file:///srv")):
        with pytest.raises(StartupFailed, match="lie within each other: give each a prefix"):
            url(*within)


def test_the_variables_of_opentelemetry_hold_where_nothing_else_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eyasd.toml").write_text('[telemetry]\nservice_name = "birds"\n')
    named = {
        "EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
        "EXPORTER_OTLP_HEADERS": "api-key=hush-hush",
        "EXPORTER_OTLP_PROTOCOL": "grpc",
        "SERVICE_NAME": "another",
        "TRACES_SAMPLER": "parentbased_traceidratio",
        "TRACES_SAMPLER_ARG": "0.25",
    }
    for name, value in named.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    telemetry = read_settings(tmp_path / "eyasd.toml", {}).telemetry
    assert (telemetry.otlp_endpoint, telemetry.trace_ratio) == ("http://collector:4317", 0.25)
    assert telemetry.service_name == "birds"
    assert telemetry.otlp_headers is not None
    assert telemetry.otlp_headers.get_secret_value() == "api-key=hush-hush"
    assert "hush-hush" not in describe(read_settings(None, {}))
    assert revealed(read_settings(None, {}))["telemetry"]["otlp_headers"] == "api-key=hush-hush"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with pytest.raises(StartupFailed, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'http/protobuf', and Eyas speaks grpc"):
        read_settings(None, {})
    for name, value in (("TRACES_EXPORTER", "none"), ("SDK_DISABLED", "true")):
        with monkeypatch.context() as off:
            off.setenv(f"OTEL_{name}", value)
            assert read_settings(None, {}).telemetry.otlp_endpoint is None


@pytest.mark.parametrize("endpoint", ["collector:4317", "http://user:hush-hush@collector:4317", "http://collector:4317/v1/traces"])
def test_where_traces_cannot_go(endpoint: str) -> None:
    with pytest.raises(StartupFailed, match="telemetry.otlp_endpoint") as refused:
        read_settings(None, {"telemetry": {"otlp_endpoint": endpoint}})
    assert "hush-hush" not in refused.value.message


def test_a_wrong_secret_is_not_told() -> None:
    with pytest.raises(StartupFailed, match="jobs.report_key") as refused:
        read_settings(None, {"jobs": {"report_key": "hush-hush"}})
    assert "hush-hush" not in refused.value.message
