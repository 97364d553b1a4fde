"""The one place where the training program opens an ONNX file: on the CPU, with all its processors; a variant for GPUs on one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnxruntime

from eyasd.core.processors import cpu_count
from eyasd.core.variants import EXACT_INT8

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"


def open_session(model: Path, provider: str = CPU) -> onnxruntime.InferenceSession:
    """Returns a session, by default on the CPU, where rounding is what the parity check expects it to be.

    Args:
        model: an ONNX file.
        provider: what runs it; if it is not the one in use afterwards, that is an error.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    # Spinning threads take the processors from whoever shares them, and from each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*EXACT_INT8)
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(str(model), options, providers=list(dict.fromkeys((provider, CPU))))
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{model.name} does not run on {provider}; ONNX Runtime offers {session.get_providers()}.")
    return session
