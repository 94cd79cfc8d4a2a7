"""What a method is: a bundle of pure functions, and what is known about it.

Types only: the methods are in `algorithms`, their table is `ALGORITHMS`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int, Key, PyTree

from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Rollout

__all__ = [
  "Algorithm",
  "FeedbackKind",
  "Init",
  "Judge",
  "Keep",
  "Loss",
  "Method",
  "Metrics",
  "Prepare",
  "Refresh",
  "Rollouts",
  "Sample",
  "Section",
  "frozen",
]

Metrics = dict[str, Mean]

# (key, policy parameters, further starts) -> (trainable, slow)
Init = Callable[..., tuple[PyTree, PyTree]]
# (trainable, slow, batch of prompts or demonstrations, key) -> Rollout
Sample = Callable[[PyTree, PyTree, Any, Key[Array, ""]], Rollout]
# (trainable, slow, Rollout, Feedback) -> what `Loss` takes
Prepare = Callable[[PyTree, PyTree, Rollout, Feedback], Any]
# (trainable, slow, batch, key) -> (Mean, metrics)
Loss = Callable[
  [PyTree, PyTree, Any, Key[Array, ""] | None], tuple[Mean, Metrics]
]
# (trainable, slow, step, divided metrics) -> (trainable, slow)
Refresh = Callable[
  [PyTree, PyTree, Any, Mapping[str, Any]], tuple[PyTree, PyTree]
]
# Feedback, NumPy -> whether there is something to learn from each prompt
Keep = Callable[[Feedback], Bool[np.ndarray, "B"]]
# (Rollout on the host, index of the batch it responds to) -> Feedback, NumPy
Judge = Callable[[Rollout, int], Feedback]

# What a method learns from beside its own samples; see `Rollouts.feedback`.
FeedbackKind = Literal["none", "reward", "rewards", "preference"]

# How the methods are grouped for a reader.
Section = Literal[
  "From data",
  "From rewards of its own samples",
  "From preferences between its own samples",
  "From demonstrations and its own samples",
]


class Rollouts(NamedTuple):
  """How an online method makes what it learns from.

  A judge stands between the two functions. It may run on the host, so they are
  compiled apart, and `sample` may run elsewhere and with older parameters.

  Attributes:
    sample: (trainable, slow, batch, key) -> Rollout.
    feedback: what a judge must return of a rollout: `reward`, a reward of each
      response and of each opponents' response; `rewards`, those of n judges,
      not added up, of each response and of the demonstration; `preference`,
      which of two responses is better, or which of a response and one of the
      opponents'; or `none`: the method needs no judge, and gets no feedback.
    prepare: (trainable, slow, Rollout, Feedback) -> what `loss` takes; every
      leaf has a row for each prompt.
    keep: feedback, NumPy -> [B], whose prompts there is something to learn
      from; the others make room for useful ones of further prompts. None keeps
      all.
    extra_rounds: how often further prompts are sampled at most, per batch.
  """

  sample: Sample
  feedback: FeedbackKind
  prepare: Prepare
  keep: Keep | None = None
  extra_rounds: int = 0


class Algorithm(NamedTuple):
  """What a training step needs to know of a method.

  `trainable` is a dict of parameter trees that the optimizer moves; `slow` is
  everything else that is kept: the reference, an average, or ().

  Attributes:
    init: (key, policy_params) -> (trainable, slow). Both may hold the very
      arrays they are given, several times; `training.state.make_state` copies
      what occurs again.
    rollouts: samples and judges when online, None when offline.
    loss: (trainable, slow, batch, key) -> (Mean, metrics). The one reduction
      happens here, into totals and weights that add up over parts of a batch.
    refresh: (trainable, slow, step, metrics) -> (trainable, slow), after each
      update; metrics are the divided ones of that update.
    replaces: which of `policy` and `reference` `refresh` sets anew. Whoever
      keeps them in another form, as adapters do, has to know.
  """

  init: Init
  rollouts: Rollouts | None
  loss: Loss
  refresh: Refresh
  replaces: frozenset[str] = frozenset()


def frozen(
  trainable: PyTree, slow: PyTree, step: Int[Array, ""], metrics: Any
) -> tuple[PyTree, PyTree]:
  """`refresh` of a method whose slow state never moves."""
  del step, metrics
  return trainable, slow


@dataclasses.dataclass(frozen=True)
class Method:
  """An entry of `ALGORITHMS`: what a method is, without building it.

  The trainer, the progress line, the report, the pages of the documentation and
  the tests read it.

  Attributes:
    factory: (model, **keywords) -> Algorithm; the keywords are the method's
      configuration.
    data: the type of the data it starts from, one of `types`.
    section: where a reader looks for it.
    headline: metrics that say how it goes, the one it is meant to move first.
    tiny: keywords for a small test.
    headline_falls: whether the first of `headline` is meant to fall.
    feedback: what a judge says of its samples; None for a method that learns
      from the data as they are.
    feedback_keyword: the keyword of `factory` that chooses other feedback.
    trains: the name of the tree it is run for; `policy` unless it trains a
      judge.
    critic_from: the stage whose network its critic may start from; `init` takes
      it after the policy.
    token_keywords: keywords that are written as texts in a config; `factory`
      takes their token ids.
    needs_eos: whether `factory` takes the tokenizer's `eos_id`.
    revises: whether its policy improves a response that it is shown.
  """

  factory: Callable[..., Algorithm]
  _: dataclasses.KW_ONLY
  data: type
  section: Section
  headline: tuple[str, ...]
  tiny: Mapping[str, Any]
  headline_falls: bool = False
  feedback: FeedbackKind | None = None
  feedback_keyword: str | None = None
  trains: str = "policy"
  critic_from: str | None = None
  token_keywords: tuple[str, ...] = ()
  needs_eos: bool = False
  revises: bool = False

  @property
  def samples(self) -> bool:
    """Whether it learns from responses that it samples."""
    return self.feedback is not None

  def feedback_for(self, keywords: Mapping[str, Any]) -> FeedbackKind | None:
    """What a judge says of its samples, under these keywords."""
    if self.feedback_keyword is None:
      return self.feedback
    return keywords.get(self.feedback_keyword, self.feedback)
