"""Small autoregressive policies as tables, with every sequence enumerated.

A policy is one row of logits for each prefix, `[*batch, S, V]`. A sequence ends
with the end token or is truncated at T tokens; there are N of them. A
distribution over sequences is `[*batch, N]` log-probabilities, and everything
in `bandits` applies to it with N actions.

Losses per token need `tree.tokens`, `tree.mask`, `token_logprobs` and
`token_values`; `values[..., tree.prefixes]` turns a value per prefix into one
per token.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks

MOST_SEQUENCES = 200_000


class SequenceTree(NamedTuple):
  """All complete sequences and their prefixes, as NumPy constants.

  Under `jax.jit`, close over a tree: its numbers are needed while tracing.

  Attributes:
    tokens: int32 [N, T], padded with the end token.
    mask: bool [N, T], true up to and including the first end token.
    prefixes: int32 [N, T], index of the prefix before each token; 0, the empty
      prefix, where the mask is false.
    prefix_lengths: int32 [S], tokens in each prefix; prefix 0 is empty.
    vocabulary: int32 [V], the token ids.
  """

  tokens: Int32[np.ndarray, "N T"]
  mask: Bool[np.ndarray, "N T"]
  prefixes: Int32[np.ndarray, "N T"]
  prefix_lengths: Int32[np.ndarray, "S"]
  vocabulary: Int32[np.ndarray, "V"]


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
  continuing = np.delete(np.arange(vocabulary), end)
  # Breadth first: `tokens` are the prefixes of t tokens, `path` the index of
  # each prefix on the way to them, the prefix itself excluded.
  tokens = np.zeros((1, 0), int)
  path = np.zeros((1, 0), int)
  complete = []  # (tokens, path) of the sequences that end after t + 1 tokens
  lengths, prefixes_so_far = [], 0
  for t in range(length):
    indices = prefixes_so_far + np.arange(len(tokens))
    prefixes_so_far += len(tokens)
    lengths.append(np.full(len(tokens), t))
    path = np.column_stack([path, indices])
    ended = np.column_stack([tokens, np.full(len(tokens), end)])
    complete.append((ended, path))
    tokens = np.column_stack(
      [np.repeat(tokens, branches, axis=0), np.tile(continuing, len(tokens))]
    )
    path = np.repeat(path, branches, axis=0)
  # What is left has `length` tokens and no end: truncated sequences.
  complete.append((tokens, path))

  def padded(rows: np.ndarray, fill: int | bool) -> np.ndarray:
    return np.pad(
      rows, ((0, 0), (0, length - rows.shape[1])), constant_values=fill
    )

  ones = [np.ones(rows.shape, bool) for rows, _ in complete]
  return SequenceTree(
    tokens=np.concatenate([padded(x, end) for x, _ in complete]).astype(
      "int32"
    ),
    mask=np.concatenate([padded(x, False) for x in ones]),
    prefixes=np.concatenate([padded(x, 0) for _, x in complete]).astype(
      "int32"
    ),
    prefix_lengths=np.concatenate(lengths).astype("int32"),
    vocabulary=np.arange(vocabulary, dtype="int32"),
  )


def token_logprobs(
  tree: SequenceTree, logits: Float[Array, "*batch S V"]
) -> Float[Array, "*batch N T"]:
  """Log-probability of each token of each sequence, 0 where padded.

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
  """logsumexp of the logits at each token, 0 where padded.

  The soft value of the prefix before the token if logits are soft Q-values at
  temperature 1, as in offline IQ-Learn (Wulfmeier et al., 2024,
  arXiv:2409.01369).

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
    logits: logits of the policy.
    reference_logits: logits of the reference.
    rewards: reward of each sequence.
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

  # Worlds are independent: the gradient of the sum holds that of each.
  def total(logits: Float[Array, "*batch S V"]) -> Float[Array, ""]:
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
    reference_logits: logits of the reference, finite.
    rewards: reward of each sequence.
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
    log_sequences: log-probability of each sequence, up to a constant.

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

  The regularized value of continuing optimally. V at prefix 0 is the maximum of
  `sequence_objective`, and tau log(pi* / ref)(token | prefix) is the value
  after the token (the reward, if it is the last) minus the value before it.
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


def _checked_table(tree: SequenceTree, logits: Array) -> Float[Array, "..."]:
  (logits,) = guards.same_shape_floats(logits=logits)
  expected = (len(tree.prefix_lengths), len(tree.vocabulary))
  if logits.shape[-2:] != expected:
    raise ValueError(
      f"logits has shape {logits.shape}, expected [..., {expected[0]},"
      f" {expected[1]}]"
    )
  return logits


def _edge_masses(
  tree: SequenceTree, log_sequences: Array
) -> Float[Array, "..."]:
  """Log of the total mass of all sequences through each (prefix, token)."""
  (log_sequences,) = guards.same_shape_floats(log_sequences=log_sequences)
  count, _ = tree.tokens.shape
  if log_sequences.shape[-1] != count:
    raise ValueError(
      f"log_sequences has shape {log_sequences.shape}, expected [..., {count}]"
    )
  width = len(tree.vocabulary)
  # An edge is a pair (prefix, token); [E] real tokens of all sequences.
  rows, columns = np.nonzero(tree.mask)
  edges = tree.prefixes[rows, columns] * width + tree.tokens[rows, columns]
  through = log_sequences[..., rows]  # one entry per token of a sequence
  batch = log_sequences.shape[:-1]
  size = len(tree.prefix_lengths) * width
  dtype = through.dtype
  # logsumexp with a maximum per edge: with one for all, the masses of a rare
  # prefix would underflow against those of a common one.
  top = jnp.full((*batch, size), -jnp.inf, dtype).at[..., edges].max(through)
  top = jax.lax.stop_gradient(jnp.where(top > -jnp.inf, top, 0))
  shares = jnp.exp(through - top[..., edges])
  sums = jnp.zeros((*batch, size), dtype).at[..., edges].add(shares)
  return (jnp.log(sums) + top).reshape(*batch, -1, width)
