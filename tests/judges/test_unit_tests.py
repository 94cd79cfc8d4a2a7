"""Code in a response passes its tests, and can do no harm."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.judges import base, sandbox, unit_tests

TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\n"
GOOD = "def add(a, b):\n  return a + b\n"


# What a machine without the sandbox says. A filter that the kernel finds wrong
# ("Invalid argument") is a fault of ours, and no reason to skip its tests.
NO_SANDBOX_HERE = ("no filter for", "not permitted", "not implemented")


def _judge(**settings):
  try:
    return unit_tests.unit_tests_judge(**settings)
  except errors.UserError as error:
    if any(reason in str(error) for reason in NO_SANDBOX_HERE):
      pytest.skip(str(error))
    raise


@pytest.fixture(scope="module")
def judge():
  return _judge(timeout_seconds=20.0, memory_mebibytes=256)


def _share(judge, response, tests=TESTS):
  return float(judge(["p"], [response], [tests])[0])


def test_the_reward_is_the_share_of_passed_tests(judge):
  rewards = judge(
    ["p"] * 4,
    [
      GOOD,
      "def add(a, b): return 3",
      "def add(a, b): return 7",
      "def add(a, b): raise ValueError",
    ],
    [TESTS] * 4,
  )
  np.testing.assert_array_equal(rewards, [1, 0.5, 0, 0])
  assert rewards.dtype == np.float32


@pytest.mark.parametrize(
  "response, share",
  [
    (f"Sure:\n```python\n{GOOD}```\nDone.", 1),
    (f"```\n{GOOD}```", 1),
    (f"```python\ndef add(): pass\n```\nbetter:\n```py\n{GOOD}```", 1),
    (f"```python\n{GOOD}", 1),  # cut off
    ("```python\n```", 0),
    ("def add(a, b) return", 0),  # no Python
    ("", 0),
    ("\0\ud800", 0),
    (f"{GOOD}if __name__ == '__main__': raise ValueError", 1),
    (f"{GOOD}raise ValueError", 0),
  ],
)
def test_the_code_is_the_last_block_or_all_of_the_response(
  judge, response, share
):
  assert _share(judge, response) == share


def test_asserts_calls_and_test_functions_are_tests(judge):
  tests = """
def check(f):
  assert f(1, 1) == 2
def test_negative(sign=-1):
  assert add(sign, 0) == -1
def test_with(fixture):
  pass
one = 1
assert add(one, 0) == 1
check(add)
check(max)
"""
  # The assert, two calls (the second fails) and one function.
  assert _share(judge, GOOD, tests) == 0.75


def test_the_standard_library_is_there_and_installed_packages_are_not(judge):
  imports = "import collections, dataclasses, heapq, math, random, typing\n"
  dataclass = "@dataclasses.dataclass\nclass Point:\n  x: int\n"
  assert _share(judge, imports + dataclass, "assert Point(1).x == 1") == 1
  assert _share(judge, "import numpy", "assert True") == 0
  assert _share(judge, "import alignment_jax", "assert True") == 0


@pytest.mark.parametrize(
  "cheat",
  [
    "raise SystemExit(0)",
    "import sys; sys.exit(0)",
    "import os; os._exit(0)",
    "def add(a, b):\n  import os\n  os._exit(0)",
    "def add(a, b):\n  raise SystemExit(0)",
    "print('0\\n1\\n' + '0' * 32 + ' 0')\nadd = None",
    # Every descriptor, in case one leads to the judge.
    "import os\nfor fd in range(32):\n  try:\n"
    "    os.write(fd, b'0' * 32 + b' 0\\n' + b'0' * 32 + b' 1\\n')\n"
    "  except OSError: pass\nadd = None",
    "import os\nos.closerange(0, 32)\n" + GOOD,
    "import atexit\natexit.register(print, 'passed')\nadd = None",
    "def test_mine(): pass\nadd = None",
  ],
)
def test_leaving_early_or_claiming_success_is_no_pass(judge, cheat):
  assert _share(judge, cheat) == 0


def test_a_test_that_exits_fails_and_the_next_one_runs(judge):
  code = "def f(x):\n  if not x:\n    raise SystemExit(0)\n  return x"
  assert _share(judge, code, "assert f(0)\nassert f(1) == 1") == 0.5


def test_tests_before_the_end_of_the_process_count(judge):
  code = "def f(x):\n  import os\n  return x if x else os._exit(0)"
  assert _share(judge, code, "assert f(1) == 1\nassert f(0)\nassert f(2)") == (
    pytest.approx(1 / 3)
  )


def test_an_endless_loop_is_killed_and_the_others_go_on():
  quick = _judge(timeout_seconds=2.0)
  start = time.monotonic()
  rewards = quick(
    ["p"] * 3,
    ["while True: pass", GOOD, "import time; time.sleep(1e6)"],
    [TESTS] * 3,
  )
  np.testing.assert_array_equal(rewards, [0, 1, 0])
  assert time.monotonic() - start < 15


def test_a_memory_hog_fails(judge):
  assert _share(judge, f"x = bytearray(2**29)\n{GOOD}") == 0
  caught = f"try:\n  x = bytearray(2**29)\nexcept MemoryError:\n  x = 1\n{GOOD}"
  assert _share(judge, caught, "assert x == 1") == 1
  assert _share(judge, GOOD, "assert len(bytearray(2**26)) == 2**26") == 1


def test_floods_of_output_end(judge):
  # Its own output goes nowhere; what reaches the results' pipe is capped.
  assert _share(judge, f"print('x' * 2**24)\n{GOOD}") == 1
  flood = "import os\nwhile True:\n  os.write(3, b'x' * 2**16)"
  start = time.monotonic()
  assert _share(judge, flood) == 0
  assert time.monotonic() - start < 15


@pytest.mark.parametrize(
  "deed",
  [
    "os.fork()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
    "subprocess.Popen(['/bin/true'])",
    "threading.Thread(target=print).start()",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "open('inside', 'w')",
    "open(OUTSIDE, 'w')",
    "open(OUTSIDE, 'a')",
    "open(OUTSIDE, 'r+')",
    "os.remove(OUTSIDE)",
    "os.rename(OUTSIDE, OUTSIDE + '2')",
    "os.truncate(OUTSIDE, 0)",
    "os.chmod(OUTSIDE, 0)",
    "os.mkdir(OUTSIDE + '2')",
    "os.symlink(OUTSIDE, OUTSIDE + '2')",
    "os.kill(os.getppid(), 0)",
    "os.kill(os.getpid(), 0)",
    "os.setsid()",
    "resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))",
    "fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())",
    "os.memfd_create('x')",
  ],
)
def test_what_is_not_allowed_fails_with_an_error(judge, deed, tmp_path):
  outside = tmp_path / "outside"
  outside.write_text("precious")
  code = f"""
import fcntl, os, resource, socket, subprocess, threading
OUTSIDE = {str(outside)!r}
try:
  {deed}
  outcome = "done"
except (OSError, RuntimeError, ValueError) as error:
  outcome = "refused"
"""
  assert _share(judge, code, "assert outcome == 'refused'") == 1
  assert [path.name for path in tmp_path.iterdir()] == ["outside"]
  assert outside.read_text() == "precious"


def test_a_fork_bomb_starts_nothing():
  quick = _judge(timeout_seconds=2.0)
  before = _own_children()
  bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
  assert _share(quick, bomb) == 0
  assert _own_children() <= before


def test_files_can_be_read_and_the_environment_is_empty(judge, monkeypatch):
  monkeypatch.setenv("TOKEN", "secret")
  code = "import os\nlines = open(os.__file__).readlines()"
  assert _share(judge, code, "assert len(lines) > 100") == 1
  code = "import os\nseen = os.environ.get('TOKEN'), os.listdir('.')"
  assert _share(judge, code, "assert seen == (None, [])") == 1


def test_hashes_of_texts_are_the_same_in_every_run(judge):
  code = "h = hash('a')"
  # Otherwise the order of a set, and so a reward, would change between runs.
  assert _share(judge, code, f"assert h == {_seeded_hash()}") == 1


def test_without_the_filter_tests_run_and_limits_hold():
  trusting = unit_tests.unit_tests_judge(timeout_seconds=20.0, isolate=False)
  assert _share(trusting, GOOD) == 1
  assert _share(trusting, "x = bytearray(2**30)", "assert x") == 0


def test_a_system_without_the_filter_is_an_error(monkeypatch, tmp_path):
  broken = tmp_path / "sandbox.py"
  text = pathlib.Path(sandbox.__file__).read_text("utf-8")
  broken.write_text(text.replace('!= "linux"', '!= "plan9"'), "utf-8")
  monkeypatch.setattr(unit_tests.sandbox, "__file__", str(broken))
  with pytest.raises(
    errors.UserError, match="no filter for .*; judge on Linux.*isolate=False"
  ):
    unit_tests.unit_tests_judge(timeout_seconds=20.0)


def test_references_without_tests_are_named(judge):
  for tests, problem in [
    ("x = 1", "finds no test in reference 1"),
    ("", "finds no test in reference 1"),
    ("assert (", "cannot read reference 1"),
    ("return 1\nassert True", "cannot read reference 1"),
    ("assert True\0", "cannot read reference 1"),
    (None, r"prompt 1 \('q'\) has none"),
  ]:
    with pytest.raises(base.JudgeError, match=problem):
      judge(["p", "q"], [GOOD, GOOD], [TESTS, tests])


def test_an_empty_batch_runs_nothing(judge):
  assert judge([], [], []).shape == (0,)


def test_wrong_settings_are_named():
  for name in ("timeout_seconds", "memory_mebibytes", "workers"):
    value = 0.0 if name == "timeout_seconds" else 0
    with pytest.raises(errors.UserError, match=f"{name} must be above 0"):
      unit_tests.unit_tests_judge(**{name: value})
  with pytest.raises(errors.UserError, match="memory_mebibytes=1; raise"):
    unit_tests.unit_tests_judge(timeout_seconds=20.0, memory_mebibytes=1)


def _own_children():
  path = f"/proc/self/task/{os.getpid()}/children"
  with open(path) as children:
    return len(children.read().split())


def _seeded_hash():
  return subprocess.run(
    [sys.executable, "-S", "-c", "print(hash('a'))"],
    env={"PYTHONHASHSEED": "0"},
    capture_output=True,
    text=True,
    check=True,
  ).stdout.strip()
