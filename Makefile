# make book    run the notebooks and build the book (PROFILE=demo, small or paper; JOBS notebooks at a time)
# make pdf     build the book, and print it into one PDF (needs Chromium)
# make serve   build the book, and open it in a browser (PORT)
# make test    check style and types, and run the tests
# make clean   remove what was built, and keep what was trained

PYTHON ?= python3
PROFILE ?= demo
JOBS ?= 2
PORT ?= 8000

BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: book pdf serve test clean

book: $(INSTALLED)
	@$(BIN)/armlib book --profile $(PROFILE) --jobs $(JOBS)

pdf: $(INSTALLED)
	@$(BIN)/armlib book --profile $(PROFILE) --jobs $(JOBS) --pdf

serve: book
	@(sleep 1; $(BIN)/python -m webbrowser http://127.0.0.1:$(PORT)/index.html > /dev/null) &
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory book/_build/html $(PORT)

test: $(INSTALLED)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q

clean:
	@rm -rf book/_build build .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "armlib needs Python 3.11 or newer, but \
	$(PYTHON) is Python %d.%d; name another with: make PYTHON=python3.12" % v[:2])'
	@echo "Installing the pinned packages into .venv (once; several minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,book,sweep,test]'
	@touch $@
