"""Pairs, with a reference and without one."""

import numpy as np

from reference.arithmetic import (
  clamp,
  exp,
  held,
  log_sigmoid,
  margin,
  maximum,
  minimum,
  ratios,
  sigmoid,
  softplus,
  sort,
)


def dpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta,
  label_smoothing=0.0,
):
  """Rafailov et al., 2023; the smoothed form is the conservative one."""
  z = beta * margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e = label_smoothing
  return -(1 - e) * log_sigmoid(z) - e * log_sigmoid(-z)


def robust_dpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta,
  label_smoothing,
):
  """Chowdhury et al., 2024 (arXiv:2403.00409)."""
  z = beta * margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e = label_smoothing
  return (-(1 - e) * log_sigmoid(z) + e * log_sigmoid(-z)) / (1 - 2 * e)


def ipo_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, tau
):
  """Azar et al., 2023 (arXiv:2310.12036, v2), eq. 17."""
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return (h - 1 / (2 * tau)) ** 2


def psipo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  preferences,
  *,
  psi,
  tau,
):
  """Azar et al.: a pair counted both ways, as for eq. 17, with a general Psi.

  Each order has its share p or 1 - p and regresses h on Psi(p) / tau from one
  side; for the identity and p = 1 this is IPO.
  """
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  p = held(preferences)
  return (h - (psi(p) - psi(1 - p)) / (2 * tau)) ** 2


def psipo_regression_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  chosen_scores,
  rejected_scores,
  *,
  tau,
):
  """Azar et al., the root-finding form h = (g(y) - g(y')) / tau, squared."""
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return (h - (held(chosen_scores) - held(rejected_scores)) / tau) ** 2


def identity(preferences):
  return preferences


def logit(preferences):
  return np.log(preferences / (1 - preferences))


def clipped_logit(preferences, *, limit):
  return clamp(logit(preferences), -limit, limit)


def hinge_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """max(0, 1 - z), SLiC in the unified family of Richemond et al., 2024."""
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return maximum(1 - beta * h, 0.0)


def exo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta,
  label_smoothing,
):
  """Ji et al., 2024 (arXiv:2402.00856): KL of (q, 1-q) to (1-e, e)."""
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e, q = label_smoothing, sigmoid(beta * h)
  return q * (np.log(q) - np.log(1 - e)) + (1 - q) * (
    np.log(sigmoid(-beta * h)) - np.log(e)
  )


def nca_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return (
    -log_sigmoid(beta * rho_w)
    - 0.5 * log_sigmoid(-beta * rho_w)
    - 0.5 * log_sigmoid(-beta * rho_l)
  )


def bco_pair_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """Jung et al., 2024 (arXiv:2404.04656), for pairs and without a shift."""
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -log_sigmoid(beta * rho_w) - log_sigmoid(-beta * rho_l)


def aot_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """Melnyk et al., 2024 (arXiv:2406.05882), paired."""
  policy = policy_chosen - policy_rejected
  reference = held(reference_chosen) - held(reference_rejected)
  return -log_sigmoid(beta * (sort(policy) - sort(reference)))


def aot_unpaired_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -log_sigmoid(beta * (sort(rho_w) - sort(rho_l)))


def apo_zero_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return 1 - sigmoid(beta * rho_w) + sigmoid(beta * rho_l)


def apo_down_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return sigmoid(beta * rho_w) + 1 - sigmoid(beta * (rho_w - rho_l))


def discopop_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta,
  tau=0.05,
):
  """Lu et al., 2024: from the logistic to the exponential loss as z grows."""
  z = beta * margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  mixture = sigmoid(z / tau)
  return -log_sigmoid(z) * (1 - mixture) + np.exp(-z) * mixture


def f_dpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta,
  score,
):
  """Wang et al., 2023 (arXiv:2309.16240): f'(u), u = pi / ref, scores."""
  chosen = score(policy_chosen, held(reference_chosen))
  rejected = score(policy_rejected, held(reference_rejected))
  return -log_sigmoid(beta * (chosen - rejected))


def reverse_kl_score(policy_logprobs, reference_logprobs):
  """f(u) = u log u; its derivative but for the constant."""
  return policy_logprobs - reference_logprobs


def forward_kl_score(policy_logprobs, reference_logprobs):
  """f(u) = -log u, f'(u) = -1 / u."""
  return -exp(reference_logprobs - policy_logprobs)


def jensen_shannon_score(policy_logprobs, reference_logprobs):
  """f'(u) = log(2 u / (1 + u))."""
  rho = policy_logprobs - reference_logprobs
  return np.log(2) + rho - softplus(rho)


def alpha_divergence_score(policy_logprobs, reference_logprobs, *, alpha):
  """f'(u) = (1 - u^-alpha) / alpha."""
  rho = policy_logprobs - reference_logprobs
  return (1 - exp(-alpha * rho)) / alpha


def flex_dpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  *,
  beta_chosen,
  beta_rejected,
):
  """Yan et al., 2024 (arXiv:2406.07327): both strengths in one sigmoid."""
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -log_sigmoid(beta_chosen * rho_w - beta_rejected * rho_l)


def slic_loss(policy_chosen, policy_rejected, policy_target, *, delta, lam):
  """Zhao et al., 2023 (SLiC-HF)."""
  rank = maximum(delta - policy_chosen + policy_rejected, 0.0)
  return rank - lam * policy_target


def simpo_loss(policy_chosen, policy_rejected, *, beta, gamma):
  """Meng et al., 2024 (arXiv:2405.14734)."""
  return -log_sigmoid(beta * (policy_chosen - policy_rejected) - gamma)


def cpo_loss(policy_chosen, policy_rejected, *, beta, alpha):
  """Xu et al., 2024 (arXiv:2401.08417)."""
  z = beta * (policy_chosen - policy_rejected)
  return -log_sigmoid(z) + alpha * -policy_chosen


def orpo_loss(policy_chosen, policy_rejected, *, lam):
  """Hong et al., 2024 (arXiv:2403.07691)."""

  def log_odds(a):
    a = minimum(a, -1e-6)
    return a - np.log(1 - np.exp(a))

  odds = log_odds(policy_chosen) - log_odds(policy_rejected)
  return -policy_chosen - lam * log_sigmoid(odds)
