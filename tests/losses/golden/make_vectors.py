"""Draws inputs, evaluates the reference in float64, writes `vectors.json`.

  python tests/losses/golden/make_vectors.py

An entry holds the name of the function, its coefficients, its inputs by name,
the value and `gradients`: for every floating-point input the gradient of
sum_i (i + 1) value_i, zeros where it is held constant. Numbers have 12 digits.

Inputs are multiples of 1 / 64, which float32 holds and subtracts exactly: what
a comparison in float32 then sees is the rounding of the loss and not of its
inputs. Sequence log-probabilities lie between -80 and -20, log-ratios are a few
nats, token means and tokens lie between -4 and 0.
"""

import functools
import json
import zlib
from pathlib import Path

import numpy as np
import reference

PATH = Path(__file__).with_name("vectors.json")
B, K, T = 6, 4, 7
PAIR = ("chosen", "rejected")
SIDES = ("first", "second")


def _grid(x):
  return np.round(np.asarray(x, np.float64) * 64) / 64


class Draw:
  """Random inputs; the seed is the name of the function and its number."""

  def __init__(self, *seed):
    self.random = np.random.default_rng([zlib.crc32(seed[0].encode()), seed[1]])

  def normal(self, *shape, scale=1.0, mean=0.0):
    return _grid(self.random.normal(mean, scale, shape))

  def uniform(self, low, high, *shape):
    return _grid(self.random.uniform(low, high, shape))

  def flags(self, *shape):
    """Both values occur."""
    flags = self.random.random(shape) < 0.5
    flags.flat[:2] = True, False
    return flags

  def sequence(self, *shape):
    return self.uniform(-80, -20, *shape)

  def tokens(self, *shape):
    return self.uniform(-4, -1 / 64, *shape)

  def near(self, x, scale=3.0):
    """Log-probabilities some nats from `x`."""
    return x + self.normal(*x.shape, scale=scale)

  def mask(self, rows, width):
    """Padded on the right: one row is empty, one is full."""
    lengths = self.random.integers(1, width + 1, rows)
    lengths[:2] = 0, width
    return np.arange(width) < lengths[:, None]

  def against(self, sides=PAIR, other="reference", shape=(B,)):
    """Two responses under the policy, then under the other one."""
    policy = {f"policy_{side}": self.sequence(*shape) for side in sides}
    return policy | {
      f"{other}_{side}": self.near(policy[f"policy_{side}"]) for side in sides
    }

  def trajectory(self, *shape):
    policy = self.sequence(*shape)
    return {"policy_logprobs": policy, "reference_logprobs": self.near(policy)}

  def rewards(self, sides):
    return {f"rewards_{side}": self.normal(B) for side in sides}

  def preferences(self, *shape):
    return self.uniform(2 / 64, 62 / 64, *shape)

  def two_policies(self, name, near, *shape):
    policy = self.tokens(*shape) - 2
    return {"policy_logprobs": policy, name: self.near(policy, near)}

  def values(self):
    """Soft Q-values of the chosen tokens and the values above them."""
    chosen_q = self.normal(B, T, scale=2.0)
    mask, terminal = self.mask(B, T), self.flags(B)
    # A full row that is cut, and one that ends.
    mask[1:3], terminal[1:3] = True, (False, True)
    return {
      "chosen_q": chosen_q,
      "values": chosen_q + self.uniform(1 / 64, 4, B, T),
      "mask": mask,
      "terminal": terminal,
    }

  def tree(self):
    return {"head": self.normal(3), "kernel": self.normal(2, 3)}


def _pair(d):
  return d.against()


def _psipo(d):
  return _pair(d) | {"preferences": d.preferences(B)}


def _psipo_regression(d):
  scores = {f"{side}_scores": d.preferences(B) for side in PAIR}
  return _pair(d) | scores


def _sppo(d):
  preferences = {f"{side}_preferences": d.preferences(B) for side in PAIR}
  return _pair(d) | preferences


def _srpo(d):
  sides = [*PAIR]
  for response in PAIR:
    sides += [f"{response}_given_{shown}" for shown in ("rejected", "chosen")]
  return d.against(sides)


def _inpo(d):
  inputs = _pair(d)
  return inputs | {
    f"previous_{side}": d.near(inputs[f"policy_{side}"], 2.0) for side in PAIR
  }


def _online(d):
  return d.against(SIDES) | {"preferences": d.preferences(B)}


def _score(d):
  inputs = d.trajectory(B)
  # So unlikely under the policy that exp(-rho) stops growing.
  inputs["reference_logprobs"][0] = inputs["policy_logprobs"][0] + 70
  return inputs


def _ld_dpo(d):
  mask = d.mask(B, T)
  mask[-1] = np.arange(T) >= 2  # padded on the left
  lengths = d.random.integers(0, mask.sum(axis=-1) + 1)
  lengths[-1] = 3
  return {
    "token_logprobs": d.tokens(B, T),
    "mask": mask,
    "common_lengths": lengths,
  }


def _wpo(d):
  inputs = {}
  for side, width in zip(PAIR, (T, T + 2), strict=True):
    logprobs = d.tokens(B, width)
    inputs |= {
      f"{side}_logprobs": logprobs,
      f"{side}_log_collisions": np.minimum(d.near(logprobs + 0.5, 1.0), 0),
      f"{side}_mask": d.mask(B, width),
    }
  return inputs


def _responses(d, draw):
  return {f"policy_{side}": draw(B) for side in PAIR}


def _kto(d, name):
  center = {"kl": abs(d.normal()), "shift": d.normal(scale=0.5)}[name]
  return d.trajectory(B) | {"desirable": d.flags(B), name: center}


def _ppo(d, *shape):
  inputs = d.two_policies("old_logprobs", 0.25, *shape)
  return inputs | {"advantages": d.normal(*shape)}


def _ppo_value(d):
  old = d.normal(B, T)
  return {
    "values": d.near(old, 0.3),
    "old_values": old,
    "returns": d.near(old, 1.0),
  }


def _equal_rewards(d):
  return {"rewards": np.repeat(d.normal(2, 1), K, axis=1)}


def _grpo(d):
  inputs = d.two_policies("old_logprobs", 0.25, B, T)
  return inputs | {
    "reference_logprobs": d.near(inputs["policy_logprobs"], 0.5),
    "advantages": d.normal(B),
  }


def _rcfd(d, *shape):
  return {
    "rewards": d.normal(*shape),
    "demonstration_rewards": d.normal(*shape),
  }


def _jbond(d):
  inputs = {"policy_logprobs": d.sequence(B)}
  return inputs | {
    "anchor_logprobs": d.near(inputs["policy_logprobs"]),
    "policy_best_anchor": d.sequence(B),
    "rewards": d.normal(B),
    "baselines": d.normal(B),
  }


def _jbond_scores(d):
  anchors = d.normal(B, K)
  scores = d.normal(B) - 1
  scores[0] = anchors[0].min()  # as good as the worst, so not below it
  scores[1] = anchors[1].min() - 1
  return {"scores": scores, "anchor_scores": anchors}


def _elastic_reset(d, step):
  trees = {name: d.tree() for name in ("params", "average", "initial")}
  return trees | {"step": np.array(step)}


def _slerp(d, count):
  initial = d.tree()
  trees = [d.tree() for _ in range(count)]
  trees[1]["head"] = trees[0]["head"]  # no angle between the two
  return {"initial": initial, "trees": trees}


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
  "dpo_loss": (_pair, [*BETAS, *SMOOTHED]),
  "robust_dpo_loss": (
    _pair,
    [*SMOOTHED, {"beta": 0.1, "label_smoothing": 0.0}],
  ),
  "ipo_loss": (_pair, TAUS),
  "psipo_loss": (
    _psipo,
    [{"psi": psi, "tau": tau} for psi in PSIS for tau in (0.1, 0.5)],
  ),
  "psipo_regression_loss": (_psipo_regression, TAUS),
  "identity": (lambda d: {"preferences": d.preferences(B)}, ONE),
  "logit": (lambda d: {"preferences": d.preferences(B)}, ONE),
  "clipped_logit": (
    lambda d: {"preferences": d.preferences(B)},
    [{"limit": 0.75}, {"limit": 2.0}],
  ),
  "hinge_loss": (_pair, BETAS),
  "exo_loss": (_pair, [*SMOOTHED, {"beta": 0.1, "label_smoothing": 1e-3}]),
  "nca_loss": (_pair, BETAS),
  "bco_pair_loss": (_pair, BETAS),
  "sppo_loss": (_sppo, [{"eta": 5.0}, {"eta": 1000.0}]),
  "aot_loss": (_pair, [*BETAS, {"beta": 0.01}]),
  "aot_unpaired_loss": (_pair, [*BETAS, {"beta": 0.01}]),
  "apo_zero_loss": (_pair, BETAS),
  "apo_down_loss": (_pair, BETAS),
  "discopop_loss": (_pair, [*BETAS, {"beta": 0.1, "tau": 0.5}]),
  "f_dpo_loss": (
    _pair,
    [{"beta": beta, "score": s} for s in SCORES for beta in (0.1, 0.5)],
  ),
  "reverse_kl_score": (_score, ONE),
  "forward_kl_score": (_score, ONE),
  "jensen_shannon_score": (_score, ONE),
  "alpha_divergence_score": (_score, [{"alpha": 0.5}, {"alpha": 0.9}]),
  "flex_dpo_loss": (
    _pair,
    [
      {"beta_chosen": 0.1, "beta_rejected": 0.08},
      {"beta_chosen": 0.5, "beta_rejected": 0.2},
      {"beta_chosen": 0.1, "beta_rejected": 0.0},
    ],
  ),
  "srpo_loss": (
    _srpo,
    [
      {"beta": 0.01, "alpha": 0.8},
      {"beta": 0.1, "alpha": 0.0},
      {"beta": 0.1, "alpha": 1.0},
    ],
  ),
  "inpo_loss": (
    _inpo,
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
  "online_ipo_loss": (_online, TAUS),
  "ipo_md_loss": (_online, TAUS),
  "xpo_loss": (
    lambda d: _pair(d) | {"policy_reference_sample": d.sequence(B)},
    [{"beta": 0.1, "alpha": 1e-5}, {"beta": 0.5, "alpha": 0.1}],
  ),
  "ld_dpo_scores": (_ld_dpo, [{"alpha": 0.3}, {"alpha": 0.0}, {"alpha": 1.0}]),
  "wpo_weights": (_wpo, [{}, {}]),
  "slic_loss": (
    lambda d: _responses(d, d.sequence) | {"policy_target": d.sequence(B)},
    [{"delta": 1.0, "lam": 0.1}, {"delta": 10.0, "lam": 1.0}],
  ),
  "simpo_loss": (
    lambda d: _responses(d, d.tokens),
    [{"beta": 2.5, "gamma": 1.375}, {"beta": 0.1, "gamma": 0.5}],
  ),
  "cpo_loss": (
    lambda d: _responses(d, d.sequence),
    [{"beta": 0.1, "alpha": 1.0}, {"beta": 0.05, "alpha": 0.0}],
  ),
  "orpo_loss": (
    lambda d: _responses(d, d.tokens),
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
    functools.partial(_kto, name="kl"),
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
  "bco_unpaired_loss": (functools.partial(_kto, name="shift"), BETAS),
  "reinforce_loss": (
    lambda d: {"policy_logprobs": d.sequence(B), "advantages": d.normal(B)},
    ONE,
  ),
  "rloo_advantages": (lambda d: {"rewards": d.normal(3, K)}, ONE),
  "proximal_rloo_loss": (lambda d: _ppo(d, B), CLIPS),
  "ppo_policy_loss": (lambda d: _ppo(d, 3, T), CLIPS),
  "ppo_value_loss": (_ppo_value, CLIPS),
  "grpo_advantages": (
    lambda d: {"rewards": d.normal(3, K)},
    [{}, {"scale": "none"}, {"scale": "group", "epsilon": 0.1}],
  ),
  "grpo_loss": (
    _grpo,
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
    lambda d: _ppo(d, B),
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
  "jbond_reward": (_jbond_scores, ONE),
  "jbond_loss": (
    _jbond,
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
  "rcfd_reward": (lambda d: _rcfd(d, B), ONE),
  "rcfd_composite_reward": (
    lambda d: _rcfd(d, B, 2),
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
  ("grpo_advantages", _equal_rewards, {}, False),
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
    ("slerp_merge", functools.partial(_slerp, count=count), {}, False)
    for count in (2, 3)
  ),
  *(
    (
      "elastic_reset",
      functools.partial(_elastic_reset, step=step),
      {"decay": 0.9, "period": 3} | coefficients,
      False,
    )
    for step in (0, 2, 3, 6)
    for coefficients in ({}, {"applies": WITHOUT_HEAD})
  ),
]


def resolve(coefficient, module):
  """A coefficient that is a function is written as its name and arguments."""
  if not isinstance(coefficient, dict):
    return coefficient
  arguments = dict(coefficient)
  name = arguments.pop("function")
  if name == "without":
    # A path may be a string or a tuple of keys.
    return lambda path: arguments["name"] not in str(path)
  return functools.partial(getattr(module, name), **arguments)


def _held_by_the_caller(name, inputs):
  """What a score or an advantage leaves to the loss to hold constant."""
  if name.endswith("_score"):
    return {"reference_logprobs"}
  return set(inputs) if name.endswith("_advantages") else set()


def _evaluate(name, inputs, coefficients, differentiable):
  function = getattr(reference, name)
  resolved = {k: resolve(v, reference) for k, v in coefficients.items()}
  entry = {
    "function": name,
    "coefficients": coefficients,
    "inputs": inputs,
    "value": function(**inputs, **resolved),
  }
  names = [
    key
    for key, x in inputs.items()
    if isinstance(x, np.ndarray | np.floating)
    and np.issubdtype(x.dtype, np.floating)
  ]
  names = sorted({*names} - _held_by_the_caller(name, inputs))
  if differentiable and names:
    inputs = inputs | {key: np.asarray(inputs[key]) for key in names}
    entry["gradients"] = reference.gradients(function, inputs, resolved, names)
  return entry


def _plain(x):
  """Lists, dictionaries and Python numbers of 12 digits."""
  if isinstance(x, dict):
    return {key: _plain(value) for key, value in x.items()}
  if isinstance(x, list | tuple):
    return [_plain(value) for value in x]
  if isinstance(x, np.ndarray):
    return _plain(x.tolist())
  if isinstance(x, np.generic):
    return _plain(x.item())
  return float(f"{x:.12g}") if isinstance(x, float) else x


def entries():
  result = []
  for name, (draw, settings) in CASES.items():
    for number, coefficients in enumerate(settings):
      inputs = draw(Draw(name, number))
      # No method differentiates through a merge of weights.
      trees = any(isinstance(x, dict | list) for x in inputs.values())
      result.append(_evaluate(name, inputs, coefficients, not trees))
  for number, (name, draw, coefficients, differentiable) in enumerate(MORE):
    inputs = draw(Draw(name, 100 + number))
    result.append(_evaluate(name, inputs, coefficients, differentiable))
  return _plain(result)


if __name__ == "__main__":
  lines = [json.dumps(entry) for entry in entries()]
  PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n")
