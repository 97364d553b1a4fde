"""A secret that everybody who reads the repository shares: with it servers sign what each of them is to believe of the others."""

from __future__ import annotations

import secrets
from typing import Final

from eyasd.storage.store import Store

# A hidden file, so it is no model, to no other reader either, and in no back-up, which would give it to whoever may read that.
_FEEDBACK_KEY: Final = ".feedback-key"
_KEY_BYTES: Final = 32


def shared_key(store: Store) -> str:
    """Returns the key in a repository, which is made by exactly one of those who ask first.

    Raises:
        StorageFailed: it cannot be read, or there is none and it cannot be made.
    """
    try:
        return store.read(_FEEDBACK_KEY).decode()
    except FileNotFoundError:
        store.create(_FEEDBACK_KEY, secrets.token_hex(_KEY_BYTES).encode())
        return store.read(_FEEDBACK_KEY).decode()
