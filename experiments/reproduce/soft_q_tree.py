"""Learning rewards from demonstrations spreads the policy over all of them.

Wulfmeier et al., 2024, "Imitating language via scalable inverse reinforcement
learning" (arXiv:2409.01369, v2; NeurIPS 2024), eq. 14: the mechanism behind its
claim of more diverse responses than maximum likelihood.

    python experiments/reproduce/soft_q_tree.py

The loss is maximum likelihood plus lam times squared rewards along the
demonstrations. On a choice between tokens, and on two choices in a row, its
minimum can be computed: as lam grows, rare and frequent demonstrations become
equally likely, while a token that is never shown stays away.

The paper shows the effect on T5 and PaLM 2; these examples are derived from its
equation. The gradient flows through the value of the next state and gamma is 1,
which is not confirmed for the paper; a single choice has no next state.

Hardware: two CPU cores, seconds.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import page
import style
from matplotlib.figure import Figure

from alignment_jax import losses

LAMS = (0.0, 0.1, 1.0, 10.0)
LIMIT = 1000.0
CURVE = np.geomspace(0.01, LIMIT, 41)
ONE = (0.6, 0.3, 0.08, 0.02)  # demonstrated shares of four tokens
TREE = (0.45, 0.05, 0.25, 0.25)  # of the token pairs 00, 01, 10 and 11
STEPS, RATE = 6_000, 0.05
KNOWN_ONE = {
  0.0: ONE,
  0.1: (0.55593, 0.31252, 0.10136, 0.03018),
  1.0: (0.40777, 0.33030, 0.18277, 0.07916),
}
KNOWN_ENTROPIES = {0.0: 1.2023, 0.1: 1.2391, 1.0: 1.3378, 10.0: 1.3836}
COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK)


def reproduce() -> page.Reproduction:
  lams = np.concatenate([LAMS, CURVE])
  one, holed, tree = (np.asarray(x, np.float64) for x in _solve(lams))
  return page.Reproduction(
    title="Soft Q-learning from demonstrations makes them equally likely",
    source="Wulfmeier et al., 2024, arXiv:2409.01369 (v2), eq. 14",
    rows=[*_one_rows(one, holed), *_tree_rows(tree)],
    figures={"soft_q_tree": _figure(one[len(LAMS) :], tree[len(LAMS) :])},
    remarks=(
      "Minima of the exact expected loss, found by Adam. lam = 0 is maximum"
      " likelihood. The squares pull the logits of all that was demonstrated to"
      " the same number, so the policy forgets how often each was shown and"
      " keeps that it was shown: more entropy, but none of it on a token"
      " without a demonstration. The paper's gains in diversity are for"
      " language models and are not repeated here. The published numbers of"
      " the rows are those of an earlier check of ours."
    ),
  )


@jax.jit
def _solve(lams: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Policies at the minima for each lam.

  Of four tokens; of the four and one more that is never shown; of pairs of
  tokens.
  """

  def expected(
    shares: Any,
    q: jax.Array,
    prefixes: np.ndarray,
    tokens: np.ndarray,
    lam: jax.Array,
  ) -> jax.Array:
    """Loss of trajectories with given shares; tables of logits per prefix."""
    values = jax.nn.logsumexp(q, axis=-1)
    loss = losses.soft_q_loss(
      q[prefixes, tokens],
      values[prefixes],
      np.ones(tokens.shape, bool),
      np.ones(len(tokens), bool),
      lam=lam,
    )
    return jnp.sum(jnp.asarray(shares) * loss.sum(axis=-1))

  def minimize(
    loss: Callable[[jax.Array], jax.Array], q: jax.Array
  ) -> jax.Array:
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def step(carry: Any, _: None) -> tuple[Any, None]:
      q, state = carry
      updates, state = optimizer.update(jax.grad(loss)(q), state)
      return (optax.apply_updates(q, updates), state), None

    (q, _), _ = jax.lax.scan(step, (q, optimizer.init(q)), length=STEPS)
    return jax.nn.log_softmax(q)

  shown = np.arange(4)[:, None]
  here = np.zeros_like(shown)
  first, second = np.indices((2, 2)).reshape(2, 4)
  prefixes = np.stack([np.zeros_like(first), 1 + first], axis=-1)
  tokens = np.stack([first, second], axis=-1)

  def solve(lam: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    one, holed = (
      minimize(
        lambda q: expected(ONE, q, here, shown, lam), jnp.zeros((1, width))
      )[0]
      for width in (4, 5)
    )
    tree = minimize(
      lambda q: expected(TREE, q, prefixes, tokens, lam), jnp.zeros((3, 2))
    )
    return (
      jnp.exp(one),
      jnp.exp(holed),
      jnp.exp(tree[prefixes, tokens].sum(axis=-1)),
    )

  return jax.vmap(solve)(lams)


def _one_rows(one: np.ndarray, holed: np.ndarray) -> Iterator[page.Row]:
  for lam, policy in KNOWN_ONE.items():
    measured = one[LAMS.index(lam)]
    yield page.check(
      f"one choice: policy at lam {lam:g}",
      measured,
      published=page.numbers(policy, 5),
      measured=page.numbers(measured, 5),
      equals=policy,
      tolerance=2e-4,
    )
  yield page.check(
    f"one choice: distance from uniform at lam {LIMIT:g}",
    np.abs(one[-1] - 0.25).max(),
    published="0 as lam grows",
    below=0.01,
  )
  yield page.check(
    "one choice: a fifth token, never shown; lam 0, 0.1, 1, 10",
    holed[: len(LAMS), -1],
    published="uniform over what was shown, for large lam",
    below=1e-3,
    certain=False,
  )


def _entropy(policies: np.ndarray) -> np.ndarray:
  return -(policies * np.log(policies)).sum(axis=-1)


def _tree_rows(tree: np.ndarray) -> Iterator[page.Row]:
  entropies = _entropy(tree)
  for i, lam in enumerate(LAMS):
    yield page.check(
      f"two choices: entropy at lam {lam:g} (nats)",
      entropies[i],
      published=page.number(KNOWN_ENTROPIES[lam]),
      equals=KNOWN_ENTROPIES[lam],
      tolerance=2e-4,
      certain=lam == 0,  # the rest depends on the gradient through V
    )
  yield page.check(
    f"two choices: entropy at lam {LIMIT:g} (nats)",
    entropies[-1],
    published="log 4 = 1.3863 as lam grows",
    equals=np.log(4),
    tolerance=1e-3,
    of="log 4",
    certain=False,
  )
  rare = tree[: len(LAMS), 1]
  yield page.check(
    "two choices: the rarest (5 %), lam 0, 0.1, 1, 10",
    rare,
    published="TD term makes responses more diverse (on T5, PaLM 2)",
    order="increasing",
    also=[page.criterion(rare[-1], name="last", at_most=0.25, tolerance=1e-4)],
    certain=False,
  )


def _figure(one: np.ndarray, tree: np.ndarray) -> Figure:
  figure, axes = style.panels(3, width=11, height=4.2)
  panels = (
    (axes[0], one, ONE, "abcd", "one choice"),
    (axes[1], tree, TREE, ("00", "01", "10", "11"), "two choices"),
  )
  for axis, policies, shares, names, title in panels:
    for i, name in enumerate(names):
      axis.plot(
        CURVE,
        policies[:, i],
        color=COLORS[i],
        linestyle=style.DASHES[i],
        label=f"{name}: {shares[i]:g}",
      )
    axis.axhline(0.25, color=style.GREY, linewidth=0.8)
    axis.set_ylim(0, 0.8)
    axis.set_ylabel("probability under the policy")
    axis.set_title(title)
    axis.legend(title="share of demonstrations", ncols=2, loc="upper right")
  axes[2].plot(CURVE, _entropy(one), color=style.BLUE, label="one choice")
  axes[2].plot(
    CURVE, _entropy(tree), "--", color=style.ORANGE, label="two choices"
  )
  axes[2].axhline(np.log(4), color=style.GREY, linewidth=0.8, label="log 4")
  axes[2].set_ylabel("entropy of the policy (nats)")
  axes[2].set_title("diversity")
  axes[2].legend(loc="lower right")
  for axis in axes:
    axis.set_xscale("log")
    axis.set_xlim(CURVE[0], CURVE[-1])
    axis.set_xlabel(r"weight of the squared rewards $\lambda$")
  figure.suptitle(
    "Small rewards along demonstrations: what was shown becomes equally likely"
  )
  return figure


if __name__ == "__main__":
  page.show(reproduce)
