"""Inputs and coefficients of every entry of `vectors.json`."""

import functools

import draws
import numpy as np
from draws import PAIR, SIDES, B, Draw, K, T

BETAS = [{"beta": 0.1}, {"beta": 0.5}]
TAUS = [{"tau": 0.1}, {"tau": 0.5}]
SMOOTHED = [
  {"beta": 0.1, "label_smoothing": 0.1},
  {"beta": 0.5, "label_smoothing": 0.3},
]
CLIPS = [{"clip": 0.2}, {"clip": 0.1}]
RANGES = [
  {"clip_low": 0.2, "clip_high": 0.28},
  {"clip_low": 0.05, "clip_high": 0.1},
]
PSIS = [
  {"function": "identity"},
  {"function": "logit"},
  {"function": "clipped_logit", "limit": 1.5},
]
SCORES = [
  {"function": "reverse_kl_score"},
  {"function": "forward_kl_score"},
  {"function": "jensen_shannon_score"},
  {"function": "alpha_divergence_score", "alpha": 0.5},
]
WITHOUT_HEAD = {"function": "without", "name": "head"}
ONE = [{}]


# Function: how its inputs are drawn, and its settings.
CASES = {
  "dpo_loss": (draws.pair, [*BETAS, *SMOOTHED]),
  "robust_dpo_loss": (
    draws.pair,
    [*SMOOTHED, {"beta": 0.1, "label_smoothing": 0.0}],
  ),
  "ipo_loss": (draws.pair, TAUS),
  "psipo_loss": (
    draws.psipo,
    [{"psi": psi, "tau": tau} for psi in PSIS for tau in (0.1, 0.5)],
  ),
  "psipo_regression_loss": (draws.psipo_regression, TAUS),
  "identity": (lambda d: {"preferences": d.preferences(B)}, ONE),
  "logit": (lambda d: {"preferences": d.preferences(B)}, ONE),
  "clipped_logit": (
    lambda d: {"preferences": d.preferences(B)},
    [{"limit": 0.75}, {"limit": 2.0}],
  ),
  "hinge_loss": (draws.pair, BETAS),
  "exo_loss": (draws.pair, [*SMOOTHED, {"beta": 0.1, "label_smoothing": 1e-3}]),
  "nca_loss": (draws.pair, BETAS),
  "bco_pair_loss": (draws.pair, BETAS),
  "sppo_loss": (draws.sppo, [{"eta": 5.0}, {"eta": 1000.0}]),
  "aot_loss": (draws.pair, [*BETAS, {"beta": 0.01}]),
  "aot_unpaired_loss": (draws.pair, [*BETAS, {"beta": 0.01}]),
  "apo_zero_loss": (draws.pair, BETAS),
  "apo_down_loss": (draws.pair, BETAS),
  "discopop_loss": (draws.pair, [*BETAS, {"beta": 0.1, "tau": 0.5}]),
  "f_dpo_loss": (
    draws.pair,
    [{"beta": beta, "score": s} for s in SCORES for beta in (0.1, 0.5)],
  ),
  "reverse_kl_score": (draws.score, ONE),
  "forward_kl_score": (draws.score, ONE),
  "jensen_shannon_score": (draws.score, ONE),
  "alpha_divergence_score": (draws.score, [{"alpha": 0.5}, {"alpha": 0.9}]),
  "flex_dpo_loss": (
    draws.pair,
    [
      {"beta_chosen": 0.1, "beta_rejected": 0.08},
      {"beta_chosen": 0.5, "beta_rejected": 0.2},
      {"beta_chosen": 0.1, "beta_rejected": 0.0},
    ],
  ),
  "srpo_loss": (
    draws.srpo,
    [
      {"beta": 0.01, "alpha": 0.8},
      {"beta": 0.1, "alpha": 0.0},
      {"beta": 0.1, "alpha": 1.0},
    ],
  ),
  "inpo_loss": (
    draws.inpo,
    [
      {"eta": 0.0075, "tau": 0.0025},
      {"eta": 0.5, "tau": 0.1},
      {"eta": 0.1, "tau": 0.1},
    ],
  ),
  "dno_loss": (
    lambda d: d.against(SIDES, "previous") | d.rewards(SIDES),
    [{"eta": 0.1}, {"eta": 0.5}],
  ),
  "online_ipo_loss": (draws.online, TAUS),
  "ipo_md_loss": (draws.online, TAUS),
  "xpo_loss": (
    lambda d: draws.pair(d) | {"policy_reference_sample": d.sequence(B)},
    [{"beta": 0.1, "alpha": 1e-5}, {"beta": 0.5, "alpha": 0.1}],
  ),
  "ld_dpo_scores": (
    draws.ld_dpo,
    [{"alpha": 0.3}, {"alpha": 0.0}, {"alpha": 1.0}],
  ),
  "wpo_weights": (draws.wpo, [{}, {}]),
  "slic_loss": (
    lambda d: draws.responses(d, d.sequence) | {"policy_target": d.sequence(B)},
    [{"delta": 1.0, "lam": 0.1}, {"delta": 10.0, "lam": 1.0}],
  ),
  "simpo_loss": (
    lambda d: draws.responses(d, d.tokens),
    [{"beta": 2.5, "gamma": 1.375}, {"beta": 0.1, "gamma": 0.5}],
  ),
  "cpo_loss": (
    lambda d: draws.responses(d, d.sequence),
    [{"beta": 0.1, "alpha": 1.0}, {"beta": 0.05, "alpha": 0.0}],
  ),
  "orpo_loss": (
    lambda d: draws.responses(d, d.tokens),
    [{"lam": 0.1}, {"lam": 1.0}],
  ),
  "dro_policy_loss": (
    lambda d: d.trajectory(B) | {"rewards": d.normal(B), "values": d.normal(B)},
    [{"tau": 1.0}, {"tau": 0.25}],
  ),
  "dro_value_loss": (
    lambda d: d.trajectory(B) | {"rewards": d.normal(B), "values": d.normal(B)},
    [{"tau": 1.0}, {"tau": 0.25}],
  ),
  "dro_batch_variance_loss": (
    lambda d: d.trajectory(B) | {"rewards": d.normal(B)},
    [{"tau": 1.0}, {"tau": 0.25}],
  ),
  "kto_loss": (
    functools.partial(draws.kto, name="kl"),
    [
      *BETAS,
      {"beta": 0.1, "lambda_desirable": 1.0, "lambda_undesirable": 1.3},
      {"beta": 0.5, "lambda_desirable": 0.7, "lambda_undesirable": 1.0},
    ],
  ),
  "kto_kl": (
    lambda d: {
      f"{key}_mismatched": value
      for key, value in zip(
        ("policy", "reference"), d.trajectory(B).values(), strict=True
      )
    },
    [{}, {}, {}],
  ),
  "bco_unpaired_loss": (functools.partial(draws.kto, name="shift"), BETAS),
  "reinforce_loss": (
    lambda d: {"policy_logprobs": d.sequence(B), "advantages": d.normal(B)},
    ONE,
  ),
  "rloo_advantages": (lambda d: {"rewards": d.normal(3, K)}, ONE),
  "proximal_rloo_loss": (lambda d: draws.ppo(d, B), CLIPS),
  "ppo_policy_loss": (lambda d: draws.ppo(d, 3, T), CLIPS),
  "ppo_value_loss": (draws.ppo_value, CLIPS),
  "grpo_advantages": (
    lambda d: {"rewards": d.normal(3, K)},
    [{}, {"scale": "none"}, {"scale": "group", "epsilon": 0.1}],
  ),
  "grpo_loss": (
    draws.grpo,
    [
      RANGES[0] | {"beta": 0.0},
      RANGES[0] | {"beta": 0.04},
      RANGES[1] | {"beta": 1.0},
    ],
  ),
  "grpo_aggregate": (
    lambda d: {"token_losses": d.normal(B, T), "mask": d.mask(B, T)},
    [
      {"aggregation": "grpo"},
      {"aggregation": "bnpo"},
      {"aggregation": "dr_grpo", "max_length": 9},
      {"aggregation": "dapo"},
    ],
  ),
  "gspo_loss": (
    lambda d: draws.ppo(d, B),
    [*RANGES, {"clip_low": 3e-4, "clip_high": 4e-4}],
  ),
  "copg_loss": (
    lambda d: d.against(SIDES) | d.rewards(SIDES),
    [{"beta": 0.06}, {"beta": 0.5}],
  ),
  "copg_group_loss": (
    lambda d: d.trajectory(2, K) | {"rewards": d.normal(2, K)},
    [{"beta": 0.06}, {"beta": 0.5}],
  ),
  "nash_md_pg_loss": (
    lambda d: d.trajectory(B) | {"preferences": d.preferences(B)},
    [{"tau": 0.008}, {"tau": 0.1}],
  ),
  "nash_md_pg_one_token_loss": (
    lambda d: (
      d.two_policies("reference_logprobs", 0.5, B, T)
      | {"preferences": d.preferences(B)}
    ),
    [{"tau": 0.008}, {"tau": 0.1}],
  ),
  "jbond_reward": (draws.jbond_scores, ONE),
  "jbond_loss": (
    draws.jbond,
    [
      {"beta": 0.5, "gamma": 0.0},
      {"beta": 0.25, "gamma": 1.0},
      {"beta": 0.0, "gamma": 0.5},
    ],
  ),
  "cross_entropy_loss": (
    lambda d: {
      "token_logprobs": d.tokens(3, T),
      "token_entropies": d.uniform(0, 3, 3, T),
    },
    [{"entropy_weight": 0.1}, {"entropy_weight": 1.0}],
  ),
  "soft_q_rewards": (Draw.values, [{}, {"gamma": 0.9}]),
  "soft_q_loss": (
    Draw.values,
    [{"lam": 0.1}, {"lam": 1.0, "gamma": 0.9}, {"lam": 0.0}],
  ),
  "soft_q_mixed_loss": (
    lambda d: d.values() | {"is_expert": d.flags(B)},
    [{"lam": 0.1, "mix": 0.1}, {"lam": 1.0, "mix": 0.5, "gamma": 0.9}],
  ),
  "gail_discriminator_loss": (
    lambda d: {"logits": d.normal(B, scale=3.0), "is_expert": d.flags(B)},
    ONE,
  ),
  "gail_reward": (lambda d: {"logits": d.normal(B, scale=3.0)}, ONE),
  "bradley_terry_loss": (
    lambda d: {f"{s}_rewards": d.normal(B, scale=3.0) for s in PAIR},
    ONE,
  ),
  "preference_model_loss": (
    lambda d: {
      "logits": d.normal(B, scale=3.0),
      "preferences": d.preferences(B),
    },
    ONE,
  ),
  "rcfd_reward": (lambda d: draws.rcfd(d, B), ONE),
  "rcfd_composite_reward": (
    lambda d: draws.rcfd(d, B, 2),
    [{}, {"epsilon": 0.1}],
  ),
  "ema": (
    lambda d: {"average": d.tree(), "params": d.tree()},
    [{"decay": 0.995}, {"decay": 0.5}],
  ),
  "weight_average": (
    lambda d: {"trees": [d.tree() for _ in range(3)]},
    [{}, {"weights": [0.5, 0.25, 0.25]}],
  ),
  "interpolate_to_init": (
    lambda d: {"initial": d.tree(), "params": d.tree()},
    [{"eta": 0.3}, {"eta": 0.0}],
  ),
  "ema_warmup_decay": (lambda d: {"step": np.array(7)}, [{"decay": 0.995}]),
  "ema_cosine_decay": (
    lambda d: {"step": np.array(30)},
    [{"start": 0.9, "total_steps": 100}],
  ),
}


# More draws of functions that are in the table, with settings of their own.
MORE = [
  ("grpo_advantages", draws.equal_rewards, {}, False),
  # The paper does not say what the token mean of an empty response is.
  *(
    (
      "grpo_aggregate",
      lambda d: {
        "token_losses": d.normal(B, T),
        "mask": d.mask(B + 1, T)[1:],
      },
      {"aggregation": "grpo"},
      True,
    )
    for _ in range(2)
  ),
  (
    "cross_entropy_loss",
    lambda d: {"token_logprobs": d.tokens(3, T)},
    {},
    True,
  ),
  ("ema_warmup_decay", lambda d: {"step": np.array(900)}, {"decay": 0.9}, True),
  *(
    ("slerp_merge", functools.partial(draws.slerp, count=count), {}, False)
    for count in (2, 3)
  ),
  *(
    (
      "elastic_reset",
      functools.partial(draws.elastic_reset, step=step),
      {"decay": 0.9, "period": 3} | coefficients,
      False,
    )
    for step in (0, 2, 3, 6)
    for coefficients in ({}, {"applies": WITHOUT_HEAD})
  ),
]
