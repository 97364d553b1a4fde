import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from PIL import Image

import odd_decoder
from eyasd.core.errors import DecoderEnded, ImageTooLarge, StartupFailed, Unavailable, UndecodableImage
from eyasd.core.preprocess import MAX_ENCODED_BYTES, Preprocess, Resize
from eyasd.serving.capture.preparing import NotKept
from eyasd.serving.decoding.decoding import Decoding, Here
from eyasd.serving.decoding.pool import Pool
from hostile import costly
from processes import decoders
from waits import wait_until

SPEC = Preprocess(8, oversampling=1.25, resize=Resize.MATRIX)
PHOTOGRAPH = (Path(__file__).parents[3] / "golden" / "scene.jpg").read_bytes()
ENDS: list[str] = []


def make(log: structlog.typing.FilteringBoundLogger, **options: float) -> Pool:
    return Pool(1, **{"limit_seconds": 60.0} | options, on_end=ENDS.append, log=log, program=odd_decoder.PROGRAM)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A pool of the odd decoder, of two processes, in a daemon that has a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EYASD_API__TOKEN", "a secret")
        made = make(structlog.get_logger())
        yield made
        made.close()


def load(decoding: Decoding, encoded: bytes, spec: Preprocess = SPEC) -> NDArray[np.uint8]:
    out = np.zeros((spec.crop_px, spec.crop_px, 3), np.uint8)
    decoding.load(encoded, spec, out, time.monotonic() + 60)
    return out


def said(decoding: Decoding, encoded: bytes, spec: Preprocess) -> object:
    """Returns all that comes of a picture: its pixels, or the error."""
    try:
        return load(decoding, encoded, spec).tobytes()
    except UndecodableImage as error:
        return type(error), error.message, error.metadata


def pictures() -> Iterator[bytes]:
    """Yields whole, broken and odd files of every format, and what is none."""
    picture = Image.open(BytesIO(PHOTOGRAPH)).resize((90, 70))
    yield PHOTOGRAPH
    yield b""
    for form, mode in (
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("WEBP", "RGBA"),
        ("GIF", "P"),
        ("BMP", "RGB"),
    ):
        buffer = BytesIO()
        picture.convert(mode).save(buffer, form)
        whole = buffer.getvalue()
        yield whole
        yield whole[: len(whole) // 2]
        yield whole[:40] + bytes(60) + whole[100:]
        yield whole[:12]
    yield costly.PICTURES["PNG of 65,535 lying tags"]()
    yield costly.saved("BMP", "1", (4000, 3000))  # large enough for OpenBLAS to want memory of its own


@pytest.mark.filterwarnings("ignore")  # as `opening` has it where pytest has no say
def test_a_picture_comes_out_as_it_does_without_whatever_is_amiss_with_it(pool: Pool) -> None:
    here = Here()
    for encoded in pictures():
        for spec in (SPEC, Preprocess(224, 0.875)):
            assert said(pool, encoded, spec) == said(here, encoded, spec)
        assert pool.shorter_side(encoded) == here.shorter_side(encoded)
    assert pool.bare(PHOTOGRAPH) == here.bare(PHOTOGRAPH)
    assert pool.bare(costly.PICTURES["BMP of 40 megapixels"]())[0].startswith(b"\x89PNG")  # there is room for it
    with pytest.raises(NotKept):
        pool.bare(PHOTOGRAPH[:500])


def test_what_is_too_large_to_be_decoded_is_not_kept_either_there_or_without(pool: Pool) -> None:
    small = costly.saved("WEBP", "RGB")
    large = small[:26] + struct.pack("<HH", 8000, 5000) + small[30:]  # RFC 6386, section 9.1
    with pytest.raises(NotKept):
        pool.bare(large)
    with pytest.raises(NotKept) as caught:
        Here().bare(large)
    assert isinstance(caught.value.__cause__, ImageTooLarge)  # by its size, as no pixels lie behind it


def test_the_largest_file_fits_and_a_larger_one_is_refused_as_without(pool: Pool) -> None:
    largest = PHOTOGRAPH + bytes(MAX_ENCODED_BYTES - len(PHOTOGRAPH))
    for encoded in (largest, largest + b"x", PHOTOGRAPH):
        assert said(pool, encoded, SPEC) == said(Here(), encoded, SPEC)


@pytest.mark.parametrize(
    ("does", "why", "sentence"),
    [
        (b"crash", "crash", "ended by SIGSEGV"),
        (b"break the heap", "crash", "ended by SIGABRT"),
        (b"end", "crash", "ended with status 3"),
        (b"open a file", "forbidden", "ended by SIGSYS"),
        (b"lie", "forbidden", "ended by SIGKILL"),
        (b"lie of a refusal", "forbidden", "ended by SIGKILL"),
    ],
)
def test_a_picture_that_ends_its_decoder_is_the_only_one_that_it_costs(pool: Pool, does: bytes, why: str, sentence: str) -> None:
    good, before = load(pool, PHOTOGRAPH), len(ENDS)
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(load, pool, encoded) for encoded in (PHOTOGRAPH, does, PHOTOGRAPH, PHOTOGRAPH)]
    assert [np.array_equal(answers[number].result(), good) for number in (0, 2, 3)] == [True] * 3
    with pytest.raises(DecoderEnded, match=sentence):
        answers[1].result()
    wait_until(lambda: ENDS[before:] == [why])


def test_what_a_decoder_survives_costs_its_picture_alone(pool: Pool) -> None:
    before = len(ENDS)
    with pytest.raises(ImageTooLarge, match="takes more memory to decode than one may"):
        load(pool, b"take memory")
    with pytest.raises(UndecodableImage, match="not a picture"):  # OpenBLAS has what it needs
        load(pool, b"multiply")
    with pytest.raises(RuntimeError, match="Resource temporarily unavailable"):  # a full pipe holds nobody up
        load(pool, b"shout")
    with pytest.raises(RuntimeError, match="nothing"):
        load(pool, b"fail")
    assert load(pool, PHOTOGRAPH).any()
    assert ENDS[before:] == []


def test_a_decoder_that_ends_while_it_has_no_picture_costs_none(pool: Pool) -> None:
    good, before = load(pool, PHOTOGRAPH), len(ENDS)
    for process in decoders("odd_decoder"):
        os.kill(process, signal.SIGSEGV)
    assert np.array_equal(load(pool, PHOTOGRAPH), good)
    wait_until(lambda: len(ENDS) > before)


def test_a_decoder_that_takes_too_long_is_ended(log: structlog.typing.FilteringBoundLogger) -> None:
    pool, before = make(log, limit_seconds=0.3), len(ENDS)
    try:
        for does in (b"hang", b"spin"):
            with pytest.raises(DecoderEnded, match=r"took its decoder more than 0\.3 s"):
                load(pool, does)
        wait_until(lambda: ENDS[before:] == ["slow", "slow"])
    finally:
        pool.close()


def test_nobody_is_left_when_it_is_closed_and_nobody_waits(log: structlog.typing.FilteringBoundLogger) -> None:
    pool = make(log)
    mine = [worker.process for worker in pool._workers]
    with ThreadPoolExecutor(2) as threads:
        stuck = [threads.submit(load, pool, b"hang") for _ in mine]
        wait_until(lambda: not pool._idle)
        late = threads.submit(load, pool, PHOTOGRAPH)
        pool.close()
    for answer in stuck:
        with pytest.raises((DecoderEnded, Unavailable)):  # the latter, where it had not begun yet
            answer.result()
    with pytest.raises(Unavailable, match="going down"):
        late.result()
    assert not any(Path(f"/proc/{process}").exists() for process in mine)
    pool.close()


def test_nobody_is_left_when_the_daemon_is_killed_not_even_one_that_hangs() -> None:
    with subprocess.Popen([sys.executable, odd_decoder.__file__, "hang"], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        processes = daemon.stdout.readline().split()
        assert len(processes) == 2
        daemon.kill()
    wait_until(lambda: not any(is_running(process) for process in processes))


def test_decoders_know_nothing_of_the_daemons_environment(pool: Pool) -> None:
    load(pool, PHOTOGRAPH)
    for process in decoders("odd_decoder"):
        names = {line.partition(b"=")[0] for line in Path(f"/proc/{process}/environ").read_bytes().split(b"\0") if line}
        assert names <= {
            *(b"PYTHONPATH", b"PYTHONHOME", b"LD_LIBRARY_PATH", b"MALLOC_ARENA_MAX"),
            *(b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"MKL_NUM_THREADS"),
        }


def test_a_start_fails_where_no_decoder_can_be_locked_up(log: structlog.typing.FilteringBoundLogger) -> None:
    with pytest.raises(StartupFailed, match="no decoder can be locked up here: it ended with status 1"):
        Pool(1, limit_seconds=1, on_end=ENDS.append, log=log, program=("false",))


def is_running(process: str) -> bool:
    """Returns whether it is, and is no zombie that nobody has waited for."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
