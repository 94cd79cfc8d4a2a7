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
from pathlib import Path

import numpy as np
import reference
from cases import CASES, MORE
from draws import Draw

PATH = Path(__file__).with_name("vectors.json")


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
  if name.endswith("score"):
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
