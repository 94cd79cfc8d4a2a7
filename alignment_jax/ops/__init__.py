"""Array maths that is nobody's paper."""

from alignment_jax.ops import guards as guards
from alignment_jax.ops import masking as masking
