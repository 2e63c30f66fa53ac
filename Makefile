# make demo   sets up .venv, runs the pipeline on a simulated catalogue (or DATA=folder) and shows what it found;
#             SETTINGS=file.json changes settings
# make shell  opens a shell in which tfx and python are those of .venv
# make test   sets up .venv, checks style and types, runs the tests
# make check  the same without the tests that run a pipeline or are slow
# make test-latest   runs the same on Debian 13, which it installs in .lanes/; needs root and debootstrap
# make serve-smoke MODEL_DIR=folder   runs the real TensorFlow Serving on pushed models; needs Docker
# make engines   puts Flink, Spark and Beam's job servers into .engines/; needs Java and Maven
# make test-engines   runs the pipeline on Beam engines: those of .engines/, and Beam's own job service
# make docs   builds the site of docs/ into site/, and stops at any warning
# make bench  measures every baseline and every part of the method on the folders in DATA
# make evidence   measures every set in the folder DATA and writes the tables of similar songs; HARDWARE says on what
# make lock   resolves requirements/*.txt anew from pyproject.toml

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV_VERSION := 0.13.9

# requirements/lane.py writes the name of a file of requirements, one word, or a sentence where none suits this machine.
LANE_REPLY := $(if $(PYTHON),$(shell $(PYTHON) $(dir $(lastword $(MAKEFILE_LIST)))requirements/lane.py 2>/dev/null))
LANE := $(if $(word 2,$(LANE_REPLY)),,$(LANE_REPLY))
NO_PYTHON = expected Python 3.11 (3.10; up to 3.13 beside glibc 2.39) on x86-64 Linux with glibc. \
	Received: $(if $(PYTHON),$(PYTHON) that does not run,no python3). Install one and name it: make PYTHON=python3.11
READY := .venv/ready-$(or $(LANE),nothing)
BIN := .venv/bin
# A file's tests share what they make, and a process.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo shell test check docs engines test-engines test-latest bench evidence serve-smoke lint lock clean

# The shell gets what the user wrote as variables: spaces, quotes, $ and # mean nothing to make or to the shell then.
override DATA := $(value DATA)
override OUT := $(value OUT)
override SETTINGS := $(value SETTINGS)
override MODEL_DIR := $(value MODEL_DIR)
override HARDWARE := $(value HARDWARE)
override JAR_OF_FLINK := $(value JAR_OF_FLINK)
override JAR_OF_SPARK := $(value JAR_OF_SPARK)
export DATA OUT SETTINGS MODEL_DIR HARDWARE JAR_OF_FLINK JAR_OF_SPARK

demo: $(READY)
	@$(BIN)/python -m tfx_pipeline.demo $${DATA:+--data="$$DATA"} $${OUT:+--out="$$OUT"} \
		$${SETTINGS:+--settings="$$SETTINGS"}

# bash alone can be told what to read at its start: what the user's own file puts before PATH comes after .venv then.
shell: $(READY)
	@echo "tfx and python are those of .venv here. Leave with: exit"
	@exec bash --rcfile requirements/shellrc -i

test: lint .venvs/ready
	@$(PYTEST)

# Needs no environments of backends: the tests that use them are slow.
check: lint
	@$(PYTEST) -m "not pipeline and not slow and not engine"

# Exits with 2 and one line where Java or Maven is missing, or Maven has no job server. JAR_OF_FLINK and JAR_OF_SPARK
# name job servers from elsewhere.
engines: $(READY)
	@$(BIN)/python -W ignore -m tests.engines.fetch $${JAR_OF_FLINK:+--flink-job-server="$$JAR_OF_FLINK"} \
		$${JAR_OF_SPARK:+--spark-job-server="$$JAR_OF_SPARK"}

# One process: each test starts servers of its own. What .engines/ lacks is skipped.
test-engines: $(READY)
	@$(BIN)/python -m pytest -n 0 -m engine tests/engines

# The variable switches off an advertisement of the theme for its successor.
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Lane tfx-1.21 on a machine with an older glibc. Exits with 2 and one line where something that it needs is missing.
test-latest:
	@tests/latest_lane.sh

# Exits with 2 and one line where there is no Docker, or no model.
serve-smoke: $(READY)
	@$(BIN)/python -m serving.smoke $${MODEL_DIR:+"$$MODEL_DIR"}

# DATA is a folder, or several with spaces between; SEEDS the number of splits; QUICK=1 runs one seed and the main rows.
bench: $(READY)
	@set -f; if [ -d "$$DATA" ]; then set -- --data="$$DATA"; else set -- --data $$DATA; fi; \
		$(BIN)/python -W ignore -m benchmarks.quality "$$@" --seeds $(or $(SEEDS),5) $(if $(QUICK),--quick) \
		$${OUT:+--out="$$OUT"}

# QUICK=1 runs one split and the main rows.
evidence: $(READY)
	@$(BIN)/python -W ignore -m benchmarks.evidence "$$DATA" $(if $(QUICK),--quick,--hardware="$$HARDWARE") \
		$${OUT:+--out="$$OUT"}

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy bcl_keras tfx_pipeline serving benchmarks tests
	@$(BIN)/lint-imports --no-cache --no-logo >/dev/null || $(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python -m benchmarks.results_pages --check

ifeq ($(LANE),)
$(READY):
	$(error $(or $(LANE_REPLY),$(NO_PYTHON)))
else
# uv, because tfx 1.16 declares Python < 3.11, which pip takes literally although it works.
$(READY): requirements/$(LANE).txt pyproject.toml
	@echo "Setting up .venv with $(LANE) (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements/$(LANE).txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
endif

# One light environment per Keras backend. Where one cannot be made, its tests are skipped and say so.
.venvs/ready: $(READY) tests/bcl_keras/make_backend_envs.py
	@echo "Setting up .venvs with TensorFlow, JAX and torch for bcl_keras alone (a few minutes the first time)"
	@mkdir -p .venvs
	@$(BIN)/python tests/bcl_keras/make_backend_envs.py && touch $@ || true

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--no-header --no-annotate --quiet -o requirements/tfx-1.16.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.13 --python-platform x86_64-manylinux_2_39 \
		--no-header --no-annotate --quiet -o requirements/tfx-1.21.txt

clean:
	rm -rf .venv .venvs .lanes .engines runs build site *.egg-info
