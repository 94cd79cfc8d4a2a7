"""Whether a response is the reference, but for case and white space."""

from collections.abc import Sequence

import numpy as np

from alignment_jax.judges import base


def exact_match_judge() -> base.RewardJudge:
  """1 where the response is the reference, else 0.

  Both are compared without regard to case and to the amount of white space.

  Raises:
    UserError: when judging, a prompt without a reference.
  """

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    known = base.require_references("exact_match", prompts, references)
    return np.asarray(
      [
        _folded(response) == _folded(reference)
        for response, reference in zip(responses, known, strict=True)
      ],
      np.float32,
    )

  return judge


def _folded(text: str) -> str:
  return " ".join(text.casefold().split())
