"""One update, as a pure function for any loop."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from alignment_jax.algorithms.base import Algorithm
from alignment_jax.ops.masking import divide


def make_update(
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
  *,
  microbatches: int = 1,
) -> Callable:
  """update(state, batch, key) -> (state, metrics).

  Pure and not compiled. The key of step n is `fold_in(key, n)`, so a run that
  is resumed draws what the uninterrupted one would have drawn. Losses and
  gradients of microbatches are added as totals and divided once by the total
  weight, so that any split of the batch gives the same update.

  Args:
    algorithm: the method.
    optimizer: acts on the algorithm's trainable parameters.
    microbatches: parts of the batch that are processed one after the other.

  Returns:
    The update; its metrics are scalars, the algorithm's own plus
    `gradient_norm`.
  """

  def gradients(trainable, slow, batch, key):
    def total(trainable):
      mean, metrics = algorithm.loss(trainable, slow, batch, key)
      return mean.total, (mean.weight, metrics)

    grads, (weight, metrics) = jax.grad(total, has_aux=True)(trainable)
    return grads, weight, metrics

  def accumulated(trainable, slow, batch, key):
    # Strided parts keep each device's rows on that device.
    parts = jax.tree.map(
      lambda a: jnp.moveaxis(
        a.reshape(a.shape[0] // microbatches, microbatches, *a.shape[1:]), 1, 0
      ),
      batch,
    )

    def add(sums, part):
      index, batch = part
      new = gradients(trainable, slow, batch, jax.random.fold_in(key, index))
      return jax.tree.map(jnp.add, sums, new), None

    shapes = jax.eval_shape(
      gradients, trainable, slow, jax.tree.map(lambda a: a[0], parts), key
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    sums, _ = jax.lax.scan(add, zeros, (jnp.arange(microbatches), parts))
    return sums

  def update(state, batch, key: Array):
    key = jax.random.fold_in(key, state.step)
    collect_key, loss_key = jax.random.split(key)
    batch = algorithm.collect(state.trainable, state.slow, batch, collect_key)
    compute = gradients if microbatches == 1 else accumulated
    grads, weight, metrics = compute(
      state.trainable, state.slow, batch, loss_key
    )
    grads = jax.tree.map(lambda g: divide(g, jnp.full(g.shape, weight)), grads)
    # Optax mixes its integer step count with floats; our own code does not.
    with jax.numpy_dtype_promotion("standard"):
      updates, optimizer_state = optimizer.update(
        grads, state.optimizer_state, state.trainable
      )
    step = state.step + 1
    trainable, slow = algorithm.refresh(
      optax.apply_updates(state.trainable, updates), state.slow, step
    )
    scalars = {name: mean.value() for name, mean in metrics.items()}
    scalars["gradient_norm"] = optax.tree.norm(grads)
    return state.replace(
      step=step,
      trainable=trainable,
      slow=slow,
      optimizer_state=optimizer_state,
    ), scalars

  return update
