"""How every process of Tidemark logs: one event a line on standard error, as text or as JSON."""

import datetime as dt
import json
import logging
import os
import sys

FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
QUIETER = {  # levels of libraries whose information is of no use to those who run Tidemark
    "procrastinate": logging.WARNING,
    "alembic": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,  # like httpx it logs URLs, which may carry a receiver's token
    "psycopg.pool": logging.ERROR,  # warns of every attempt of every connection while the database is unavailable
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, process, message, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def configure() -> None:
    """Set up the root logger by `TIDEMARK_LOG_LEVEL` and `TIDEMARK_LOG_FORMAT`.

    This is done before the settings are read, which refuse other values than these.
    """
    level = os.environ.get("TIDEMARK_LOG_LEVEL", "").upper()
    handler = logging.StreamHandler(sys.stderr)
    is_json = os.environ.get("TIDEMARK_LOG_FORMAT", "").lower() == "json"
    handler.setFormatter(JsonFormatter() if is_json else logging.Formatter(TEXT))
    logging.basicConfig(level=level if level in LEVELS else logging.INFO, handlers=[handler])
    for name, quieter in QUIETER.items():
        logging.getLogger(name).setLevel(quieter)
