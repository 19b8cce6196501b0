"""What all tests share: one real Postgres a run (a worker of pytest-xdist has its own), one database a test."""

import functools
import gc
import itertools
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Each worker of pytest-xdist, and each program that a test starts, has one thread for linear algebra: where there are
# more threads than processors, those of OpenBLAS wait actively for each other, and tests take many times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import psutil
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tests.support.folders_of_runs import folder_of_run, remove_folders_of_ended_runs
from tests.support.image_worlds import World, digits_world, world_from_environment
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import schema

MEMORY_FOLDER = Path("/dev/shm")  # Linux: files that live in memory
TEMPORARY_ROOT = "PYTEST_DEBUG_TEMPROOT"  # pytest's variable that names the folder of temporary files
MIN_FREE_BYTES = 4 * 2**30  # bytes that must be free in it; a run has some 500 MB of files at a time
MIN_FREE_MEMORY = 8 * 2**30  # bytes of free memory, so that a run does not displace what else runs on the machine

# Hypothesis fails a test that takes long, and draws other examples in each run, unless it is told otherwise.
hypothesis.settings.register_profile(
    "tidemark", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tidemark")

DATABASES = itertools.count()
GARBAGE_THRESHOLD = 20_000  # new objects between two visits of Python's collector, which take a tenth of all time else
NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")  # halves the time to make and drop a database


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(GARBAGE_THRESHOLD)
    _write_bytecode()
    _keep_files_in_memory(config)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported and collected: a million objects that stay."""
    gc.freeze()


def _write_bytecode() -> None:
    """Write bytecode even where the environment forbids it.

    Each worker of pytest-xdist imports all tests, and each program that a test starts imports the package; otherwise
    all of them compile all of it.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _keep_files_in_memory(config: pytest.Config) -> None:
    """Keep the tests' temporary files in memory where there is room, unless pytest's own variable names a folder.

    A database is several hundred files, and each test has a new one: on a disk that takes ten times the processor time,
    and the servers of the acceptance tests, which write durably, wait for the disk besides.
    """
    if TEMPORARY_ROOT in os.environ or not (MEMORY_FOLDER.is_dir() and os.access(MEMORY_FOLDER, os.W_OK)):
        return
    has_room = shutil.disk_usage(MEMORY_FOLDER).free >= MIN_FREE_BYTES
    may_run_programs = not os.statvfs(MEMORY_FOLDER).f_flag & os.ST_NOEXEC
    if has_room and may_run_programs and psutil.virtual_memory().available >= MIN_FREE_MEMORY:
        checkout = f"tidemark-tests-{zlib.crc32(bytes(config.rootpath)):08x}"
        remove_folders_of_ended_runs(MEMORY_FOLDER, checkout)
        folder = folder_of_run(MEMORY_FOLDER, checkout, os.getpid())
        folder.mkdir(mode=0o711)
        os.environ[TEMPORARY_ROOT] = str(folder)  # the workers of pytest-xdist inherit it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: run with --slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded Postgres that lives as long as the run, and need not survive a crash of the machine."""
    folder = tmp_path_factory.mktemp("data")
    with engines.database(Settings(data_dir=folder)) as url:
        for setting in NOT_DURABLE:
            _execute(url, f"ALTER SYSTEM SET {setting} = off")
        _execute(url, "SELECT pg_reload_conf()")
        yield url
        _administration(url).dispose()


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a database with the current schema, which the databases of the tests are copies of."""
    name = "tidemark_template"
    _create(server_url, name)
    engine = engines.connect(_url_of(server_url, name))
    schema.migrate(engine)
    engine.dispose()
    return name


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """The URL of a new database without a schema."""
    with _database(server_url) as url:
        yield url


@pytest.fixture
def url(server_url: str, template: str) -> Iterator[str]:
    """The URL of a new database with the current schema."""
    with _database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def shared_engine(server_url: str, template: str) -> Iterator[Engine]:
    """An engine on a database with the current schema that a module fills once, and whose tests only read."""
    with _database(server_url, template) as url:
        engine = engines.connect(url)
        yield engine
        engine.dispose()


def _create(server_url: str, name: str, template: str = "template1") -> None:
    # Copying files takes less time than the default strategy, which writes each page to the write-ahead log.
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")


@contextmanager
def _database(server_url: str, template: str = "template1") -> Iterator[str]:
    name = f"test_{next(DATABASES)}"
    _create(server_url, name, template)
    yield _url_of(server_url, name)
    _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server_url: str, statement: str) -> None:
    with _administration(server_url).connect() as connection:
        connection.execute(text(statement))


@functools.cache
def _administration(server_url: str) -> Engine:
    """Return an engine whose one connection makes and drops all databases."""
    return create_engine(server_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def _url_of(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine on a new database with the current schema."""
    engine = engines.connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose files lie in the test's own folder."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The demo's classifier with labelled images and fresh traffic."""
    return digits_world(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def environment_model(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same of a model that the environment names."""
    return world_from_environment(tmp_path_factory.mktemp("environment_model"))
