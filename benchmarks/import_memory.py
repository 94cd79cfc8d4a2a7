"""Host memory that importing a checkpoint takes beside the parameters.

    python benchmarks/import_memory.py

One process writes a random decoder as a folder of several safetensors files, a
second one loads it on the CPU. Measured is the second one's peak resident
memory during `huggingface.load`, pages of mapped files included, minus what was
resident before and minus the parameters themselves, which on a CPU live in host
memory too. It is printed over the size of the largest file and over the
largest parameter, which holds all layers. Linux only.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
from absl import app, flags

from alignment_jax import models
from alignment_jax.models import huggingface

FOLDER = flags.DEFINE_string("folder", "", "set by the script for its parts")
PART = flags.DEFINE_enum("part", "", ["", "write", "load"], "as above")
SHARD_MEGABYTES = flags.DEFINE_integer("shard_megabytes", 64, "of a file")
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "stored")
SHAPE = dict(
  vocabulary_size=16_000,
  width=768,
  layers=12,
  heads=12,
  kv_heads=12,
  head_width=64,
  mlp_width=2048,
)


def _write(folder: pathlib.Path) -> None:
  model = models.make_model("decoder", **SHAPE)
  params = jax.jit(model.init)(jax.random.key(0))
  huggingface.save(
    folder,
    model.settings,
    params,
    dtype=DTYPE.value,
    max_shard_bytes=SHARD_MEGABYTES.value * 2**20,
  )


def _resident(field: str) -> int:
  """Bytes: `VmRSS` now, or `VmHWM` at its highest."""
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(field + ":"):
      return int(line.split()[1]) * 1024
  raise RuntimeError(f"/proc/self/status has no {field}")


def _load(folder: pathlib.Path) -> Any:
  # Whatever is imported and compiled once belongs to no checkpoint.
  model = models.make_model("decoder", **SHAPE)
  jax.eval_shape(model.init, jax.random.key(0))
  jax.block_until_ready(jax.device_put(0.0))
  # Sets the highest value to that of now.
  pathlib.Path("/proc/self/clear_refs").write_text("5")
  before = _resident("VmRSS")
  _, params = huggingface.load(folder)
  jax.block_until_ready(params)
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  beside = _resident("VmHWM") - before - size
  leaf = max(leaf.nbytes for leaf in jax.tree.leaves(params))
  print(json.dumps({"parameters": size, "beside": beside, "leaf": leaf}))


def _part(name: str, folder: pathlib.Path) -> Any:
  done = subprocess.run(
    [
      sys.executable,
      __file__,
      f"--part={name}",
      f"--folder={folder}",
      f"--shard_megabytes={SHARD_MEGABYTES.value}",
      f"--dtype={DTYPE.value}",
    ],
    check=True,
    capture_output=True,
    text=True,
  )
  return done.stdout


def main(argv: Sequence[str]) -> None:
  del argv
  if PART.value:
    part = {"write": _write, "load": _load}[PART.value]
    part(pathlib.Path(FOLDER.value))
    return
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent) / "checkpoint"
    _part("write", folder)
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    sizes_in_memory = json.loads(_part("load", folder).splitlines()[-1])
  beside = sizes_in_memory["beside"]
  print(
    f"{len(sizes)} files, {sum(sizes) / 2**20:.0f} MiB; the largest"
    f" {max(sizes) / 2**20:.0f} MiB\n"
    f"parameters {sizes_in_memory['parameters'] / 2**20:.0f} MiB; the largest"
    f" {sizes_in_memory['leaf'] / 2**20:.0f} MiB\n"
    f"peak beside them {beside / 2**20:.0f} MiB,"
    f" {beside / max(sizes):.2f} of the largest file,"
    f" {beside / sizes_in_memory['leaf']:.2f} of the largest parameter"
  )


if __name__ == "__main__":
  app.run(main)
