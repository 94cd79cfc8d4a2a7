"""What flows between the rooms: frozen pytrees of arrays that travel together.

Prompts are left-padded and responses right-padded, so that the last prompt
token stands beside the first response token. A mask comes from the data
pipeline and is carried; it is never recomputed from a pad id, because a pad id
may equal the end-of-sequence id.

Axes: B prompts in a batch, K responses to one prompt, T tokens.
"""

from typing import Any, Literal

import flax.struct
import numpy as np
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Tokens:
  """Token ids and which of them are real.

  Attributes:
    ids: token ids, int32; whatever stands where `mask` is False is ignored.
    mask: True at real tokens, the end-of-sequence token included.
  """

  ids: Int[Array, "*batch T"]
  mask: Bool[Array, "*batch T"]


@flax.struct.dataclass
class Prompts:
  """Prompts to respond to, for a method that samples its own responses."""

  prompt: Tokens


@flax.struct.dataclass
class Demonstration:
  """A prompt and the response to imitate."""

  prompt: Tokens
  response: Tokens


@flax.struct.dataclass
class PreferencePair:
  """Two responses to one prompt and how people rank them.

  Attributes:
    prompt: what both respond to.
    chosen: the response that is preferred, or the first of the two when
      `probability` says how often it is.
    rejected: the other response.
    weight: how much the pair counts, >= 0; 0 for a row that only fills a batch.
    probability: P(chosen preferred to rejected), in [0, 1]: the share of raters
      where single ratings are known, 1 where only a label is.
  """

  prompt: Tokens
  chosen: Tokens
  rejected: Tokens
  weight: Float[Array, "B"]
  probability: Float[Array, "B"]


@flax.struct.dataclass
class ScoredResponses:
  """K responses to each prompt with a reward each; `Tokens` are [B, K, T]."""

  prompt: Tokens
  responses: Tokens
  rewards: Float[Array, "B K"]


@flax.struct.dataclass
class Rollout:
  """K responses of the policy to each prompt, and what they are set against.

  Attributes:
    prompt: what is responded to, [B, T].
    responses: what the policy that is to learn sampled, [B, K, T].
    logprobs: log-probability of each token of `responses` in nats, under the
      parameters that sampled it and at the temperature of sampling; 0 where the
      response is padded.
    ended: whether each of `responses` has an end-of-sequence token.
    version: the update whose parameters sampled it.
    opponents: [B, J, T], what another policy sampled for the same prompts, in a
      method that compares with one.
    demonstration: what a person responded, [B, T], where the method needs it.
  """

  prompt: Tokens
  responses: Tokens
  logprobs: Float[Array, "B K T"]
  ended: Bool[Array, "B K"]
  version: Int[Array, "B"]
  opponents: Tokens | None = None
  demonstration: Tokens | None = None

  def need(self, part: Literal["opponents", "demonstration"]) -> Tokens:
    """A part that the method cannot do without.

    Raises:
      ValueError: it was not sampled, or is not in the data.
    """
    return _present(getattr(self, part), f"a rollout with {part}")


@flax.struct.dataclass
class Feedback:
  """What a judge returns of a rollout: the parts that the method reads.

  Attributes:
    rewards: of the responses, [B, K], larger is better; or [B, K, n], one of
      each of n judges, where the method keeps them apart.
    opponents: rewards of the opponents' responses, [B, J].
    demonstration: rewards of the demonstration, one of each judge, [B, n].
    preferences: P(response i beats response j), [B, K, K]; with opponents,
      P(response i beats the opponents' response j), [B, K, J].
  """

  rewards: Float[Array, "B K *n"] | None = None
  opponents: Float[Array, "B J"] | None = None
  demonstration: Float[Array, "B n"] | None = None
  preferences: Float[Array, "B K J"] | None = None

  def need(
    self,
    part: Literal["rewards", "opponents", "demonstration", "preferences"],
  ) -> Any:
    """A part that the method cannot do without, on the host or a device.

    Raises:
      ValueError: the judge did not return it.
    """
    return _present(getattr(self, part), f"feedback with {part}")


def on_host(array: np.ndarray) -> Any:
  """A NumPy array as a leaf of one of these: batches are made on the host, and
  stay there until they are put on devices."""
  return array


def _present(part: Any, what: str) -> Any:
  if part is None:
    raise ValueError(f"the method needs {what}, and there are none")
  return part
