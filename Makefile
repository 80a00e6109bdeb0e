# Two commands are enough: `make demo` and `make test`. Each sets up .venv when it is missing or stale.
PYTHON ?= python3
DEMO_DIR ?= .demo
PORT ?= 3000

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ifeq ($(VERSION),)
$(error $(PYTHON) does not run here; name an interpreter, such as: make demo PYTHON=/usr/bin/python3)
endif
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base-$(VERSION)
DEV := $(VENV)/.dev-$(VERSION)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS := $(foreach name,dev celery k8s s3 gs az accuracy barcodes,--extra $(name))
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: demo test ui lint docs constraints clean

demo: $(BASE)
	$(BIN)/ctr demo --project-dir $(DEMO_DIR)

ui: $(BASE)
	@test -f $(DEMO_DIR)/ctr.yaml || $(BIN)/ctr demo --project-dir $(DEMO_DIR)
	$(BIN)/ctr ui $(DEMO_DIR) --port $(PORT)

test: $(DEV)
	$(BIN)/python -m pytest -n auto --dist loadscope $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DEV)
	$(BIN)/python docs/generate.py

# needs `pip install uv`; the file holds the pins of all supported interpreters
constraints:
	(echo "# Every pin of the project, for Python 3.11 to 3.13. Made by: make constraints"; \
	uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --upgrade \
	  $(EXTRAS) pyproject.toml) > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	rm -rf $(VENV) .demo

# another interpreter makes another stamp, so that .venv is built anew for it
$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $(VERSION). Try: make demo PYTHON=python3.12"; exit 1; }
	rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment (on Debian: apt install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV) (a minute or two) ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(DEV): $(BASE)
	@echo "Installing what the tests need ..."
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@
