"""The train state can be donated whatever an algorithm's `init` shares."""

import jax
import jax.numpy as jnp
import optax
import pytest

from alignment_jax.algorithm import Algorithm, frozen
from alignment_jax.training import state


def sharing(key, params):
  """`init` that hands on one buffer three times."""
  del key
  return {"policy": params, "value": params}, {"reference": params}


ALGORITHM = Algorithm(sharing, None, None, frozen)


def made(params):
  return state.make_state(
    ALGORITHM, optax.sgd(0.1, momentum=0.9), jax.random.key(0), params
  )


@pytest.mark.parametrize("compiled", [False, True])
def test_no_buffer_of_the_state_is_donated_twice(compiled):
  params = {"kernel": jnp.arange(4.0)}
  # Donating the argument lets its buffer be handed on, as training does.
  first = (jax.jit(made, donate_argnums=0) if compiled else made)(params)
  pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(first)]
  assert len(set(pointers)) == len(pointers)
  # JAX refuses a buffer that is donated twice.
  second = jax.jit(
    lambda now: jax.tree.map(lambda a: a + 1, now), donate_argnums=0
  )(first)
  for tree in (second.trainable["value"], second.slow["reference"]):
    assert tree["kernel"].tolist() == [1.0, 2.0, 3.0, 4.0]
