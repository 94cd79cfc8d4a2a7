"""One sampled response to each prompt, whatever the size of a batch."""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import parallel, sampling, types
from alignment_jax.evaluation import responses

KEY = jax.random.key(5)
LENGTHS = [3, 1, 2, 3, 2]  # of five prompts, in 12 columns


class Letters:
  """A tokenizer: token 2 is "c"."""

  eos_id = 1

  def decode(self, ids):
    return "".join("abcd"[i] for i in ids)


def prompts():
  ids = np.random.default_rng(0).integers(2, 4, (5, 12)).astype(np.int32)
  mask = np.arange(12) >= 12 - np.array(LENGTHS)[:, None]
  return types.Tokens(np.where(mask, ids, 0), mask)


def sampled(world, batch_size=2, **settings):
  return responses.sample(
    world.model,
    world.policy,
    Letters(),
    [f"prompt {row}" for row in range(5)],
    prompts(),
    KEY,
    mesh=parallel.make_mesh(
      data=-1, fsdp=1, tensor=1, devices=jax.devices()[:2]
    ),
    batch_size=batch_size,
    **{"max_tokens": 6, **settings},
  )


def test_batch_n_is_sampled_with_the_key_of_batch_n(world):
  found = sampled(world)
  for number, rows in enumerate([[0, 1], [2, 3], [4, 4]]):
    expected = sampling.generate(
      world.model,
      world.policy,
      jax.tree.map(lambda a, rows=rows: jnp.asarray(a[rows, -8:]), prompts()),
      jax.random.fold_in(KEY, number),
      eos_id=1,
      max_tokens=6,
    ).responses
    count = 1 if number == 2 else 2  # the last row repeats to fill the batch
    for name in ("ids", "mask"):
      np.testing.assert_array_equal(
        getattr(found.tokens, name)[rows[:count]],
        getattr(expected, name)[:count, 0],
      )
  assert found.tokens.ids.shape == (5, 6)
  assert found.prompt.ids.shape == (5, 8)  # columns that no prompt needs go


def test_the_texts_are_those_of_the_tokens_and_nothing_of_the_padding(world):
  found = sampled(world)
  assert found.prompts == [f"prompt {row}" for row in range(5)]
  assert len(set(map(len, found.texts))) > 1
  for text, ids, mask, length in zip(
    found.texts,
    found.tokens.ids,
    found.tokens.mask,
    found.lengths(),
    strict=True,
  ):
    assert len(text) == length == mask.sum()  # the end counts as a token
    assert text == "".join("abcd"[i] for i in ids[:length])
    assert length == 6 or (text.index("b") == length - 1)


def test_a_greedy_policy_responds_the_same_in_any_batch(world):
  texts = [sampled(world, size, temperature=0.0).texts for size in (2, 4, 6)]
  assert texts[0] == texts[1] == texts[2]
  assert sampled(world, 4).texts != sampled(world, 2).texts  # other keys
