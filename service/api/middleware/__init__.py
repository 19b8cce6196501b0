"""ASGI middleware: API keys, security headers, and the short way to `/predict`."""
