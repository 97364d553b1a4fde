"""A version's report: the page itself, and how it gets in front of a person."""

from __future__ import annotations

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from eyas._errors import EyasError


@dataclass(frozen=True, slots=True)
class Report:
    """The page that tells people about a version.

    Attributes:
        version: such as `clothing/3`.
        html: needs nothing beside it.
    """

    version: str
    html: str

    def save(self, path: Path | None = None, *, passing: bool = False) -> Path:
        """Writes the page, and returns where.

        Args:
            path: of the file; None is `clothing-3.html` in the current folder.
            passing: without a path, write into a temporary folder instead.

        Raises:
            EyasError: it cannot be written.
        """
        if path is None:
            path = Path(tempfile.mkdtemp(prefix="eyas-") if passing else "", f"{self.version.replace('/', '-')}.html")
        try:
            path.write_text(self.html, encoding="utf-8")
        except OSError as error:
            raise EyasError(f"The report cannot be written to {path}: {error.strerror}.", reason="UNWRITABLE_FILE") from None
        return path.resolve()


def show_in_browser(path: Path) -> None:
    """Opens a page in the browser of whoever asks.

    Raises:
        EyasError: there is none here.
    """
    if not webbrowser.open(path.as_uri()):
        raise EyasError(f"No browser could be started here; the report is in {path}.", reason="NO_BROWSER")
