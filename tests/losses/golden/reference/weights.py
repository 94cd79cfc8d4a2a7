"""Weight space: a tree is a dictionary of arrays."""

import numpy as np


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
