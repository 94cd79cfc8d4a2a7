"""IPO in one file: losses, models and optax, and no trainer.

A tiny decoder learns to prefer, on made-up data, responses that repeat the
prompt's token over responses that do not. It shows how little is needed to use
the losses in a loop of your own:

    python experiments/minimal_ipo.py
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from alignment_jax import losses, models
from alignment_jax.models.base import Model
from alignment_jax.types import Tokens

VOCABULARY, PROMPT, RESPONSE, BATCH, STEPS, TAU = 16, 4, 6, 32, 200, 0.1


def make_batch(key: jax.Array) -> tuple[Tokens, Tokens, Tokens]:
  """Prompts of one token, a response that repeats it and a random one."""
  prompt_key, random_key = jax.random.split(key)
  token = jax.random.randint(prompt_key, (BATCH, 1), 1, VOCABULARY)
  prompt = Tokens(
    ids=jnp.tile(token, (1, PROMPT)), mask=jnp.ones((BATCH, PROMPT), bool)
  )
  mask = jnp.ones((BATCH, RESPONSE), bool)
  chosen = Tokens(ids=jnp.tile(token, (1, RESPONSE)), mask=mask)
  rejected = Tokens(
    ids=jax.random.randint(random_key, (BATCH, RESPONSE), 1, VOCABULARY),
    mask=mask,
  )
  return prompt, chosen, rejected


def make_sequence_logprobs(model: Model) -> Callable[..., jax.Array]:
  """params, prompt, response -> log-probability of each response, [B].

  Holds all logits at once, which is fine at this size; `scoring.token_logprobs`
  is the one for real vocabularies.
  """

  def sequence_logprobs(
    params: Any, prompt: Tokens, response: Tokens
  ) -> jax.Array:
    hidden = model.hidden(params, model.encode(params, prompt), response)
    logprobs = jax.nn.log_softmax(model.unembed(params, hidden))
    chosen = jnp.take_along_axis(logprobs, response.ids[..., None], axis=-1)
    return jnp.sum(jnp.where(response.mask, chosen[..., 0], 0.0), axis=-1)

  return sequence_logprobs


def main() -> None:
  model = models.make_model("decoder_tiny", vocabulary_size=VOCABULARY)
  sequence_logprobs = make_sequence_logprobs(model)
  reference = model.init(jax.random.key(0))
  optimizer = optax.adam(1e-3)

  def loss(
    params: Any, prompt: Tokens, chosen: Tokens, rejected: Tokens
  ) -> tuple[jax.Array, jax.Array]:
    margins = [
      sequence_logprobs(parameters, prompt, response)
      for parameters in (params, reference)
      for response in (chosen, rejected)
    ]
    per_pair = losses.ipo_loss(*margins, tau=TAU)
    margin = margins[0] - margins[1] - margins[2] + margins[3]
    return jnp.mean(per_pair), jnp.mean(margin)

  @jax.jit
  def update(
    params: Any, optimizer_state: Any, key: jax.Array
  ) -> tuple[Any, Any, jax.Array, jax.Array]:
    (value, margin), gradient = jax.value_and_grad(loss, has_aux=True)(
      params, *make_batch(key)
    )
    updates, optimizer_state = optimizer.update(gradient, optimizer_state)
    return optax.apply_updates(params, updates), optimizer_state, value, margin

  params, optimizer_state = reference, optimizer.init(reference)
  for step in range(STEPS + 1):
    params, optimizer_state, value, margin = update(
      params, optimizer_state, jax.random.key(step)
    )
    if step % 50 == 0:
      print(f"step {step:3d}  loss {value:6.2f}  margin {margin:5.2f}")
  print(f"the margin's target is 1 / (2 tau) = {1 / (2 * TAU):.2f}")


if __name__ == "__main__":
  main()
