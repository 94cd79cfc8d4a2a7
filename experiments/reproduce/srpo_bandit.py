"""SRPO ranks the arms alike for any data; IPO and DPO can be turned around.

Choi et al., 2024, "Self-improving robust preference optimization"
(arXiv:2406.01660; ICLR 2025), the bandit with three arms.

    python experiments/reproduce/srpo_bandit.py

Arm y3 beats both others, but y1 beats y2 nearly always. Pairs from a behavior
mu that likes y2 make y1 look good: IPO and DPO then prefer it, while SRPO keeps
y3 on top for every mu. Its optimum does not contain mu.

The numbers are from a closed form that we checked; the matrix of preferences is
remembered, not read in the paper, so these rows count as uncertain. Where mu
is skewed, the numbers of IPO and DPO are for all ordered pairs.

Hardware: two CPU cores, seconds.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import page

from alignment_jax import losses, tabular

PREFERENCES = ((0.50, 0.99, 0.30), (0.01, 0.50, 0.25), (0.70, 0.75, 0.50))
BEHAVIORS = {
  "uniform": (1 / 3, 1 / 3, 1 / 3),
  "(.7, .2, .1)": (0.7, 0.2, 0.1),
  "(.2, .7, .1)": (0.2, 0.7, 0.1),
  "(.1, .8, .1)": (0.1, 0.8, 0.1),
}
METHODS = ("SRPO", "IPO", "DPO")
BETA, ALPHA = 1.0, 0.5
STEPS, BATCH, SEEDS, RATE = 4_000, 64, 5, 0.05
# The closed forms as we had them written down: method, mu, policy.
KNOWN = (
  ("IPO", "uniform", (0.3618, 0.2566, 0.3816), 1e-4),
  ("DPO", "uniform", (0.405, 0.069, 0.527), 1e-3),
  ("IPO", "(.2, .7, .1)", (0.394, 0.252, 0.354), 1e-3),
  ("DPO", "(.2, .7, .1)", (0.661, 0.047, 0.293), 1e-3),
  ("IPO", "(.1, .8, .1)", (0.400, 0.256, 0.344), 1e-3),
)
COLORS = ("#0072B2", "#D55E00", "#009E73")
HATCHES = ("", "//", "..")


def reproduce() -> page.Reproduction:
  preferences = jnp.array(PREFERENCES)
  policies, reviser = _train(jax.random.key(0), preferences)
  policies = np.asarray(policies).mean(axis=2)  # [method, mu, arm]
  exact = np.stack([_optima(mu, preferences) for mu in BEHAVIORS.values()], 1)
  return page.Reproduction(
    title="SRPO does not depend on who wrote the data",
    source="Choi et al., 2024, arXiv:2406.01660, the three-armed bandit",
    rows=[
      *_closed_forms(exact, preferences),
      *_trained(policies, exact),
      *_revision(np.asarray(reviser), preferences),
    ],
    figures={"srpo_bandit": _figure(policies, exact)},
    remarks=(
      "Trained policies are means over five seeds of tabular policies on"
      " sampled pairs with sampled labels (Adam, 4,000 steps, batches of 64,"
      " beta = tau = 1, alpha = 0.5). For mu = (.7, .2, .1) neither IPO nor"
      " DPO turns around with this matrix. A revision does not raise the win"
      " rate of the exact optimum, whose generator leaves nothing to improve;"
      " it does for a generator that is still the reference. The matrix of"
      " preferences is as remembered, and the published numbers are an earlier"
      " check of ours with it."
    ),
  )


def _optima(behavior, preferences):
  """The three closed forms for one mu, [method, arm] probabilities."""
  log_mu = jnp.log(jnp.array(behavior))
  uniform = jnp.log(jnp.full(3, 1 / 3))
  square = jnp.log(jnp.full((3, 3), 1 / 3))
  return np.exp(
    [
      tabular.srpo_generator(uniform, square, preferences, beta=BETA),
      tabular.psipo_optimum(
        uniform, preferences, log_mu, psi=losses.identity, tau=BETA
      ),
      tabular.dpo_optimum(uniform, preferences, log_mu, tau=BETA),
    ]
  )


@jax.jit
def _train(key, preferences):
  """Policies [method, mu, seed, arm], and a reviser [seed, shown, arm] alone.

  The reviser of the second answer learns while the generator stays at the
  reference.
  """
  behaviors = jnp.array(list(BEHAVIORS.values()))
  n = len(BEHAVIORS)
  optimizer = optax.adam(optax.linear_schedule(RATE, 0.0, STEPS))
  uniform = -jnp.log(3.0)
  y1, y2 = (x.reshape(-1) for x in np.indices((3, 3)))  # winner, loser

  def srpo(log_policy, log_reviser):  # one loss per (winner, loser)
    policy = (
      log_policy[..., y1],
      log_policy[..., y2],
      log_reviser[..., y2, y1],
      log_reviser[..., y1, y1],
      log_reviser[..., y2, y2],
      log_reviser[..., y1, y2],
    )
    held = jnp.full(policy[0].shape, uniform)
    return losses.srpo_loss(*policy, *[held] * 6, beta=BETA, alpha=ALPHA)

  def pairwise(loss, log_policy, **coefficient):
    chosen, rejected = log_policy[..., y1], log_policy[..., y2]
    held = jnp.full(chosen.shape, uniform)
    return loss(chosen, rejected, held, held, **coefficient)

  def loss(theta, shares):
    # Runs do not share parameters: the gradient of the sum is each one's own.
    policy = jax.nn.log_softmax(theta["policy"])
    reviser = jax.nn.log_softmax(theta["reviser"])
    alone = jax.nn.log_softmax(theta["alone"])
    frozen = jnp.full(alone.shape[:-2] + (3,), uniform)
    total = jnp.sum(shares * srpo(policy[0], reviser))
    total += jnp.sum(shares * pairwise(losses.ipo_loss, policy[1], tau=BETA))
    total += jnp.sum(shares * pairwise(losses.dpo_loss, policy[2], beta=BETA))
    return total + jnp.sum(shares[0] * srpo(frozen, alone))

  def draw(key):
    """How often each (winner, loser) is in the batch, over its size."""
    pairs, labels = jax.random.split(key)
    arms = jax.random.categorical(
      pairs,
      jnp.log(behaviors)[:, None, None, None],
      shape=(n, SEEDS, BATCH, 2),
    )
    a, b = arms[..., 0], arms[..., 1]
    won = jax.random.uniform(labels, a.shape) < preferences[a, b]
    cell = jnp.where(won, a * 3 + b, b * 3 + a)
    return jax.nn.one_hot(cell, 9).mean(axis=-2)

  def step(carry, key):
    theta, state = carry
    updates, state = optimizer.update(jax.grad(loss)(theta, draw(key)), state)
    return (optax.apply_updates(theta, updates), state), None

  theta = {
    "policy": jnp.zeros((len(METHODS), n, SEEDS, 3)),
    "reviser": jnp.zeros((n, SEEDS, 3, 3)),
    "alone": jnp.zeros((SEEDS, 3, 3)),
  }
  (theta, _), _ = jax.lax.scan(
    step, (theta, optimizer.init(theta)), jax.random.split(key, STEPS)
  )
  return jax.nn.softmax(theta["policy"]), jax.nn.softmax(theta["alone"])


def _closed_forms(exact, preferences):
  names = list(BEHAVIORS)
  srpo = (0.3553, 0.2571, 0.3876)
  yield _closed("SRPO, any mu", srpo, exact[0, 0], 1e-4)
  for method, mu, policy, tolerance in KNOWN:
    measured = exact[METHODS.index(method), names.index(mu)]
    yield _closed(f"{method}, mu {mu}", policy, measured, tolerance)
  uniform = jnp.log(jnp.full(3, 1 / 3))
  small = np.exp(
    tabular.srpo_generator(
      uniform, jnp.log(jnp.full((3, 3), 1 / 3)), preferences, beta=0.1
    )
  )
  yield _closed("SRPO, beta 0.1", (0.126, 0.007, 0.867), small, 1e-3)


def _closed(name, published, measured, tolerance):
  digits = 4 if tolerance < 1e-3 else 3
  return page.Row(
    quantity=f"closed form, {name}",
    published=page.numbers(published, digits),
    measured=page.numbers(measured, digits),
    criterion=f"within {tolerance:g}",
    holds=bool(np.abs(measured - np.array(published)).max() <= tolerance),
    certain=False,
  )


def _trained(policies, exact):
  names = list(BEHAVIORS)
  tops = policies.argmax(axis=-1) + 1  # [method, mu]

  def listed(row):
    return ", ".join(f"y{top}" for top in row)

  order = "mu " + ", ".join(names)
  yield page.Row(
    quantity=f"SRPO, most likely arm; {order}",
    published="y3 for every mu",
    measured=listed(tops[0]),
    criterion="y3, y3, y3, y3",
    holds=bool(np.all(tops[0] == 3)),
    certain=False,
  )
  flipped = names.index("(.2, .7, .1)")
  for i in (1, 2):
    yield page.Row(
      quantity=f"{METHODS[i]}, most likely arm; {order}",
      published="changes when mu is skewed",
      measured=listed(tops[i]),
      criterion="y3 for uniform mu, another for (.2, .7, .1)",
      holds=bool(tops[i, 0] == 3 and tops[i, flipped] != 3),
      certain=False,
    )
  apart = np.abs(policies[0][:, None] - policies[0][None]).sum(axis=-1).max()
  far = np.abs(policies[0] - exact[0]).sum(axis=-1)
  yield page.Row(
    quantity="SRPO, largest L1 distance between two mu",
    published="0 at the optimum",
    measured=page.number(apart),
    criterion="< 0.03",
    holds=bool(apart < 0.03),
    certain=False,
  )
  yield page.Row(
    quantity=f"SRPO, L1 distance to the closed form; {order}",
    published="0.001 uniform, 0.008 skewed",
    measured=page.numbers(far),
    criterion="each < 0.03",
    holds=bool(np.all(far < 0.03)),
    certain=False,
  )


def _revision(reviser, preferences):
  wins = np.asarray(preferences, np.float64)
  # y0 from the reference, y1 from the reviser that was shown y0.
  rates = np.einsum("syr,ry->s", reviser, wins) / 3
  error = rates.std(ddof=1) / SEEDS**0.5
  yield page.Row(
    quantity="win rate of one revision over a reference answer",
    published="revising improves (no number)",
    measured=f"{rates.mean():.4f} +- {error:.4f} (SE)",
    criterion="above 0.5 by 3 standard errors",
    holds=bool(rates.mean() - 0.5 > 3 * error),
    certain=False,
  )


def _figure(policies, exact):
  figure, axes = plt.subplots(
    1, 3, figsize=(10, 4.2), sharey=True, layout="constrained"
  )
  positions = np.arange(len(BEHAVIORS))
  for i, (axis, method) in enumerate(zip(axes, METHODS, strict=True)):
    for arm in range(3):
      where = positions + 0.26 * (arm - 1)
      axis.bar(
        where,
        policies[i, :, arm],
        width=0.24,
        color=COLORS[arm],
        hatch=HATCHES[arm],
        edgecolor="white",
        label=rf"$\pi(y_{arm + 1})$",
      )
      axis.plot(
        where,
        exact[i, :, arm],
        "k_",
        markersize=9,
        label="closed form" if arm == 2 else None,
      )
    axis.axhline(1 / 3, color="grey", linewidth=0.8, linestyle=":")
    axis.set_title(method)
    axis.set_xticks(positions, list(BEHAVIORS), rotation=20)
    axis.set_xlabel(r"behavior $\mu$, who wrote the pairs")
  axes[0].set_ylabel("probability of the arm")
  handles, labels = axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=4)
  figure.suptitle(
    r"$y_3$ beats both others: SRPO prefers it for every $\mu$, IPO and DPO"
    " do not"
  )
  return figure


if __name__ == "__main__":
  page.show(reproduce)
