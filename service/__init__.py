"""Tidemark serves an image classifier and notices when the world that it was trained on has changed."""

import os
from importlib.metadata import PackageNotFoundError, version

# ONNX Runtime sends usage events from release 1.32 on unless this is set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    __version__ = version("tidemark")
except PackageNotFoundError:  # the source tree was put on the path without an installation
    __version__ = "0+unknown"
