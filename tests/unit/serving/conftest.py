from tests.unit.api.conftest import bundle, client, serve

__all__ = ["bundle", "client", "serve"]
