"""Request bodies: bounded as they arrive, and parsed into images, tags, numbers and JSON values."""
