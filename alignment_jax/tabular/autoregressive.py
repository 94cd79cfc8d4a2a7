"""Small autoregressive policies as tables, with every sequence enumerated.

A policy is one row of logits for each prefix, `[*batch, S, V]`. A sequence ends
with the end token or is cut at T tokens; there are N of them. A distribution
over sequences is `[*batch, N]` log-probabilities, and everything in `bandits`
applies to it with N actions.

For losses per token: `tree.tokens`, `tree.mask`, `token_logprobs` and
`token_values`; any value per prefix is `values[..., tree.prefixes]` per token.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks

MOST_SEQUENCES = 200_000


class SequenceTree(NamedTuple):
  """All complete sequences and the prefixes they pass, as NumPy constants.

  Under `jax.jit`, close over a tree: its numbers are needed while tracing.

  Attributes:
    tokens: int32 [N, T], filled with the end token behind the end.
    mask: bool [N, T], true up to and including the first end token.
    prefixes: int32 [N, T], index of the prefix before each token; 0, the empty
      prefix, where the mask is false.
    prefix_lengths: int32 [S], tokens in each prefix; prefix 0 is empty.
    vocabulary: int32 [V], the token ids.
  """

  tokens: np.ndarray
  mask: np.ndarray
  prefixes: np.ndarray
  prefix_lengths: np.ndarray
  vocabulary: np.ndarray


def sequence_tree(
  vocabulary: int, length: int, *, end: int = 0
) -> SequenceTree:
  """Enumerates all sequences of at most `length` tokens.

  Args:
    vocabulary: V, the end token included; at least 2.
    length: T, at least 1.
    end: id of the end token, in [0, V).

  Raises:
    ValueError: a size or `end` is out of range, or there would be more than
      200,000 sequences.
  """
  checks.at_least(2, vocabulary=vocabulary)
  checks.at_least(1, length=length)
  if not 0 <= end < vocabulary:
    raise ValueError(f"end must be in [0, {vocabulary}), got {end}")
  branches = vocabulary - 1
  count = sum(branches**t for t in range(length)) + branches**length
  if count > MOST_SEQUENCES:
    raise ValueError(
      f"vocabulary {vocabulary} and length {length} give {count} sequences,"
      f" at most {MOST_SEQUENCES} are enumerated"
    )
  inner = np.delete(np.arange(vocabulary), end)
  finished = []  # (tokens, prefixes) of those that end with t + 1 tokens
  tokens = np.zeros((1, 0), int)  # of the prefixes with t tokens
  path = np.zeros((1, 0), int)  # prefixes passed on the way to them
  lengths, first = [], 0
  for t in range(length):
    here = first + np.arange(len(tokens))
    first += len(tokens)
    lengths.append(np.full(len(tokens), t))
    path = np.column_stack([path, here])
    ended = np.column_stack([tokens, np.full(len(tokens), end)])
    finished.append((ended, path))
    tokens = np.column_stack(
      [np.repeat(tokens, branches, axis=0), np.tile(inner, len(tokens))]
    )
    path = np.repeat(path, branches, axis=0)
  finished.append((tokens, path))

  def padded(rows, fill):
    return np.pad(
      rows, ((0, 0), (0, length - rows.shape[1])), constant_values=fill
    )

  ones = [np.ones(rows.shape, bool) for rows, _ in finished]
  return SequenceTree(
    tokens=np.concatenate([padded(x, end) for x, _ in finished]).astype(
      "int32"
    ),
    mask=np.concatenate([padded(x, False) for x in ones]),
    prefixes=np.concatenate([padded(x, 0) for _, x in finished]).astype(
      "int32"
    ),
    prefix_lengths=np.concatenate(lengths).astype("int32"),
    vocabulary=np.arange(vocabulary, dtype="int32"),
  )


def token_logprobs(
  tree: SequenceTree, logits: Float[Array, "*batch S V"]
) -> Float[Array, "*batch N T"]:
  """Log-probability of each token of each sequence, 0 behind the end.

  Raises:
    ValueError: `logits` does not fit the tree.
  """
  logits = _checked_table(tree, logits)
  logprobs = jax.nn.log_softmax(logits, axis=-1)
  taken = logprobs[..., tree.prefixes, tree.tokens]
  return jnp.where(jnp.broadcast_to(tree.mask, taken.shape), taken, 0)


def token_values(
  tree: SequenceTree, logits: Float[Array, "*batch S V"]
) -> Float[Array, "*batch N T"]:
  """logsumexp of the logits before each token, 0 behind the end.

  The value of the prefix when logits are soft Q-values at temperature 1, as in
  offline IQ-Learn (Wulfmeier et al., 2024, arXiv:2409.01369).

  Raises:
    ValueError: `logits` does not fit the tree.
  """
  logits = _checked_table(tree, logits)
  values = jax.nn.logsumexp(logits, axis=-1)[..., tree.prefixes]
  return jnp.where(jnp.broadcast_to(tree.mask, values.shape), values, 0)


def sequence_logprobs(
  tree: SequenceTree, logits: Float[Array, "*batch S V"]
) -> Float[Array, "*batch N"]:
  """Log-probability of each sequence; their probabilities sum to one.

  Raises:
    ValueError: `logits` does not fit the tree.
  """
  return jnp.sum(token_logprobs(tree, logits), axis=-1)


def sequence_kl(
  tree: SequenceTree,
  logits: Float[Array, "*batch S V"],
  reference_logits: Float[Array, "*batch S V"],
) -> Float[Array, "*batch"]:
  """KL(policy, reference) over complete sequences, in nats.

  Raises:
    ValueError: an argument does not fit the tree.
  """
  return bandits.kl(
    sequence_logprobs(tree, logits), sequence_logprobs(tree, reference_logits)
  )


def sequence_objective(
  tree: SequenceTree,
  logits: Float[Array, "*batch S V"],
  reference_logits: Float[Array, "*batch S V"],
  rewards: Float[Array, "*batch N"],
  *,
  tau: bandits.Scalar,
) -> Float[Array, "*batch"]:
  """E_pi r - tau KL(pi, ref) over complete sequences.

  Args:
    tree: the sequences.
    logits: of the policy.
    reference_logits: of the reference.
    rewards: one per sequence.
    tau: strength of the regularization, > 0, reward per nat.

  Raises:
    ValueError: shapes do not fit or tau <= 0.
  """
  return bandits.regularized_objective(
    sequence_logprobs(tree, logits),
    sequence_logprobs(tree, reference_logits),
    rewards,
    tau=tau,
  )


def sequence_policy_gradient(
  tree: SequenceTree,
  logits: Float[Array, "*batch S V"],
  reference_logits: Float[Array, "*batch S V"],
  rewards: Float[Array, "*batch N"],
  *,
  tau: bandits.Scalar,
) -> Float[Array, "*batch S V"]:
  """The exact gradient of `sequence_objective` with respect to logits.

  By automatic differentiation of the enumeration; an ascent direction.
  Arguments and errors are those of `sequence_objective`.
  """

  def total(logits):
    return jnp.sum(
      sequence_objective(tree, logits, reference_logits, rewards, tau=tau)
    )

  return jax.grad(total)(logits)


def sequence_optimum(
  tree: SequenceTree,
  reference_logits: Float[Array, "*batch S V"],
  rewards: Float[Array, "*batch N"],
  *,
  tau: bandits.Scalar,
) -> Float[Array, "*batch S V"]:
  """The table of the policy ref(y) exp(r(y) / tau) / Z over sequences.

  Args:
    tree: the sequences.
    reference_logits: of the reference, finite.
    rewards: one per sequence.
    tau: strength of the regularization, > 0, reward per nat.

  Returns:
    Log-probabilities of the next token after each prefix.

  Raises:
    ValueError: shapes do not fit or tau <= 0.
  """
  reference = sequence_logprobs(tree, reference_logits)
  return conditionals(tree, bandits.tilted(reference, rewards, tau=tau))


def conditionals(
  tree: SequenceTree, log_sequences: Float[Array, "*batch N"]
) -> Float[Array, "*batch S V"]:
  """The table of a distribution over sequences: log p(token | prefix).

  The inverse of `sequence_logprobs`. After a prefix that never occurs it is
  uniform.

  Args:
    tree: the sequences.
    log_sequences: log-probability of each sequence; a constant does not matter.

  Raises:
    ValueError: `log_sequences` does not fit the tree.
  """
  masses = _edge_masses(tree, log_sequences)
  reached = jnp.max(masses, axis=-1, keepdims=True) > -jnp.inf
  return jax.nn.log_softmax(jnp.where(reached, masses, 0), axis=-1)


def soft_values(
  tree: SequenceTree,
  reference_logits: Float[Array, "*batch S V"],
  rewards: Float[Array, "*batch N"],
  *,
  tau: bandits.Scalar,
) -> Float[Array, "*batch S"]:
  """V(prefix) = tau log E_ref[exp(r / tau) | prefix], in units of reward.

  The regularized value of going on optimally. V at prefix 0 is the maximum of
  `sequence_objective`, and tau log(pi* / ref)(token | prefix) is the value
  after the token minus the value before it (the reward, after the last).
  Arguments and errors are those of `sequence_optimum`.
  """
  guards.positive(tau=tau)
  reference = sequence_logprobs(tree, reference_logits)
  reference, rewards = guards.same_shape_floats(
    reference_logits=reference, rewards=rewards
  )
  tilted = jax.nn.logsumexp(
    _edge_masses(tree, reference + rewards / tau), axis=-1
  )
  plain = jax.nn.logsumexp(_edge_masses(tree, reference), axis=-1)
  return tau * (tilted - plain)


def _checked_table(tree, logits):
  (logits,) = guards.same_shape_floats(logits=logits)
  expected = (len(tree.prefix_lengths), len(tree.vocabulary))
  if logits.shape[-2:] != expected:
    raise ValueError(
      f"logits has shape {logits.shape}, expected [..., {expected[0]},"
      f" {expected[1]}]"
    )
  return logits


def _edge_masses(tree, log_sequences):
  """log of the summed exp of all sequences through (prefix, token)."""
  (log_sequences,) = guards.same_shape_floats(log_sequences=log_sequences)
  count, _ = tree.tokens.shape
  if log_sequences.shape[-1] != count:
    raise ValueError(
      f"log_sequences has shape {log_sequences.shape}, expected [..., {count}]"
    )
  width = len(tree.vocabulary)
  rows, columns = np.nonzero(tree.mask)
  edges = tree.prefixes[rows, columns] * width + tree.tokens[rows, columns]
  through = log_sequences[..., rows]  # one entry per token of a sequence
  batch = log_sequences.shape[:-1]
  size = len(tree.prefix_lengths) * width
  dtype = through.dtype
  # A maximum per edge: a rare prefix would underflow against a common one.
  top = jnp.full((*batch, size), -jnp.inf, dtype).at[..., edges].max(through)
  top = jax.lax.stop_gradient(jnp.where(top > -jnp.inf, top, 0))
  shares = jnp.exp(through - top[..., edges])
  sums = jnp.zeros((*batch, size), dtype).at[..., edges].add(shares)
  return (jnp.log(sums) + top).reshape(*batch, -1, width)
