"""How every process of Tidemark logs: one event a line on standard error, others' chatter from warnings on."""

import logging
import sys

LEVELS = {
    "procrastinate": logging.WARNING,
    "alembic": logging.WARNING,
    "httpx": logging.WARNING,
    "psycopg.pool": logging.ERROR,  # warns of every attempt of every connection while the database is away
}


def configure() -> None:
    """Set up the root logger."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
