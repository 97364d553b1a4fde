"""Makes one layer of an image: installs, leaves out what nothing needs at run time, compiles, and lays aside what is new.

`layer.py NAME REQUIREMENTS` installs them into /opt/eyas, with the pip of the environment that runs it; `layer.py NAME FOLDER` the
wheel that lies there, and lists what the image holds. What is new is below /layers/NAME, to be copied. `layer.py` alone clears
what the base image has to install packages with, and compiles its standard library.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import cache_from_source
from pathlib import Path

HOME = Path("/opt/eyas")
PYTHON = HOME / "bin/python"
LAYERS = Path("/layers")
# Nothing is installed in an image that runs.
INSTALLERS = ("ensurepip", "pip", "pip-*", "pkg_resources", "setuptools", "setuptools-*", "wheel", "wheel-*", "_distutils_hack")
# Below site-packages. What they weigh is in docs/benchmarks.md.
NEEDLESS = (
    # Of use to those who build or test the packages.
    "**/test",
    "**/tests",
    "**/*.a",
    "nvidia/*/lib/*.bc",
    "nvidia/*/include",
    "torch/include",
    "torch/share",
    # A second build of a library for programs that ask for it, and libraries that nothing here is linked with.
    "nvidia/cu13/lib/*.alt.so*",
    "nvidia/cu13/lib/libcufftw.so*",
    "nvidia/cu13/lib/libcusolverMg.so*",
    "nvidia/cu13/lib/libnvblas.so*",
    # torch.compile writes C, and there is no compiler: see `eyasd.training.device`.
    "triton",
    "triton-*.dist-info",
)
# torch is linked with it. ONNX Runtime loads it where a network transforms by Fourier; none of images does.
NEEDLESS_WITHOUT_TORCH = (
    "nvidia/cu13/lib/libcufft.so*",
    "nvidia_cufft-*.dist-info",
    "nvidia/cu13/lib/libnvJitLink.so*",  # with which cuFFT is linked, and nothing else here
    "nvidia_nvjitlink-*.dist-info",
)


def main(name: str, wanted: Path) -> None:
    """Makes the layer."""
    before = set(HOME.rglob("*"))
    if not before:
        venv.create(HOME, symlinks=True)
    install(wanted)
    site = next(HOME.glob("lib/python3*/site-packages"))
    for path in needless(site):
        remove(path)
    compile_all(site)
    if wanted.is_dir():
        describe()
    lay_aside(name, before)


def clear() -> None:
    """Takes the installers out of the base image."""
    stdlib = Path(os.__file__).parent
    for folder in (stdlib, stdlib / "site-packages", Path("/usr/lib/python3/dist-packages")):
        for pattern in INSTALLERS:
            for path in folder.glob(pattern):
                remove(path)
    for program in Path(sys.base_prefix, "bin").glob("pip*"):
        program.unlink()
    compile_all(stdlib)


def install(wanted: Path) -> None:
    """Installs requirements, all of them with hashes, or the project's own wheel."""
    what: list[str | Path] = (
        ["--no-deps", "--no-index", *wanted.glob("*.whl")] if wanted.is_dir() else ["--require-hashes", "--requirement", wanted]
    )
    how: list[str | Path] = ["--python", PYTHON, "install", "--no-cache-dir", "--no-compile", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *how, *what], check=True)


def describe() -> None:
    """Writes the bill of materials: every package with its version and its licence."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    how: list[str | Path] = ["environment", "--output-reproducible", "--output-format", "JSON", "--output-file", HOME / "sbom.json"]
    subprocess.run([program, *how, PYTHON], check=True)


def needless(site: Path) -> Iterator[Path]:
    """Yields what of a folder of packages is not needed."""
    patterns = NEEDLESS if (site / "torch").is_dir() else NEEDLESS + NEEDLESS_WITHOUT_TORCH
    for pattern in patterns:
        yield from list(site.glob(pattern))


def remove(path: Path) -> None:
    """Removes a file or a folder, unless it went with one above it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def lay_aside(name: str, before: set[Path]) -> None:
    """Links what is new to where it is copied from."""
    for path in sorted(set(HOME.rglob("*")) - before):
        if path.is_symlink() or not path.is_dir():
            place = LAYERS / name / path.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place, follow_symlinks=False)


def compile_all(folder: Path) -> None:
    """Compiles what is not compiled yet.

    The compiled files carry no time, as whoever makes an image reproducible sets the times of all its files, and Python would
    hold them for old. They are never compared with their source, which cannot change either.
    """
    sources = [path for path in sorted(folder.rglob("*.py")) if not Path(cache_from_source(str(path))).exists()]
    compiles = partial(compileall.compile_file, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    with ProcessPoolExecutor() as pool:  # what is a template, and no Python, stays as it is
        list(pool.map(compiles, sources, chunksize=64))


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1], Path(sys.argv[2]))
    else:
        clear()
