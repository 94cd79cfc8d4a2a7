"""An algorithm is a bundle of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Key, PyTree

from alignment_jax.ops.means import Mean

Metrics = dict[str, Mean]


class Rollouts(NamedTuple):
  """How an online method makes what it learns from.

  A judge stands between the two functions. It may run on the host, so they are
  compiled apart, and `sample` may run elsewhere and with older parameters.

  Attributes:
    sample: (trainable, slow, batch, key) -> Rollout.
    feedback: what a judge must say of a rollout: `reward`, [B, K] of its
      responses; `rewards`, [B, K + 1, n] of n judges, one more for the
      demonstration, the last; `preference`, [B, K, K], P(response i beats
      response j); or `none`: the method knows by itself, and gets zeros
      [B, K].
    prepare: (trainable, slow, Rollout, what the judge said) -> what `loss`
      takes; every leaf has a row for each prompt.
    keep: what the judge said, NumPy -> [B], whose prompts there is something
      to learn from; the others make room for useful ones of further prompts.
      None keeps all.
    extra_rounds: how often further prompts are sampled at most, per batch.
  """

  sample: Callable[..., Any]
  feedback: str
  prepare: Callable[..., Any]
  keep: Callable[[Any], Any] | None = None
  extra_rounds: int = 0


class Algorithm(NamedTuple):
  """What a training step needs to know of a method.

  `trainable` is a dict of parameter trees that the optimiser moves; `slow` is
  everything else that is kept: the reference, an average, or ().

  Attributes:
    init: (key, policy_params) -> (trainable, slow).
    rollouts: samples and judges when online, None when offline.
    loss: (trainable, slow, batch, key) -> (Mean, metrics). The one reduction
      happens here, into totals and weights that add up over parts of a batch.
    refresh: (trainable, slow, step, metrics) -> (trainable, slow), after each
      update; metrics are the divided ones of that update.
    batch: the type of the data it starts from, one of `types`.
  """

  init: Callable[[Key[Array, ""], PyTree], tuple[PyTree, PyTree]]
  rollouts: Rollouts | None
  loss: Callable[..., tuple[Mean, Metrics]]
  refresh: Callable[..., tuple[PyTree, PyTree]]
  batch: type


def frozen(trainable, slow, step, metrics):
  """`refresh` of a method whose slow state never moves."""
  del step, metrics
  return trainable, slow
