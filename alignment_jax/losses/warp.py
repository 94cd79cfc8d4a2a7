"""Averages of weights: WARM's mean, WARP's spherical merge and its return."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def weight_average(
  trees: Sequence[Any], weights: Sequence[float] | None = None
) -> Any:
  """The mean of several models that were fine-tuned from the same start.

  Rame et al., 2024 (arXiv:2401.12187), WARM, for reward models.

  Args:
    trees: parameters of the models, of the same structure.
    weights: weight of each model, >= 0, not all 0; equal if None.

  Raises:
    ValueError: no trees, trees that differ, or weights out of range.

  Example:
    (3 * 1 + 1 * 5) / 4.

    >>> models = [jnp.array([1.0]), jnp.array([5.0])]
    >>> losses.weight_average(models, [3.0, 1.0]).tolist()
    [2.0]
  """
  _check_not_empty(trees)
  weights = [1.0] * len(trees) if weights is None else list(weights)
  if len(weights) != len(trees):
    raise ValueError(f"{len(trees)} trees need as many weights, got {weights}")
  guards.non_negative(weights=np.asarray(weights))
  guards.positive(**{"sum of weights": sum(weights)})
  shares = [weight / sum(weights) for weight in weights]

  def mean(*leaves: Array) -> Array:
    # Shares in the leaf's dtype: a bfloat16 model stays bfloat16.
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
  """Spherical interpolation of the models' weight changes, leaf by leaf.

  Rame et al., 2024 (arXiv:2406.16768), WARP: with task vectors
  d = params - initial and W the angle between two of them,

      slerp(d1, d2, l) = sin((1 - l) W) / sin W d1 + sin(l W) / sin W d2

  More than two are merged one after the other, the m-th into the merge of the
  first m - 1 with l = 1 / m; with two the order does not matter. Task vectors
  of equal norm keep it, while a plain mean would shrink it.

  Args:
    initial: parameters that all models started from.
    trees: parameters of the models, of the same structure.
    epsilon: where the sine of the angle is at most this, or a task vector is 0,
      the interpolation is linear.

  Raises:
    ValueError: no trees, trees that differ, or epsilon <= 0.

  Example:
    Halfway between orthogonal unit vectors, at 45 degrees, the norm stays 1.

    >>> models = [jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])]
    >>> merged = losses.slerp_merge(jnp.zeros(2), models)
    >>> [f"{x:.4f}" for x in merged]
    ['0.7071', '0.7071']
  """
  _check_not_empty(trees)
  guards.positive(epsilon=epsilon)

  def merge(start: Array, *leaves: Array) -> Array:
    merged = leaves[0] - start
    for count, leaf in enumerate(leaves[1:], start=2):
      merged = _slerp(merged, leaf - start, 1 / count, epsilon)
    return start + merged

  return jax.tree.map(merge, initial, *trees)


def interpolate_to_init(initial: Any, params: Any, *, eta: float) -> Any:
  """(1 - eta) initial + eta params: linear interpolation towards the start.

  Rame et al., 2024 (arXiv:2406.16768), WARP. Values of eta from 0 to 1 trace a
  frontier of reward against KL.

  Args:
    initial: parameters before training.
    params: a tree of the same structure, after training.
    eta: share of `params`, in [0, 1]; 0 returns `initial` bit for bit.

  Raises:
    ValueError: the trees differ, or eta is out of range.

  Example:
    0.75 * 1 + 0.25 * 5.

    >>> start, end = jnp.array([1.0]), jnp.array([5.0])
    >>> losses.interpolate_to_init(start, end, eta=0.25).tolist()
    [2.0]
  """
  guards.fraction(eta=eta)

  def mix(start: Array, end: Array) -> Array:
    share = jnp.asarray(eta, start.dtype)
    return (1 - share) * start + share * end

  return jax.tree.map(mix, initial, params)


def _check_not_empty(trees: Sequence[Any]) -> None:
  if not trees:
    raise ValueError("trees must hold at least one model")


def _slerp(
  first: Float[Array, "*leaf"],
  second: Float[Array, "*leaf"],
  share: float,
  epsilon: float,
) -> Float[Array, "*leaf"]:
  norms = jnp.linalg.norm(first.ravel()), jnp.linalg.norm(second.ravel())
  product = norms[0] * norms[1]
  cosine = jnp.vdot(first, second) / jnp.where(product > 0, product, 1)
  # Rounding may leave a cosine just outside [-1, 1]: arccos would be NaN.
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  sine = jnp.sin(angle)
  curved = (product > 0) & (sine > epsilon)
  safe = jnp.where(curved, sine, 1)

  def coefficient(fraction: float) -> Float[Array, ""]:
    straight = jnp.asarray(fraction, first.dtype)
    return jnp.where(curved, jnp.sin(straight * angle) / safe, straight)

  return coefficient(1 - share) * first + coefficient(share) * second
