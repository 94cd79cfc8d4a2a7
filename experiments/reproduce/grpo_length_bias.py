"""Dr. GRPO: the mean over each response's tokens makes wrong responses long.

Liu et al., 2025 (arXiv:2503.20783, v1), on responses that are nothing but a
length.

    python experiments/reproduce/grpo_length_bias.py

Whether a response is right has nothing to do with its length; the policy has
one probability of stopping for right and one for wrong responses. What it
shows: with GRPO's aggregation right responses shrink to one token and wrong
ones grow to the cap, with DAPO's and Dr. GRPO's both stay where they began.

Hardware: one CPU core, about 15 s.
"""

import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import page
import style
from matplotlib.figure import Figure

from alignment_jax import losses

PROMPTS, GROUP, UPDATES, CAP = 32, 8, 400, 128
SHARE_RIGHT, START = 0.4, 10  # of responses; mean length, tokens
# Steps per unit of gradient; dr_grpo's gradient is smaller by CAP / START.
RATES = {"grpo": 0.3, "dapo": 0.3, "dr_grpo": 0.3 * CAP / START}
NAMES = {"grpo": "GRPO", "dapo": "DAPO", "dr_grpo": "Dr. GRPO"}
SEEDS = 4

COLORS = {"grpo": style.ORANGE, "dapo": style.GREEN, "dr_grpo": style.BLUE}


def reproduce() -> page.Reproduction:
  # [seeds, updates + 1, (wrong, right)] mean lengths of the policy, in tokens.
  curves = {
    name: np.asarray(train(jax.random.key(0), aggregation=name))
    for name in RATES
  }
  stops = np.array([0.02, 0.05, 0.1, 0.2, 0.5, 0.8])
  biases = {
    name: np.asarray(exact_bias(jnp.array(stops), aggregation=name))
    for name in ("grpo", "dr_grpo")
  }
  return page.Reproduction(
    title="Dr. GRPO: length bias of GRPO's aggregation",
    source="Liu et al., 2025 (arXiv:2503.20783, v1), the length bias",
    rows=[*bias_rows(stops, biases), *length_rows(curves)],
    figures={"grpo_length_bias": figure(curves, stops, biases["grpo"])},
    remarks=(
      f"{PROMPTS} prompts, groups of {GROUP}, {UPDATES} plain gradient steps,"
      f" lengths geometric and cut at {CAP} tokens, {SEEDS} seeds; lengths are"
      " the policy's exact means. The step size is ours (our source does not"
      " say it): the same for GRPO and DAPO, larger for Dr. GRPO by its larger"
      " denominator, so that all three see gradients of one size. Half of it"
      " leaves GRPO's wrong responses at 61 tokens and right ones at 1.18. The"
      " formula is the expected gradient of the stop logit for a response of"
      " advantage 1 whose length carries no information: with a positive"
      " advantage short responses are reinforced more than long ones, with a"
      " negative one long responses are punished less. DAPO's denominator is"
      " random, so a trace of the bias is left."
    ),
  )


def bias_rows(
  stops: np.ndarray, biases: Mapping[str, np.ndarray]
) -> Iterator[page.Row]:
  """The expected gradient of the stop logit, and the advantages."""
  tenth = biases["grpo"][list(stops).index(0.1)]
  yield page.check(
    "GRPO's push on the stop logit per advantage, stop prob. 0.1",
    tenth,
    published="E[1/L] - p = 0.1558",
    equals=0.1558,
    tolerance=1e-4,
  )
  formula = -stops * np.log(stops) / (1 - stops) - stops
  yield page.check(
    "the same against -p log p / (1 - p) - p, p = 0.02..0.8",
    np.abs(biases["grpo"] - formula).max(),
    published="equal",
    name="error",
    below=1e-5,
  )
  yield page.check(
    "Dr. GRPO's push on the stop logit, p = 0.02..0.8",
    np.abs(biases["dr_grpo"]).max(),
    published="0",
    below=1e-5,
    where="in size",
  )
  yield page.check(
    "Dr. GRPO's advantages against (G - 1) / G times RLOO's",
    advantage_gap(jax.random.key(1)),
    published="equal",
    name="error",
    below=1e-6,
  )


def length_rows(curves: Mapping[str, np.ndarray]) -> Iterator[page.Row]:
  """Where the mean lengths of wrong and right responses end."""
  even: page.Bound = {"equals": 1, "tolerance": 0.1}
  claims: dict[str, tuple[str, int, page.Bound]] = {
    "grpo": (
      "wrong grow, right shrink (earlier check: at the cap, 1.03)",
      4,
      {"above": 5},
    ),
    "dr_grpo": ("no bias (earlier check: 10.0, 10.0)", 3, even),
    "dapo": ("almost none (earlier check: 10.3, 9.8)", 3, even),
  }
  for name, (published, digits, bound) in claims.items():
    wrong, right = curves[name][:, -1].mean(0)
    yield page.check(
      f"{NAMES[name]}, mean length of wrong and right responses, tokens",
      wrong / right,
      published=published,
      measured=page.numbers([wrong, right], digits),
      certain=False,
      **{**bound, "name": "ratio"},
    )


@functools.partial(jax.jit, static_argnames="aggregation")
def train(key: jax.Array, *, aggregation: str) -> jax.Array:
  """Mean lengths of wrong and right responses over updates, for all seeds."""
  start = jnp.full(2, jax.scipy.special.logit(1 / START))

  def one(key: jax.Array) -> jax.Array:
    def update(
      logits: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
      gradient = jax.grad(batch_loss)(logits, key, aggregation)
      logits = logits - RATES[aggregation] * gradient
      return logits, logits

    _, path = jax.lax.scan(update, start, jax.random.split(key, UPDATES))
    return mean_length(jnp.concatenate([start[None], path]))

  return jax.vmap(one)(jax.random.split(key, SEEDS))


def batch_loss(
  logits: jax.Array, key: jax.Array, aggregation: str
) -> jax.Array:
  """On-policy loss of a batch; logits of stopping: wrong, right."""
  right_key, length_key = jax.random.split(key)
  shape = (PROMPTS, GROUP)
  right = jax.random.bernoulli(right_key, SHARE_RIGHT, shape)
  stop = logits[right.astype(int)]  # [prompts, G]
  scale = "none" if aggregation == "dr_grpo" else "group"
  advantages = losses.grpo_advantages(right.astype(float), scale=scale)

  # The length is the first step at which a geometric draw stops.
  uniform = jax.random.uniform(length_key, shape, minval=1e-7)
  going_on = jax.nn.log_sigmoid(-jax.lax.stop_gradient(stop))
  drawn = jnp.floor(jnp.log(uniform) / going_on) + 1
  return aggregate(stop, drawn, advantages, aggregation, CAP)


def aggregate(
  stop: jax.Array,
  lengths: jax.Array,
  advantages: jax.Array,
  aggregation: str,
  cap: int,
) -> jax.Array:
  """The loss of responses of given lengths (cut at `cap`), on-policy."""
  step = jnp.arange(1, cap + 1)
  lengths = lengths[..., None]
  mask = step <= lengths
  token_logprobs = jnp.where(
    step == lengths,
    jax.nn.log_sigmoid(stop)[..., None],
    jax.nn.log_sigmoid(-stop)[..., None],
  )
  token_losses = losses.grpo_loss(
    token_logprobs,
    jax.lax.stop_gradient(token_logprobs),
    jax.lax.stop_gradient(token_logprobs),
    advantages,
    clip_low=0.2,
    clip_high=0.2,
    beta=0.0,
  )
  return losses.grpo_aggregate(
    token_losses, mask, aggregation=aggregation, max_length=cap
  ).value()


@functools.partial(jax.jit, static_argnames="aggregation")
def exact_bias(stops: jax.Array, *, aggregation: str) -> jax.Array:
  """Expected push on the stop logit of a response with advantage 1.

  The sum over all lengths of their probability times minus the gradient.
  """
  cap = 1024
  lengths = jnp.arange(1.0, cap + 1)

  def one(logit: jax.Array, length: jax.Array) -> jax.Array:
    return aggregate(logit[None], length[None], jnp.ones(1), aggregation, cap)

  def over_lengths(stop: jax.Array) -> jax.Array:
    chance = stop * (1 - stop) ** (lengths - 1)
    logit = jax.scipy.special.logit(stop)
    gradients = jax.vmap(jax.grad(one), in_axes=(None, 0))(logit, lengths)
    return -jnp.sum(chance * gradients)

  return jax.lax.map(over_lengths, stops)


def advantage_gap(key: jax.Array) -> float:
  rewards = jax.random.normal(key, (100, GROUP))
  plain = losses.grpo_advantages(rewards, scale="none")
  rloo = losses.rloo_advantages(rewards)
  return float(jnp.abs(plain - (GROUP - 1) / GROUP * rloo).max())


def mean_length(logits: jax.Array) -> jax.Array:
  """E[min(L, CAP)] of a geometric length L, in tokens."""
  going_on = jax.nn.log_sigmoid(-logits)
  return -jnp.expm1(CAP * going_on) / jax.nn.sigmoid(logits)


def figure(
  curves: Mapping[str, np.ndarray], stops: np.ndarray, biases: np.ndarray
) -> Figure:
  figure, axes = style.panels(2, width=12, height=4.4, width_ratios=(3, 2))
  for name, curve in curves.items():
    for side, dash in ((0, "-"), (1, "--")):
      what = ("wrong", "right")[side]
      values = curve[..., side]
      updates = np.arange(values.shape[1])
      axes[0].plot(
        updates,
        values.mean(0),
        dash,
        color=COLORS[name],
        label=f"{NAMES[name]}, {what}",
      )
      style.band(
        axes[0], updates, values.min(0), values.max(0), color=COLORS[name]
      )
  style.note(
    axes[0],
    "DAPO and Dr. GRPO lie on each other",
    (200, 10),
    (0, 6),
    ha="center",
  )
  axes[0].axhline(CAP, color=style.GREY, linewidth=0.8, linestyle=":")
  axes[0].set_yscale("log")
  ticks = (1, 2, 5, 10, 20, 50, CAP)
  axes[0].set_yticks(ticks, [str(tick) for tick in ticks])
  axes[0].minorticks_off()
  axes[0].set_xlabel("updates")
  axes[0].set_ylabel("mean length, tokens (cap 128)")
  axes[0].set_title("Only GRPO's mean per response drives lengths apart")
  axes[0].legend(loc="center right", ncols=3, bbox_to_anchor=(1, 0.32))

  fine = np.linspace(0.004, 0.996, 400)
  axes[1].plot(
    fine,
    -fine * np.log(fine) / (1 - fine) - fine,
    color=COLORS["grpo"],
    label="-p log p / (1 - p) - p",
  )
  axes[1].plot(
    stops,
    biases,
    "o",
    color=style.BLACK,
    label="GRPO, expected gradient",
  )
  axes[1].axhline(0, color=COLORS["dr_grpo"], label="Dr. GRPO")
  axes[1].set_xlabel("p, probability of stopping per token")
  axes[1].set_ylabel("gradient of the stop logit, per advantage")
  axes[1].set_title("The bias, exactly")
  axes[1].legend(loc="lower center", bbox_to_anchor=(0.45, 0.08))
  return figure


if __name__ == "__main__":
  page.show(reproduce)
