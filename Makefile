# Two commands on a fresh machine with python3.11, pip and make: `make demo` and `make test`.
# Each makes .venv first if it is not there; a stamp file lets the next run start at once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CORE := .venv/.core-installed
TEST := .venv/.test-installed
# PyPI's torch for Linux carries CUDA; the CPU build (2.13.0+cpu) wins wherever an index or a wheel folder offers it.
TORCH := torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu --timeout 15 --retries 2

.PHONY: setup demo test matrix clients agents check format texts pictures clean

setup: $(TEST)

demo: $(CORE)
	$(BIN)/anubhav demo $(ARGS)

test: $(TEST)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

matrix: $(TEST)
	$(BIN)/python tests/compat/matrix.py

clients: $(TEST)
	$(BIN)/python tests/compat/clients/walk.py

agents: $(TEST)
	$(BIN)/python tests/compat/clients/coding_agents.py $(ARGS)

check: $(TEST)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(TEST)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the pages say, into the catalogs: new texts have to be translated there, which a test asks for.
texts: $(TEST)
	$(BIN)/pybabel -q extract -F pyproject.toml -k gettext_noop --add-location file --omit-header -o .texts.pot src/anubhav
	$(BIN)/pybabel -q update -N --no-wrap --ignore-pot-creation-date --ignore-obsolete -l hi -i .texts.pot -o src/anubhav/web/texts/hi.po
	rm .texts.pot

# Of the pages, for the docs: look at each afterwards. Debian's Chromium takes them.
pictures: $(TEST)
	$(BIN)/python -m pytest tests/browser/pictures.py $(ARGS)

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache

$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	$(PIP) --editable . --constraint constraints.txt
	touch $@

$(TEST): $(CORE)
	$(PIP) --editable '.[test]' --constraint constraints.txt
	touch $@
