"""Where the `eyas` command writes the explanations of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from eyas._errors import EyasError
from eyas._types import Classification

_SUFFIX = ".png"


def places(out: Path, pictures: Sequence[Path]) -> dict[Path, Path]:
    """Returns the file for each picture's explanation: `out` itself where it is a .png file, else one of the picture's name in it.

    Raises:
        ValueError: it is one file for several pictures, two pictures have the same name, or one is that file.
    """
    if out.suffix.lower() != _SUFFIX:
        files = {picture: out / f"{picture.stem}{_SUFFIX}" for picture in pictures}
    elif len(pictures) == 1:
        files = {pictures[0]: out}
    else:
        raise ValueError(f"--explain {out} is a file for one picture, but there are {len(pictures)}: name a folder.")
    taken: dict[Path, Path] = {}
    for picture, file in files.items():
        if file.resolve() == picture.resolve():
            raise ValueError(f"--explain {out} would write over the picture {picture}: name another folder or file.")
        if file in taken:
            raise ValueError(f"--explain {out} would write {file} for {taken[file]} and for {picture}: explain them one at a time.")
        taken[file] = picture
    return files


def write(answers: Iterable[tuple[Path, Classification | EyasError]]) -> None:
    """Writes the explanation of each answer that has one into its file, and makes the folders they need.

    Raises:
        EyasError: one cannot be written.
    """
    for file, answer in answers:
        if isinstance(answer, EyasError) or answer.explanation is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(answer.explanation)
        except OSError as error:
            raise EyasError(f"The explanation cannot be written to {file}: {error.strerror}.", reason="UNWRITABLE_FILE") from None
