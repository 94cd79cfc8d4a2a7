"""One update, as a pure function for any loop."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.ops.means import divide
from alignment_jax.training.state import TrainState

# (trainable, slow, optimizer state)
Carry = tuple[PyTree, PyTree, PyTree]
# (state, batch, key) -> (state, metrics)
Update = Callable[
  [TrainState, PyTree, Array], tuple[TrainState, dict[str, Array]]
]


def keys_of(key: Array, step: Array | int) -> tuple[Array, Array]:
  """The keys of one step, for collecting and for learning.

  They depend on the run's key and the step alone, so a run that is resumed
  draws what the uninterrupted one would have drawn.
  """
  collect_key, loss_key = jax.random.split(jax.random.fold_in(key, step))
  return collect_key, loss_key


def make_update(
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
  *,
  microbatches: int = 1,
  epochs: int = 1,
  minibatches: int = 1,
) -> Update:
  """update(state, batch, key) -> (state, metrics).

  Pure and not compiled. It takes what `algorithm.loss` takes: the data of an
  offline method, or what `algorithm.rollouts` made of them. Losses and
  gradients of microbatches are added as totals and divided once by the total
  weight, so that any split of the batch gives the same update.

  Args:
    algorithm: the method.
    optimizer: acts on the algorithm's trainable parameters.
    microbatches: parts of a minibatch that are processed one after the other.
    epochs: how often the batch is gone through.
    minibatches: parts of the batch, shuffled anew in each epoch, that get an
      optimizer step each.

  Returns:
    The update; its metrics are scalars, the algorithm's own plus
    `gradient_norm`, as means over epochs and minibatches.
  """

  def gradients(
    trainable: PyTree, slow: PyTree, batch: PyTree, key: Array
  ) -> tuple[PyTree, Array, Metrics]:
    def total(trainable: PyTree) -> tuple[Array, tuple[Array, Metrics]]:
      # The total, not the mean: gradients of parts then add up, whatever
      # weight each part has.
      mean, metrics = algorithm.loss(trainable, slow, batch, key)
      return mean.total, (mean.weight, metrics)

    grads, (weight, metrics) = jax.grad(total, has_aux=True)(trainable)
    return grads, weight, metrics

  def accumulated(
    trainable: PyTree, slow: PyTree, batch: PyTree, key: Array
  ) -> tuple[PyTree, Array, Metrics]:
    parts = _strided(batch, microbatches)

    def add(sums: PyTree, part: tuple[Array, PyTree]) -> tuple[PyTree, None]:
      index, batch = part
      new = gradients(trainable, slow, batch, jax.random.fold_in(key, index))
      return jax.tree.map(jnp.add, sums, new), None

    # A scan, not a loop: one microbatch's activations exist at a time.
    shapes = jax.eval_shape(
      gradients, trainable, slow, jax.tree.map(lambda a: a[0], parts), key
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    sums, _ = jax.lax.scan(add, zeros, (jnp.arange(microbatches), parts))
    return sums

  def descend(
    carry: Carry, batch: PyTree, key: Array, number: Array
  ) -> tuple[Carry, dict[str, Array]]:
    trainable, slow, optimizer_state = carry
    compute = gradients if microbatches == 1 else accumulated
    grads, weight, metrics = compute(trainable, slow, batch, key)
    grads = jax.tree.map(lambda g: divide(g, jnp.full(g.shape, weight)), grads)
    # Optax mixes its integer step count with floats; our own code does not.
    with jax.numpy_dtype_promotion("standard"):
      updates, optimizer_state = optimizer.update(
        grads, optimizer_state, trainable
      )
    scalars = {name: mean.value() for name, mean in metrics.items()}
    # Before clipping, which is a link of the optimizer's chain.
    scalars["gradient_norm"] = optax.tree.norm(grads)
    trainable, slow = algorithm.refresh(
      optax.apply_updates(trainable, updates), slow, number, scalars
    )
    return (trainable, slow, optimizer_state), scalars

  def update(
    state: TrainState, batch: PyTree, key: Array
  ) -> tuple[TrainState, dict[str, Array]]:
    _, key = keys_of(key, state.step)
    carry = state.trainable, state.slow, state.optimizer_state
    count = epochs * minibatches
    if count == 1:
      carry, scalars = descend(carry, batch, key, state.step + 1)
    else:

      def descend_on_part(
        carry: Carry, index: Array
      ) -> tuple[Carry, dict[str, Array]]:
        epoch, part = index // minibatches, index % minibatches
        # All minibatches of an epoch shuffle alike, so each row comes once.
        shuffled = _shuffled(batch, jax.random.fold_in(key, epoch), minibatches)
        return descend(
          carry,
          jax.tree.map(lambda a: a[part], shuffled),
          # Behind the keys that shuffle the epochs.
          jax.random.fold_in(key, epochs + index),
          state.step * count + index + 1,
        )

      carry, history = jax.lax.scan(descend_on_part, carry, jnp.arange(count))
      scalars = jax.tree.map(jnp.mean, history)
    trainable, slow, optimizer_state = carry
    return dataclasses.replace(
      state,
      step=state.step + 1,
      trainable=trainable,
      slow=slow,
      optimizer_state=optimizer_state,
    ), scalars

  return update


def _strided(batch: PyTree, parts: int) -> PyTree:
  """[B, ...] to [parts, B / parts, ...]; rows stay on their device."""
  # Part i has the rows i, i + parts, ...: every device holds a stretch of rows,
  # and so a share of each part. Contiguous parts would lie on few devices.
  return jax.tree.map(
    lambda a: jnp.moveaxis(
      a.reshape(a.shape[0] // parts, parts, *a.shape[1:]), 1, 0
    ),
    batch,
  )


def _shuffled(batch: PyTree, key: Array, parts: int) -> PyTree:
  rows = jax.tree.leaves(batch)[0].shape[0]
  order = jax.random.permutation(key, rows) if parts > 1 else jnp.arange(rows)
  return _strided(jax.tree.map(lambda a: a[order], batch), parts)
