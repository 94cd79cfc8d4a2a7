"""The random key of each part of a run, by its name.

A stage's key depends on the seed and its own name alone, so that a stage more
or less leaves the others as they are.
"""

import zlib

import jax

MAIN, EVALUATION = "main", "evaluation"

# The parts that had numbers before they had names keep their draws.
_NUMBERED = {
  "sft": 0,
  "reward_model": 1,
  MAIN: 2,
  EVALUATION: 3,
  "preference_model": 4,
}


def key_of(seed: int, part: str) -> jax.Array:
  """The key of a part of a run: a stage, `MAIN` or `EVALUATION`."""
  number = _NUMBERED.get(part, zlib.crc32(part.encode()))
  return jax.random.fold_in(jax.random.key(seed), number)
