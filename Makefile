# Everything sets itself up: `make demo` and `make test` work on a bare Debian or Ubuntu machine.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint clean

setup:  ## virtual environment, Python packages, GStreamer (where root or sudo allows)
	@PYTHON="$(PYTHON)" bash .ci/setup

demo: setup  ## the main job on what ships
	@$(BIN)/streamfuse demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: lint  ## style, types and every test
	$(BIN)/python -m pytest

clean:
	rm -rf .venv out build dist
