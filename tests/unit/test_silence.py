"""What the daemon is built on says nothing of it to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# With any of these ONNX Runtime would be silent by itself.
SILENCED = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}


def test_onnx_runtime_makes_no_name_to_report_under(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SILENCED} | {"HOME": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run([sys.executable, "-c", "import eyasd.serving.network.session"], env=environment, check=True)
    assert not list(tmp_path.rglob("deviceid"))
