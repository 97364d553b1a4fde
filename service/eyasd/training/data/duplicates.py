"""Which pictures are copies of each other: pixel by pixel, or so nearly that a test would ask what the training has answered.

Knows decoded pixels and labels, not files. Two pictures are near copies where their thumbnails are correlated above
`NEAR_CORRELATION`; copies of copies are one group.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core.processors import cpu_count

# Tried on the clothing photographs (3,781 pictures, 7.1 million pairs, 224 px). One pair is of the same photograph, at 0.9997; the
# next, of different garments, are at 0.974, 0.972 and 0.972. Of 600 altered copies 0.98 finds 99.8 % at JPEG quality 30 and 99.3 %
# at 10, all at a width of 96 px, 99.8 % at 0.6 x and 94.5 % at 1.3 x the brightness, 99.3 % turned by 1 degree, 97 % with 1 % cut
# off each side and 36 % with 2 %; none that is mirrored. Thumbnails of 8 px put 4 wrong pairs above 0.98, and of 24 px find less.
# Cosines of the backbone's features tell copies less well: with 0.946 for the first two garments, 0.95 finds 77 % at JPEG quality
# 30 and none of 96 px, though 93 % of those mirrored.
NEAR_CORRELATION: Final = 0.98
_SIDE: Final = 16
# Grey levels of a thumbnail's standard deviation. What is flatter than that is noise, and alike or unlike by chance.
_LEAST_CONTRAST: Final = 4.0
# Pictures of one label that look alike by the dozen are a scene, such as parts below one camera, and no copies.
_MOST_COPIES: Final = 10
_MOST_SHARE: Final = 0.1
_CHUNK: Final = 512  # pictures
_BLOCK_VALUES: Final = 2**23  # of the matrix of correlations, 32 MiB at a time

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Copies:
    """Who is a copy of whom.

    Attributes:
        exact: int64 [n]; pictures with the same number have the same pixels.
        near: int64 [n]; pictures with the same number are copies of each other, exact or near. At most that of `exact`.
        scenes: number of pictures that look like many others of their label, and were not taken for near copies.
    """

    exact: Ids
    near: Ids
    scenes: int


def find_copies(
    images: NDArray[np.uint8], rows: NDArray[np.int64], labels: Sequence[Sequence[str]], check: Callable[[], None]
) -> Copies:
    """Finds the copies among pictures; the order of the pictures changes nothing.

    Part of the time grows with n², within one matrix product: 3,781 pictures take 1.4 s, the product of 30,000 takes 12 s (2 busy
    cores of an EPYC), so 100,000 want some two and a half minutes, where their decoding wants six.

    Args:
        images: uint8 [N, H, W, 3].
        rows: int64 [n], which of the images.
        labels: those of each row.
        check: called again and again; may raise to end it.
    """
    digests: list[bytes] = []
    thumbnails: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor(cpu_count()) as pool:  # hashlib and Pillow work without the interpreter's lock
        for start in range(0, len(rows), _CHUNK):
            check()
            for digest, thumbnail in pool.map(lambda row: _fingerprint(images[row]), rows[start : start + _CHUNK]):
                digests.append(digest)
                thumbnails.append(thumbnail)
    # Sorted by digest, so that a rounding error at the threshold falls the same way in any order.
    _, first, exact = np.unique(np.array(digests), return_index=True, return_inverse=True)
    vectors = _vectors(np.stack([thumbnails[i] for i in first]))
    roots = np.arange(len(first))
    for left, right in _near_pairs(vectors):
        check()
        roots = join(roots, left, right)
    scenes = _scenes(roots, exact, labels)
    roots[scenes] = np.flatnonzero(scenes)
    return Copies(exact, roots[exact], int(scenes[exact].sum()))


def join(roots: Ids, left: Ids, right: Ids) -> Ids:
    """Returns the groups in which each `left` is in one group with its `right`.

    Args:
        roots: int64 [n], the least member of each one's group.
        left: int64 [p].
        right: int64 [p].
    """
    roots = roots.copy()
    while True:
        one, other = roots[left], roots[right]
        apart = one != other
        if not apart.any():
            return roots
        left, right = left[apart], right[apart]
        np.minimum.at(roots, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (roots != roots[roots]).any():
            roots = roots[roots]


def _fingerprint(image: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint8]]:
    """Returns the SHA-256 of the pixels, and a thumbnail of them."""
    thumbnail = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return hashlib.sha256(image.tobytes()).digest(), np.asarray(thumbnail)


def _vectors(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns float32 [n, F] of length 1, whose products are correlations; of length 0 where a picture has no contrast.

    The mean of each channel is taken out, so that brightness and white balance do not count.
    """
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean((1, 2), keepdims=True)
    vectors = centred.reshape(len(thumbnails), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(lengths, 1)
    vectors[lengths[:, 0] < _LEAST_CONTRAST * np.sqrt(vectors.shape[1])] = 0
    return vectors


def _near_pairs(vectors: NDArray[np.float32]) -> Iterator[tuple[Ids, Ids]]:
    """Yields the pairs that are near copies, some at a time."""
    step = max(1, _BLOCK_VALUES // len(vectors))
    for start in range(0, len(vectors), step):
        left, right = np.nonzero(vectors[start : start + step] @ vectors[start:].T >= NEAR_CORRELATION)
        later = right > left
        yield start + left[later], start + right[later]


def _scenes(roots: Ids, exact: Ids, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Returns, of each distinct picture, whether its group is too large to be of copies."""
    scenes = np.zeros(len(roots), np.bool_)
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, held in enumerate(labels):
        for label in held or ("",):  # those without a label are like those of one
            members[label].append(i)
    for found in members.values():
        distinct = np.unique(exact[found])
        sizes = np.bincount(roots[distinct], minlength=len(roots))
        scenes |= (sizes > max(_MOST_COPIES, _MOST_SHARE * len(distinct)))[roots]
    return scenes
