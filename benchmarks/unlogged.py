"""`python -m benchmarks.unlogged serve …`: `tidemark` with a log that keeps nothing, to measure what logging costs."""

from tidemark import cli
from tidemark.spool.spool import Spool

if __name__ == "__main__":
    Spool.append = lambda self, batch, images=None: None  # type: ignore[method-assign]
    cli.main()
