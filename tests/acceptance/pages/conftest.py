"""A live service with data, and a browser that shows its pages."""

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import create_engine, make_url, text

from tests.support.browser import Page, chromium
from tests.support.live_pages import Live
from tests.support.seed import seed
from tests.support.wait import until
from tidemark.demo.installation import MODEL
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.server.app import create_app
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import schema

SCREENSHOTS = Path(__file__).parents[3] / ".ci/artefacts/screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def live(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The whole server on the demo's model, next to a seeded stream that drifts."""
    folder = tmp_path_factory.mktemp("service")
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE pages"))
    url = make_url(server_url).set(database="pages").render_as_string(hide_password=False)
    engine = engines.connect(url)
    schema.migrate(engine)
    seeded = seed(engine)
    init_bundle(MODEL, folder / "bundle", name="digits")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = Settings(data_dir=folder / "data", public_url=address)
        app = create_app(settings, [bundles.load(folder / "bundle")], url)
        server = uvicorn.Server(uvicorn.Config(app, ws="none", log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until(lambda: server.started or not thread.is_alive(), "the server")
        assert thread.is_alive()
        yield Live(address, engine, seeded)
        server.should_exit = True
        thread.join()
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE pages WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser's page."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with chromium(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def screenshots() -> Path:
    """Where screenshots are kept as artefacts of continuous integration."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
