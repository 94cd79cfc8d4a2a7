"""Tokens per second against transformers, with the same weights and threads.

    python benchmarks/decoding.py

Greedy, float32, batch 8, prompts of 64 tokens, no end-of-sequence token: ours
and `generate` of transformers (torch) in turns; the medians of both and of
their ratios count. A Llama of 8 million parameters with random weights, and
SmolLM2-135M-Instruct where `make smollm2` has fetched it.
"""

import functools
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from absl import app, flags

from alignment_jax import experiment, models, parallel, sampling
from alignment_jax.models import huggingface
from alignment_jax.types import Tokens

ROUNDS = flags.DEFINE_integer("rounds", 5, "pairs of runs; the median counts")
DATA_DIR = flags.DEFINE_string("data_dir", "data", "where smollm2 is")
ONLY = flags.DEFINE_string("only", "", "one of llama and smollm2")
BATCH, PROMPT = 8, 64


def _llama(folder: pathlib.Path) -> None:
  model = models.make_model(
    "decoder",
    vocabulary_size=4096,
    width=256,
    layers=8,
    heads=8,
    kv_heads=4,
    head_width=32,
    mlp_width=768,
  )
  params = jax.jit(model.init)(jax.random.key(0))
  huggingface.save(folder, model.settings, params)


def compare(title: str, folder: pathlib.Path, new: int) -> None:
  """Prints tokens per second of both, and their ratio."""
  model, params = huggingface.load(folder)
  torch_model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32
  ).eval()
  random = np.random.default_rng(0)
  ids = random.integers(3, model.settings.vocabulary_size, (BATCH, PROMPT))
  prompt = Tokens(
    ids=jnp.asarray(ids, jnp.int32), mask=jnp.ones(ids.shape, bool)
  )
  generate = jax.jit(
    functools.partial(
      sampling.generate, model, eos_id=None, max_tokens=new, temperature=0.0
    )
  )

  def with_jax() -> np.ndarray:
    samples = generate(params, prompt, jax.random.key(0))
    return np.asarray(samples.responses.ids[:, 0])

  def with_torch() -> np.ndarray:
    with torch.inference_mode():
      out = torch_model.generate(
        torch.asarray(ids),
        attention_mask=torch.ones(ids.shape, dtype=torch.long),
        do_sample=False,
        min_new_tokens=new,
        max_new_tokens=new,
        pad_token_id=0,
      )
    return out[:, PROMPT:].numpy()

  same = np.mean(with_jax() == with_torch())
  rates, ratios = {with_jax: [], with_torch: []}, []
  for _ in range(ROUNDS.value):
    for run, measured in rates.items():
      start = time.perf_counter()
      run()
      measured.append(BATCH * new / (time.perf_counter() - start))
    ratios.append(rates[with_jax][-1] / rates[with_torch][-1])
  jax_rate, torch_rate = map(statistics.median, rates.values())
  print(
    f"{title}, {new} new tokens: {jax_rate:.0f} tokens/s, transformers"
    f" {torch_rate:.0f}, ratio {statistics.median(ratios):.2f}"
    f" ({min(ratios):.2f} to {max(ratios):.2f}); {same:.1%} of the tokens"
    f" equal; compiled {parallel.compilations(generate)} time(s)",
    flush=True,
  )


def main(argv: Sequence[str]) -> None:
  del argv
  threads = len(os.sched_getaffinity(0))
  torch.set_num_threads(threads)
  print(f"on {jax.devices()[0].device_kind}, {threads} threads each")
  with tempfile.TemporaryDirectory() as root:
    if ONLY.value in ("", "llama"):
      folder = pathlib.Path(root, "llama")
      _llama(folder)
      compare("a Llama of 8M parameters", folder, 128)
    stage = pathlib.Path(DATA_DIR.value, "smollm2")
    if ONLY.value in ("", "smollm2") and stage.is_dir():
      folder = pathlib.Path(root, "smollm2")
      experiment.convert(str(stage), str(folder))
      compare("SmolLM2-135M", folder, 64)


if __name__ == "__main__":
  app.run(main)
