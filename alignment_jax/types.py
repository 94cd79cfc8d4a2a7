"""What flows between the rooms: frozen pytrees of arrays that travel together.

Prompts are left-padded and responses right-padded, so that the last prompt
token stands beside the first response token. A mask comes from the data
pipeline and is carried; it is never recomputed from a pad id, because a pad id
may equal the end-of-sequence id.

Axes: B prompts in a batch, K responses to one prompt, T tokens.
"""

import flax.struct
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
  """Prompts to answer, for a method that samples its own responses."""

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
    prompt: what both responses answer.
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
  """K responses to each prompt, sampled for learning.

  Attributes:
    prompt: what was answered, [B, T].
    responses: what was sampled, [B, K, T].
    logprobs: log-probability of each sampled token in nats, under the
      parameters that sampled it and at the temperature of sampling; 0 where the
      response is padded.
    ended: whether each response has an end-of-sequence token.
    version: the update whose parameters sampled it.
    demonstration: what a person answered, where the method needs it.
  """

  prompt: Tokens
  responses: Tokens
  logprobs: Float[Array, "B K T"]
  ended: Bool[Array, "B K"]
  version: Int[Array, "B"]
  demonstration: Tokens | None = None
