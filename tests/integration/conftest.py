"""The whole server of the API's own tests."""

from tests.unit.api.conftest import bundle, client, observed, observed_bundle, serve

__all__ = ["bundle", "client", "observed", "observed_bundle", "serve"]
