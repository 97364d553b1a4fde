"""Prediction ids: tokens that say which answer they are of, signed, so that nothing need be kept of an answer.

    form and flags 1 | nonce 8 | time 4 | version 4 | class index 4 | confidence 4 | length of the name 1 | model's name
    of a multi-label version: class indices of the labels that apply, 4 each | signature 16

in base64url without padding, which makes some 70 characters that begin with a letter. Knows neither how long an id is good for,
nor whether what it names is still there.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import random
import re
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.serving.answer import Prediction
from eyasd.serving.feedback.judged import Stamp

# All numbers unsigned, big-endian.
_HEAD: Final = struct.Struct(">B8sIIIfB")
_FORM: Final = 0x10
_MULTI_LABEL, _ROUTED, _CANARY = 1, 2, 4
_SIGNATURE_BYTES: Final = 16
# Of a multi-label answer to which 3,000 labels apply.
_MOST_CHARACTERS: Final = 16_384
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), str.maketrans("-_", "+/")


class PredictionIds:
    """Makes and reads ids."""

    def __init__(self, keys: Sequence[str], now: Callable[[], float] = time.time) -> None:
        """Takes the keys.

        Args:
            keys: secrets. The first signs, and what another has signed is read, too, so that one can follow another.
            now: seconds since 1970.
        """
        # Keyed BLAKE2b (RFC 7693) signs as HMAC does, in a quarter of its time (bench/feedback.py).
        self._signers = [_signer(key) for key in keys]
        self._now = now
        self._random = random.Random(random.SystemRandom().getrandbits(128))  # noqa: S311 - of names, which are no secrets

    def mint(
        self,
        model: str,
        version: int,
        best: Prediction,
        probabilities: NDArray[np.float32],
        thresholds: Sequence[float] | None,
        *,
        routed: bool,
        canary: bool,
    ) -> str:
        """Returns the id of an answer.

        Args:
            model: that answered.
            version: likewise.
            best: the answer's first prediction.
            probabilities: float32 [C], of every label.
            thresholds: C of them, of a multi-label version; None of another.
            routed: see `Stamp`.
            canary: likewise.
        """
        name = model.encode()
        flags = _FORM | (_ROUTED if routed else 0) | (_CANARY if canary else 0)
        if thresholds is None:
            index, confidence, applied = best.class_index, best.probability, b""
        else:
            # Whatever the caller has asked for: of an unknown picture nothing applies, and top_k may leave out what does.
            index = int(probabilities.argmax())
            confidence = float(probabilities[index])
            applied = np.flatnonzero(probabilities >= np.array(thresholds, np.float32)).astype(">u4").tobytes()
            flags |= _MULTI_LABEL
        nonce = self._random.getrandbits(64).to_bytes(8)
        head = _HEAD.pack(flags, nonce, int(self._now()), version, index, confidence, len(name))
        body = head + name + applied
        return binascii.b2a_base64(body + _sign(self._signers[0], body), newline=False).translate(_TO_URL).rstrip(b"=").decode()

    def read(self, prediction_id: str) -> Stamp | None:
        """Returns what an id says; None where none of the keys has signed it, or it is no id at all."""
        content = _decoded(prediction_id)
        body, signature = content[:-_SIGNATURE_BYTES], content[-_SIGNATURE_BYTES:]
        # Compared with every key, and in constant time, so that how long it takes tells nothing.
        if not sum(hmac.compare_digest(_sign(signer, body), signature) for signer in self._signers):
            return None
        try:
            flags, nonce, seconds, version, index, confidence, length = _HEAD.unpack_from(body)
            name, rest = body[_HEAD.size : _HEAD.size + length].decode(), body[_HEAD.size + length :]
            others = struct.unpack(f">{len(rest) // 4}I", rest)
        except (struct.error, UnicodeDecodeError):
            return None
        if flags & 0xF0 != _FORM:  # of a later Eyas
            return None
        several = bool(flags & _MULTI_LABEL)
        applied = others if several else (index,)
        return Stamp(
            nonce, seconds, name, version, index, confidence, applied, several, bool(flags & _ROUTED), bool(flags & _CANARY)
        )


def nonce_of(prediction_id: str) -> bytes:
    """Returns the nonce of an id that was made here; nothing is checked."""
    return binascii.a2b_base64(prediction_id[:12].translate(_FROM_URL))[1:]


def _signer(key: str) -> Any:
    derived = hashlib.blake2b(key.encode(), digest_size=32, person=b"eyas prediction").digest()
    return hashlib.blake2b(key=derived, digest_size=_SIGNATURE_BYTES)


def _sign(signer: Any, body: bytes) -> bytes:
    copy = signer.copy()
    copy.update(body)
    signature: bytes = copy.digest()
    return signature


def _decoded(prediction_id: str) -> bytes:
    """Returns the bytes of an id; none where it is written in a way in which ids are not."""
    if len(prediction_id) > _MOST_CHARACTERS or not _TEXT.fullmatch(prediction_id):
        return b""
    try:
        content = binascii.a2b_base64(prediction_id.translate(_FROM_URL) + "=" * (-len(prediction_id) % 4))
    except binascii.Error:
        return b""
    # The last character may have bits to spare: only one of the texts that mean the same bytes is the id.
    again = binascii.b2a_base64(content, newline=False).translate(_TO_URL).rstrip(b"=").decode()
    return content if again == prediction_id else b""
