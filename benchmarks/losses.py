"""Compile time of losses, and their run time over that of a bare formula.

    python benchmarks/losses.py

For 65,536 pairs: seconds to compile value and gradient, and the ratio of the
library's run time to that of the same formula written out in jnp, both jitted,
measured in turns; the median of the rounds.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from alignment_jax import losses

PAIRS = flags.DEFINE_integer("pairs", 65_536, "pairs or responses per call")
ROUNDS = flags.DEFINE_integer("rounds", 15, "rounds; the median counts")
CALLS = 20  # of one function in a round

softplus = jax.nn.softplus


TOKENS = 16  # of each response, where a loss is per token


def _responses(*arrays: Any) -> Any:
  """The same numbers as tokens of responses, and one for each response."""
  tokens = [array.reshape(-1, TOKENS) for array in arrays]
  return tokens, tokens[-1][:, 0]


def _grpo(*arrays: Any) -> Any:
  (policy, old, reference, _), advantages = _responses(*arrays)
  return losses.grpo_loss(
    policy, old, reference, advantages, clip_low=0.2, clip_high=0.2, beta=0.04
  )


def _bare_grpo(*arrays: Any) -> Any:
  (p, old, ref, _), advantages = _responses(*arrays)
  r, a = jnp.exp(p - old), advantages[:, None]
  gain = jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a)
  return 0.04 * (jnp.exp(ref - p) - (ref - p) - 1) - gain


# Name -> the library's loss, the bare formula, how many arrays.
CASES = {
  "dpo": (
    lambda *x: losses.dpo_loss(*x, beta=0.1),
    lambda c, r, rc, rr: softplus(-0.1 * (c - r - rc + rr)),
    4,
  ),
  "ipo": (
    lambda *x: losses.ipo_loss(*x, tau=0.1),
    lambda c, r, rc, rr: (c - r - rc + rr - 5.0) ** 2,
    4,
  ),
  "exo": (
    lambda *x: losses.exo_loss(*x, beta=0.1, label_smoothing=0.01),
    lambda c, r, rc, rr: (
      0.0 * (z := 0.1 * (c - r - rc + rr))
      + jax.nn.sigmoid(z) * (-softplus(-z) - np.log(0.99))
      + jax.nn.sigmoid(-z) * (-softplus(z) - np.log(0.01))
    ),
    4,
  ),
  "simpo": (
    lambda *x: losses.simpo_loss(*x, beta=2.0, gamma=1.0),
    lambda c, r: softplus(1.0 - 2.0 * (c - r)),
    2,
  ),
  "copg": (
    lambda *x: losses.copg_loss(*x, beta=0.1),
    lambda a, b, ra, rb, x, y: 0.05 * (h := a - b - ra + rb) ** 2 - (x - y) * h,
    6,
  ),
  "dro_policy": (
    lambda *x: losses.dro_policy_loss(*x, tau=0.1),
    lambda p, q, r, v: (r - v - 0.1 * (p - q)) ** 2 / 0.2,
    4,
  ),
  "ppo_policy": (
    lambda *x: losses.ppo_policy_loss(*x, clip=0.2),
    lambda p, o, a: (
      -jnp.minimum((r := jnp.exp(p - o)) * a, jnp.clip(r, 0.8, 1.2) * a)
    ),
    3,
  ),
  "grpo": (_grpo, _bare_grpo, 4),
  "aot": (
    lambda *x: losses.aot_loss(*x, beta=0.1),
    lambda c, r, rc, rr: softplus(-0.1 * (jnp.sort(c - r) - jnp.sort(rc - rr))),
    4,
  ),
}


def _compiled(function: Callable[..., Any], arrays: Sequence[Any]) -> Any:
  """Value and gradient to the first array, compiled, and in what time."""

  def value(*arrays: Any) -> jax.Array:
    return function(*arrays).mean()

  start = time.perf_counter()
  run = jax.jit(jax.value_and_grad(value)).lower(*arrays).compile()
  return run, time.perf_counter() - start


def _seconds(run: Callable[..., Any], arrays: Sequence[Any]) -> float:
  start = time.perf_counter()
  for _ in range(CALLS):
    out = run(*arrays)
  jax.block_until_ready(out)
  return (time.perf_counter() - start) / CALLS


def main(argv: Sequence[str]) -> None:
  del argv
  random = np.random.default_rng(0)
  print(f"{PAIRS.value:,} pairs on {jax.devices()[0].device_kind}")
  print(f"{'loss':12s} {'compile, s':>10s} {'run / bare formula':>20s}")
  for name, (loss, bare, count) in CASES.items():
    arrays = [
      jnp.asarray(random.normal(size=PAIRS.value), jnp.float32)
      for _ in range(count)
    ]
    library, compiling = _compiled(loss, arrays)
    formula, _ = _compiled(bare, arrays)
    np.testing.assert_allclose(
      library(*arrays)[0], formula(*arrays)[0], rtol=1e-4, atol=1e-5
    )
    ratio = statistics.median(
      _seconds(library, arrays) / _seconds(formula, arrays)
      for _ in range(ROUNDS.value)
    )
    print(f"{name:12s} {compiling:10.2f} {ratio:20.2f}", flush=True)


if __name__ == "__main__":
  app.run(main)
