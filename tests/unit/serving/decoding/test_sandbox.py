import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import locked_up

STOPPED = -signal.SIGSYS


def attempts(*without: str) -> dict[str, object]:
    out = subprocess.run([sys.executable, locked_up.__file__, *without], capture_output=True, check=True).stdout
    found: dict[str, object] = json.loads(out)
    return found


def test_a_decoder_computes_and_answers_and_whatever_else_it_tries_ends_it() -> None:
    found = attempts()
    found.pop("locked")
    assert found == dict.fromkeys(locked_up.MAY, 0) | dict.fromkeys(locked_up.MAY_NOT, STOPPED)
    assert not Path("/tmp/eyas-locked").exists()  # noqa: S108


def test_where_there_is_no_network_of_its_own_the_filter_is_the_same() -> None:
    found = attempts(f"unshare={errno.EPERM}")
    assert found.pop("locked") is False
    assert found == dict.fromkeys(locked_up.MAY, 0) | dict.fromkeys(locked_up.MAY_NOT, STOPPED)


def test_without_the_filter_it_is_not_locked_up() -> None:
    found = attempts(f"seccomp={errno.EINVAL}")
    assert found["locked"] == "the kernel takes no filter of system calls (Invalid argument)"
