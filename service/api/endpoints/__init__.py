"""The HTTP endpoints of Tidemark's own API."""
