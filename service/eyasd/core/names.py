"""Resource names: `models/{model}/versions/{version}`, `models/{model}/aliases/{alias}`, `jobs/{job}`, `datasets/{dataset}`.

A name is checked here once, at the border; behind it a model is a plain string that is safe as the name of a folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from eyasd.core.errors import InvalidArgument

PRODUCTION = "production"

# Lower case only, so that two names never meet on a file system that ignores case; no separator, no leading dot.
_IDENTIFIER = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
# Control characters, line separators, and what turns the direction of a text: whoever reads a name shall see it as it is.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# As long as the name of a folder may be, which is what most labels are.
_MOST_LABEL_BYTES = 255
_RULE = "1 to 64 characters of a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends and no '..'"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of a model, named by its number or through an alias; exactly one of the two is set."""

    model: str
    alias: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        """Returns the short form that people use: `clothing@production` or `clothing/3`."""
        return f"{self.model}/{self.version}" if self.version is not None else f"{self.model}@{self.alias}"


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A version of an uploaded dataset; None is the newest."""

    dataset: str
    version: int | None = None

    def __str__(self) -> str:
        """Returns the resource name."""
        return f"datasets/{self.dataset}" + (f"/versions/{self.version}" if self.version is not None else "")


def check_identifier(text: str, field: str, noun: str) -> str:
    """Returns `text` if it may name a model, an alias or a job.

    Raises:
        InvalidArgument: it may not; the message says the rule.
    """
    if not _IDENTIFIER.fullmatch(text) or ".." in text:
        raise InvalidArgument(field, f"{text[:80]!r} is not a name for {noun}: use {_RULE}.")
    return text


def check_label(text: str, field: str) -> str:
    """Returns `text` if it may be a label: the name of a folder of pictures, or what a manifest says.

    Raises:
        InvalidArgument: it may not.
    """
    if not text.strip() or text != text.strip():
        wrong = "is empty, or has blanks around it"
    elif UNSEEN.search(text):
        wrong = "has a character that cannot be seen"
    elif "|" in text:
        wrong = "has a '|', which separates labels"
    elif len(text.encode()) > _MOST_LABEL_BYTES:
        wrong = f"has more than {_MOST_LABEL_BYTES} bytes"
    else:
        return text
    raise InvalidArgument(field, f"{text[:80]!r} is no label, as it {wrong}: write the name of a label, such as 'shirt'.")


def check_text(text: str, field: str) -> str:
    """Returns `text` if it can be kept: PostgreSQL takes every character but NUL.

    Raises:
        InvalidArgument: it cannot.
    """
    if "\0" in text:
        raise InvalidArgument(field, f"{field} has a NUL character, which cannot be kept: leave it out.")
    return text


def model_name(model: str) -> str:
    """Returns `models/{model}`."""
    return f"models/{model}"


def version_name(model: str, version: int) -> str:
    """Returns `models/{model}/versions/{version}`."""
    return f"models/{model}/versions/{version}"


def alias_name(model: str, alias: str) -> str:
    """Returns `models/{model}/aliases/{alias}`."""
    return f"models/{model}/aliases/{alias}"


def job_name(job: str) -> str:
    """Returns `jobs/{job}`."""
    return f"jobs/{job}"


def parse_model(name: str, field: str) -> str:
    """Returns the model of `models/{model}`.

    Raises:
        InvalidArgument: the name has another form.
    """
    match name.split("/"):
        case ["models", model]:
            return check_identifier(model, field, "a model")
    raise InvalidArgument(field, f"{name[:200]!r} does not name a model: write models/MODEL.")


def parse_job(name: str, field: str) -> str:
    """Returns the job of `jobs/{job}`.

    Raises:
        InvalidArgument: the name has another form.
    """
    match name.split("/"):
        case ["jobs", job]:
            return check_identifier(job, field, "a job")
    raise InvalidArgument(field, f"{name[:200]!r} does not name a job: write jobs/JOB.")


@lru_cache(maxsize=1024)  # on the way of every request
def parse_model_ref(name: str, field: str) -> ModelRef:
    """Returns what `models/M`, `models/M/aliases/A` or `models/M/versions/V` refers to; the first means `production`.

    Raises:
        InvalidArgument: the name has another form.
    """
    match name.split("/"):
        case ["models", model]:
            return ModelRef(check_identifier(model, field, "a model"), alias=PRODUCTION)
        case ["models", model, "aliases", alias]:
            return ModelRef(check_identifier(model, field, "a model"), alias=check_identifier(alias, field, "an alias"))
        case ["models", model, "versions", version] if _VERSION.fullmatch(version):
            return ModelRef(check_identifier(model, field, "a model"), version=int(version))
    raise InvalidArgument(
        field,
        f"{name[:200]!r} does not name a model version: write models/MODEL, models/MODEL/aliases/ALIAS or "
        "models/MODEL/versions/NUMBER.",
    )


def names_upload(dataset: str) -> bool:
    """Tells whether the dataset of a request is meant to be an uploaded one; any other is a path, or a URL."""
    return dataset.startswith("datasets/")


def parse_dataset_ref(name: str, field: str) -> DatasetRef:
    """Returns what `datasets/D` or `datasets/D/versions/V` refers to; the first means the newest version.

    Raises:
        InvalidArgument: the name has another form.
    """
    match name.split("/"):
        case ["datasets", dataset]:
            return DatasetRef(check_identifier(dataset, field, "a dataset"))
        case ["datasets", dataset, "versions", version] if _VERSION.fullmatch(version):
            return DatasetRef(check_identifier(dataset, field, "a dataset"), int(version))
    raise InvalidArgument(
        field, f"{name[:200]!r} does not name an uploaded dataset: write datasets/DATASET or datasets/DATASET/versions/NUMBER."
    )
