# Two commands on a fresh machine: `make book` and `make test`. PYTHON= chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS := tests notebooks
# What has no wheel is built with pinned and hashed tools, never with what pip would fetch for it: they come first.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: book test serve lab data bench outputs figure lint lock clean help

help:       ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

book: $(READY)       ## the environment, then the whole book → _build/html/index.html
	@$(BIN)/jupyter-book config sphinx . >/dev/null
	$(BIN)/sphinx-build -b html -j 7 -W -n --keep-going --quiet . _build/html
	@$(BIN)/python tools/check_site.py _build/html

test: $(READY)       ## the environment, then every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
		--nbval-lax --nbval-cell-timeout 120 $(TESTS)

serve: book       ## the book, built and then served at http://localhost:8000
	$(BIN)/python -m http.server 8000 --bind localhost --directory _build/html

lab: $(READY)        ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=. $(LAB_FLAGS) notebooks/linear.ipynb

data: $(READY)       ## the three data sets: official files, verified
	$(BIN)/secondlook data fetch

bench: $(READY)      ## speed against the loop a user would otherwise write
	$(BIN)/python benchmarks/speed.py

outputs: $(READY)    ## after new records: what notebooks and README say of them, anew
	$(BIN)/python tools/refresh_outputs.py notebooks/*.ipynb

figure: book         ## the figure of README.md, anew from the front page (needs Chromium)
	$(BIN)/python tools/readme_figure.py _build/html

lint: $(READY)       ## style and format
	$(BIN)/ruff check lib tests benchmarks tools
	$(BIN)/ruff format --check lib tests benchmarks tools

lock: $(READY)       ## pin and hash the whole working set anew
	$(BIN)/uv pip compile --universal --generate-hashes --no-annotate --python-version 3.11 \
		--extra dev --extra tracking pyproject.toml --output-file requirements.txt

clean:       ## built pages, smoke runs and the environment; data and records stay
	rm -rf _build runs $(VENV)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	sed -n -E '/^(packaging|setuptools|wheel)==/,/[^\]$$/p' requirements.txt > $(VENV)/build-tools.txt
	$(PIP) --require-hashes -r $(VENV)/build-tools.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)
