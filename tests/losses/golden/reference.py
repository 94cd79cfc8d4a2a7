"""Every function of `alignment_jax.losses` again: NumPy, from the papers.

Written without sight of the JAX code. The names and arguments are the same,
the formulas are those of the papers, and nothing here is clever: a number is
float64 and a sum is a sum.

Gradients are complex steps, `f(x + i h).imag / h`: exact to the last digits,
and no derivative is written down that could be wrong. What a loss holds
constant passes through `held`, which drops the imaginary part. So every
function has to be analytic where it is differentiated: no absolute value, and
comparisons look at the real part.
"""

import numpy as np

STEP = 1e-30


def gradients(function, inputs, coefficients, names):
  """Of sum_i (i + 1) output_i by each named input.

  The weights 1, 2, 3, ... tell the outputs apart: in a plain sum, a mistake in
  one unit can hide behind another, and advantages add up to nothing at all.
  """
  result = {}
  for name in names:
    gradient = np.zeros_like(inputs[name])
    for index in np.ndindex(gradient.shape):
      moved = inputs[name].astype(np.complex128)
      moved[index] += 1j * STEP
      output = np.ravel(function(**inputs | {name: moved}, **coefficients))
      weights = np.arange(1.0, output.size + 1)
      gradient[index] = np.sum(weights * np.imag(output)) / STEP
    result[name] = gradient
  return result


def held(x):
  """The same numbers, without the step: nothing depends on them any more."""
  return np.real(x)


def _maximum(a, b):
  return np.where(np.real(a) >= np.real(b), a, b)


def _minimum(a, b):
  return np.where(np.real(a) <= np.real(b), a, b)


def _clip(x, low, high):
  return _minimum(_maximum(x, low), high)


def _sort(x):
  flat = np.ravel(x)
  return flat[np.argsort(np.real(flat))].reshape(np.shape(x))


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _softplus(x):
  sign = np.where(np.real(x) >= 0, 1, -1)
  return _maximum(x, 0) + np.log1p(np.exp(-sign * x))


def _log_sigmoid(x):
  return -_softplus(-x)


def _ratios(chosen, rejected, reference_chosen, reference_rejected):
  """rho of either response; the reference is held constant."""
  return chosen - held(reference_chosen), rejected - held(reference_rejected)


def _margin(*pair):
  """h = rho_w - rho_l."""
  rho_w, rho_l = _ratios(*pair)
  return rho_w - rho_l


# Pairs with a reference.


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
  z = beta * _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e = label_smoothing
  return -(1 - e) * _log_sigmoid(z) - e * _log_sigmoid(-z)


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
  z = beta * _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e = label_smoothing
  return (-(1 - e) * _log_sigmoid(z) + e * _log_sigmoid(-z)) / (1 - 2 * e)


def ipo_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, tau
):
  """Azar et al., 2023 (arXiv:2310.12036, v2), eq. 17."""
  h = _margin(
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
  h = _margin(
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
  h = _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return (h - (held(chosen_scores) - held(rejected_scores)) / tau) ** 2


def identity(preferences):
  return preferences


def logit(preferences):
  return np.log(preferences / (1 - preferences))


def clipped_logit(preferences, *, limit):
  return _clip(logit(preferences), -limit, limit)


def hinge_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """max(0, 1 - z), SLiC in the unified family of Richemond et al., 2024."""
  h = _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return _maximum(1 - beta * h, 0.0)


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
  h = _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  e, q = label_smoothing, _sigmoid(beta * h)
  return q * (np.log(q) - np.log(1 - e)) + (1 - q) * (
    np.log(_sigmoid(-beta * h)) - np.log(e)
  )


def nca_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return (
    -_log_sigmoid(beta * rho_w)
    - 0.5 * _log_sigmoid(-beta * rho_w)
    - 0.5 * _log_sigmoid(-beta * rho_l)
  )


def bco_pair_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """Jung et al., 2024 (arXiv:2404.04656), for pairs and without a shift."""
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -_log_sigmoid(beta * rho_w) - _log_sigmoid(-beta * rho_l)


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
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  target_w = eta * (held(chosen_preferences) - 0.5)
  target_l = eta * (held(rejected_preferences) - 0.5)
  return (rho_w - target_w) ** 2 + (rho_l - target_l) ** 2


def aot_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  """Melnyk et al., 2024 (arXiv:2406.05882), paired."""
  policy = policy_chosen - policy_rejected
  reference = held(reference_chosen) - held(reference_rejected)
  return -_log_sigmoid(beta * (_sort(policy) - _sort(reference)))


def aot_unpaired_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -_log_sigmoid(beta * (_sort(rho_w) - _sort(rho_l)))


def apo_zero_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return 1 - _sigmoid(beta * rho_w) + _sigmoid(beta * rho_l)


def apo_down_loss(
  policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, beta
):
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return _sigmoid(beta * rho_w) + 1 - _sigmoid(beta * (rho_w - rho_l))


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
  z = beta * _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  mixture = _sigmoid(z / tau)
  return -_log_sigmoid(z) * (1 - mixture) + np.exp(-z) * mixture


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
  return -_log_sigmoid(beta * (chosen - rejected))


def _exp(x):
  """No larger than the library lets it be."""
  return np.exp(_minimum(x, 60.0))


def reverse_kl_score(policy_logprobs, reference_logprobs):
  """f(u) = u log u; its derivative but for the constant."""
  return policy_logprobs - reference_logprobs


def forward_kl_score(policy_logprobs, reference_logprobs):
  """f(u) = -log u, f'(u) = -1 / u."""
  return -_exp(reference_logprobs - policy_logprobs)


def jensen_shannon_score(policy_logprobs, reference_logprobs):
  """f'(u) = log(2 u / (1 + u))."""
  rho = policy_logprobs - reference_logprobs
  return np.log(2) + rho - _softplus(rho)


def alpha_divergence_score(policy_logprobs, reference_logprobs, *, alpha):
  """f'(u) = (1 - u^-alpha) / alpha."""
  rho = policy_logprobs - reference_logprobs
  return (1 - _exp(-alpha * rho)) / alpha


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
  rho_w, rho_l = _ratios(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -_log_sigmoid(beta_chosen * rho_w - beta_rejected * rho_l)


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
  rho_1, rho_2 = _ratios(
    policy_first, policy_second, previous_first, previous_second
  )
  z = eta * (rho_1 - rho_2)
  gap = held(rewards_first) - held(rewards_second)
  return -_sigmoid(gap) * _log_sigmoid(z) - _sigmoid(-gap) * _log_sigmoid(-z)


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
  h = _margin(policy_first, policy_second, reference_first, reference_second)
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
  h = _margin(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return -_log_sigmoid(beta * h) + alpha * policy_reference_sample


def ld_dpo_scores(token_logprobs, mask, common_lengths, *, alpha):
  """Liu et al., 2024: what exceeds the shorter response counts by alpha."""
  ordinal = np.cumsum(mask, axis=-1) - 1
  weights = np.where(ordinal < common_lengths[..., None], 1.0, alpha)
  return np.sum(np.where(mask, weights * token_logprobs, 0), axis=-1)


def wpo_weights(
  chosen_logprobs,
  chosen_log_collisions,
  chosen_mask,
  rejected_logprobs,
  rejected_log_collisions,
  rejected_mask,
):
  """Zhou et al., 2024: token probabilities over their expectation."""
  chosen = _masked_mean(chosen_logprobs - chosen_log_collisions, chosen_mask)
  rejected = _masked_mean(
    rejected_logprobs - rejected_log_collisions, rejected_mask
  )
  return held(_minimum(np.exp(chosen + rejected), 1.0))


def _masked_mean(x, mask):
  """0 where nothing is real."""
  count = np.sum(mask, axis=-1)
  return np.sum(np.where(mask, x, 0), axis=-1) / np.maximum(count, 1)


# Pairs without a reference.


def slic_loss(policy_chosen, policy_rejected, policy_target, *, delta, lam):
  """Zhao et al., 2023 (SLiC-HF)."""
  rank = _maximum(delta - policy_chosen + policy_rejected, 0.0)
  return rank - lam * policy_target


def simpo_loss(policy_chosen, policy_rejected, *, beta, gamma):
  """Meng et al., 2024 (arXiv:2405.14734)."""
  return -_log_sigmoid(beta * (policy_chosen - policy_rejected) - gamma)


def cpo_loss(policy_chosen, policy_rejected, *, beta, alpha):
  """Xu et al., 2024 (arXiv:2401.08417)."""
  z = beta * (policy_chosen - policy_rejected)
  return -_log_sigmoid(z) + alpha * -policy_chosen


def orpo_loss(policy_chosen, policy_rejected, *, lam):
  """Hong et al., 2024 (arXiv:2403.07691)."""

  def log_odds(a):
    a = _minimum(a, -1e-6)
    return a - np.log(1 - np.exp(a))

  odds = log_odds(policy_chosen) - log_odds(policy_rejected)
  return -policy_chosen - lam * _log_sigmoid(odds)


# Single trajectories.


def _dro_residual(policy_logprobs, reference_logprobs, rewards, values, tau):
  return rewards - values - tau * (policy_logprobs - reference_logprobs)


def dro_policy_loss(
  policy_logprobs, reference_logprobs, rewards, values, *, tau
):
  """Richemond et al., 2024 (arXiv:2405.19107): 1/2 delta^2, over tau."""
  delta = _dro_residual(
    policy_logprobs,
    held(reference_logprobs),
    held(rewards),
    held(values),
    tau,
  )
  return delta**2 / (2 * tau)


def dro_value_loss(
  policy_logprobs, reference_logprobs, rewards, values, *, tau
):
  delta = _dro_residual(
    held(policy_logprobs),
    held(reference_logprobs),
    held(rewards),
    values,
    tau,
  )
  return delta**2 / 2


def dro_batch_variance_loss(
  policy_logprobs, reference_logprobs, rewards, *, tau
):
  """Appendix B there: 1/2 Var(r - tau rho), over the batch."""
  d = held(rewards) - tau * (policy_logprobs - held(reference_logprobs))
  return (d - np.mean(d)) ** 2 / 2


def kto_loss(
  policy_logprobs,
  reference_logprobs,
  desirable,
  kl,
  *,
  beta,
  lambda_desirable=1.0,
  lambda_undesirable=1.0,
):
  """Ethayarajh et al., 2024: lambda - v; the reference point is held."""
  rho, kl = policy_logprobs - held(reference_logprobs), held(kl)
  return np.where(
    desirable,
    lambda_desirable - lambda_desirable * _sigmoid(beta * (rho - kl)),
    lambda_undesirable - lambda_undesirable * _sigmoid(beta * (kl - rho)),
  )


def kto_kl(policy_mismatched, reference_mismatched):
  return held(_maximum(np.mean(policy_mismatched - reference_mismatched), 0.0))


def bco_unpaired_loss(
  policy_logprobs, reference_logprobs, desirable, shift, *, beta
):
  """Jung et al., 2024 (arXiv:2404.04656)."""
  reward = beta * (policy_logprobs - held(reference_logprobs))
  return np.where(
    desirable,
    -_log_sigmoid(reward - held(shift)),
    -_log_sigmoid(-(reward - held(shift))),
  )


# Policy updates.


def reinforce_loss(policy_logprobs, advantages):
  return -held(advantages) * policy_logprobs


def rloo_advantages(rewards):
  """Ahmadian et al., 2024: minus the mean of the other samples."""
  K = rewards.shape[-1]
  others = [np.delete(rewards, i, axis=-1).mean(axis=-1) for i in range(K)]
  return rewards - np.stack(others, axis=-1)


def ppo_policy_loss(policy_logprobs, old_logprobs, advantages, *, clip):
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)
  return _maximum(-A * ratio, -A * _clip(ratio, 1 - clip, 1 + clip))


# The same function of one ratio per sequence (Noukhovitch et al., 2024).
proximal_rloo_loss = ppo_policy_loss


def ppo_value_loss(values, old_values, returns, *, clip):
  old, returns = held(old_values), held(returns)
  clipped = old + _clip(values - old, -clip, clip)
  return _maximum((values - returns) ** 2, (clipped - returns) ** 2) / 2


def grpo_advantages(rewards, *, scale="group", epsilon=1e-4):
  """Shao et al., 2024; Liu et al., 2025 (Dr. GRPO) do not scale."""
  centered = rewards - rewards.mean(axis=-1, keepdims=True)
  if scale == "none":
    return centered
  variance = np.sum(centered**2, axis=-1, keepdims=True)
  return centered / (np.sqrt(variance / (rewards.shape[-1] - 1)) + epsilon)


def grpo_loss(
  policy_logprobs,
  old_logprobs,
  reference_logprobs,
  advantages,
  *,
  clip_low,
  clip_high,
  beta,
):
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)[..., None]
  surrogate = _minimum(ratio * A, _clip(ratio, 1 - clip_low, 1 + clip_high) * A)
  d = held(reference_logprobs) - policy_logprobs
  return -surrogate + beta * (np.exp(d) - d - 1)


def grpo_aggregate(token_losses, mask, *, aggregation, max_length=None):
  """The mean, divided; a response without a token counts as none."""
  total = np.sum(np.where(mask, token_losses, 0))
  real = np.any(mask, axis=-1)
  if aggregation == "grpo":
    return np.sum(_masked_mean(token_losses, mask)) / np.sum(real)
  if aggregation == "dr_grpo":
    return total / (np.sum(real) * max_length)
  return total / np.sum(mask)


def gspo_loss(
  policy_logprobs, old_logprobs, advantages, *, clip_low, clip_high
):
  """Zheng et al., 2025 (arXiv:2507.18071); the inputs are token means."""
  ratio = np.exp(policy_logprobs - held(old_logprobs))
  A = held(advantages)
  return -_minimum(ratio * A, _clip(ratio, 1 - clip_low, 1 + clip_high) * A)


def copg_loss(
  policy_first,
  policy_second,
  reference_first,
  reference_second,
  rewards_first,
  rewards_second,
  *,
  beta,
):
  """Flet-Berliac et al., 2024 (arXiv:2406.19185), eq. 7, negated."""
  rho_1, rho_2 = _ratios(
    policy_first, policy_second, reference_first, reference_second
  )
  first = held(rewards_first) - beta / 2 * rho_1
  second = held(rewards_second) - beta / 2 * rho_2
  return -((first - second) * rho_1 + (second - first) * rho_2)


def copg_group_loss(policy_logprobs, reference_logprobs, rewards, *, beta):
  K = rewards.shape[-1]
  total = 0
  for j in range(K):
    for i in range(j):
      total = total + copg_loss(
        policy_logprobs[..., i],
        policy_logprobs[..., j],
        reference_logprobs[..., i],
        reference_logprobs[..., j],
        rewards[..., i],
        rewards[..., j],
        beta=beta,
      )
  return total / (K - 1)


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


def jbond_reward(scores, anchor_scores):
  """Sessa et al., 2024 (arXiv:2407.14622)."""
  worse = np.real(scores) < np.real(anchor_scores).min(axis=-1)
  return np.where(worse, -np.log(16), 0.0)


def jbond_loss(
  policy_logprobs,
  anchor_logprobs,
  policy_best_anchor,
  rewards,
  baselines,
  *,
  beta,
  gamma,
):
  """Forward part on the better anchor, backward part, KL to the anchor."""
  rho = policy_logprobs - anchor_logprobs
  backward = -held(rewards - rho - baselines) * policy_logprobs
  kl = held(rho) * policy_logprobs
  return -(1 - beta) * policy_best_anchor + beta * backward + gamma * kl


# Imitation.


def cross_entropy_loss(
  token_logprobs, token_entropies=None, *, entropy_weight=0.0
):
  if token_entropies is None:
    return -token_logprobs
  return -token_logprobs - entropy_weight * token_entropies


def soft_q_rewards(chosen_q, values, mask, terminal, *, gamma=1.0):
  """Wulfmeier et al., 2024 (arXiv:2409.01369): inverse Bellman, per row."""
  shape = np.shape(chosen_q)
  T = shape[-1]
  rows = [np.reshape(x, (-1, T)) for x in (chosen_q, values, mask)]
  ends = np.ravel(terminal)
  result = np.zeros((len(ends), T), np.result_type(chosen_q, values))
  for b, (q, v, real, end) in enumerate(zip(*rows, ends, strict=True)):
    length = int(np.sum(real))
    for t in range(length):
      if t + 1 < length:
        result[b, t] = q[t] - gamma * v[t + 1]
      elif end:
        result[b, t] = q[t]
  return result.reshape(shape)


def soft_q_loss(chosen_q, values, mask, terminal, *, lam, gamma=1.0):
  """Eq. 14 there: the squared TD error and the likelihood."""
  td = soft_q_rewards(chosen_q, values, mask, terminal, gamma=gamma)
  return np.where(mask, lam * td**2 - (chosen_q - values), 0)


def soft_q_mixed_loss(
  chosen_q, values, mask, terminal, is_expert, *, lam, mix, gamma=1.0
):
  """The TD term is a mixture of both sources, the likelihood the expert's."""
  td = soft_q_rewards(chosen_q, values, mask, terminal, gamma=gamma)
  expert = lam * (1 - mix) * td**2 - (chosen_q - values)
  own = lam * mix * td**2
  return np.where(mask, np.where(is_expert[..., None], expert, own), 0)


def gail_discriminator_loss(logits, is_expert):
  return -_log_sigmoid(np.where(is_expert, logits, -logits))


def gail_reward(logits):
  return -np.log(1 - _sigmoid(logits))


# Reward and preference models.


def bradley_terry_loss(chosen_rewards, rejected_rewards):
  return -_log_sigmoid(chosen_rewards - rejected_rewards)


def preference_model_loss(logits, preferences):
  p = held(preferences)
  return -p * _log_sigmoid(logits) - (1 - p) * _log_sigmoid(-logits)


def rcfd_reward(rewards, demonstration_rewards):
  """Rita et al., 2024 (arXiv:2404.19409)."""
  return -((rewards - demonstration_rewards) ** 2)


def rcfd_composite_reward(rewards, demonstration_rewards, *, epsilon=1e-8):
  calibrated = rcfd_reward(rewards, demonstration_rewards)
  centered = calibrated - calibrated.mean(axis=0)
  variance = np.mean(centered**2, axis=0)
  return np.sum(_sigmoid(centered / np.sqrt(variance + epsilon)), axis=-1)


# Weight space: a tree is a dictionary of arrays.


def _map(function, *trees):
  return {name: function(*(tree[name] for tree in trees)) for name in trees[0]}


def ema(average, params, *, decay):
  return _map(lambda a, p: decay * a + (1 - decay) * p, average, params)


def elastic_reset(
  params,
  average,
  initial,
  step,
  *,
  decay,
  period,
  applies=lambda path: True,
):
  """Noukhovitch et al., 2023 (arXiv:2312.07551); the order is theirs."""
  average = {
    name: decay * average[name] + (1 - decay) * params[name]
    if applies(name)
    else average[name]
    for name in average
  }
  if step > 0 and step % period == 0:
    params = {
      name: average[name] if applies(name) else params[name] for name in params
    }
    average = {
      name: initial[name] if applies(name) else average[name]
      for name in average
    }
  return params, average


def weight_average(trees, weights=None):
  """Rame et al., 2024 (WARM, arXiv:2401.12187)."""
  if weights is None:
    weights = np.ones(len(trees)) / len(trees)
  return _map(
    lambda *leaves: sum(w * x for w, x in zip(weights, leaves, strict=True)),
    *trees,
  )


def slerp_merge(initial, trees, *, epsilon=1e-6):
  """Rame et al., 2024 (WARP, arXiv:2406.16768), per leaf."""

  def slerp(first, second, lam):
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    cosine = np.sum(first * second) / norms if norms > 0 else 1.0
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < epsilon:
      return (1 - lam) * first + lam * second
    return (
      np.sin((1 - lam) * angle) * first + np.sin(lam * angle) * second
    ) / np.sin(angle)

  def merge(start, *leaves):
    merged = leaves[0] - start
    for m, leaf in enumerate(leaves[1:], start=2):
      merged = slerp(merged, leaf - start, 1 / m)
    return start + merged

  return _map(merge, initial, *trees)


def interpolate_to_init(initial, params, *, eta):
  return _map(lambda i, p: (1 - eta) * i + eta * p, initial, params)


def ema_warmup_decay(step, *, decay):
  return np.minimum(decay, (1 + step) / (10 + step))


def ema_cosine_decay(step, *, start, total_steps):
  return 1 - (1 - start) * (1 + np.cos(np.pi * step / total_steps)) / 2
