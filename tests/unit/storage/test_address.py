"""storage.address: which address is which store, and one sentence for each that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core.errors import StartupFailed
from eyasd.storage.address import beside, check_address, open_store
from eyasd.storage.local import LocalStore


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://models", "s3://models"),
        ("s3://my.bucket/eyas/", "s3://my.bucket/eyas"),
        ("gs://my_bucket/a/b", "gs://my_bucket/a/b"),
        ("az://container/a", "az://container/a"),
        ("file:///srv/models/", "file:///srv/models"),
        ("memory://", "memory://"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert check_address(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/srv/models", "'/srv/models' is no address of a store: it begins with file:///, s3://, gs:// or az://"),
        ("https://models", "is no address of a store"),
        ("file://host/models", "is no address of a store"),
        ("s3://[bucket", "is no address of a store"),
        ("s3://", "'s3://' names no bucket: it is s3://BUCKET or s3://BUCKET/PREFIX"),
        ("s3://A/b", "names no bucket"),
        ("s3://bucket//a", "has a prefix with an empty, hidden or odd part"),
        ("s3://bucket/a/../b", "has a prefix with an empty, hidden or odd part"),
        ("s3://bucket/a b", "has a space, a backslash or a percent sign"),
        ("s3://bucket/%2e%2e", "has a space, a backslash or a percent sign"),
        ("s3://bucket?endpoint=http://x", "s3://bucket has more than a bucket and a prefix: credentials and endpoints belong into"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        check_address(text)


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="s3://bucket has more than") as caught:
        check_address("s3://key:secret@bucket/a")
    assert "secret" not in str(caught.value)


def test_what_lies_beside_a_store() -> None:
    assert beside("s3://models/team/eyas", "datasets") == "s3://models/team/eyas-datasets"
    assert beside("file:///srv/models", "datasets") == "file:///srv/models-datasets"
    for address in ("s3://models", "file:///"):
        with pytest.raises(ValueError, match=f"{address} has no place beside it"):
            beside(address, "datasets")


def test_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    for address in (None, f"file://{tmp_path}/models"):
        store = open_store(address, tmp_path / "models")
        assert isinstance(store, LocalStore)
        store.write("a", b"1")
        assert (tmp_path / "models/a").read_bytes() == b"1"
    with pytest.raises(StartupFailed, match=r"az://container cannot be opened \(.*Account must be specified\): set what the cloud"):
        open_store("az://container", tmp_path)
