"""api.web.bodies: any body is pictures or a mistake that is told."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from eyasd.api.web.bodies import read_pictures
from eyasd.core.errors import InvalidArgument

PIECES = [
    b"--x",
    b"--x--",
    b"\r\n",
    b"\n",
    b": ",
    b"Content-Disposition: form-data; name=a",
    b"Content-Length: 5",
    b"Content-Type: ",
]
PIECES += [b"multipart/mixed; boundary=x", b"Content-Transfer-Encoding: base64", b"no", b"\xff", b"{", b"[", b'"images"', b"null"]


def read(kind: str, body: bytes) -> list[bytes] | str:
    """Returns the pictures of a body, or what its caller is told."""

    async def run() -> list[bytes]:
        loop = asyncio.get_running_loop()
        payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        payload.feed_data(body)
        payload.feed_eof()
        return await read_pictures(make_mocked_request("POST", "/", headers={"Content-Type": kind}, payload=payload))

    try:
        return asyncio.run(run())
    except InvalidArgument as error:
        return error.message
    except web.HTTPException as error:
        return str(error.text)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:aiohttp.multipart")  # of a header that is then left out
@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12),
    st.sampled_from(["multipart/form-data; boundary=x", "application/json"]),
)
def test_any_body_is_pictures_or_a_sentence(pieces: list[bytes], kind: str) -> None:
    found = read(kind, b"".join(pieces))
    assert found


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_pictures_come_as_they_were_sent(pictures: list[bytes]) -> None:
    body = {"images": [{"content": base64.b64encode(picture).decode()} for picture in pictures]}
    assert read("application/json", json.dumps(body).encode()) == pictures
    assert read("image/jpeg", pictures[0]) == pictures[:1]
    boundary = "a boundary that no picture holds"
    parts = (f"--{boundary}\r\n\r\n".encode() + picture + b"\r\n" for picture in pictures)
    assert read(f'multipart/form-data; boundary="{boundary}"', b"".join(parts) + f"--{boundary}--\r\n".encode()) == pictures


def test_another_type_is_told_what_to_send() -> None:
    assert "The body is text/plain: send a form of files" in str(read("text/plain", b"x"))
    assert "form is damaged" in str(read("multipart/form-data", b"x"))


def test_a_part_that_names_its_file_oddly_writes_nothing_beside_the_log() -> None:
    """In a process of its own, as pytest has warnings raised."""
    say = "import warnings, eyasd.api.web.bodies; warnings.warn_explicit('odd', RuntimeWarning, 'm.py', 1, 'aiohttp.multipart')"
    ended = subprocess.run([sys.executable, "-c", say], check=True, capture_output=True)
    assert ended.stderr == b""
