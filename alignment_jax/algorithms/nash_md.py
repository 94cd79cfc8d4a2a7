"""Nash-MD (Munos et al., 2023, arXiv:2312.00886)."""

from alignment_jax import rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games
from alignment_jax.models.base import Model


def nash_md(
  model: Model, *, sampling: rollouts.Sampling, tau: float, beta: float
) -> Algorithm:
  """Nash-MD-PG: play against a mixture of the policy and the reference.

  The opponent is policy^(1 - beta) reference^beta, normalized token by token.
  beta = 0 is self-play and beta = 1 the best response to the reference; the
  paper's best win rates are at 0.125 to 0.375, with tau 0.008. At the fixed
  point of responses of one token, policy = reference exp(P(y beats mixture) /
  tau) / Z: not the regularized Nash policy unless beta = 0, but its mixture is
  that of temperature tau / (1 - beta).

  The KL is that of whole responses, as in the paper. TRL's Nash-MD counts for
  each token its own log-ratio alone (`losses.nash_md_pg_one_token_loss`).

  Args:
    model: the network.
    sampling: `samples` responses of the policy, and as many of the mixture;
      each of the policy's meets all of the mixture's. One is the paper's.
    tau: strength of the KL regularization, > 0, win rate per nat.
    beta: weight of the reference in the mixture, in [0, 1].
  """
  opponent = games.mixture(model, sampling, beta=beta)
  return games.against(model, sampling, tau=tau, opponent=opponent)
