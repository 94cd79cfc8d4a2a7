"""Complex steps, and the elementary functions that they go through."""

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


def maximum(a, b):
  return np.where(np.real(a) >= np.real(b), a, b)


def minimum(a, b):
  return np.where(np.real(a) <= np.real(b), a, b)


def clamp(x, low, high):
  return minimum(maximum(x, low), high)


def sort(x):
  flat = np.ravel(x)
  return flat[np.argsort(np.real(flat))].reshape(np.shape(x))


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def softplus(x):
  sign = np.where(np.real(x) >= 0, 1, -1)
  return maximum(x, 0) + np.log1p(np.exp(-sign * x))


def log_sigmoid(x):
  return -softplus(-x)


def ratios(chosen, rejected, reference_chosen, reference_rejected):
  """rho of either response; the reference is held constant."""
  return chosen - held(reference_chosen), rejected - held(reference_rejected)


def margin(*pair):
  """h = rho_w - rho_l."""
  rho_w, rho_l = ratios(*pair)
  return rho_w - rho_l


def exp(x):
  """No larger than the library lets it be."""
  return np.exp(minimum(x, 60.0))


def masked_mean(x, mask):
  """0 where nothing is real."""
  count = np.sum(mask, axis=-1)
  return np.sum(np.where(mask, x, 0), axis=-1) / np.maximum(count, 1)
