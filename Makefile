PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test lint docs bench lock proto clean

demo: $(READY)
	$(BIN)/tidemark demo

# Two workers more than processors: many tests wait for programs of their own. `make test SLOW=1` also runs the tests marked
# slow, which repeat claims of the others with more rows, more rounds or longer outages.
test: $(READY)
	$(BIN)/python -m pytest -n $$(( $$(getconf _NPROCESSORS_ONLN) + 2 )) --maxprocesses 8 --dist worksteal \
	    $(if $(SLOW),--slow) $(if $(COVERAGE),--cov --cov-report=term)

# The same tests, with the branch coverage of `service/`, which must not fall below the floor in pyproject.toml.
coverage:
	$(MAKE) test COVERAGE=1

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(READY)
	$(BIN)/mkdocs build --strict --config-file .ci/mkdocs.yml

bench: $(READY)
	$(BIN)/python -m benchmarks

# The lock holds names, versions and hashes of every platform; `make lock` renews it from pyproject.toml. The extra
# `adapt` is left out: torch is large, and its tests skip without it.
lock: $(READY)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra demo --extra dev --extra docs --universal --generate-hashes --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock
	for variant in 'gpu onnxruntime-gpu[cuda,cudnn]' 'openvino onnxruntime-openvino'; do set -- $$variant; echo "$$2" | \
	    $(BIN)/uv pip compile - --constraint requirements.lock --universal --generate-hashes --python-version 3.11 --no-annotate \
	    --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file docker/$$1.lock || exit 1; done

# The protocol buffer compiler is not among the dependencies: its newest releases need a newer protobuf than the clients
# that the tests use. This release generates code for protobuf 6.31 and newer.
PROTO := service/api/open_inference_grpc

proto:
	$(PYTHON) -m venv $(VENV)/protoc
	$(VENV)/protoc/bin/pip install --quiet grpcio-tools==1.76.0
	$(VENV)/protoc/bin/python -m grpc_tools.protoc -I $(PROTO) --python_out=$(PROTO) --pyi_out=$(PROTO) open_inference.proto

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Tidemark needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 $(MAKECMDGOALS)") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@mkdir -p $(VENV)/src && ln -sfn ../../service $(VENV)/src/tidemark   # where type checkers and editors find the package
	@touch $@

clean:
	rm -rf $(VENV)
