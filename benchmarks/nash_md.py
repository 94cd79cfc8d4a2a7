"""Tabular Nash-MD on many games at once, over one game at a time.

    python benchmarks/nash_md.py

Solves random games of 64 actions for 2,000 steps: 1,000 of them in one jitted
call, against one in a jitted call, times 1,000. Prints the seconds of the
batched call, the ratio, and how well the games are solved.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

from alignment_jax import tabular

GAMES = flags.DEFINE_integer("games", 1000, "games in the batch")
ACTIONS = flags.DEFINE_integer("actions", 64, "actions of each game")
STEPS = flags.DEFINE_integer("steps", 2000, "steps of Nash-MD")
TAU = flags.DEFINE_float("tau", 0.1, "strength of the KL regularization")


def _timed(run: Callable[..., Any], *arrays: Any) -> float:
  run = jax.jit(run).lower(*arrays).compile()
  jax.block_until_ready(run(*arrays))
  start = time.perf_counter()
  out = jax.block_until_ready(run(*arrays))
  return out, time.perf_counter() - start


def main(argv: Sequence[str]) -> None:
  del argv
  games = tabular.random_game(
    jax.random.key(0), actions=ACTIONS.value, batch=(GAMES.value,)
  )
  uniform = jnp.full(
    (GAMES.value, ACTIONS.value), -jnp.log(float(ACTIONS.value))
  )

  def solve(log_reference: jax.Array, preferences: jax.Array) -> jax.Array:
    return tabular.solve_nash_md(
      log_reference, preferences, tau=TAU.value, steps=STEPS.value
    ).policy

  policies, batched = _timed(solve, uniform, games)
  _, single = _timed(solve, uniform[:1], games[:1])
  worst = tabular.regularized_exploitability(
    policies, uniform, games, tau=TAU.value
  ).max()
  print(
    f"{GAMES.value} games, {ACTIONS.value} actions, {STEPS.value} steps:"
    f" {batched:.1f} s in one call;"
    f" one game at a time takes {single * GAMES.value / batched:.1f} times as"
    f" long; worst regularized exploitability {float(worst):.1e}"
  )


if __name__ == "__main__":
  app.run(main)
