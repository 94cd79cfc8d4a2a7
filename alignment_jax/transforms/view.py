"""A method that sees its state in another form than it is kept in."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from alignment_jax.algorithm import Algorithm, Rollouts

# (trainable, slow) as they are kept -> as the method knows them
View = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]


def through(algorithm: Algorithm, view: View) -> Algorithm:
  """The algorithm whose samples, preparation and loss read a view of the state.

  `init` and `refresh`, which make and move the state, are the caller's to
  replace.

  Args:
    algorithm: any method.
    view: from the state that is kept to that of `algorithm`; differentiable.
  """

  def seen(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda trainable, slow, *rest: function(
      *view(trainable, slow), *rest
    )

  rollouts: Rollouts | None = algorithm.rollouts
  if rollouts is not None:
    rollouts = rollouts._replace(
      sample=seen(rollouts.sample), prepare=seen(rollouts.prepare)
    )
  return algorithm._replace(rollouts=rollouts, loss=seen(algorithm.loss))
