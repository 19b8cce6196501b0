"""Adopts the spools of dead workers, so that their predictions reach Postgres."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from . import file, ring
from .file import DAMAGED
from .spool import Spool

logger = logging.getLogger(__name__)


def adopt(folder: Path) -> Iterator[Spool]:
    """Yield the spools in `folder` whose process is gone; one that cannot be read does not stop the others."""
    for path in sorted(folder.glob(f"*{file.SUFFIX}")):
        try:
            lock = file.lock(path)
        except OSError as error:
            logger.warning("spool %s cannot be locked now: %s", path, error)
            continue
        if lock is None:
            continue
        try:
            orphan = Spool(path, lock, adopted=True)
        except (sqlite3.OperationalError, OSError) as error:
            logger.warning("spool %s cannot be adopted now: %s", path, error)
            lock.close()
        except sqlite3.DatabaseError as error:
            logger.error("spool %s is damaged (%s) and set aside as %s", path, error, DAMAGED)
            file.set_damaged(path)
            if ring.path_of(path).exists():
                path.touch()  # an empty file, which takes over what the ring holds when it is adopted the next time
            else:
                file.remove(path)
            lock.close()
        except file.UnknownFormat as error:
            logger.error("spool %s was written by another version and stays as it is: %s", path, error)
            lock.close()
        else:
            yield orphan
