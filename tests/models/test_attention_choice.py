"""The table of kernels row by row; no accelerator is needed."""

import pytest

from alignment_jax import errors
from alignment_jax.models import attention_choice
from alignment_jax.models.attention_choice import Case, Machine

CPU = Machine("cpu")
HOPPER = Machine("cuda", capability=(9, 0))
AMPERE = Machine("cuda", capability=(8, 0))
TPU = Machine("tpu")
GPU_CASE = Case(
  machine=AMPERE,
  dtype="bfloat16",
  queries=300,
  keys=500,
  head_width=128,
  biased=False,
  softcap=0.0,
  ordered=True,
)
TPU_CASE = GPU_CASE._replace(machine=TPU)


@pytest.mark.parametrize(
  "case",
  [
    GPU_CASE,
    GPU_CASE._replace(dtype="float16"),
    GPU_CASE._replace(machine=HOPPER, head_width=256),
    GPU_CASE._replace(machine=AMPERE._replace(devices=8)),
    GPU_CASE._replace(ordered=False),
    GPU_CASE._replace(queries=3),
    GPU_CASE._replace(head_width=72),
  ],
)
def test_cudnn_runs_where_its_conditions_hold(case):
  assert attention_choice.choose("auto", case).kernel == "cudnn"
  assert attention_choice.choose("cudnn", case).kernel == "cudnn"


@pytest.mark.parametrize(
  "case, lacking",
  [
    (GPU_CASE._replace(machine=CPU), "an NVIDIA GPU, got cpu"),
    (GPU_CASE._replace(machine=Machine("rocm")), "an NVIDIA GPU, got rocm"),
    (
      GPU_CASE._replace(machine=Machine("cuda", capability=(7, 5))),
      "compute capability 8.0 or later, got 7.5",
    ),
    (
      GPU_CASE._replace(dtype="float32"),
      "dtype bfloat16 or float16, got float32",
    ),
    (GPU_CASE._replace(head_width=100), "a multiple of 8.*, got 100"),
    (GPU_CASE._replace(head_width=256), "at most 128.*, got 256"),
    (
      GPU_CASE._replace(machine=HOPPER, head_width=264),
      r"\(256 from compute capability 9.0 on\), got 264",
    ),
    (GPU_CASE._replace(biased=True), "logits without a bias"),
    (GPU_CASE._replace(softcap=50.0), "logits without a softcap, got 50.0"),
  ],
)
def test_cudnn_says_which_condition_is_not_met(case, lacking):
  assert attention_choice.choose("auto", case).kernel != "cudnn"
  with pytest.raises(errors.UserError, match="'cudnn' needs.*" + lacking):
    attention_choice.choose("cudnn", case)


@pytest.mark.parametrize(
  "case",
  [
    TPU_CASE,
    TPU_CASE._replace(dtype="float32"),
    TPU_CASE._replace(softcap=50.0),
    TPU_CASE._replace(queries=128),
    TPU_CASE._replace(head_width=100),
  ],
)
def test_splash_runs_where_its_conditions_hold(case):
  assert attention_choice.choose("auto", case).kernel == "splash"
  assert attention_choice.choose("splash", case).kernel == "splash"


@pytest.mark.parametrize(
  "case, lacking",
  [
    (TPU_CASE._replace(machine=CPU), "a TPU, got cpu"),
    (TPU_CASE._replace(machine=HOPPER), "a TPU, got cuda"),
    (TPU_CASE._replace(machine=Machine("tpu", 4)), "a single device.*, got 4"),
    (
      TPU_CASE._replace(dtype="float16"),
      "dtype bfloat16 or float32, got float16",
    ),
    (TPU_CASE._replace(ordered=False), "a causal mask with one window"),
    (TPU_CASE._replace(biased=True), "logits without a bias"),
  ],
)
def test_splash_says_which_condition_is_not_met(case, lacking):
  assert attention_choice.choose("auto", case).kernel != "splash"
  with pytest.raises(errors.UserError, match="'splash' needs.*" + lacking):
    attention_choice.choose("splash", case)


def test_auto_leaves_less_than_a_block_to_xla_unless_asked():
  short = TPU_CASE._replace(queries=127)
  choice = attention_choice.choose("auto", short)
  assert choice.kernel == "xla"
  assert "splash needs at least 128 queries, a block, got 127" in choice.reason
  assert attention_choice.choose("splash", short).kernel == "splash"


def test_the_reason_for_xla_names_what_every_other_kernel_lacks():
  choice = attention_choice.choose("auto", GPU_CASE._replace(machine=CPU))
  assert choice == (
    "xla",
    "cudnn needs an NVIDIA GPU, got cpu; splash needs a TPU, got cpu",
  )


@pytest.mark.parametrize("asked", ["auto", *attention_choice.KERNELS])
@pytest.mark.parametrize("case", [GPU_CASE, TPU_CASE])
def test_a_single_query_is_left_to_xla(asked, case):
  one = case._replace(queries=1)
  assert attention_choice.choose(asked, one).kernel == "xla"


@pytest.mark.parametrize("case", [GPU_CASE, TPU_CASE])
def test_xla_runs_everywhere(case):
  for other in (case, case._replace(biased=True, softcap=5.0, head_width=3)):
    assert attention_choice.choose("xla", other).kernel == "xla"


def test_an_unknown_kernel_lists_those_there_are():
  with pytest.raises(errors.UserError, match="'flash'.* auto, cudnn, splash"):
    attention_choice.choose("flash", GPU_CASE)
