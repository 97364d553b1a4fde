"""`python -m hostile.asking ROOT OUTSIDE`: asks for every hostile name as `Train` does; prints what came of it.

A process of its own: a hook by which Python tells what is opened stays until the process ends.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

from eyasd.core.errors import EyasError
from eyasd.core.form import form_at
from eyasd.core.names import check_text
from eyasd.core.places import place_of
from hostile.places import elsewhere, escaping

_WATCHED = {"open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"}


def main() -> None:
    """Prints counts by error, the names that were let in or not found, the messages that say too much, and what was touched."""
    root, outside = sys.argv[1:]
    names = sorted({*escaping(root, outside), *elsewhere()})
    touched: list[str] = []
    sys.addaudithook(lambda event, arguments: touched.append(f"{event} {arguments[0]}") if event in _WATCHED else None)
    outcomes: Counter[str] = Counter()
    inside: list[str] = []
    telling: list[str] = []
    for name in names:
        said = ""
        try:
            form_at(place_of(check_text(name, "dataset")), [root, "s3://photos/team"])
            outcome = "let in"
        except EyasError as error:
            outcome, said = type(error).__name__, error.message
        outcomes[outcome] += 1
        if outcome != "InvalidArgument":
            inside.append(name)
        if not said or "\n" in said or "secret" in said:
            telling.append(name)
    before = len(touched)
    open(sys.argv[0]).close()  # noqa: PTH123 - shows that the hook sees what is opened
    said_of = {"outcomes": outcomes, "inside": inside, "telling": telling, "touched": touched[:before], "own": touched[before:]}
    print(json.dumps(said_of))  # noqa: T201


if __name__ == "__main__":
    main()
