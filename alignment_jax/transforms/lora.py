"""Any method by low-rank adapters (LoRA, Hu et al., 2021, arXiv:2106.09685)."""

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from alignment_jax import errors
from alignment_jax.algorithm import Algorithm
from alignment_jax.models import lora
from alignment_jax.models.base import Model
from alignment_jax.ops import guards

REFERENCE = "reference"


def with_lora(
  algorithm: Algorithm,
  model: Model,
  *,
  rank: int,
  alpha: float,
  targets: tuple[str, ...] = lora.ATTENTION,
) -> Algorithm:
  """The same method, moving adapters on frozen parameters.

  Each tree in `trainable` that has the policy's shape (the policy; a value or
  reward network) becomes adapters on the policy at the start, which such a tree
  must start from. What else is trainable, such as a head, stays so. The method
  sees full parameters; gradients and the optimizer see the adapters alone.

  The start is kept once, as `base` in the slow state. It also serves as the
  method's `reference`, if it has one that `refresh` leaves alone. The rest of
  the method's slow state, such as an average of the policy, is under `method`
  as it was.

  Args:
    algorithm: the method.
    model: the network it was made with.
    rank: of each adapter.
    alpha: strength; the product of an adapter is scaled by alpha / rank.
    targets: patterns of paths of kernels; see `models.lora.init`.

  Returns:
    A method whose `init` keeps, and does not copy, the parameters it is given.

  Raises:
    UserError: rank, alpha or a pattern cannot be used; or the method's
      `refresh` replaces what the adapters stand for.
  """
  guards.positive(alpha=alpha)
  is_policy, is_adapters = _forms(model, rank, targets)
  own_reference = _keeps_reference(algorithm, model, is_policy)

  def init(key, policy_params):
    inner_key, adapter_key = jax.random.split(key)
    trainable, slow = algorithm.init(inner_key, policy_params)
    nodes, tree = jax.tree.flatten(trainable, is_leaf=is_policy)
    for index, node in enumerate(nodes):
      if is_policy(node):
        nodes[index] = lora.init(
          jax.random.fold_in(adapter_key, index),
          policy_params,
          model.axes,
          rank=rank,
          targets=targets,
        )
    if own_reference:
      slow = {name: part for name, part in slow.items() if name != REFERENCE}
    return tree.unflatten(nodes), {"base": policy_params, "method": slow}

  def full(trainable, slow):
    method = slow["method"]
    if own_reference:
      method = {**method, REFERENCE: slow["base"]}
    merged = _merged(trainable, slow["base"], model, alpha, is_adapters)
    return merged, method

  def of_full(function):
    return lambda trainable, slow, *rest: function(
      *full(trainable, slow), *rest
    )

  def refresh(trainable, slow, step, metrics):
    merged, method = full(trainable, slow)
    after, method = algorithm.refresh(merged, method, step, metrics)
    kept = jax.tree.map(
      lambda own, new: own if is_adapters(own) else new,
      trainable,
      after,
      is_leaf=is_adapters,
    )
    if own_reference:
      method = {n: part for n, part in method.items() if n != REFERENCE}
    return kept, {"base": slow["base"], "method": method}

  rollouts = algorithm.rollouts
  if rollouts is not None:
    rollouts = rollouts._replace(
      sample=of_full(rollouts.sample), prepare=of_full(rollouts.prepare)
    )
  return Algorithm(
    init, rollouts, of_full(algorithm.loss), refresh, algorithm.batch
  )


def merged(
  trainable: Any,
  slow: Any,
  model: Model,
  *,
  rank: int,
  alpha: float,
  targets: tuple[str, ...] = lora.ATTENTION,
) -> Any:
  """`trainable` as the method without adapters would have it.

  Args:
    trainable: of `with_lora`.
    slow: of `with_lora`.
    model: as given there, like the rest.
    rank: see there.
    alpha: see there.
    targets: see there.
  """
  _, is_adapters = _forms(model, rank, targets)
  return _merged(trainable, slow["base"], model, alpha, is_adapters)


def check(model: Model, *, rank: int, targets: tuple[str, ...]) -> None:
  """Refuses adapters that the model cannot have.

  Raises:
    UserError: rank < 1, or a pattern that matches no kernel.
  """
  _forms(model, rank, targets)


def _merged(trainable, start, model, alpha, is_adapters):
  return jax.tree.map(
    lambda node: (
      lora.merge(start, node, model.axes, alpha=alpha)
      if is_adapters(node)
      else node
    ),
    trainable,
    is_leaf=is_adapters,
  )


def _forms(model, rank, targets) -> tuple[Callable, Callable]:
  """Whether a tree has the shape of the model's parameters; of its adapters."""
  key = jax.random.key(0)
  params = jax.eval_shape(model.init, key)
  adapters = jax.eval_shape(
    lambda key, params: lora.init(
      key, params, model.axes, rank=rank, targets=targets
    ),
    key,
    params,
  )
  return _has_shape_of(params), _has_shape_of(adapters)


def _has_shape_of(tree):
  def shapes(tree):
    return [getattr(leaf, "shape", None) for leaf in jax.tree.leaves(tree)]

  structure, expected = jax.tree.structure(tree), shapes(tree)
  return lambda other: (
    jax.tree.structure(other) == structure and shapes(other) == expected
  )


def _keeps_reference(algorithm, model, is_policy):
  """Whether the method has a reference that always is the start.

  Read off `refresh`: what it hands on as it came is the same traced value.
  """
  key = jax.random.key(0)
  trainable, slow = jax.eval_shape(
    algorithm.init, key, jax.eval_shape(model.init, key)
  )
  found = {}

  def trace(trainable, slow):
    after, slow_after = algorithm.refresh(
      trainable,
      slow,
      jnp.ones((), jnp.int32),
      collections.defaultdict(lambda: jnp.zeros(())),
    )
    found["moved"] = any(
      is_policy(before) and not _same(before, new)
      for before, new in zip(
        jax.tree.leaves(trainable, is_leaf=is_policy),
        jax.tree.leaves(after, is_leaf=is_policy),
        strict=True,
      )
    )
    found["reference"] = (
      isinstance(slow, dict)
      and is_policy(slow.get(REFERENCE))
      and _same(slow[REFERENCE], slow_after[REFERENCE])
    )
    return after, slow_after

  jax.eval_shape(trace, trainable, slow)
  if found["moved"]:
    raise errors.UserError(
      "this method sets the parameters anew while it learns, which adapters"
      " cannot follow; train all parameters (config.lora.rank=0)"
    )
  return found["reference"]


def _same(one, other):
  return all(
    a is b
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )
