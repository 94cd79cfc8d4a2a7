"""PsiPO: any non-decreasing function of the preference probability."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def identity(preferences: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """Psi(p) = p: IPO."""
  return preferences


def logit(preferences: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """Psi(p) = log(p / (1 - p)): RLHF and DPO; infinite at 0 and 1."""
  return jnp.log(preferences) - jnp.log1p(-preferences)


def clipped_logit(
  preferences: Float[Array, "*batch"], *, limit: float
) -> Float[Array, "*batch"]:
  """The logit, cut to [-limit, limit]: finite where one response always wins.

  Raises:
    ValueError: limit <= 0.
  """
  guards.positive(limit=limit)
  return jnp.clip(logit(preferences), -limit, limit)


def psipo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  preferences: Float[Array, "*batch"],
  *,
  psi: Callable[[Array], Array],
  tau: float,
) -> Float[Array, "*batch"]:
  """Regress the margin on (Psi(p) - Psi(1 - p)) / (2 tau).

  Azar et al., 2023 (arXiv:2310.12036, v2), the objective of eq. 6 in the
  sampled form of section 5 for a Psi of this kind: Psi(p) + Psi(1 - p) is the
  same for every p, as for the identity and the logit. Over all pairs of a
  behavior distribution mu the optimum is

      reference * exp(E_{y' ~ mu}[Psi(P(y beats y'))] / tau)

  The identity with p = 1 is `ipo_loss`. For any other Psi a pair alone does not
  tell that expectation; estimate it and use `psipo_regression_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    preferences: P(the chosen response beats the rejected one), 1 for a plain
      label; held constant.
    psi: Psi, as a function on arrays, such as `identity`, `logit`, or
      `functools.partial(clipped_logit, limit=3.0)`.
    tau: strength of the KL regularization, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, tau <= 0, or
      psi is not of the kind above.
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(tau=tau)
  _check_odd(psi)
  (preferences,) = guards.floats_of_shape(
    chosen.shape, "policy_chosen", preferences=preferences
  )
  target = jax.lax.stop_gradient(psi(preferences) - psi(1 - preferences))
  return jnp.square(chosen - rejected - target / (2 * tau))


def psipo_regression_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  chosen_scores: Float[Array, "*batch"],
  rejected_scores: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Regress the margin on the difference of two scores over tau.

  Azar et al., 2023 (arXiv:2310.12036, v2), the root-finding problem of section
  5 as least squares. With g(y) = E_{y' ~ mu}[Psi(P(y beats y'))] as the score
  the optimum is reference * exp(g / tau) for every Psi. Scores may be unbiased
  estimates, Psi(P(y beats y')) with a fresh y' ~ mu for each of the two.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    chosen_scores: g of the first response; held constant.
    rejected_scores: g of the second; held constant.
    tau: strength of the KL regularization, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats; the same when the two responses
    change places.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(tau=tau)
  chosen_scores, rejected_scores = guards.floats_of_shape(
    chosen.shape,
    "policy_chosen",
    chosen_scores=chosen_scores,
    rejected_scores=rejected_scores,
  )
  target = jax.lax.stop_gradient(chosen_scores - rejected_scores)
  return jnp.square(chosen - rejected - target / tau)


def _check_odd(psi):
  """Psi(p) + Psi(1 - p) must not depend on p; looked at on a few values."""
  with jax.ensure_compile_time_eval():
    p = jnp.asarray([0.5, 0.6, 0.75, 0.9, 0.99], jnp.float32)
    sums = psi(p) + psi(1 - p)
  if isinstance(sums, jax.core.Tracer):
    return
  sums = np.asarray(sums)
  if not np.allclose(sums, sums[0], rtol=1e-3, atol=1e-3):
    raise ValueError(
      "psi must make psi(p) + psi(1 - p) the same for every p, as the identity"
      f" and the logit do, got {sums} for p = [0.5, 0.6, 0.75, 0.9, 0.99]; use"
      " psipo_regression_loss with estimated scores for any other psi"
    )
