"""The one place where the training program opens an ONNX file: on the CPU, with all its processors."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from eyasd.training.machine import cpu_count


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """Returns a session on the CPU, where rounding is what the parity check expects it to be."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    # Spinning threads take the processors from whoever shares them, and from each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
