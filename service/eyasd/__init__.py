"""The Eyas daemon: trains, evaluates and serves image classifiers over gRPC."""

import os

# From 1.29 on ONNX Runtime tells its makers of each process and each network that it loads, unless it is asked not to before it is
# imported. Whoever runs a daemon has not been asked either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
