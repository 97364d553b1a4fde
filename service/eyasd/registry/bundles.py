"""The bundles in a store. Whatever is read of one is checked against what was published; what is damaged is named, never returned.

MODEL/VERSION/model.onnx ...    whose SHA-256 the manifest holds
MODEL/VERSION/manifest.sha256   that of the manifest, as sha256sum writes and checks it; older versions have none
MODEL/VERSION/manifest.json     comes last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Final

from eyasd.core import bundle
from eyasd.core.bundle import MANIFEST, MODEL, CheckedFile, Manifest
from eyasd.core.errors import BrokenBundle, StorageFailed, VersionNotFound
from eyasd.core.graph import check_graph
from eyasd.registry.manifests import Manifests
from eyasd.storage.store import Store

_DIGEST: Final = "manifest.sha256"


class Bundles:
    """The bundles of every version in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._manifests = Manifests(self._read_manifest)
        self.manifest = self._manifests.get

    def fetch(self, model: str, version: int, name: str) -> bytes:
        """Returns one file of a version's bundle.

        Raises:
            VersionNotFound: there is no such version.
            BrokenBundle: the file is missing or was changed, or the manifest was.
        """
        return self._fetch(self.manifest(model, version), model, version, name)

    def fetch_into(self, model: str, version: int, name: str, file: BufferedRandom) -> None:
        """Writes one file of a version's bundle to an empty file that can be read, too; raises what `fetch` does.

        For those that are large: little of it is in memory. What is written when BrokenBundle is raised is not to be used.
        """
        manifest = self.manifest(model, version)
        try:
            self._store.read_into(f"{model}/{version}/{name}", file)
        except FileNotFoundError as error:
            raise _missing(model, version, name) from error
        file.seek(0)
        bundle.verify_digest(manifest, name, hashlib.file_digest(file, "sha256").hexdigest(), of=f"{model}/{version}")

    def check(self, model: str, version: int) -> tuple[CheckedFile, ...]:
        """Reads every file of a version again, and returns what became of each, the manifest first.

        Raises:
            VersionNotFound: there is no such version.
            BrokenBundle: its manifest is damaged, and was not read before.
        """
        return tuple(self._checked(model, version))

    def write(self, model: str, version: int, folder: Path) -> None:
        """Copies the bundle in `folder` to a version that nobody else writes, the manifest last.

        Raises:
            BrokenBundle: the folder does not hold a sound bundle, or one that no server would load.
            StorageFailed: the store could not be written.
        """
        text, prefix = (folder / MANIFEST).read_bytes(), f"{model}/{version}"
        manifest = bundle.read_manifest(text)
        for name in manifest.files:
            with (folder / name).open("rb") as file:
                bundle.verify_digest(manifest, name, hashlib.file_digest(file, "sha256").hexdigest())
        check_graph((folder / MODEL).read_bytes(), MODEL)
        for name in manifest.files:
            self._store.write_file(f"{prefix}/{name}", folder / name)
        self._store.write(f"{prefix}/{_DIGEST}", f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode())
        self._store.create(f"{prefix}/{MANIFEST}", text)

    def delete(self, model: str, version: int, keep: frozenset[str]) -> None:
        """Removes a version's manifest, with which it ends, and then all else but what `keep` names."""
        prefix = f"{model}/{version}"
        self._store.delete(f"{prefix}/{MANIFEST}")
        for name in self._store.children(prefix):
            if name not in keep:
                self._store.delete(f"{prefix}/{name}")
        self._manifests.clear()

    def _fetch(self, manifest: Manifest, model: str, version: int, name: str) -> bytes:
        try:
            content = self._store.read(f"{model}/{version}/{name}")
        except FileNotFoundError as error:
            raise _missing(model, version, name) from error
        return bundle.verified(manifest, name, content, of=f"{model}/{version}")

    def _checked(self, model: str, version: int) -> Iterator[CheckedFile]:
        manifest, problem = self.manifest(model, version), ""
        try:
            self._read_manifest(model, version)
        except (BrokenBundle, StorageFailed) as error:
            problem = error.message
        yield CheckedFile(MANIFEST, self._noted(model, version), problem)
        for name, digest in manifest.files.items():
            try:
                self._fetch(manifest, model, version, name)
            except (BrokenBundle, StorageFailed) as error:
                yield CheckedFile(name, digest, error.message)
            else:
                yield CheckedFile(name, digest, "")

    def _noted(self, model: str, version: int) -> str:
        """Returns the digest that the manifest had, hexadecimal; "" where none was noted."""
        try:
            return self._store.read(f"{model}/{version}/{_DIGEST}").decode(errors="replace").partition(" ")[0]
        except FileNotFoundError:
            return ""

    def _read_manifest(self, model: str, version: int) -> tuple[Manifest, int]:
        """Returns the version's manifest, and its bytes. Raises VersionNotFound, BrokenBundle."""
        try:
            text = self._store.read(f"{model}/{version}/{MANIFEST}")
        except FileNotFoundError:
            raise VersionNotFound(f"Model {model!r} has no version {version}.", model=model, version=version) from None
        noted = self._noted(model, version)
        if noted and noted != hashlib.sha256(text).hexdigest():
            raise BrokenBundle(
                f"{MANIFEST} of {model}/{version}, or {_DIGEST} beside it, was changed after it was published: restore it."
            )
        try:
            return bundle.read_manifest(text), len(text)
        except BrokenBundle as error:
            raise BrokenBundle(f"{model}/{version}: {error.message}") from error


def _missing(model: str, version: int, name: str) -> BrokenBundle:
    return BrokenBundle(f"{name} of {model}/{version} is missing from the repository: restore it, or train again.")
