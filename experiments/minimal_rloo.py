"""RLOO in one file: sample, judge, update, and no trainer.

A tiny decoder learns, from a judge that is any function of token ids, to
repeat the prompt's token. It shows how little is needed to learn from samples
in a loop of your own; losses, models, sampling and optax are all it uses:

    python experiments/minimal_rloo.py

Ahmadian et al., 2024 (arXiv:2402.14740): each response's baseline is the mean
reward of the other responses to the same prompt.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from alignment_jax import losses, models, sampling
from alignment_jax.models.base import Model
from alignment_jax.types import Tokens

VOCABULARY, PROMPT, RESPONSE, BATCH, SAMPLES = 16, 4, 6, 16, 4
EOS, BETA, STEPS = 0, 0.02, 200


def make_prompts(key: jax.Array) -> Tokens:
  """Prompts of one token each, repeated."""
  token = jax.random.randint(key, (BATCH, 1), 1, VOCABULARY)
  return Tokens(
    ids=jnp.tile(token, (1, PROMPT)), mask=jnp.ones((BATCH, PROMPT), bool)
  )


def judge(prompt: Tokens, responses: Tokens) -> np.ndarray:
  """Share of the window in which a response repeats its prompt's token, [B, K].

  It runs on the host, so it may be any program: rules, tests, another model.
  """
  token = np.asarray(prompt.ids)[:, None, :1]
  right = (np.asarray(responses.ids) == token) & np.asarray(responses.mask)
  return right.sum(axis=-1).astype(np.float32) / RESPONSE


def sequence_logprobs(
  model: Model, params: Any, prompt: Tokens, responses: Tokens
) -> jax.Array:
  """Log-probability of each response, [B, K], from an untempered softmax.

  Holds all logits at once, which is fine at this size; `scoring.token_logprobs`
  is the one for real vocabularies.
  """
  rows = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), responses)
  context = model.repeat(model.encode(params, prompt), SAMPLES)
  logits = model.unembed(params, model.hidden(params, context, rows))
  logprobs = jnp.take_along_axis(
    jax.nn.log_softmax(logits), rows.ids[..., None], axis=-1
  )[..., 0]
  per_row = jnp.sum(jnp.where(rows.mask, logprobs, 0.0), axis=-1)
  return per_row.reshape(responses.ids.shape[:2])


def main() -> None:
  model = models.make_model("decoder_tiny", vocabulary_size=VOCABULARY)
  reference = model.init(jax.random.key(0))
  optimizer = optax.adam(2e-3)

  @jax.jit
  def sample(params: Any, prompt: Tokens, key: jax.Array) -> Tokens:
    return sampling.generate(
      model,
      params,
      prompt,
      key,
      eos_id=EOS,
      max_tokens=RESPONSE,
      samples=SAMPLES,
    ).responses

  def loss(
    params: Any, prompt: Tokens, responses: Tokens, rewards: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    logprobs = sequence_logprobs(model, params, prompt, responses)
    reference_logprobs = sequence_logprobs(model, reference, prompt, responses)
    log_ratio = jax.lax.stop_gradient(logprobs - reference_logprobs)
    advantages = losses.rloo_advantages(rewards - BETA * log_ratio)
    per_response = losses.reinforce_loss(logprobs, advantages)
    return jnp.mean(per_response), jnp.mean(log_ratio)

  @jax.jit
  def update(
    params: Any, state: Any, prompt: Tokens, responses: Tokens, rewards: Any
  ) -> tuple[Any, Any, jax.Array]:
    gradient, kl = jax.grad(loss, has_aux=True)(
      params, prompt, responses, rewards
    )
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, kl

  params, state = reference, optimizer.init(reference)
  for step in range(STEPS + 1):
    prompt_key, sample_key = jax.random.split(jax.random.key(step))
    prompt = make_prompts(prompt_key)
    responses = sample(params, prompt, sample_key)
    rewards = judge(prompt, responses)
    params, state, kl = update(params, state, prompt, responses, rewards)
    if step % 50 == 0:
      print(f"step {step:3d}  reward {rewards.mean():.2f}  KL {kl:5.2f} nats")


if __name__ == "__main__":
  main()
