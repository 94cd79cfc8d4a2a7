"""Mutants: which small mistakes are drawn, and where none is looked for."""

from pathlib import Path

import pytest

from tests import mutants, mutations

PATH = Path("alignment_jax/ops/a.py")


def changed(text: str) -> set[tuple[str, str]]:
  """Operator and new text of the file, for each mutant."""
  return {
    (mutant.operator, mutations.mutated(text, mutant))
    for mutant in mutations.mutants_of(PATH, text)
  }


@pytest.mark.parametrize(
  "text, operator, mutant",
  [
    ("x = a + b", "arithmetic", "x = (a - b)"),
    ("x = a < b", "comparison", "x = (a <= b)"),
    ("x = a and b", "boolean", "x = (a or b)"),
    ("x = not a", "dropped sign or not", "x = a"),
    ("x = a if b else c", "swapped branches", "x = (c if b else a)"),
    ("x = 2", "constant", "x = 3"),
    ("x = 0.5", "constant", "x = -0.5"),
    ("f(True)", "constant", "f(False)"),
    ("x = f(a, b)", "swapped arguments", "x = f(b, a)"),
    ("x = lax.stop_gradient(a)", "dropped stop_gradient", "x = a"),
    ("x = jnp.minimum(a, 1)", "opposite", "x = jnp.maximum(a, 1)"),
    ("x = f(a, axis=1)", "axis", "x = f(a, axis=2)"),
    ("x = f(a, axis=b)", "dropped axis", "x = f(a)"),
    ("def f(a=1): pass", "default", "def f(a=0): pass"),
    ("f(a)", "removed statement", "pass"),
    ("if a:\n  raise b", "removed check", "pass"),
    ("é = 'é' * a", "arithmetic", "é = ('é' / a)"),
  ],
)
def test_a_mistake_is_made(text, operator, mutant):
  assert (operator, mutant) in changed(text)


@pytest.mark.parametrize(
  "text",
  [
    '"""Text."""',
    "import a",
    "def f(x: Float[Array, '2']) -> Int[Array, '3']: pass",
    "@cache(maxsize=8)\ndef f(): pass",
    "raise ValueError(f'{1 + 2}', 3)",
    "if TYPE_CHECKING:\n  x = 1 + 2",
    "guards.flags_of_shape((2, 3), 'a', b=c)",
    "x: Literal[1] = a",
  ],
)
def test_what_no_test_could_see_is_left_alone(text):
  assert changed(text) == set()


def test_a_seed_draws_the_same_and_no_operator_crowds_out_the_others():
  many = [
    mutations.Mutant(PATH, line, "constant", 0, 0, str(line))
    for line in range(1000)
  ]
  few = [mutations.Mutant(PATH, 0, "axis", 0, 0, str(i)) for i in range(20)]

  def draw(seed):
    return mutants.draw(many + few, 20, mutants.random.Random(seed))

  assert draw(1) == draw(1) != draw(2)
  assert len(set(draw(1))) == 20
  assert 5 <= sum(mutant.operator == "axis" for mutant in draw(1)) <= 15


def test_a_mutant_is_judged_in_a_copy_and_taken_out_again(tmp_path):
  source = tmp_path / PATH
  source.parent.mkdir(parents=True)
  source.write_text("def half(x):\n  return x / 2\n", "utf-8")
  test = tmp_path / "test_a.py"
  test.write_text(
    "import runpy\n\n\ndef test_half():\n"
    f"  assert runpy.run_path('{PATH}')['half'](CASE) == CASE / 2\n",
    "utf-8",
  )
  found = mutations.mutants_of(PATH, source.read_text("utf-8"))
  product = next(m for m in found if m.text == "(x * 2)")
  sharp, blunt = (test.read_text("utf-8").replace("CASE", c) for c in "30")
  for text, killed in ((sharp, True), (blunt, False)):
    test.write_text(text, "utf-8")
    verdict = mutants.judge(tmp_path, product, [test.name], timeout=60)
    assert (verdict.killed_by is not None) == killed
  assert source.read_text("utf-8").endswith("x / 2\n")
