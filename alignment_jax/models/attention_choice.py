"""Which kernel computes an attention, and why.

`choose` is a pure function of a `Case`, and `KERNELS` says what each kernel
needs. XLA's own implementation runs everywhere and is the reference.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from absl import logging
from jaxtyping import Array

from alignment_jax import errors
from alignment_jax.models import attention_kernels
from alignment_jax.models.attention_kernels import BLOCK

AUTO = "auto"


class Machine(NamedTuple):
  """What a program runs on.

  Attributes:
    platform: `cpu`, `cuda`, `rocm` or `tpu`.
    devices: how many there are.
    capability: the compute capability of an NVIDIA GPU, such as (9, 0).
  """

  platform: str
  devices: int = 1
  capability: tuple[int, int] = (0, 0)


class Case(NamedTuple):
  """What the choice depends on; all of it is known before compilation.

  Attributes:
    machine: see `Machine`.
    dtype: of queries, keys and values.
    queries: how many, T.
    keys: how many, S.
    head_width: features of a head.
    biased: whether a bias is added to the logits.
    softcap: see `attention.attend`.
    ordered: whether the mask is given as an `Order` too.
  """

  machine: Machine
  dtype: str
  queries: int
  keys: int
  head_width: int
  biased: bool
  softcap: float
  ordered: bool


class Condition(NamedTuple):
  """What a kernel needs.

  Attributes:
    need: in words, as in "needs NEED".
    holds: whether a case has it.
    actual: what a case has instead, in words.
  """

  need: str
  holds: Callable[[Case], bool]
  actual: Callable[[Case], Any]


class Kernel(NamedTuple):
  """One way to compute attention.

  Attributes:
    run: takes what `attention.attend` does.
    needs: without these it cannot run.
    prefers: without these `auto` passes it over.
  """

  run: Callable[..., Array]
  needs: tuple[Condition, ...] = ()
  prefers: tuple[Condition, ...] = ()


class Choice(NamedTuple):
  """A key of `KERNELS`, and why."""

  kernel: str
  reason: str


def choose(requested: str, case: Case) -> Choice:
  """The kernel for a case.

  A single query, as in a step of decoding, gains nothing from a fused kernel:
  XLA computes it whatever is requested.

  Args:
    requested: `auto` for the first that fits, or a key of `KERNELS`.
    case: what is to be computed, and on what.

  Raises:
    UserError: no such kernel, or it cannot run this case; names what it lacks.
  """
  if requested not in (AUTO, *KERNELS):
    raise errors.unknown("attention", requested, (AUTO, *KERNELS))
  if case.queries == 1:
    return Choice("xla", "there is a single query")
  if requested != AUTO:
    lacking = _lacking(KERNELS[requested].needs, case)
    if lacking:
      raise errors.UserError(
        f"attention='{requested}' {lacking}; set attention to '{AUTO}' or 'xla'"
      )
    return Choice(requested, "it was requested")
  passed_over = []
  for name in ("cudnn", "splash"):
    kernel = KERNELS[name]
    lacking = _lacking(kernel.needs + kernel.prefers, case)
    if not lacking:
      return Choice(name, "its conditions hold")
    passed_over.append(f"{name} {lacking}")
  return Choice("xla", "; ".join(passed_over))


def kernel_for(requested: str, **case: Any) -> Callable[..., Array]:
  """The function that computes a case here; logs each new case once.

  Args:
    requested: see `choose`.
    **case: the fields of `Case` but for the machine.
  """
  choice = choose(requested, Case(machine=machine(), **case))
  _log(choice, requested, case["dtype"], case["queries"], case["keys"])
  return KERNELS[choice.kernel].run


def machine() -> Machine:
  """What JAX compiles for by default."""
  device = jax.devices()[0]
  count = jax.device_count()
  if device.platform != "gpu":
    return Machine(device.platform, count)
  if "cuda" not in device.client.platform_version:
    return Machine("rocm", count)
  major, minor = device.compute_capability.split(".")
  return Machine("cuda", count, (int(major), int(minor)))


def _lacking(conditions: tuple[Condition, ...], case: Case) -> str | None:
  for need, holds, actual in conditions:
    if not holds(case):
      return f"needs {need}, got {actual(case)}"
  return None


@functools.cache
def _log(
  choice: Choice, requested: str, dtype: str, queries: int, keys: int
) -> None:
  logging.info(
    "attention of %d queries to %d keys in %s, '%s' requested: %s, because %s",
    queries,
    keys,
    dtype,
    requested,
    *choice,
  )


def _widest(case: Case) -> int:
  return 256 if case.machine.capability >= (9, 0) else 128


_NO_BIAS = Condition(
  "logits without a bias", lambda case: not case.biased, lambda case: "one"
)

KERNELS: dict[str, Kernel] = {
  "xla": Kernel(attention_kernels.xla),
  # The conditions of `jax.nn.dot_product_attention(implementation="cudnn")`. It
  # takes a bias, but T5 learns its own, and the gradient is not verified.
  "cudnn": Kernel(
    attention_kernels.cudnn,
    needs=(
      Condition(
        "an NVIDIA GPU",
        lambda case: case.machine.platform == "cuda",
        lambda case: case.machine.platform,
      ),
      Condition(
        "compute capability 8.0 or later",
        lambda case: case.machine.capability >= (8, 0),
        lambda case: "{}.{}".format(*case.machine.capability),
      ),
      Condition(
        "dtype bfloat16 or float16",
        lambda case: case.dtype in ("bfloat16", "float16"),
        lambda case: case.dtype,
      ),
      Condition(
        "a head width that is a multiple of 8, at most 128 (256 from compute"
        " capability 9.0 on)",
        lambda case: (
          case.head_width % 8 == 0 and case.head_width <= _widest(case)
        ),
        lambda case: case.head_width,
      ),
      _NO_BIAS,
      Condition(
        "logits without a softcap",
        lambda case: not case.softcap,
        lambda case: case.softcap,
      ),
    ),
  ),
  "splash": Kernel(
    attention_kernels.splash,
    needs=(
      Condition(
        "a TPU",
        lambda case: case.machine.platform == "tpu",
        lambda case: case.machine.platform,
      ),
      Condition(
        "a single device, as the compiler does not split a Pallas kernel",
        lambda case: case.machine.devices == 1,
        lambda case: case.machine.devices,
      ),
      Condition(
        "dtype bfloat16 or float32",
        lambda case: case.dtype in ("bfloat16", "float32"),
        lambda case: case.dtype,
      ),
      Condition(
        "a causal mask with one window for all layers",
        lambda case: case.ordered,
        lambda case: "another",
      ),
      _NO_BIAS,
    ),
    prefers=(
      Condition(
        f"at least {BLOCK} queries, a block",
        lambda case: case.queries >= BLOCK,
        lambda case: case.queries,
      ),
    ),
  ),
}
