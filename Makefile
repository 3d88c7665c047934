# make app     build .venv, install, open the explorer
# make test    build, install, run ruff, mypy and every test but the slow ones
VENV   := .venv
PYTHON := $(VENV)/bin/python
# In the order of the folders: the browser's files, few and long, begin first, and no core is idle at the end
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

ifeq ($(shell command -v uv 2>/dev/null),)
  CREATE  := python3 -m venv $(VENV)
  INSTALL := $(PYTHON) -m pip install --quiet
else
  CREATE  := uv venv --quiet $(VENV)
  # Compiled once here, not by every process that imports torch
  INSTALL := uv pip install --quiet --compile-bytecode --python $(PYTHON)
endif

.PHONY: app setup static test test-slow test-faults test-install lint checkpoints checkpoints-natural clean

app: setup
	$(PYTHON) -m streamlit run explorer/app.py

# The Temperature page as one file that needs no server and no network, to hand out: logits to type, and the shipped
# networks' answers to the test digits
static: setup
	$(PYTHON) -m explorer.temperature.static temperature.html

setup: $(VENV)/.installed

# Rebuilt only when a requirements file changes, so a second `make app` starts at once and needs no network.
$(VENV)/.installed: requirements.txt
	test -x $(PYTHON) || $(CREATE)
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt
	test -x $(PYTHON) || $(CREATE)
	$(INSTALL) -r requirements-dev.txt
	touch $@ $(VENV)/.installed

lint: $(VENV)/.installed-dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test: lint
	$(PYTHON) -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.installed-dev
	$(PYTHON) -m pytest -m slow $(PARALLEL)

# A hundred kills, thousands of damaged pictures, headers and records
test-faults: $(VENV)/.installed-dev
	$(PYTHON) -m pytest -m slow tests/faults $(PARALLEL)

# The package in an empty environment outside the tree: it distills from the shipped teacher, and writes nothing into itself
test-install:
	tests/install.sh

# The checkpoints this project ships, from nothing. The teacher reads every label; all four students see the same
# training images with 5 labels a class. alpha = 1: this distilled student reads no label at all. The networks for
# drawn shapes see all labels; those for their pixels are a recipe's.
checkpoints: setup
	$(PYTHON) -m kdengine train --data digits --model resnet20 --epochs 30 --replace --keep digits-teacher
	$(PYTHON) -m kdengine distill --data digits --labels-per-class 5 --teacher digits-teacher --student resnet8 \
		--epochs 60 --replace --keep digits-resnet8 --method none --method label_smoothing --method kd alpha=1 --method features_mse
	$(PYTHON) -m kdengine train --data shapes --model resnet20 --epochs 12 --replace --keep shapes-teacher
	$(PYTHON) -m kdengine distill --data shapes --teacher shapes-teacher --student resnet8 --epochs 12 \
		--replace --keep shapes-resnet8 --method none --method kd --method attention
	$(PYTHON) -m kdengine recipe segmentation_kd --replace --keep shapes-segmentation --report results/segmentation_kd-shapes
	$(PYTHON) -m kdengine recipe segmentation_kd --labelled-images 32 --kl-weight 5 --temperature 1 \
		--only "Independent student" --only Response-based --replace --keep shapes-segmentation-32-masks
	# The teacher is the one of all masks, once more.
	rm -r checkpoints/shapes-segmentation-32-masks-teacher.safetensors checkpoints/records/shapes-segmentation-32-masks-teacher

# The ones of natural pictures; CIFAR-10 and Imagenette, 270 MB, are downloaded where they are not in the data root.
checkpoints-natural: setup
	$(PYTHON) -m kdengine data cifar10 --download
	$(PYTHON) -m kdengine recipe six_methods --scale lab --data cifar10 --epochs 10 --teacher resnet20 \
		--student resnet8 --replace --keep cifar10 --report results/six_methods-cifar10
	$(PYTHON) -m kdengine data imagenette --image-size 128 --download
	$(PYTHON) -m kdengine distill --data imagenette --image-size 128 --teacher efficientnet_lite2 \
		--student resnet8x4_imagenet --epochs 16 --method kd --method none --replace --keep imagenette-resnet8x4

clean:
	rm -rf $(VENV)
