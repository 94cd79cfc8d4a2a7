"""Pairs and policy gradients of preference games."""

from reference.arithmetic import held, log_sigmoid, margin, ratios, sigmoid


def sppo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  chosen_preferences,
  rejected_preferences,
  *,
  eta,
):
  """Wu et al., 2024 (arXiv:2405.00675)."""
  rho_w, rho_l = ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  target_w = eta * (held(chosen_preferences) - 0.5)
  target_l = eta * (held(rejected_preferences) - 0.5)
  return (rho_w - target_w) ** 2 + (rho_l - target_l) ** 2


def srpo_loss(
  policy_chosen,
  policy_rejected,
  policy_chosen_given_rejected,
  policy_chosen_given_chosen,
  policy_rejected_given_rejected,
  policy_rejected_given_chosen,
  reference_chosen,
  reference_rejected,
  reference_chosen_given_rejected,
  reference_chosen_given_chosen,
  reference_rejected_given_rejected,
  reference_rejected_given_chosen,
  *,
  beta,
  alpha,
):
  """Choi et al., 2024 (arXiv:2406.01660), the sampled loss."""
  w = policy_chosen - held(reference_chosen)
  l = policy_rejected - held(reference_rejected)  # noqa: E741
  wl = policy_chosen_given_rejected - held(reference_chosen_given_rejected)
  ww = policy_chosen_given_chosen - held(reference_chosen_given_chosen)
  ll = policy_rejected_given_rejected - held(reference_rejected_given_rejected)
  lw = policy_rejected_given_chosen - held(reference_rejected_given_chosen)
  generator = (beta * (wl + w - lw - l) - 1) ** 2
  reviser = (0.5 - beta * (wl - ll)) ** 2 + (0.5 - beta * (ww - lw)) ** 2
  return (1 - alpha) * generator + alpha * reviser


def inpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  previous_chosen,
  previous_rejected,
  *,
  eta,
  tau,
):
  """Zhang et al., 2024 (arXiv:2407.00617)."""
  h = (
    (policy_chosen - policy_rejected)
    - tau / eta * (held(reference_chosen) - held(reference_rejected))
    - (eta - tau) / eta * (held(previous_chosen) - held(previous_rejected))
  )
  return (h - 1 / (2 * eta)) ** 2


def dno_loss(
  policy_first,
  policy_second,
  previous_first,
  previous_second,
  rewards_first,
  rewards_second,
  *,
  eta,
):
  """Rosset et al., 2024 (arXiv:2404.03715)."""
  rho_1, rho_2 = ratios(
    policy_first, policy_second, previous_first, previous_second
  )
  z = eta * (rho_1 - rho_2)
  gap = held(rewards_first) - held(rewards_second)
  return -sigmoid(gap) * log_sigmoid(z) - sigmoid(-gap) * log_sigmoid(-z)


def online_ipo_loss(
  policy_first,
  policy_second,
  reference_first,
  reference_second,
  preferences,
  *,
  tau,
):
  """Calandriello et al., 2024 (arXiv:2403.08635), with soft labels."""
  h = margin(policy_first, policy_second, reference_first, reference_second)
  p, target = held(preferences), 1 / (2 * tau)
  return p * (h - target) ** 2 + (1 - p) * (-h - target) ** 2


ipo_md_loss = online_ipo_loss


def xpo_loss(
  policy_chosen,
  policy_rejected,
  reference_chosen,
  reference_rejected,
  policy_reference_sample,
  *,
  beta,
  alpha,
):
  """Xie et al., 2024 (arXiv:2405.21046): DPO and log pi of a ref sample."""
  h = margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -log_sigmoid(beta * h) + alpha * policy_reference_sample


def nash_md_pg_loss(policy_logprobs, reference_logprobs, preferences, *, tau):
  """Munos et al., 2023 (arXiv:2312.00886); the bracket has no gradient."""
  rho = policy_logprobs - reference_logprobs
  return -held(preferences - 0.5 - tau * rho) * policy_logprobs


def nash_md_pg_one_token_loss(
  policy_logprobs, reference_logprobs, preferences, *, tau
):
  """What TRL does: a token is charged with its own log-ratio only."""
  rho = policy_logprobs - reference_logprobs
  score = held(preferences)[..., None] - 0.5
  return -score * policy_logprobs + tau * held(rho) * policy_logprobs
