"""The packaging of alignment_jax; tool settings are in pyproject.toml.

The core is light: it trains on any machine that has JAX. What reads data from
files, draws, or talks to other ecosystems is an extra. `make install` adds the
pins of `requirements/constraints-<python>.txt`; the ranges below are what the
library is written for.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

CORE = [
  "jax>=0.10.2,<0.13",
  "flax>=0.12.8,<0.13",
  "optax>=0.2.8,<0.3",
  "orbax-checkpoint>=0.12.8,<0.13",
  "ml-collections>=1.1",
  "absl-py>=2.1",
  "numpy>=2.0",
  "jaxtyping>=0.3",
  "scipy>=1.15",
]

EXTRAS = {
  # Accelerators: JAX's own wheels. CUDA 13 needs a driver of series 580 or
  # newer; `cuda12` is for machines that have an older one.
  "cuda": ["jax[cuda13]"],
  "cuda12": ["jax[cuda12]"],
  "tpu": ["jax[tpu]"],
  # Data sets as array_record files (no TensorFlow), tokenizers, and the
  # human ratings that the quickstart learns from.
  "data": [
    "tensorflow-datasets>=4.9.10,<5",
    "importlib_resources>=6",  # tensorflow-datasets imports it, undeclared
    "array_record>=0.8.3",
    "sentencepiece>=0.2.1",
    "pyarrow>=18",
    "vaderSentiment>=3.3.2",
  ],
  # Weights, tokenizers and chat templates of the Hugging Face hub's formats.
  # transformers reads tokenizers and renders templates; it brings no torch.
  "hf": [
    "transformers>=5.23,<6",
    "tokenizers>=0.22",
    "safetensors>=0.5",
    "jinja2>=3.1.6",
    "gguf>=0.18",
  ],
  # Logs, pictures and tables.
  "viz": [
    "tensorboard>=2.19",
    "matplotlib>=3.9",
    "rich>=13",
    "jinja2>=3.1",
  ],
  # Tests, lint and types.
  "dev": [
    "pytest>=8",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "beartype>=0.20",
    "ruff>=0.9",
    "basedpyright>=1.38",  # pyright with its engine in the wheel
    # To run the notebooks.
    "nbclient>=0.10",
    "nbformat>=5.10",
    "ipykernel>=6.29",
  ],
  # The oracle of the model zoo's parity tests; Python 3.11 alone has the pins.
  "parity": ["torch>=2.13", "transformers>=5.23"],
}

ROOT = Path(__file__).parent
README = ROOT / "README.md"
VERSION = re.search(
  r'^__version__ = "(.+)"$',
  (ROOT / "alignment_jax" / "__init__.py").read_text("utf-8"),
  re.MULTILINE,
)[1]

setup(
  name="alignment-jax",
  version=VERSION,
  description="Aligning language models with preferences and rewards, in JAX",
  long_description=README.read_text("utf-8") if README.exists() else "",
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE"],
  python_requires=">=3.11",
  packages=find_packages(include=["alignment_jax", "alignment_jax.*"]),
  package_data={"alignment_jax": ["py.typed", "evaluation/*.jinja"]},
  install_requires=CORE,
  extras_require=EXTRAS,
  classifiers=[
    "Development Status :: 3 - Alpha",
    "Intended Audience :: Science/Research",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
