"""Every number that a method reports on given data, against NumPy.

The logits of the world are tables, so a log-probability is a sum of entries.
Lengths are unequal, one response is empty, raters disagree, weights differ, and
the policy is not its reference.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import types
from alignment_jax.algorithms import ALGORITHMS

EOS = 1
CHOSEN = np.array([0, 3, 4, 6, 2, 5, 1])
REJECTED = np.array([2, 1, 4, 0, 6, 3, 5])
PROBABILITY = np.array([1.0, 0.7, 0.9, 0.55, 0.2, 0.8, 0.6])
WEIGHT = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 1.5, 1.0])
EMPTY = 5  # the row whose rejected response is empty
SCORES = np.array([1.2, -0.4, 0.0, -2.0, 0.3, 0.9, -0.1])
HEAD = np.array([0.3, -0.8, 0.5]), 0.2


def table_of(params):
  """Logits of the first token, and of a token after each other."""
  return [np.asarray(params[name], np.float64) for name in ("first", "next")]


def ids_of(world):
  """The real token ids of each of the seven responses."""
  return [
    list(np.asarray(ids)[np.asarray(mask)])
    for ids, mask in zip(
      world.responses.ids[0], world.responses.mask[0], strict=True
    )
  ]


def logits_of(params, response):
  """[T, V]: the row of each token of a response."""
  first, after = table_of(params)
  return np.array([first, *(after[i] for i in response[:-1])])


def logprobs(params, response):
  logits = logits_of(params, response)
  normal = np.log(np.exp(logits).sum(-1))
  return logits[np.arange(len(response)), response] - normal


def sequences(world, params):
  return np.array([logprobs(params, r).sum() for r in ids_of(world)])


def state_reward(world, params):
  """The head on the state behind each response: a row of logits."""
  weight, bias = HEAD
  _, after = table_of(params)
  return np.array([after[r[-1]] @ weight + bias for r in ids_of(world)])


def head():
  weight, bias = HEAD
  return {"weight": jnp.asarray(weight, jnp.float32), "bias": jnp.asarray(bias)}


def responses(world, indices, empty=None):
  tokens = jax.tree.map(lambda a: a[0][indices], world.responses)
  if empty is None:
    return tokens
  return tokens.replace(mask=tokens.mask.at[empty].set(False))


def prompts(world, rows=7):
  return jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), world.prompt)


def pairs(world):
  return types.PreferencePair(
    prompt=prompts(world),
    chosen=responses(world, CHOSEN),
    rejected=responses(world, REJECTED, EMPTY),
    weight=jnp.asarray(WEIGHT, jnp.float32),
    probability=jnp.asarray(PROBABILITY, jnp.float32),
  )


def counted():
  """Weights of the pairs; the one with an empty response has none."""
  weight = WEIGHT.copy()
  weight[EMPTY] = 0
  return weight


def mean(values, weight=None):
  weight = counted() if weight is None else weight
  return (values * weight).sum() / weight.sum()


def reported(name, trainable, slow, batch, key=None, **settings):
  method = ALGORITHMS[name].factory(settings.pop("model"), **settings)
  total, metrics = jax.jit(method.loss)(trainable, slow, batch, key)
  got = {n: float(value.value()) for n, value in metrics.items()}
  assert got.pop("loss") == pytest.approx(float(total.value()))
  return got


def close(got, expected):
  assert got == pytest.approx(expected, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["dpo", "ipo"])
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_offline_pairs(table_world, name, aggregation):
  world, scale = table_world, 0.3
  policy, reference = (
    sequences(world, params) for params in (world.policy, world.reference)
  )
  if aggregation == "mean":
    lengths = np.array([len(r) for r in ids_of(world)])
    policy, reference = policy / lengths, reference / lengths
  symbol = {"dpo": "beta", "ipo": "tau"}[name]
  got = reported(
    name,
    {"policy": world.policy},
    {"reference": world.reference},
    pairs(world),
    model=world.model,
    aggregation=aggregation,
    **{symbol: scale},
  )
  chosen, rejected = (
    scale * (policy - reference)[i] for i in (CHOSEN, REJECTED)
  )
  close(
    got,
    {
      "rewards/chosen": mean(chosen),
      "rewards/rejected": mean(rejected),
      "rewards/margins": mean(chosen - rejected),
      "rewards/accuracies": mean(chosen > rejected),
      "logps/chosen": mean(policy[CHOSEN]),
      "logps/rejected": mean(policy[REJECTED]),
      "empty_responses": WEIGHT[EMPTY] / WEIGHT.sum(),
    },
  )


def calibration(predicted):
  """Five bins of the confidence of the side that is predicted to win."""
  weight, error = counted(), 0.0
  wins = predicted >= 0.5
  confidence = np.where(wins, predicted, 1 - predicted)
  right = np.where(wins, PROBABILITY, 1 - PROBABILITY)
  for low in (0.5, 0.6, 0.7, 0.8, 0.9):
    inside = (confidence >= low) & (confidence < low + 0.1)
    error += abs((weight * (right - confidence))[inside].sum())
  return error / weight.sum()


def test_a_reward_model(table_world):
  world = table_world
  rewards = state_reward(world, world.policy)
  chosen, rejected = rewards[CHOSEN], rewards[REJECTED]
  got = reported(
    "reward_model",
    {"reward": {"network": world.policy, "head": head()}},
    (),
    pairs(world),
    model=world.model,
  )
  close(
    got,
    {
      "rewards/chosen": mean(chosen),
      "rewards/rejected": mean(rejected),
      "rewards/margins": mean(chosen - rejected),
      "rewards/accuracies": mean(chosen > rejected),
      "rewards/calibration_error": calibration(
        1 / (1 + np.exp(rejected - chosen))
      ),
      "empty_responses": WEIGHT[EMPTY] / WEIGHT.sum(),
    },
  )


def test_a_preference_model(table_world):
  """A network whose answer is the number of tokens of the second response."""
  world = table_world
  lengths = np.array([len(r) for r in ids_of(world)])
  second = np.where(np.arange(7) == EMPTY, 0, lengths[REJECTED])
  first = lengths[CHOSEN]
  counts = {"forward": second - 1.3, "backward": first - 1.3}

  def encode(params, prompt, key=None):
    del params, key
    # 8 opens the second response and 9 closes it.
    opened = jnp.cumsum((prompt.ids == 8) & prompt.mask, axis=-1) > 0
    inside = opened & (prompt.ids != 8) & (prompt.ids != 9) & prompt.mask
    count = jnp.sum(inside, axis=-1).astype(jnp.float32)
    context = world.model.encode(world.policy, prompt)
    return context.replace(last=count[:, None])

  got = reported(
    "preference_model",
    {
      "preference": {
        "network": {},
        "head": {"weight": jnp.ones(1), "bias": jnp.asarray(-1.3)},
      }
    },
    (),
    pairs(world),
    model=world.model._replace(encode=encode),
    template=((7,), (8,), (9,)),
  )
  forward, backward = (1 / (1 + np.exp(-x)) for x in counts.values())
  averaged = (forward + 1 - backward) / 2
  close(
    got,
    {
      "preferences/margins": mean(
        0.5 * (counts["forward"] - counts["backward"])
      ),
      "preferences/accuracies": mean(averaged > 0.5),
      "preferences/calibration_error": calibration(averaged),
      "preferences/first_place": mean(forward + backward - 1),
      "empty_responses": WEIGHT[EMPTY] / WEIGHT.sum(),
    },
  )


def scored(world):
  """One response to each prompt with a score; one of them is empty."""
  tokens = responses(world, CHOSEN, EMPTY)
  return types.ScoredResponses(
    prompt=prompts(world),
    responses=jax.tree.map(lambda a: a[:, None], tokens),
    rewards=jnp.asarray(SCORES, jnp.float32)[:, None],
  )


REAL = (np.arange(7) != EMPTY).astype(float)


def test_kto(table_world):
  world, beta = table_world, 0.3
  policy, reference = (
    sequences(world, params)[CHOSEN] * REAL
    for params in (world.policy, world.reference)
  )
  ratio = policy - reference
  got = reported(
    "kto",
    {"policy": world.policy},
    {"reference": world.reference},
    scored(world),
    model=world.model,
    beta=beta,
  )
  desirable = SCORES > 0
  close(
    got,
    {
      # No prompt matters here: the next row's response is that response.
      "reference_point": max(ratio.mean(), 0),
      "desirable": mean(desirable, REAL),
      "rewards/desirable": mean(beta * ratio, REAL * desirable),
      "rewards/undesirable": mean(beta * ratio, REAL * ~desirable),
      "logps/policy": mean(policy, REAL),
      "empty_responses": 1 / 7,
    },
  )


def test_dro(table_world):
  world, tau = table_world, 0.3
  policy, reference = (
    sequences(world, params)[CHOSEN] * REAL
    for params in (world.policy, world.reference)
  )
  # The state behind the prompt is the row of the first token.
  value = table_of(world.other)[0] @ HEAD[0] + HEAD[1]
  ratio = policy - reference
  got = reported(
    "dro",
    {
      "policy": world.policy,
      "value": {"network": world.other, "head": head()},
    },
    {"reference": world.reference},
    scored(world),
    model=world.model,
    tau=tau,
  )
  error = SCORES - value - tau * ratio
  close(
    got,
    {
      "loss/policy": mean(error**2, REAL) / (2 * tau),
      "loss/value": mean(error**2, REAL) / 2,
      "value": value,
      "rewards/mean": mean(SCORES, REAL),
      "rewards/implicit": mean(tau * ratio, REAL),
      "logps/policy": mean(policy, REAL),
      "empty_responses": 1 / 7,
    },
  )


def demonstrations(world):
  return types.Demonstration(prompts(world), responses(world, np.arange(7)))


def test_sft(table_world):
  world = table_world
  got = reported(
    "sft", {"policy": world.policy}, (), demonstrations(world),
    model=world.model,
  )  # fmt: skip
  right = [
    logits.argmax() == token
    for response in ids_of(world)
    for logits, token in zip(
      logits_of(world.policy, response), response, strict=True
    )
  ]
  close(got, {"accuracy": np.mean(right)})


def test_soft_q(table_world):
  world, gamma = table_world, 0.9
  rewards, nats = [], []
  for response in ids_of(world):
    logits = logits_of(world.policy, response)
    values = np.log(np.exp(logits).sum(-1))
    for t, token in enumerate(response):
      if t + 1 < len(response):
        rewards.append(logits[t, token] - gamma * values[t + 1])
      else:  # after a cut it is not known
        rewards.append(logits[t, token] if token == EOS else 0.0)
    nats.extend(-logprobs(world.policy, response))
  got = reported(
    "soft_q", {"policy": world.policy}, (), demonstrations(world),
    model=world.model, lam=0.3, eos_id=EOS, gamma=gamma,
  )  # fmt: skip
  close(
    got,
    {
      "loss/likelihood": np.mean(nats),
      "rewards/token": np.mean(rewards),
      "rewards/squared": np.mean(np.square(rewards)),
      "responses/ended": 3 / 7,
    },
  )


def test_every_method_on_given_data_is_here():
  offline = {name for name, m in ALGORITHMS.items() if not m.samples}
  # SRPO's six log-probabilities depend on the prompt: see test_srpo.py.
  assert offline == {
    "dpo", "ipo", "kto", "dro", "sft", "soft_q", "reward_model",
    "preference_model", "srpo",
  }  # fmt: skip
