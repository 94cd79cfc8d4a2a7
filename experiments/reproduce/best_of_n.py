"""BOND: a policy trained to be the best of N draws of its reference.

Sessa et al., 2024 (arXiv:2407.14622, v1): theorem 1, eq. 7, eq. 17 and
Algorithm 2, on a bandit with 16 responses.

    python experiments/reproduce/best_of_n.py

What it shows: the best-of-N distribution is the optimum of a regularized
reward; exact Jeffreys steps reach it; sampled J-BOND, which never chooses an N,
keeps improving and follows the curve of quantile over KL that best-of-N traces.

Hardware: one CPU core, about 20 s.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import page
import style
from matplotlib.figure import Figure

from alignment_jax import losses, tabular

RESPONSES, N = 16, 4
JEFFREYS_STEPS, JEFFREYS_RATE, BETA = 2000, 0.05, 0.5
STEPS, BATCH, RATE, DECAY = 2000, 64, 0.02, 0.98
SEEDS = 8


def reproduce() -> page.Reproduction:
  # The identities are about algebra, not about float32.
  with jax.enable_x64(True):
    errors = jax.device_get(identities(jax.random.key(0)))
  start, divergence = (np.asarray(x) for x in jeffreys())
  quantile, kl = (np.asarray(x) for x in sampled(jax.random.key(2)))
  return page.Reproduction(
    title="BOND: best-of-N distillation",
    source="Sessa et al., 2024 (arXiv:2407.14622, v1)",
    rows=[*identity_rows(errors), *training_rows(start, divergence, quantile)],
    figures={"best_of_n": figure(divergence, quantile, kl)},
    remarks=(
      "The identities are exact and checked on random references and on scores"
      f" with ties. The two trainings use a uniform reference over {RESPONSES}"
      " responses, so the largest mid-quantile (p_lt + p_le) / 2 is 0.969."
      f" Jeffreys: weight {BETA}, Adam at {JEFFREYS_RATE} decayed linearly to"
      f" 0. J-BOND: batch {BATCH}, weight {BETA}, gamma 0, an anchor that moves"
      f" by {1 - DECAY:.2f} per step, {SEEDS} seeds; Adam at {RATE} is our"
      " choice. Our source prints no schedule, learning rate or reference for"
      " them, which is why they count as uncertain."
    ),
  )


def identity_rows(errors: Mapping[str, jax.Array]) -> Iterator[page.Row]:
  """What holds exactly; `errors` as `identities` returns them."""
  yield page.check(
    "best-of-N against p_le^N - p_lt^N, with ties, N = 1..64",
    errors["formula"],
    published="equal (theorem 1)",
    name="error",
    below=1e-9,
  )
  yield page.check(
    "best-of-N against the optimum of r_BOND at tau = 1 / (N - 1)",
    errors["tilted"],
    published="equal",
    name="error",
    below=1e-9,
    where="N = 2..64",
  )
  yield page.check(
    "best of N draws of best-of-N against best-of-N^2",
    errors["twice"],
    published="equal",
    name="error",
    below=1e-9,
    where="N = 2..8",
  )
  yield page.check(
    "KL(best-of-N, reference) / (log N - (N - 1) / N)",
    errors["kl"],
    published="<= 1",
    measured=f"largest {page.number(errors['kl'])}",
    at_most=1,
    tolerance=1e-9,
    where="N = 2..64",
  )
  yield page.check(
    "win rate of best-of-N, 1000 responses, against N / (N + 1)",
    errors["win"],
    published="equal for continuous rewards",
    name="error",
    below=1e-3,
    where="N = 1..64",
  )
  yield page.check(
    "gradient of KL(pi, best-of-N) against the one by r_BOND",
    errors["gradient"],
    published="equal",
    name="error",
    below=1e-9,
  )
  yield page.check(
    "E[J-BOND reward] against -log 16 (1 - p)^2",
    [errors["reward"], errors["half"]],
    published="equal; log p at p = 1/2",
    measured=(
      f"errors {page.number(errors['reward'])}, {page.number(errors['half'])}"
    ),
    name="errors",
    below=1e-6,
  )


def training_rows(
  start: np.ndarray, divergence: np.ndarray, quantile: np.ndarray
) -> Iterator[page.Row]:
  """What exact and sampled training end with."""
  yield page.check(
    "KL(best-of-4, reference), nats",
    start,
    published="0.63",
    at_most=math.log(4) - 0.75,
    of="log 4 - 3/4",
  )
  yield page.check(
    "KL(best-of-4, pi) after 2000 exact Jeffreys steps, nats",
    divergence[-1],
    published="earlier check 1.3e-4",
    below=1e-3,
    certain=False,
  )
  at_1000, last = quantile[:, 999].mean(), quantile[:, -500:].mean()
  yield page.check(
    "sampled J-BOND, quantile at 1000 steps and at the end",
    at_1000,
    published="improves without an N (earlier check .955, .966)",
    measured=page.numbers([at_1000, last]),
    at_least=0.95,
    where="at 1000 steps",
    also=[page.criterion(last - at_1000, name="end - 1000 steps", at_least=0)],
    certain=False,
  )


@jax.jit
def identities(key: jax.Array) -> dict[str, jax.Array]:
  """Largest errors of what holds exactly."""
  reference_key, score_key, policy_key = jax.random.split(key, 3)
  shape = (32, RESPONSES)
  reference = jax.nn.log_softmax(jax.random.normal(reference_key, shape))
  # Six different scores for 16 responses: most are ties.
  scores = jax.random.randint(score_key, shape, 0, 6).astype(float)
  lower = scores[..., None, :] < scores[..., :, None]
  equal = scores[..., None, :] == scores[..., :, None]
  mass = jnp.exp(reference)[..., None, :]
  p_lt = jnp.sum(mass * lower, axis=-1)
  p_tie = jnp.sum(mass * equal, axis=-1)

  def gap(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.abs(jnp.exp(first) - jnp.exp(second)).max()

  errors = {"formula": 0.0, "tilted": 0.0, "twice": 0.0, "kl": 0.0, "win": 0.0}

  def note(name: str, value: jax.Array) -> None:
    errors[name] = jnp.maximum(errors[name], value)

  fine = jnp.full(1000, -jnp.log(1000.0))
  rank = jnp.arange(1000.0)
  for n in (1, 2, 4, 8, 16, 64):
    best = tabular.best_of_n(reference, scores, n=n)
    # All responses with one score share p_le^n - p_lt^n as the reference does.
    share = ((p_lt + p_tie) ** n - p_lt**n) / p_tie
    note("formula", gap(best, reference + jnp.log(share)))
    won = tabular.best_of_n(fine, rank, n=n)
    rate = tabular.expected(won, (rank + 0.5) / 1000)
    note("win", jnp.abs(rate - n / (n + 1)))
    if n == 1:
      continue
    rewards = tabular.bond_rewards(reference, scores, n=n)
    tilted = tabular.tilted(reference, rewards, tau=1 / (n - 1))
    note("tilted", gap(best, tilted))
    bound = np.log(n) - (n - 1) / n
    note("kl", tabular.kl(best, reference).max() / bound)
    note("kl", tabular.kl(won, fine) / bound)
    if n <= 8:
      twice = tabular.best_of_n(best, scores, n=n)
      square = tabular.best_of_n(reference, scores, n=n * n)
      note("twice", gap(twice, square))

  logits = jax.random.normal(policy_key, (RESPONSES,))
  errors["gradient"] = backward_gradient_gap(logits, reference[0], scores[0])
  errors["reward"], errors["half"] = reward_gap(reference[0])
  return errors


def backward_gradient_gap(
  logits: jax.Array, reference: jax.Array, scores: jax.Array
) -> jax.Array:
  """Error of the gradient that r_BOND gives."""

  best = tabular.best_of_n(reference, scores, n=N)
  rewards = tabular.bond_rewards(reference, scores, n=N)

  def divergence(logits: jax.Array) -> jax.Array:
    return tabular.kl(jax.nn.log_softmax(logits), best)

  def surrogate(logits: jax.Array) -> jax.Array:
    policy = jax.nn.log_softmax(logits)
    advantages = (N - 1) * rewards - (policy - reference)
    chance = jax.lax.stop_gradient(jnp.exp(policy))
    return jnp.sum(chance * losses.reinforce_loss(policy, advantages))

  difference = jax.grad(divergence)(logits) - jax.grad(surrogate)(logits)
  return jnp.abs(difference).max()


def reward_gap(anchor: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Error of the J-BOND reward's mean over pairs of anchor samples.

  And of that mean against log p at p = 1/2, two equally likely responses.
  """

  def mean_reward(anchor: jax.Array) -> jax.Array:
    scores = jnp.arange(float(anchor.size))
    own, first, second = jnp.meshgrid(scores, scores, scores, indexing="ij")
    rewards = losses.jbond_reward(own, jnp.stack([first, second], axis=-1))
    chance = jnp.exp(anchor)
    return jnp.einsum("yij,i,j->y", rewards, chance, chance)

  p = jnp.cumsum(jnp.exp(anchor))
  formula = -jnp.log(16.0) * (1 - p) ** 2
  error = jnp.abs(mean_reward(anchor) - formula).max()
  coin = mean_reward(jnp.log(jnp.array([0.5, 0.5])))
  return error, jnp.abs(coin[0] - jnp.log(0.5))


@jax.jit
def jeffreys() -> tuple[jax.Array, jax.Array]:
  """KL(best-of-N, reference), and KL(best-of-N, pi) over exact steps."""
  reference, scores = world()
  best = tabular.best_of_n(reference, scores, n=N)
  optimizer = optax.adam(
    optax.linear_schedule(JEFFREYS_RATE, 0.0, JEFFREYS_STEPS)
  )

  def objective(logits: jax.Array) -> jax.Array:
    policy = jax.nn.log_softmax(logits)
    forward, backward = tabular.kl(best, policy), tabular.kl(policy, best)
    return (1 - BETA) * forward + BETA * backward

  def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
    logits, state = carry
    updates, state = optimizer.update(jax.grad(objective)(logits), state)
    logits = logits + updates
    return (logits, state), tabular.kl(best, jax.nn.log_softmax(logits))

  start = (reference, optimizer.init(reference))
  _, divergence = jax.lax.scan(step, start, None, length=JEFFREYS_STEPS)
  return tabular.kl(best, reference), divergence


@jax.jit
def sampled(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean quantile and KL of sampled J-BOND after each step: [seeds, steps]."""
  reference, scores = world()
  optimizer = optax.adam(RATE)

  def step(carry: Any, key: jax.Array) -> tuple[Any, Any]:
    logits, anchor_logits, state = carry
    own_key, anchor_key = jax.random.split(key)
    anchor = jax.nn.log_softmax(anchor_logits)
    rivals = jax.random.categorical(anchor_key, anchor, shape=(BATCH, 2))
    own = jax.random.categorical(own_key, logits, shape=(BATCH,))
    top = jnp.argmax(scores[rivals], axis=-1, keepdims=True)
    best = jnp.take_along_axis(rivals, top, axis=-1)[:, 0]
    rewards = losses.jbond_reward(scores[own], scores[rivals])

    def loss(logits: jax.Array) -> jax.Array:
      policy = jax.nn.log_softmax(logits)
      baseline = jnp.mean(rewards - (policy - anchor)[own])
      return jnp.mean(
        losses.jbond_loss(
          policy[own],
          anchor[own],
          policy[best],
          rewards,
          jnp.full(BATCH, baseline),
          beta=BETA,
          gamma=0.0,
        )
      )

    updates, state = optimizer.update(jax.grad(loss)(logits), state)
    logits = logits + updates
    anchor_logits = losses.ema(anchor_logits, logits, decay=DECAY)
    policy = jax.nn.log_softmax(logits)
    watched = (
      tabular.expected(policy, quantiles()),
      tabular.kl(policy, reference),
    )
    return (logits, anchor_logits, state), watched

  def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    start = (reference, reference, optimizer.init(reference))
    return jax.lax.scan(step, start, jax.random.split(key, STEPS))[1]

  return jax.vmap(run)(jax.random.split(key, SEEDS))


def world() -> tuple[jax.Array, jax.Array]:
  """A uniform reference, and scores that rank the responses."""
  return jnp.full(RESPONSES, -jnp.log(float(RESPONSES))), jnp.arange(
    float(RESPONSES)
  )


def quantiles() -> jax.Array:
  """Mid-quantile of each response under the reference."""
  return (jnp.arange(RESPONSES) + 0.5) / RESPONSES


def figure(
  divergence: np.ndarray, quantile: np.ndarray, kl: np.ndarray
) -> Figure:
  reference, scores = world()
  figure, axes = style.panels(3, width=13, height=4.2)
  axes[0].plot(np.arange(1, JEFFREYS_STEPS + 1), divergence, color=style.BLUE)
  axes[0].axhline(1e-3, color=style.GREY, linestyle=":")
  style.note(
    axes[0], "criterion: < 1e-3", (JEFFREYS_STEPS, 1e-3), (0, 4), ha="right"
  )
  axes[0].set_yscale("log")
  axes[0].set_xlabel("exact steps")
  axes[0].set_ylabel("KL(best-of-4, policy), nats")
  axes[0].set_title("Exact Jeffreys distillation")

  steps = np.arange(1, STEPS + 1)
  axes[1].plot(
    steps,
    quantile.mean(0),
    color=style.ORANGE,
    label=f"J-BOND, mean of {SEEDS} seeds",
  )
  style.band(
    axes[1], steps, quantile.min(0), quantile.max(0), color=style.ORANGE
  )
  for n in (2, 4, 16):
    best = tabular.best_of_n(reference, scores, n=n)
    level = float(tabular.expected(best, quantiles()))
    axes[1].axhline(level, color=style.GREY, linestyle=":", linewidth=0.9)
    style.note(axes[1], f"best of {n}", (STEPS, level), (0, -11), ha="right")
  axes[1].set_xlabel("steps")
  axes[1].set_ylabel("mean quantile under the reference")
  axes[1].set_title("Sampled J-BOND improves without an N")
  axes[1].legend(loc="lower right", bbox_to_anchor=(1, 0.1))

  sizes = (1, 2, 4, 8, 16, 32, 64)
  points = [tabular.best_of_n(reference, scores, n=n) for n in sizes]
  best_kl = [float(tabular.kl(best, reference)) for best in points]
  best_quantile = [
    float(tabular.expected(best, quantiles())) for best in points
  ]
  axes[2].plot(kl.mean(0), quantile.mean(0), color=style.ORANGE, label="J-BOND")
  axes[2].plot(
    best_kl, best_quantile, "o", color=style.BLACK, label="best of N, exact"
  )
  for n, x, y in zip(sizes, best_kl, best_quantile, strict=True):
    style.note(axes[2], f"N = {n}" if n == 1 else str(n), (x, y), (6, -12))
  axes[2].set_xlabel("KL(policy, reference), nats")
  axes[2].set_ylabel("mean quantile under the reference")
  axes[2].margins(0.08)
  axes[2].set_title("On the curve of best-of-N")
  axes[2].legend(loc="lower right")
  return figure


if __name__ == "__main__":
  page.show(reproduce)
