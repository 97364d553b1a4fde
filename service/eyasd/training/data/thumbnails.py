"""Small pictures for the report, as text that a page holds in itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core.findings import DatasetReport, DuplicateGroup
from eyasd.training.data.listing import File

# With the 50 suspects at most 98 pictures: 350 KB of photographs, and 1 MB were they noise.
_MAX_GROUPS: Final = 12
_MAX_GROUP_FILES: Final = 4
_SIDE_PX: Final = 96
_QUALITY: Final = 60


def shown_groups(report: DatasetReport) -> list[DuplicateGroup]:
    """Returns the groups of copies that a person must look at, each with the files whose pictures are shown."""
    if report.duplicates is None:
        return []
    questionable = [group for group in report.duplicates.groups if group.across_labels or group.across_splits]
    return questionable[:_MAX_GROUPS]


def thumbnails(report: DatasetReport, files: Sequence[File], images: NDArray[np.uint8]) -> Mapping[str, str]:
    """Returns a data URI for each picture that the report shows, by the file's name.

    Args:
        report: names the pictures.
        files: of the dataset.
        images: uint8 [N, H, W, 3], of each file.
    """
    suspects = report.suspects.pictures if report.suspects else ()
    names = {suspect.path for suspect in suspects}
    names |= {file.path for group in shown_groups(report) for file in group.files[:_MAX_GROUP_FILES]}
    return {file.name: thumbnail(images[row]) for row, file in enumerate(files) if file.name in names}


def thumbnail(image: NDArray[np.uint8], side_px: int = _SIDE_PX) -> str:
    """Returns the data URI of a picture, uint8 [H, W, 3], made small."""
    small = Image.fromarray(image)
    small.thumbnail((side_px, side_px))
    return data_uri(small)


def data_uri(picture: Image.Image) -> str:
    """Returns a picture as a JPEG file in a data URI."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
