"""What obstore raises where a bucket does not do what it is asked to: whether it may pass, and the sentence that tells of it."""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import PreconditionError

from eyasd.core.errors import StorageFailed

_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
_STATUS: Final = re.compile(r"status code: ((\d{3}) [A-Za-z -]+)")
_REFUSED: Final = ("401", "403")
# Of what is answered with 4xx, all that is not wrong with the request itself: time-out, conflict, too many.
_PASSING: Final = ("408", "409", "429")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_KIND: Final = re.compile(r"kind: (Connect|Timeout|Interrupted|Decode)\b")


def failure(address: str, key: str, error: Exception) -> StorageFailed:
    """Returns what is told of a request that failed for good, of an object or of all of the bucket where the key is ""."""
    at = f"{address} at {key!r}" if key else address
    status = _STATUS.search(str(error))
    if status and status[2] in _REFUSED:
        return StorageFailed(
            f"{at} refused access ({_reason(error)}): give Eyas credentials that may read, list, write and delete there."
        )
    if is_no_bucket(error):
        return StorageFailed(f"There is no bucket of {address}: make it, or name another.")
    if isinstance(error, PreconditionError):
        return StorageFailed(f"{at} was changed while it was read: try again.")
    if is_final(error):
        return StorageFailed(
            f"{at} does not do what Eyas asks of it ({_reason(error)}): it must speak its cloud's protocol, conditional writes "
            "included."
        )
    return StorageFailed(f"{at} could not be used ({_reason(error)}): once the store answers, try again.")


def is_final(error: Exception) -> bool:
    """Returns whether the same request would be answered in the same way."""
    status = _STATUS.search(str(error))
    return status is not None and status[2].startswith("4") and status[2] not in _PASSING


def _reason(error: Exception) -> str:
    """Returns what an error says, without addresses: the status and its code, or what the network did."""
    text = str(error)
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"{status[1].strip()}, {code[1]}" if code else status[1].strip()
    if kind := _KIND.search(text):
        says = {"Connect": "it cannot be reached", "Timeout": "no answer in time", "Interrupted": "the connection broke off"}
        return says.get(kind[1], "the answer broke off")
    return first_line(error)


def first_line(error: Exception) -> str:
    """Returns what an error says first, without where it comes from."""
    return str(error).partition("\n")[0].rpartition(" - ")[2].strip()[:120] or type(error).__name__


def is_no_bucket(error: Exception) -> bool:
    """Returns whether the bucket itself is not there."""
    return any(code in str(error) for code in _NO_BUCKET)
