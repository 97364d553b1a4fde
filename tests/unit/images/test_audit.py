"""docker/audit.py: what is known against a package fails, what cannot be asked does not, and neither is taken for the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "docker" / "audit.py"
SOUND = {"name": "attrs", "version": "26.1", "vulns": []}
KNOWN = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-2022-8", "fix_versions": ["9.0.1", "9.1"], "aliases": []}]}
UNKNOWN = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ([SOUND], 0, ["0 packages have known vulnerabilities, 1 have none."]),
        ([SOUND, KNOWN], 1, ["pillow 9.0: PYSEC-2022-8, mended in 9.0.1, 9.1", "1 packages have known"]),
        ([UNKNOWN], 0, ["0 packages have known vulnerabilities, 0 have none.", "answers nothing of 1: six."]),
        ("ERROR: Could not connect to the feed", 0, ["nobody answers, so nothing is known of its packages (ERROR: Could not con"]),
        ("", 0, ["(pip-audit ended with 1)"]),
        (None, 0, ["No module named 'pip_audit'"]),  # which is no part of the environment
    ],
)
def test_what_is_known_fails_and_what_cannot_be_asked_says_so(tmp_path: Path, said: Any, status: int, told: list[str]) -> None:
    program = tmp_path / "pip_audit" / "__main__.py"
    program.parent.mkdir()
    answer = json.dumps({"dependencies": said, "fixes": []})
    ends = f"sys.exit({said!r} or 1)" if isinstance(said, str) else f"print({answer!r}); sys.exit({status})"
    if said is None:
        ends = "raise ModuleNotFoundError(\"No module named 'pip_audit'\")"
    program.write_text(f"import sys\nassert {str(tmp_path / 'pins.txt')!r} in sys.argv\n{ends}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), str(tmp_path / "pins.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")
    for sentence in told:
        assert sentence in done.stdout
