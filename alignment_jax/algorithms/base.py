"""An algorithm is a bundle of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Key, PyTree

from alignment_jax.ops.masking import Mean

Metrics = dict[str, Mean]


class Algorithm(NamedTuple):
  """What a training step needs to know of a method.

  `trainable` is a dict of parameter trees that the optimiser moves; `slow` is
  everything else that is kept: the reference, an average, or ().

  Attributes:
    init: (key, policy_params) -> (trainable, slow).
    collect: (trainable, slow, batch, key) -> batch; samples and judges when
      online, the identity when offline.
    loss: (trainable, slow, batch, key) -> (Mean, metrics). The one reduction
      happens here, into totals and weights that add up over parts of a batch.
    refresh: (trainable, slow, step) -> (trainable, slow), after each update.
    batch: the type of the batches it learns from, one of `types`.
  """

  init: Callable[[Key[Array, ""], PyTree], tuple[PyTree, PyTree]]
  collect: Callable[..., Any]
  loss: Callable[..., tuple[Mean, Metrics]]
  refresh: Callable[..., tuple[PyTree, PyTree]]
  batch: type


def offline(trainable, slow, batch, key):
  """`collect` of a method that learns from the data as it is."""
  del trainable, slow, key
  return batch


def frozen(trainable, slow, step):
  """`refresh` of a method whose slow state never moves."""
  del step
  return trainable, slow
