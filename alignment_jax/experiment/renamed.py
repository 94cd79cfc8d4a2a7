"""What fields and values of a config were called in earlier versions.

A flag or a config that has an old name is answered with the new one; the
`config.json` of a folder from then is read as it was meant.
"""

from collections.abc import Mapping
from typing import Any

from alignment_jax import errors

# Dotted path in a config, as it was -> as it is.
FIELDS = {
  "refresh": "reference_update",
  "algorithm.wants": "algorithm.feedback",
}
# Field -> its values, as they were -> as they are.
VALUES = {
  "reference_update.name": {
    "reference_copy": "periodic_copy",
    "reference_ema": "ema",
  },
}
# Field -> what it held where it now is None.
ABSENT = {"init_from": "", "algorithm.kl_target": 0.0, "algorithm.clip": 0.0}


def advice(path: str) -> str | None:
  """What to write in place of a field; None if it was never renamed.

  Args:
    path: dotted, below the config, with or without fields below it:
      `refresh.name`.
  """
  for old, new in FIELDS.items():
    if path == old or path.startswith(f"{old}."):
      return f"config.{path} is now config.{new}{path.removeprefix(old)}"
  return None


def check(values: Mapping[str, Any]) -> None:
  """Refuses a config with an old name.

  Raises:
    UserError: names the new one.
  """
  for old, new in FIELDS.items():
    if _has(values, old):
      raise errors.UserError(f"config.{old} is now config.{new}")
  for path, names in VALUES.items():
    value = _get(values, path)
    if isinstance(value, str) and value in names:
      raise errors.UserError(f"config.{path} '{value}' is now '{names[value]}'")


def updated(values: Mapping[str, Any]) -> dict[str, Any]:
  """The config of an earlier version with today's names."""
  today: dict[str, Any] = _copied(values)
  for old, new in FIELDS.items():
    if _has(today, old):
      section, name = _section(today, old)
      value = section.pop(name)
      section, name = _section(today, new)
      section[name] = value
  for path, names in VALUES.items():
    if _has(today, path):
      section, name = _section(today, path)
      section[name] = names.get(section[name], section[name])
  for path, absent in ABSENT.items():
    if _has(today, path):
      section, name = _section(today, path)
      section[name] = None if section[name] == absent else section[name]
  return today


def _copied(value: Any) -> Any:
  if not isinstance(value, Mapping):
    return value
  return {name: _copied(inner) for name, inner in value.items()}


def _section(values: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
  *sections, name = path.split(".")
  for section in sections:
    values = values[section]
  return values, name


def _get(values: Any, path: str) -> Any:
  for name in path.split("."):
    if not isinstance(values, Mapping) or name not in values:
      return None
    values = values[name]
  return values


def _has(values: Mapping[str, Any], path: str) -> bool:
  *sections, name = path.split(".")
  section = _get(values, ".".join(sections)) if sections else values
  return isinstance(section, Mapping) and name in section
