"""PsiPO: any non-decreasing function of the preference probability."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios

# Probabilities -> numbers, elementwise and non-decreasing.
Psi = Callable[[Array], Array]


def identity(preferences: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """Psi(p) = p: IPO.

  Example:
    >>> float(losses.identity(jnp.array(0.75)))
    0.75
  """
  return preferences


def logit(preferences: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """Psi(p) = log(p / (1 - p)): RLHF and DPO; infinite at 0 and 1.

  Example:
    log((3/4) / (1/4)).

    >>> f"{jnp.exp(losses.logit(jnp.array(0.75))):.4f}"
    '3.0000'
  """
  return jnp.log(preferences) - jnp.log1p(-preferences)


def clipped_logit(
  preferences: Float[Array, "*batch"], *, limit: float
) -> Float[Array, "*batch"]:
  """The logit, clipped to [-limit, limit]: finite where one side always wins.

  Raises:
    ValueError: limit <= 0.

  Example:
    >>> losses.clipped_logit(jnp.array([0.0, 0.5, 1.0]), limit=2.0).tolist()
    [-2.0, 0.0, 2.0]
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
  psi: Psi,
  tau: float,
) -> Float[Array, "*batch"]:
  """Regress the margin on (Psi(p) - Psi(1 - p)) / (2 tau).

  Azar et al., 2023 (arXiv:2310.12036, v2), the objective of eq. 6 in the
  sampled form of section 5. It needs a Psi whose Psi(p) + Psi(1 - p) is the
  same for every p, such as the identity and the logit. Over all pairs of a
  behavior distribution mu the optimum is

      reference * exp(E_{y' ~ mu}[Psi(P(y beats y'))] / tau)

  The identity with p = 1 is `ipo_loss`. For any other Psi a pair alone does not
  determine that expectation: estimate it and use `psipo_regression_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    preferences: P(the chosen response beats the rejected one), 1 for a plain
      label; held constant.
    psi: Psi, as a function on arrays, such as `identity`, `logit`, or
      `functools.partial(clipped_logit, limit=3.0)`.
    tau: strength of the KL regularization, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, tau <= 0, or
      psi(p) + psi(1 - p) depends on p.

  Example:
    h = 3, and the target is (3/4 - 1/4) / (2 * 0.25) = 1.

    >>> arrays = jnp.array([-1.0, -4.0, -2.0, -2.0, 0.75])
    >>> float(losses.psipo_loss(*arrays, psi=losses.identity, tau=0.25))
    4.0
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
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    chosen_scores: g of the first response; held constant.
    rejected_scores: g of the second; held constant.
    tau: strength of the KL regularization, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats; symmetric in the two responses.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    h = 3, and the target is (2 - 1) / 0.5 = 2.

    >>> arrays = jnp.array([-1.0, -4.0, -2.0, -2.0, 2.0, 1.0])
    >>> float(losses.psipo_regression_loss(*arrays, tau=0.5))
    1.0
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


def _check_odd(psi: Psi) -> None:
  """Raises if Psi(p) + Psi(1 - p) depends on p, by a few values of p."""
  # Evaluated while tracing: psi itself is a constant of the program.
  with jax.ensure_compile_time_eval():
    p = jnp.asarray([0.5, 0.6, 0.75, 0.9, 0.99], jnp.float32)
    sums = psi(p) + psi(1 - p)
  # A psi that closes over a traced array cannot be checked.
  if isinstance(sums, Tracer):
    return
  sums = np.asarray(sums)
  if not np.allclose(sums, sums[0], rtol=1e-3, atol=1e-3):
    raise ValueError(
      "psi must make psi(p) + psi(1 - p) the same for every p, as the identity"
      f" and the logit do, got {sums} for p = [0.5, 0.6, 0.75, 0.9, 0.99]; use"
      " psipo_regression_loss with estimated scores for any other psi"
    )
