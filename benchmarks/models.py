"""What scan, reading a prompt once, and the cache are worth.

    python benchmarks/models.py

1. Seconds to compile a training step of 32 layers over that of 4.
2. Forward and backward of a pair at prompt 192 and response 64: the prompt read
   once for both responses, against two forwards over prompt and response.
3. Seconds per token with the cache, of the last 32 of 256 tokens over the first
   32, against reading all anew for each token.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from alignment_jax import models, scoring
from alignment_jax.types import Tokens

ROUNDS = flags.DEFINE_integer("rounds", 5, "rounds; the median counts")
SHAPE = dict(
  vocabulary_size=2048,
  width=128,
  heads=4,
  kv_heads=2,
  head_width=32,
  mlp_width=384,
)


def _tokens(random: np.random.Generator, *shape: int) -> Any:
  return Tokens(
    ids=jnp.asarray(random.integers(3, 2048, shape), jnp.int32),
    mask=jnp.ones(shape, bool),
  )


def _step(model: Any) -> Callable[..., Any]:
  def loss(params: Any, prompt: Any, responses: Any) -> jax.Array:
    return -scoring.token_logprobs(model, params, prompt, responses).mean()

  return jax.jit(jax.value_and_grad(loss))


def _seconds(run: Callable[..., Any], *arrays: Any) -> float:
  start = time.perf_counter()
  jax.block_until_ready(run(*arrays))
  return time.perf_counter() - start


def compile_time(random: np.random.Generator) -> float:
  """Ratio of compile times, 32 layers to 4."""
  prompt, responses = _tokens(random, 4, 16), _tokens(random, 4, 2, 16)
  seconds = {4: [], 32: []}
  for _ in range(ROUNDS.value):
    for layers, found in seconds.items():
      model = models.make_model("decoder", layers=layers, **SHAPE)
      params = jax.eval_shape(model.init, jax.random.key(0))
      jax.clear_caches()
      start = time.perf_counter()
      _step(model).lower(params, prompt, responses).compile()
      found.append(time.perf_counter() - start)
  return statistics.median(
    deep / shallow
    for shallow, deep in zip(seconds[4], seconds[32], strict=True)
  )


def read_once(random: np.random.Generator) -> float:
  """Ratio of two concatenated forwards to one prompt with two responses."""
  model = models.make_model("decoder", layers=4, **SHAPE)
  params = jax.jit(model.init)(jax.random.key(0))
  prompt, pair = _tokens(random, 8, 192), _tokens(random, 8, 2, 64)
  nothing = _tokens(random, 16, 1)
  whole = Tokens(
    ids=jnp.concatenate(
      [jnp.repeat(prompt.ids, 2, axis=0), pair.ids.reshape(16, 64)], axis=1
    )[:, None],
    mask=jnp.ones((16, 1, 256), bool),
  )
  step = _step(model)

  def apart(params: Any) -> jax.Array:
    return step(params, nothing, whole)

  def once(params: Any) -> jax.Array:
    return step(params, prompt, pair)

  for run in (apart, once):
    jax.block_until_ready(run(params))
  return statistics.median(
    _seconds(apart, params) / _seconds(once, params)
    for _ in range(ROUNDS.value)
  )


def decoding(random: np.random.Generator) -> list[float]:
  """Late over early tokens with the cache, and anew over cached at the end."""
  model = models.make_model("decoder", layers=4, **SHAPE)
  params = jax.jit(model.init)(jax.random.key(0))
  prompt, response = _tokens(random, 8, 8), _tokens(random, 8, 256)
  step = jax.jit(model.step, donate_argnums=1)
  context = jax.jit(model.encode)(params, prompt)
  anew = jax.jit(lambda params: model.hidden(params, context, response)[:, -1])
  jax.block_until_ready(anew(params))
  ratios = []
  for _ in range(ROUNDS.value):
    # A copy: the step donates its cache, and parts of it are the context.
    cache = jax.tree.map(jnp.copy, model.init_cache(context, 256))
    _, cache = step(params, cache, response.ids[:, 0])
    seconds = []
    for index in range(1, 256):
      start = time.perf_counter()
      state, cache = step(params, cache, response.ids[:, index])
      jax.block_until_ready(state)
      seconds.append(time.perf_counter() - start)
    early = statistics.median(seconds[:32])
    late = statistics.median(seconds[-32:])
    ratios.append((late / early, _seconds(anew, params) / late))
  return [statistics.median(column) for column in zip(*ratios, strict=True)]


def main(argv: Sequence[str]) -> None:
  del argv
  random = np.random.default_rng(0)
  print(f"on {jax.devices()[0].device_kind}, {ROUNDS.value} rounds")
  print(f"compile, 32 layers / 4 layers: {compile_time(random):.2f}")
  print(
    "pair at prompt 192, response 64, two forwards / prompt read once:"
    f" {read_once(random):.2f}"
  )
  late, anew = decoding(random)
  print(f"decoding with the cache, token 256 / token 1: {late:.2f}")
  print(f"the last token read anew / with the cache: {anew:.1f}")


if __name__ == "__main__":
  app.run(main)
