"""Array maths that is nobody's paper."""

from alignment_jax.ops import guards, masking, means

__all__ = ["guards", "masking", "means"]
