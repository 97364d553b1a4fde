"""Opens a dataset, whatever it is: a folder, a manifest, or an archive of either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eyasd.core.errors import BadDataset
from eyasd.core.form import MANIFESTS, Form, form_of
from eyasd.training.data.archive import unpack
from eyasd.training.data.listing import PICTURE_SUFFIXES, Listing, entries, folders, list_files, names, split_of
from eyasd.training.data.table import read_table
from eyasd.training.journal import Journal


def open_dataset(dataset: Path, folder: Path, journal: Journal) -> Listing:
    """Lists the files of a dataset.

    Args:
        dataset: a folder, a manifest or an archive, on this machine.
        folder: JOB_DIR, into which an archive is unpacked.
        journal: hears of the unpacking.

    Raises:
        DatasetNotFound: there is nothing at the path.
        InvalidArgument: it is none of these, or may not be read.
        BadDataset: it holds nothing that can be trained on or scored, or what it holds is wrong.
    """
    match form_of(dataset):
        case Form.FOLDER:
            return _read_folder(dataset)
        case Form.MANIFEST:
            return read_table(dataset)
        case Form.ARCHIVE:
            return _read_folder(_top(unpack(dataset, folder, journal)), confined=True)


def _read_folder(root: Path, *, confined: bool = False) -> Listing:
    """Lists a folder of class folders, or what the one manifest says that lies in a folder without them.

    One folder alone is where a manifest's pictures lie, not a label. Two are labels, and a split's folder is one: they were read
    before there were manifests, so a table beside them changes nothing.
    """
    tables = _manifests(root)
    inside = folders(root)
    if tables and len(inside) < 2 and not any(map(split_of, inside)):
        if len(tables) > 1:
            raise BadDataset(
                f"The dataset holds {len(tables)} manifests, {names(table.name for table in tables)}: name one, or leave one."
            )
        return read_table(tables[0], confined=confined)
    listing = list_files(root)
    if not tables:
        return listing
    warning = f"Left out {names(table.name for table in tables)}, beside class folders: to read a manifest, name it as the dataset."
    return replace(listing, warnings=(*listing.warnings, warning))


def _top(root: Path) -> Path:
    """Returns the folder of an archive that is the dataset: the one in which everything lies, as when a folder was packed."""
    while len(inside := folders(root)) == 1 and split_of(inside[0]) is None:
        loose = [entry for entry in entries(root) if entry.suffix.lower() in PICTURE_SUFFIXES.union(MANIFESTS)]
        if loose or not (folders(inside[0]) or _manifests(inside[0])):  # it is a label, or a manifest's folder of pictures
            break
        root = inside[0]
    return root


def _manifests(folder: Path) -> list[Path]:
    return [entry for entry in entries(folder) if entry.suffix.lower() in MANIFESTS and entry.is_file()]
