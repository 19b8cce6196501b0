"""CloudEvents as KServe's inference logger sends them."""
