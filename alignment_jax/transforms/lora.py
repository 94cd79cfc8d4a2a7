"""Any method by low-rank adapters (LoRA, Hu et al., 2021, arXiv:2106.09685)."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from alignment_jax import errors
from alignment_jax.algorithm import Algorithm
from alignment_jax.models import lora
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.transforms import view


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
    alpha: scale; the product of an adapter is multiplied by alpha / rank.
    targets: patterns of paths of kernels; see `models.lora.init`.

  Returns:
    A method whose `init` keeps, and does not copy, the parameters it is given.

  Raises:
    UserError: rank, alpha or a pattern cannot be used; or the method's
      `refresh` replaces what the adapters stand for.
  """
  guards.positive(alpha=alpha)
  if "policy" in algorithm.replaces:
    raise errors.UserError(
      "this method sets the parameters anew while it learns, which adapters"
      " cannot follow; train all parameters (config.lora.rank=0)"
    )
  is_policy, is_adapters = _shape_tests(model, rank, targets)

  def without_reference(slow: PyTree) -> PyTree:
    """The method's slow state, less a reference that `base` serves as."""
    if "reference" in algorithm.replaces or not isinstance(slow, dict):
      return slow
    return {name: part for name, part in slow.items() if name != "reference"}

  def init(key: jax.Array, policy_params: PyTree) -> tuple[PyTree, PyTree]:
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
    return tree.unflatten(nodes), {
      "base": policy_params,
      "method": without_reference(slow),
    }

  def full(trainable: PyTree, slow: PyTree) -> tuple[PyTree, PyTree]:
    method = slow["method"]
    # Where nothing has the name the method has no reference: one more entry of
    # its slow state is never read.
    if isinstance(method, dict) and "reference" not in method:
      method = {**method, "reference": slow["base"]}
    return _merged(trainable, slow["base"], model, alpha, is_adapters), method

  def refresh(
    trainable: PyTree, slow: PyTree, step: jax.Array, metrics: PyTree
  ) -> tuple[PyTree, PyTree]:
    merged, before = full(trainable, slow)
    after, method = algorithm.refresh(merged, before, step, metrics)
    _check_unmoved("policy", merged, after, is_policy)
    if "reference" not in algorithm.replaces:
      _check_unmoved("reference", before, method, is_policy)
    kept = jax.tree.map(
      lambda adapters, new: adapters if is_adapters(adapters) else new,
      trainable,
      after,
      is_leaf=is_adapters,
    )
    return kept, {"base": slow["base"], "method": without_reference(method)}

  return view.through(algorithm, full)._replace(init=init, refresh=refresh)


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
    rank: see `with_lora`.
    alpha: see `with_lora`.
    targets: see `with_lora`.
  """
  _, is_adapters = _shape_tests(model, rank, targets)
  return _merged(trainable, slow["base"], model, alpha, is_adapters)


def check(model: Model, *, rank: int, targets: tuple[str, ...]) -> None:
  """Refuses adapters that the model cannot have.

  Raises:
    UserError: rank < 1, or a pattern that matches no kernel.
  """
  _shape_tests(model, rank, targets)


def same_shapes_as(tree: PyTree) -> Callable[[PyTree], bool]:
  """Whether another tree has this one's structure and shapes."""

  def shapes(tree: PyTree) -> list[tuple[int, ...] | None]:
    return [getattr(leaf, "shape", None) for leaf in jax.tree.leaves(tree)]

  structure, expected = jax.tree.structure(tree), shapes(tree)
  return lambda other: (
    jax.tree.structure(other) == structure and shapes(other) == expected
  )


def _check_unmoved(
  name: str, before: PyTree, after: PyTree, is_policy: Callable
) -> None:
  """What `refresh` says that it leaves alone is handed on as it came."""
  if not isinstance(before, dict) or not is_policy(before.get(name)):
    return
  leaves = zip(
    jax.tree.leaves(before[name]), jax.tree.leaves(after[name]), strict=True
  )
  if any(old is not new for old, new in leaves):
    raise ValueError(
      f"`refresh` sets the {name} anew; name it in `Algorithm.replaces`"
    )


def _merged(
  trainable: PyTree,
  start: PyTree,
  model: Model,
  alpha: float,
  is_adapters: Callable,
) -> PyTree:
  return jax.tree.map(
    lambda node: (
      lora.merge(start, node, model.axes, alpha=alpha)
      if is_adapters(node)
      else node
    ),
    trainable,
    is_leaf=is_adapters,
  )


def _shape_tests(
  model: Model, rank: int, targets: tuple[str, ...]
) -> tuple[Callable, Callable]:
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
  return same_shapes_as(params), same_shapes_as(adapters)
