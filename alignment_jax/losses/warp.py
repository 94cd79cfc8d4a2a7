"""Averages of weights: WARM's mean, WARP's spherical merge and way back."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from alignment_jax.ops import guards


def weight_average(
  trees: Sequence[Any], weights: Sequence[float] | None = None
) -> Any:
  """The mean of several models that share their start.

  Rame et al., 2024 (arXiv:2401.12187), WARM, for reward models.

  Args:
    trees: parameters, all alike.
    weights: of each, >= 0, not all 0; equal if None.

  Raises:
    ValueError: no trees, trees that differ, or weights out of range.
  """
  _some(trees)
  weights = [1.0] * len(trees) if weights is None else list(weights)
  if len(weights) != len(trees):
    raise ValueError(f"{len(trees)} trees need as many weights, got {weights}")
  guards.non_negative(weights=weights)
  guards.positive(**{"sum of weights": sum(weights)})
  shares = [weight / sum(weights) for weight in weights]

  def mean(*leaves):
    return functools.reduce(
      jnp.add,
      (
        jnp.asarray(share, leaf.dtype) * leaf
        for share, leaf in zip(shares, leaves, strict=True)
      ),
    )

  return jax.tree.map(mean, *trees)


def slerp_merge(
  initial: Any, trees: Sequence[Any], *, epsilon: float = 1e-6
) -> Any:
  """Spherical interpolation of what each model learned, layer by layer.

  Rame et al., 2024 (arXiv:2406.16768), WARP: with task vectors
  d = params - initial and W the angle between two of them,

      slerp(d1, d2, l) = sin((1 - l) W) / sin W d1 + sin(l W) / sin W d2

  For more than two, the merge of the first m - 1 and the m-th with l = 1 / m;
  with two the order does not matter. It keeps the norm of task vectors of equal
  norm, which a plain mean shrinks.

  Args:
    initial: parameters that all models started from.
    trees: parameters of the models, all alike.
    epsilon: below this sine of the angle, and for a task vector of norm 0, the
      interpolation is linear.

  Raises:
    ValueError: no trees, trees that differ, or epsilon <= 0.
  """
  _some(trees)
  guards.positive(epsilon=epsilon)

  def merge(first, *leaves):
    merged = leaves[0] - first
    for count, leaf in enumerate(leaves[1:], start=2):
      merged = _slerp(merged, leaf - first, 1 / count, epsilon)
    return first + merged

  return jax.tree.map(merge, initial, *trees)


def interpolate_to_init(initial: Any, params: Any, *, eta: float) -> Any:
  """(1 - eta) initial + eta params: linear interpolation towards the start.

  Rame et al., 2024 (arXiv:2406.16768), WARP. Going through eta
  draws a front of reward against KL.

  Args:
    initial: parameters at the start.
    params: a tree like it.
    eta: in [0, 1]; 0 returns `initial` bit for bit.

  Raises:
    ValueError: the trees differ, or eta is out of range.
  """
  guards.fraction(eta=eta)

  def mix(start, end):
    share = jnp.asarray(eta, start.dtype)
    return (1 - share) * start + share * end

  return jax.tree.map(mix, initial, params)


def _some(trees):
  if not trees:
    raise ValueError("trees must hold at least one model")


def _slerp(one, two, share, epsilon):
  norms = jnp.linalg.norm(one.ravel()), jnp.linalg.norm(two.ravel())
  product = norms[0] * norms[1]
  cosine = jnp.vdot(one, two) / jnp.where(product > 0, product, 1)
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  sine = jnp.sin(angle)
  curved = (product > 0) & (sine > epsilon)
  safe = jnp.where(curved, sine, 1)

  def part(fraction):
    fraction = jnp.asarray(fraction, one.dtype)
    return jnp.where(curved, jnp.sin(fraction * angle) / safe, fraction)

  return part(1 - share) * one + part(share) * two
