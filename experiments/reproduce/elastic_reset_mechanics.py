"""Elastic Reset: drift falls at each reset, and reward comes back.

Noukhovitch et al., 2023 (arXiv:2312.07551, v1), Algorithm 1, on a contextual
bandit in place of the translation game, IMDB and StackLLaMA.

    python experiments/reproduce/elastic_reset_mechanics.py

Policy gradient with a KL penalty; every 500 updates the policy jumps back to
its moving average and the average to the initial policy. To be seen: a saw
tooth in KL, a shallow one in reward, and at the end the same reward for less
KL. On this convex problem a tuned KL coefficient does as well: the figure has
that front, and no claim of beating it is made.

Hardware: one CPU core, about 20 s.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import page

from alignment_jax import losses, tabular

PROMPTS, ANSWERS, WIDTH = 64, 16, 96
BATCH, UPDATES, PERIOD, RATE = 32, 3000, 500, 0.02
REWARD_NOISE = 0.3
# KL coefficient, decay of the average (1: it never moves), resets or not.
SETTINGS = (
  ("policy gradient", 0.05, 0.0),
  ("Elastic Reset .99", 0.05, 0.99),
  ("Elastic Reset .995", 0.05, 0.995),
  ("Elastic Reset .998", 0.05, 0.998),
  ("policy gradient, KL .075", 0.075, 0.0),
  ("policy gradient, KL .1", 0.1, 0.0),
  ("policy gradient, KL .2", 0.2, 0.0),
)
PLAIN, PAPER = 0, 2
SEEDS = 3

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
BLACK = "#000000"


def reproduce() -> page.Reproduction:
  exact = mechanics(jax.random.key(1))
  before, after = (np.asarray(x) for x in sweep(jax.random.key(0)))
  # Reward and KL of the last update, before the reset that would follow it.
  reward, kl = before[:, :, -1].mean(1).T
  saws = teeth(before[PAPER], after[PAPER])
  lost = 1 - kl[PAPER] / kl[PLAIN]
  cost = reward[PLAIN] - reward[PAPER]
  rows = [
    page.Row(
      quantity="after a reset: policy = average before, average = initial",
      published="params <- average, then average <- initial",
      measured="bit for bit" if exact["bits"] else "differs",
      criterion="bit for bit, and a leaf that is excluded does not move",
      holds=exact["bits"],
    ),
    page.Row(
      quantity="average of n constant params c, from the initial p",
      published="c + decay^n (p - c), no debiasing",
      measured=f"error {page.number(exact['average'])}",
      criterion="error < 1e-5 at n = 1..399",
      holds=bool(exact["average"] < 1e-5),
    ),
    page.Row(
      quantity="distance of the average from the initial policy",
      published="<= the largest distance of the params so far",
      measured=f"largest ratio {page.number(exact['hull'])}",
      criterion="<= 1 at all updates",
      holds=bool(exact["hull"] <= 1 + 1e-6),
    ),
    page.Row(
      quantity="(i) KL just before and after a reset",
      published="falls at each reset (our toy: by 10 to 45%)",
      measured=(
        f"falls at {saws['falls']} of {saws['count']}, by"
        f" {100 * saws['drop'].min():.0f} to {100 * saws['drop'].max():.0f}%"
      ),
      criterion="strictly falls at each",
      holds=saws["falls"] == saws["count"],
      certain=False,
    ),
    page.Row(
      quantity="(ii) best reward within 250 updates of a reset / before it",
      published="recovers (our toy: >= 98.8%)",
      measured=f"at least {100 * saws['regained'].min():.1f}%",
      criterion=">= 98% at each reset",
      holds=bool(saws["regained"].min() >= 0.98),
      certain=False,
    ),
    page.Row(
      quantity="(iii) final KL in nats: policy gradient, Elastic Reset .995",
      published="less drift at the same KL coefficient (our toy 1.775, 1.614)",
      measured=page.numbers(kl[[PLAIN, PAPER]]),
      criterion="lower by >= 5%",
      holds=bool(lost >= 0.05),
      certain=False,
    ),
    page.Row(
      quantity="(iii) final reward: policy gradient, Elastic Reset .995",
      published="about the same reward (our toy .840, .828)",
      measured=page.numbers(reward[[PLAIN, PAPER]]),
      criterion="lower by <= 0.02",
      holds=bool(cost <= 0.02),
      certain=False,
    ),
  ]
  return page.Reproduction(
    title="Elastic Reset: mechanics",
    source="Noukhovitch et al., 2023 (arXiv:2312.07551, v1), Algorithm 1",
    rows=rows,
    figures={"elastic_reset_mechanics": figure(before, after, reward, kl)},
    remarks=(
      f"{PROMPTS} prompts with {ANSWERS} answers and {WIDTH} shared features,"
      f" batch {BATCH}, Adam at {RATE}, {UPDATES} updates, a reset every"
      f" {PERIOD}, {SEEDS} worlds; the noisy reward (deviation {REWARD_NOISE})"
      " has its mean in (0, 1), the sigmoid of a linear score plus noise: our"
      " choice, since our source does not say it, which is why (i) to (iii)"
      " count as uncertain. The last reset would fall on the last update; the"
      " numbers are from before it. The right panel shows what the paper asks"
      " for, reward against drift: on this convex problem Elastic Reset stays"
      " on or a little below the front that a tuned KL coefficient gives. Its"
      " advantage in the paper is claimed for deep, non-convex policies and is"
      " not tested here."
    ),
  )


@jax.jit
def sweep(key):
  """(reward, KL) before and after the reset of each update.

  Two arrays [settings, seeds, updates, 2].
  """
  world_key, run_key = jax.random.split(key)

  def draw(key):
    return tabular.contextual_bandit(
      key, prompts=PROMPTS, responses=ANSWERS, width=WIDTH
    )

  worlds = jax.vmap(draw)(jax.random.split(world_key, SEEDS))
  keys = jax.random.split(run_key, SEEDS)
  _, coefficients, decays = zip(*SETTINGS, strict=True)
  over_seeds = jax.vmap(run, in_axes=(0, 0, None, None))
  over_settings = jax.vmap(over_seeds, in_axes=(None, None, 0, 0))
  return over_settings(worlds, keys, jnp.array(coefficients), jnp.array(decays))


def run(world, key, coefficient, decay):
  optimiser = optax.adam(RATE)
  rewards = jax.nn.sigmoid(world.gold)
  start = jnp.zeros(WIDTH)

  def metrics(weights):
    policy = tabular.contextual_log_policy(world, weights)
    reward = jnp.mean(tabular.expected(policy, rewards))
    return jnp.stack([reward, tabular.reference_kl(world, policy)])

  def update(carry, inputs):
    weights, average, state = carry
    step, key = inputs
    prompt_key, answer_key, noise_key = jax.random.split(key, 3)
    prompts = jax.random.choice(prompt_key, PROMPTS, (BATCH,), replace=False)

    def loss(weights):
      policy = tabular.contextual_log_policy(world, weights)[prompts]
      answers = tabular.sample_responses(
        answer_key, jax.lax.stop_gradient(policy), samples=1
      )

      def pick(table):
        return jnp.take_along_axis(table, answers, axis=-1)[:, 0]

      lp = pick(policy)
      score = pick(rewards[prompts])
      score += REWARD_NOISE * jax.random.normal(noise_key, score.shape)
      score -= coefficient * (lp - pick(world.log_reference[prompts]))
      return jnp.mean(losses.reinforce_loss(lp, score - jnp.mean(score)))

    updates, state = optimiser.update(jax.grad(loss)(weights), state)
    moved = weights + updates
    # Adam's state stays as it is at a reset. At decay 0 the average is the
    # policy itself and a reset changes nothing: plain policy gradient.
    weights, average = losses.elastic_reset(
      moved, average, start, step, decay=decay, period=PERIOD
    )
    return (weights, average, state), (metrics(moved), metrics(weights))

  steps = jnp.arange(1, UPDATES + 1)
  carry = (start, start, optimiser.init(start))
  _, watched = jax.lax.scan(
    update, carry, (steps, jax.random.split(key, UPDATES))
  )
  return watched


def teeth(before, after):
  """What happens at the resets that are followed by training; see rows."""
  resets = np.arange(PERIOD, UPDATES, PERIOD) - 1
  drop = 1 - after[:, resets, 1] / before[:, resets, 1]
  regained = np.stack(
    [
      after[:, reset : reset + PERIOD // 2 + 1, 0].max(1) / before[:, reset, 0]
      for reset in resets
    ]
  )
  return {
    "drop": drop,
    "falls": int((drop > 0).sum()),
    "count": drop.size,
    "regained": regained,
  }


def mechanics(key):
  """The properties of Algorithm 1 that hold exactly."""
  decay, period = 0.995, 400
  shapes = {"policy": (5,), "value": (3,)}
  initial, constant, walk = (
    {
      name: jax.random.normal(jax.random.fold_in(key, 10 * i + j), shape)
      for j, (name, shape) in enumerate(shapes.items())
    }
    for i in range(3)
  )

  def step(params, average, count):
    return losses.elastic_reset(
      params,
      average,
      initial,
      count,
      decay=decay,
      period=period,
      applies=lambda path: path == "policy",
    )

  @jax.jit
  def constant_params(average):
    def body(average, count):
      _, average = step(constant, average, count)
      return average, average

    return jax.lax.scan(body, average, jnp.arange(1, period))

  @jax.jit
  def moving_params(average):
    def body(carry, count):
      average, farthest = carry
      params = jax.tree.map(
        lambda p, w: p + w * jnp.sin(count / 30), initial, walk
      )
      _, average = step(params, average, count)
      distance = jnp.linalg.norm(params["policy"] - initial["policy"])
      farthest = jnp.maximum(farthest, distance)
      moved = jnp.linalg.norm(average["policy"] - initial["policy"])
      return (average, farthest), moved / farthest

    return jax.lax.scan(body, (average, jnp.zeros(())), jnp.arange(1, period))

  average, path = constant_params(initial)
  counts = np.arange(1, period)[:, None]
  expected = constant["policy"] + decay**counts * (
    initial["policy"] - constant["policy"]
  )
  params, restarted = step(constant, average, period)
  _, unreset = step(constant, average, period - 1)
  same = [
    np.array_equal(params["policy"], unreset["policy"]),
    np.array_equal(restarted["policy"], initial["policy"]),
    np.array_equal(params["value"], constant["value"]),
  ]
  return {
    "bits": all(same),
    "average": float(np.abs(path["policy"] - expected).max()),
    "hull": float(moving_params(initial)[1].max()),
  }


def figure(before, after, reward, kl):
  figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
  # Before and after each reset, so that the jump is a vertical line.
  updates = np.repeat(np.arange(1, UPDATES + 1), 2)
  for i, colour in ((PLAIN, BLUE), (PAPER, ORANGE), (3, GREEN)):
    both = np.stack([before[i], after[i]], axis=2).mean(0)
    both = both.reshape(-1, 2)[: 2 * UPDATES - 1]
    for axis, values in zip(axes, both.T, strict=False):
      axis.plot(
        updates[: len(values)],
        values,
        color=colour,
        linewidth=1.2,
        label=SETTINGS[i][0],
      )
  axes[0].set_ylabel("mean reward")
  axes[0].set_title("Reward dips at a reset and comes back")
  axes[1].set_ylabel("KL(policy, reference), nats")
  axes[1].set_title("Drift falls at each reset")
  for axis in axes[:2]:
    axis.set_xlabel("updates (a reset every 500)")
  axes[0].legend(loc="lower right")

  plain = [i for i, (_, _, decay) in enumerate(SETTINGS) if decay == 0]
  elastic = [i for i in range(len(SETTINGS)) if i not in plain]
  axes[2].plot(
    kl[plain],
    reward[plain],
    color=BLACK,
    marker="o",
    label="policy gradient, KL coefficient",
  )
  for i in plain:
    axes[2].annotate(
      f"{SETTINGS[i][1]:g}",
      (kl[i], reward[i]),
      xytext=(-4, 7),
      textcoords="offset points",
      ha="right",
    )
  axes[2].plot(
    kl[elastic],
    reward[elastic],
    color=ORANGE,
    marker="s",
    linestyle="none",
    label="Elastic Reset at 0.05, decay",
  )
  for i in elastic:
    axes[2].annotate(
      f"{SETTINGS[i][2]:g}",
      (kl[i], reward[i]),
      xytext=(6, -13),
      textcoords="offset points",
      color=ORANGE,
    )
  axes[2].set_xlabel("final KL(policy, reference), nats")
  axes[2].set_ylabel("final mean reward")
  axes[2].margins(0.12)
  axes[2].set_title("No better than a tuned KL coefficient")
  axes[2].legend(loc="lower right")
  return figure


if __name__ == "__main__":
  page.show(reproduce)
