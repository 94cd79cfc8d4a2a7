"""Asynchronous RLHF: which losses stand answers of an older policy.

Noukhovitch et al., 2024 (arXiv:2410.18252, v3), the ablation of off-policyness
on a contextual bandit in place of TL;DR summarization.

    python experiments/reproduce/staleness.py

N batches are sampled from one snapshot of the policy and then used for N
updates: the last one is N - 1 updates stale. To be seen: up to N = 4 nothing
changes; at N = 64 online DPO still learns as much, and proximal RLOO, whose
clipped ratio stops the gradient, does not. What it loses it loses along the
curve of win rate over KL, not below it.

Hardware: one CPU core, about 15 s.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import page

from alignment_jax import losses, tabular

WINDOWS = (1, 4, 16, 64, 256)  # N
METHODS = ("online DPO", "proximal RLOO", "RLOO without ratio", "best of 2")
UPDATES, EVERY = 256, 4
RATE, BETA, CLIP = 0.05, 0.05, 0.2
SEEDS = 3

# Okabe and Ito's colors.
COLORS = ("#0072B2", "#D55E00", "#E69F00", "#009E73")
MARKERS = ("o", "s", "^", "D")


def reproduce() -> page.Reproduction:
  win, kl = (np.asarray(x) for x in sweep(jax.random.key(0)))
  final_win, final_kl = win[..., -1].mean(1), kl[..., -1].mean(1)
  at = {name: i for i, name in enumerate(METHODS)}
  stale = WINDOWS.index(64)

  def drop(name, window):
    row = final_win[at[name]]
    return row[0] - row[WINDOWS.index(window)]

  small = max(abs(drop(name, 4)) for name in METHODS)
  gaps = {
    name: off_curve(win[at[name]], kl[at[name]], stale)
    for name in ("proximal RLOO", "best of 2")
  }
  rloo = at["RLOO without ratio"]
  rows = [
    page.Row(
      quantity="largest change of gold win rate from N = 1 to 4",
      published="N = 1, 2 and 4 nearly the same",
      measured=page.number(small),
      criterion="<= 0.01, all four methods",
      holds=bool(small <= 0.01),
    ),
    page.Row(
      quantity="online DPO, win rate at N = 1, 64",
      published="most robust; still learns at N = 64 (our toy .883, .886)",
      measured=page.numbers(final_win[at["online DPO"], [0, stale]]),
      criterion="within 0.02 of one another",
      holds=bool(abs(drop("online DPO", 64)) <= 0.02),
    ),
    page.Row(
      quantity="proximal RLOO, win rate at N = 1, 64",
      published="loses most (our toy .879, .774)",
      measured=page.numbers(final_win[at["proximal RLOO"], [0, stale]]),
      criterion="lower by >= 0.05 at N = 64",
      holds=bool(drop("proximal RLOO", 64) >= 0.05),
    ),
    page.Row(
      quantity="best of 2, win rate at N = 1, 64",
      published="between the two (our toy .877, .812)",
      measured=page.numbers(final_win[at["best of 2"], [0, stale]]),
      criterion="win rate at N = 64 between online DPO's and proximal RLOO's",
      holds=bool(
        final_win[at["proximal RLOO"], stale]
        < final_win[at["best of 2"], stale]
        < final_win[at["online DPO"], stale]
      ),
      certain=False,
    ),
    *(
      page.Row(
        quantity=f"{name}, win rate at N = 64 less that of N = 1 at equal KL",
        published="staleness slows along the curve of win rate over KL",
        measured=page.number(gap),
        criterion="within 0.03 of 0",
        holds=bool(abs(gap) <= 0.03),
      )
      for name, gap in gaps.items()
    ),
    page.Row(
      quantity="RLOO without ratio, KL in nats at N = 1, 256",
      published="not hurt in this toy, its KL rises (2.37, 2.99)",
      measured=page.numbers(final_kl[rloo, [0, -1]]),
      criterion="KL rises, win rate not lower by more than 0.02",
      holds=bool(
        final_kl[rloo, -1] > final_kl[rloo, 0]
        and drop("RLOO without ratio", 256) <= 0.02
      ),
    ),
  ]
  return page.Reproduction(
    title="Asynchronous RLHF: staleness",
    source="Noukhovitch et al., 2024 (arXiv:2410.18252, v3), off-policyness N",
    rows=rows,
    figures={"staleness": figure(win, kl)},
    remarks=(
      f"A bandit of 64 prompts with 64 answers and 32 shared features, {SEEDS}"
      " worlds, the proxy reward trained on and the gold reward reported;"
      " the win rate is against an independent answer of the reference, KL is"
      " exact. The levels are those of our own worlds; the paper's are of"
      " TL;DR. `Our toy` marks numbers of an earlier NumPy run with other"
      " seeds. In the paper RLOO without a ratio suffers too; a policy that is"
      " linear in its features does not show that, only the clipped ratio and"
      " imitation are slowed. The KL in the reward is that of the current"
      " policy; with that of the sampling policy all rows come out the same."
      "\n\n" + results_table(final_win, final_kl)
    ),
  )


@jax.jit
def sweep(key):
  """Win rate and KL over updates: [methods, seeds, windows, evaluations]."""
  world_key, run_key = jax.random.split(key)
  worlds = jax.vmap(tabular.contextual_bandit)(
    jax.random.split(world_key, SEEDS)
  )
  keys = jax.random.split(run_key, SEEDS)
  windows = jnp.array(WINDOWS)
  curves = []
  for method in METHODS:

    def one(world, key, window, method=method):
      return run(world, key, window, method)

    over_windows = jax.vmap(one, in_axes=(None, None, 0))
    curves.append(
      jax.vmap(over_windows, in_axes=(0, 0, None))(worlds, keys, windows)
    )
  return tuple(jnp.stack(values) for values in zip(*curves, strict=True))


def run(world, key, window, method):
  """Win rate and KL after 0, EVERY, 2 EVERY, ... updates."""
  optimizer = optax.adam(optax.linear_schedule(RATE, 0.0, UPDATES))

  def update(carry, inputs):
    weights, snapshot, state = carry
    step, key = inputs
    snapshot = jnp.where(step % window == 0, weights, snapshot)
    sampler = tabular.contextual_log_policy(world, snapshot)
    answers = tabular.sample_responses(key, sampler, samples=2)

    def loss(weights):
      policy = tabular.contextual_log_policy(world, weights)
      return jnp.mean(batch_loss(world, policy, sampler, answers, method))

    updates, state = optimizer.update(jax.grad(loss)(weights), state)
    return (weights + updates, snapshot, state), weights + updates

  start = jnp.zeros(world.features.shape[-1])
  inputs = (jnp.arange(UPDATES), jax.random.split(key, UPDATES))
  _, path = jax.lax.scan(update, (start, start, optimizer.init(start)), inputs)
  visited = jnp.concatenate([start[None], path[EVERY - 1 :: EVERY]])

  def metrics(weights):
    policy = tabular.contextual_log_policy(world, weights)
    return (
      tabular.gold_win_rate(world, policy),
      tabular.reference_kl(world, policy),
    )

  return jax.lax.map(metrics, visited)


def batch_loss(world, policy, sampler, answers, method):
  """One loss per prompt for its two answers, [X, 2] indices."""

  def pick(table):
    return jnp.take_along_axis(table, answers, axis=-1)

  lp, old, ref = pick(policy), pick(sampler), pick(world.log_reference)
  scores = pick(world.proxy)
  best = jnp.argmax(scores, axis=-1, keepdims=True)

  def chosen(x):
    return jnp.take_along_axis(x, best, axis=-1)[:, 0]

  def rejected(x):
    return jnp.take_along_axis(x, 1 - best, axis=-1)[:, 0]

  if method == "online DPO":
    return losses.dpo_loss(
      chosen(lp), rejected(lp), chosen(ref), rejected(ref), beta=BETA
    )
  if method == "best of 2":
    return losses.cross_entropy_loss(chosen(lp))
  advantages = losses.rloo_advantages(scores - BETA * (lp - ref))
  if method == "proximal RLOO":
    each = losses.proximal_rloo_loss(lp, old, advantages, clip=CLIP)
  else:
    each = losses.reinforce_loss(lp, advantages)
  return jnp.mean(each, axis=-1)


def off_curve(win, kl, stale):
  """Mean over seeds of the win rate above that of N = 1 at the same KL."""
  gaps = []
  for seed in range(SEEDS):
    order = np.argsort(kl[seed, 0])
    curve = np.interp(
      kl[seed, stale, -1], kl[seed, 0][order], win[seed, 0][order]
    )
    gaps.append(win[seed, stale, -1] - curve)
  return float(np.mean(gaps))


def results_table(win, kl):
  """Win rate (KL) of each method at each N, as Markdown."""
  lines = [
    "| gold win rate (KL, nats) | "
    + " | ".join(f"N = {window}" for window in WINDOWS)
    + " |",
    "|---" * (len(WINDOWS) + 1) + "|",
  ]
  for name, wins, kls in zip(METHODS, win, kl, strict=True):
    cells = (f"{w:.3f} ({k:.2f})" for w, k in zip(wins, kls, strict=True))
    lines.append(f"| {name} | " + " | ".join(cells) + " |")
  return "\n".join(lines)


def figure(win, kl):
  figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
  for i, name in enumerate(METHODS):
    style = {"color": COLORS[i], "marker": MARKERS[i], "label": name}
    for axis, values in zip(axes, (win, kl), strict=False):
      final = values[i, ..., -1]
      axis.plot(WINDOWS, final.mean(0), **style)
      axis.fill_between(
        WINDOWS, final.min(0), final.max(0), color=COLORS[i], alpha=0.12
      )
  for axis in axes[:2]:
    axis.set_xscale("log", base=2)
    axis.set_xticks(WINDOWS, [str(window) for window in WINDOWS])
    axis.set_xlabel("N, updates per snapshot of the sampling policy")
  axes[0].set_ylabel("gold win rate against the reference")
  axes[0].set_title("Clipped ratios and imitation lose with N")
  axes[0].legend(loc="lower left")
  axes[1].set_ylabel("KL(policy, reference), nats")
  axes[1].set_title("They learn less: their KL falls too")

  proximal = METHODS.index("proximal RLOO")
  shades = plt.cm.viridis(np.linspace(0, 0.9, len(WINDOWS)))
  for j, window in enumerate(WINDOWS):
    axes[2].plot(
      kl[proximal, :, j].mean(0),
      win[proximal, :, j].mean(0),
      color=shades[j],
      label=f"N = {window}",
      marker="o",
      markevery=[-1],
      linewidth=3.5 - 0.6 * j,
    )
  axes[2].set_xlabel("KL(policy, reference), nats")
  axes[2].set_ylabel("gold win rate against the reference")
  axes[2].set_title("Proximal RLOO: all N on one curve")
  axes[2].legend(loc="lower right")
  return figure


if __name__ == "__main__":
  page.show(reproduce)
