"""How friendly a text sounds, by a fixed list of words and a few rules.

Nothing is learned here, and nothing runs on the accelerator.
"""

from collections.abc import Sequence

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base


def vader_judge() -> base.RewardJudge:
  """A judge that prefers positive words: VADER's compound score.

  Hutto & Gilbert, ICWSM 2014, "VADER: A parsimonious rule-based model for
  sentiment analysis of social media text". People rated each word of the
  lexicon; rules handle negation, intensity, capitals and punctuation.

  The lexicon is by the same authors as the human ratings of texts that are our
  main data. It was not trained on our pairs, so it is a second opinion on them,
  but not one from strangers. It sees the response alone: a cheerful response to
  the wrong question scores high, and so does repeating "great".

  Returns:
    A judge with one score per response, in [-1, 1]; 0 is neutral, and what a
    text without known words (an empty one too) gets.

  Raises:
    UserError: vaderSentiment is not installed.
  """
  try:
    from vaderSentiment import vaderSentiment
  except ImportError as error:
    raise errors.not_installed("vaderSentiment", extra="data") from error

  analyzer = vaderSentiment.SentimentIntensityAnalyzer()

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    return np.asarray(
      [analyzer.polarity_scores(text)["compound"] for text in responses],
      dtype=np.float32,
    )

  return judge
