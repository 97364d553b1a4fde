"""What a GPU gives and what is made of it: `python bench/gpu.py DATA_DIR NAME[/VERSION] ...`.

The versions are a daemon's, with an fp16 variant where that is to be measured. `eyas train` makes them; of any small folder of
pictures, as accuracy does not matter:

    eyas train photos --name lite0 --backbone tf_efficientnet_lite0 --variant fp16
    eyas train photos --name resnet --backbone resnet50 --variant fp16

Then `python bench/gpu.py eyas-data lite0 resnet`. Of each network and batch size, in pictures/s, the median of some rounds:

    device    ONNX Runtime alone, its buffers on the device, with what the server tells it: the bound
    plain     the same without CUDA graphs, and `first` without NHWC, too
    session   the server's session: pictures from the host's memory, answers in it
    engine    an engine process, asked by as many coroutines as fill its batches; no gRPC, no decoding

`--device cpu` runs it on a CPU, where there are no graphs; `--device tensorrt` with TensorRT, which compiles for minutes first.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import machine
import numpy as np
import onnxruntime as ort
import structlog

from eyasd.core.bundle import INPUT, PROBABILITIES, Manifest
from eyasd.core.device import Device
from eyasd.core.names import ModelRef
from eyasd.core.variants import Precision
from eyasd.registry.models import Models
from eyasd.serving.engine.link import Engine
from eyasd.serving.engine.loading import EngineOptions, Loader
from eyasd.serving.network.bound import run_options
from eyasd.serving.network.ladder import ladder
from eyasd.serving.network.precision import VARIANTS
from eyasd.serving.network.providers import CPU, CUDA, DEFAULT_BATCH_SIZES, Gpu, choose_provider, provider_options, session_options
from eyasd.serving.network.session import Session
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("versions", nargs="+")
    parser.add_argument("--device", type=Device, default=Device.AUTO)
    parser.add_argument("--precision", type=Precision, help="only this one (all that a version has)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (%(default)s)")
    options = parser.parse_args()
    provider = choose_provider(options.device)
    models = Models(LocalStore(options.data_dir / "models"))
    print(f"{machine.describe()}, onnxruntime {ort.__version__} on {provider}, `python bench/gpu.py {' '.join(sys.argv[1:])}`")
    print("\n| network | at once | first | plain | device | session | engine | session / device | engine / device |")
    print(f"|{9 * '---|'}", flush=True)
    for name in options.versions:
        model, _, number = name.partition("/")
        version = models.resolve(ModelRef(model, version=int(number)) if number else ModelRef(model, alias="production"))
        manifest = models.manifest(model, version)
        for precision in (Precision.FP32, *(one for one in manifest.accepted() if one is VARIANTS[provider])):
            if options.precision in (None, precision):
                measure(models, model, version, manifest, precision, provider, options)


def measure(
    models: Models, model: str, version: int, manifest: Manifest, precision: Precision, provider: str, options: argparse.Namespace
) -> None:
    content = models.fetch(model, version, precision.file)
    most = DEFAULT_BATCH_SIZES[provider]
    px = manifest.preprocess.crop_px
    images = np.random.default_rng(0).integers(0, 256, (most, px, px, 3), np.uint8)
    gpu = Gpu(image_px=px)
    session = Session(content, provider=provider, threads=1, max_batch_size=most, precision=precision, gpu=gpu)
    session.warm(images[0])
    for problem in (session.without_graphs, session.elsewhere):
        if problem:
            print(f"{model} {precision}: {problem}", file=sys.stderr)

    def alone(of: Precision, graphs: bool) -> ort.InferenceSession:
        providers = provider_options(provider, precision=of, max_batch_size=most, gpu=gpu, graphs=graphs)
        return ort.InferenceSession(content, session_options(provider, 1), providers=providers, enable_fallback=0)

    graphs = provider == CUDA and not session.without_graphs
    bare = {"first": alone(Precision.FP32, False), "plain": alone(precision, False), "device": alone(precision, graphs)}
    in_engine = asyncio.run(engine(models, model, version, precision, provider, options))
    for size in ladder(most):
        rates = {name: rate(on_device(one, images[:size], provider, size), size, options) for name, one in bare.items()}
        rates["session"] = rate(lambda batch=images[:size]: session.run(batch), size, options)  # type: ignore[misc]
        rates["engine"] = in_engine[size]
        shares = [rates[name] / rates["device"] for name in ("session", "engine")]
        row = " | ".join([*(f"{value:.0f}" for value in rates.values()), *(f"{share:.2f}" for share in shares)])
        print(f"| {model} {precision} | {size} | {row} |", flush=True)


def rate(run: Callable[[], object], size: int, options: argparse.Namespace) -> float:
    """Returns pictures/s."""
    for _ in range(3):
        run()
    rounds = []
    for _ in range(options.rounds):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < options.seconds:
            run()
            count += size
        rounds.append(count / (time.perf_counter() - start))
    return statistics.median(rounds)


def on_device(session: ort.InferenceSession, images: np.ndarray, provider: str, size: int) -> Callable[[], object]:
    """Returns a run of a batch that lies on the device, whose answer stays there."""
    device = "cpu" if provider == CPU else "cuda"
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, ort.OrtValue.ortvalue_from_numpy(images, device))
    outputs: Mapping[str, list[int]] = {output.name: output.shape[1:] for output in session.get_outputs()}
    answer = ort.OrtValue.ortvalue_from_shape_and_type([size, *outputs[PROBABILITIES]], np.float32, device)
    binding.bind_ortvalue_output(PROBABILITIES, answer)
    captured = run_options(str(size))
    return lambda: session.run_with_iobinding(binding, captured)


async def engine(
    models: Models, model: str, version: int, precision: Precision, provider: str, options: argparse.Namespace
) -> dict[int, float]:
    """Returns the pictures/s of an engine process that twice as many coroutines ask as a batch of each size has pictures."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    rates = {}
    for size in ladder(DEFAULT_BATCH_SIZES[provider]):
        task = EngineOptions(
            provider=provider, precision=precision, threads=1, max_batch_size=size, max_delay_seconds=0.0, slots=2 * size
        )
        loaded = await Loader(models, task, Metrics(), structlog.get_logger()).load(model, version, lambda _: None)
        over = time.monotonic() + options.rounds * options.seconds
        start = time.monotonic()
        answered = await asyncio.gather(*(ask(loaded.engine, over) for _ in range(2 * size)))
        rates[size] = sum(answered) / (time.monotonic() - start)
        await loaded.close()
    return rates


async def ask(engine: Engine, over: float) -> int:
    """Returns how many pictures were answered; they lie in their slots already, as decoders leave them there."""
    count, deadline = 0, over + 60
    while time.monotonic() < over:
        async with engine.slot(deadline) as slot:
            await slot.infer(deadline)
        count += 1
    return count


if __name__ == "__main__":
    main()
