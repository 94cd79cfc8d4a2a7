"""Who says how good a response is.

A judge is a function `(prompts, responses) -> rewards`: two lists of N texts
in, float32 [N] out, larger is better. `JUDGES` maps a name to what builds one.
"""

from alignment_jax.judges import sentiment

JUDGES = {
  "vader": sentiment.vader_judge,
}
