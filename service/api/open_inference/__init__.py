"""The Open Inference Protocol over HTTP, as KServe and Triton clients speak it."""
