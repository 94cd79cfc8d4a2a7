"""The lab: a world of made-up words whose rewards are known exactly.

What a policy should learn is known here, so a method can be held against it.
`world` has rewards and preferences on word indices, `text_judges` makes them
judges of texts (`lab_gold` and its like in `judges.JUDGES`), and `lab_rows`
writes rows of data whose raters go by them (`config.data.source="lab"`).
NumPy alone: no file of this room imports JAX.
"""

from alignment_jax.synthetic import lab_rows, text_judges, world

__all__ = ["lab_rows", "text_judges", "world"]
