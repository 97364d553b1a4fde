"""What a decoder does: it makes ready, has itself locked up, and then decodes what it is given, one picture after another."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from itertools import cycle, product
from typing import Final

import numpy as np
from PIL import (
    Image,
    MpoImagePlugin,  # noqa: F401 - opens what telephones write, and is asked for then
    TiffImagePlugin,  # noqa: F401 - reads EXIF
    WebPImagePlugin,  # noqa: F401 - unlike the other formats, Pillow imports it when one comes
)

from eyasd.core import document
from eyasd.core.errors import ImageTooLarge, UndecodableImage
from eyasd.core.preprocess import Interpolation, Preprocess, Resize, load_image
from eyasd.core.reference import shorter_side
from eyasd.serving.capture.preparing import NotKept, bare
from eyasd.serving.decoding.records import ANSWER, ASK, MOST_RECORD_BYTES, MOST_RESULT_BYTES, Came, Do, Refusal, Tray
from eyasd.serving.decoding.sandbox import NoSandbox, lock_up

_NO_MEMORY: Final = "The picture takes more memory to decode than one may: send a smaller copy."
# Of a sentence, so that it fits its record whatever its characters are.
_MOST_CHARACTERS: Final = 2_000


def main(control: socket.socket, tray: Tray, parent: int) -> None:
    """Decodes until the daemon closes its end.

    Args:
        control: the way to it.
        tray: where pictures lie.
        parent: process id of the daemon.
    """
    warnings.simplefilter("ignore")  # to show one, Python would open the source
    warm_up()
    tray.close()
    try:
        network = lock_up(parent)
    except NoSandbox as error:
        control.send(ANSWER.pack(Came.FAILED, 0) + str(error).encode())
        return
    channel = control.fileno()
    os.write(channel, ANSWER.pack(Came.DONE, network))
    while record := os.read(channel, MOST_RECORD_BYTES):
        tray.begun[0] = True
        os.write(channel, _answer(record, tray))


def warm_up() -> None:
    """Has everything imported and looked up that a picture may want, as nothing can be opened afterwards."""
    Image.preinit()
    specs = cycle(Preprocess(8, 1.0, kernel, resize=resize) for kernel, resize in product(Interpolation, Resize))
    for encoded in _samples():
        shorter_side(encoded)
        bare(encoded)
        load_image(encoded, next(specs))
        try:
            load_image(encoded[: len(encoded) * 2 // 3], next(specs))
        except UndecodableImage as error:
            document.dump(Refusal(error.message))
    # OpenBLAS takes 32 MB at its first large product and keeps them; where it cannot have them, it ends the process.
    large = np.ones((512, 512), np.float32)
    np.matmul(large, large)


def _samples() -> Iterator[bytes]:
    """Yields small pictures of every format, upright and turned."""
    turned = Image.Exif()
    turned[0x0112] = 6
    whole = Image.fromarray(np.arange(64 * 48 * 3, dtype=np.uint8).reshape(64, 48, 3))
    for form, modes in (
        ("JPEG", ("RGB", "L", "CMYK")),
        ("PNG", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
        ("WEBP", ("RGB", "RGBA")),
        ("GIF", ("P", "L")),
        ("BMP", ("RGB", "P", "1")),
    ):
        for mode in modes:
            picture = whole.convert("L").convert("I;16") if mode == "I;16" else whole.convert(mode)
            for exif in (None, turned) if form in {"JPEG", "PNG", "WEBP"} else (None,):
                buffer = BytesIO()
                picture.save(buffer, form, **({} if exif is None else {"exif": exif}))
                yield buffer.getvalue()
    moving = BytesIO()
    whole.save(moving, "WEBP", save_all=True, append_images=[whole.rotate(90)])
    yield moving.getvalue()


def _answer(record: bytes, tray: Tray) -> bytes:
    """Returns what came of a request; its result lies in the tray."""
    what, length = ASK.unpack_from(record)
    encoded = tray.file[:length].tobytes()
    try:
        number, said = _done(Do(what), encoded, record[ASK.size :], tray)
    except UndecodableImage as error:
        if isinstance(error.__cause__, MemoryError):
            return _refused(Came.TOO_LARGE, Refusal(_NO_MEMORY))
        metadata = {key: int(value) for key, value in error.metadata.items()}
        came = Came.TOO_LARGE if isinstance(error, ImageTooLarge) else Came.UNDECODABLE
        return _refused(came, Refusal(error.message[:_MOST_CHARACTERS], **metadata))
    except MemoryError:
        return _refused(Came.TOO_LARGE, Refusal(_NO_MEMORY))
    except NotKept as error:
        return ANSWER.pack(Came.NOT_KEPT, 0) + str(error).encode()
    except Exception as error:  # noqa: BLE001 - the daemon tells of it: of a traceback the sources are files
        return ANSWER.pack(Came.FAILED, 0) + repr(error)[:_MOST_CHARACTERS].encode(errors="replace")
    return ANSWER.pack(Came.DONE, number) + said.encode()


def _refused(came: Came, refusal: Refusal) -> bytes:
    return ANSWER.pack(came, 0) + document.dump(refusal).encode(errors="replace")


def _done(what: Do, encoded: bytes, spec: bytes, tray: Tray) -> tuple[int, str]:
    """Returns the number and the words of an answer. Raises UndecodableImage and NotKept."""
    if what is Do.LOAD:
        wanted = _preprocess(spec)
        side = wanted.crop_px
        load_image(encoded, wanted, tray.result[: 3 * side * side].reshape(side, side, 3))
        return side, ""
    if what is Do.SHORTER_SIDE:
        return shorter_side(encoded) or 0, ""
    content, digest = bare(encoded)
    if len(content) > MOST_RESULT_BYTES:
        raise NotKept("unreadable")
    tray.result[: len(content)] = np.frombuffer(content, np.uint8)
    return len(content), digest


@lru_cache(maxsize=64)
def _preprocess(spec: bytes) -> Preprocess:
    return document.load(Preprocess, spec)
