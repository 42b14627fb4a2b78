# Every target does its own set-up: python3 (3.11+), pip, make and git are all that must be there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := libiscsi-bin tgt tshark qemu-utils qemu-block-extra

.PHONY: help demo test simulate soak kills check interop osbrick conformance bench fuzz format clean peers

help:            ## Show this list
	@grep -E '^[a-z]+: .*##|^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)   ## Attach, use and detach one volume over two portals
	$(BIN)/iscsim demo --pcap demo.pcapng

test: $(STAMP)   ## Run the tests that need nothing but this clone
	$(BIN)/pytest -n auto -q --ignore=tests/interop --ignore=tests/fuzz

simulate: $(STAMP) ## Play the mixed scenario with 200 seeds
	ISCSIM_SEEDS=200 $(BIN)/pytest -n auto -q tests/simulation

soak: $(STAMP) peers  ## Kill a path of tgt for a minute; try every network, TCP and session fault with 100 seeds
	ISCSIM_SOAK_SECONDS=60 $(BIN)/pytest -q -s tests/interop/test_soak_on_tgt.py
	ISCSIM_SEEDS=100 $(BIN)/pytest -n auto -q tests/simulation/test_soak.py tests/simulation/test_paths.py -o timeout=1800 -o faulthandler_timeout=0

kills: $(STAMP)  ## End a target with kill -9 at 500 moments of a storm of changes
	ISCSIM_KILLS=500 $(BIN)/pytest -q tests/target/administration/test_killed.py -o faulthandler_timeout=0

check: $(STAMP)  ## Lint, format, types, floors, citations, the page on conformance
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_floors.py tests/test_citations.py tests/test_conformance_page.py

interop: $(STAMP) peers  ## Run against libiscsi, tgt, tshark and QEMU (installed with apt when missing)
	$(BIN)/pytest -q -rs tests/interop -o faulthandler_timeout=0

osbrick: .venv-osbrick/.installed .venv-newton/.installed  ## Run os-brick 7.1.1 and Newton's 1.6.2 on emulated hosts
	.venv-osbrick/bin/python -m pytest $(BRICK_OPTIONS) tests/interop/osbrick
	.venv-newton/bin/python -m pytest $(BRICK_OPTIONS) tests/interop/osbrick

# os-brick warns of much in other people's code; each version skips the tests of the other, and says so
BRICK_OPTIONS := -q -rs -W default -p no:cacheprovider -p no:logging

.venv-osbrick/.installed: BRICK := osbrick,pytest] os-brick==7.1.1
.venv-newton/.installed: BRICK := newton,pytest]
.venv-osbrick/.installed .venv-newton/.installed: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "setting up $(@D) (once) ..."
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e .[$(BRICK) pytest-timeout hypothesis
	@touch $@

conformance: $(STAMP) peers  ## Run libiscsi's suites and the tests tagged with RFC 7143; write docs/conformance.md
	$(BIN)/python -m conformance

peers:
	@./tools/install-peers $(PEERS)

bench: $(STAMP) peers    ## Measure side by side with tgt and libiscsi
	$(BIN)/python -m benchmarks

fuzz: $(STAMP)   ## Throw long random input at both ends
	$(BIN)/pytest -q tests/fuzz -o timeout=1800 -o faulthandler_timeout=0

format: $(STAMP) ## Format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## Remove what the other targets made
	rm -rf $(VENV) .venv-osbrick .venv-newton .mypy_cache .pytest_cache .ruff_cache demo.pcapng bench.json
