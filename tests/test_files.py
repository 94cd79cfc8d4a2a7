"""Files are written whole or not at all; JSON that cannot be read says so."""

import os
import stat
import subprocess
import sys
import textwrap
import threading

import pytest

from alignment_jax import errors, files

WRITERS = {
  "bytes": lambda path: files.write_bytes(path, b"new"),
  "text": lambda path: files.write_text(path, "new"),
  "json": lambda path: files.write_json(path, "new"),
  "copy": lambda path: files.copy(
    path.with_name("source"), path, next_step="none"
  ),
}


@pytest.fixture
def path(tmp_path):
  (tmp_path / "source").write_bytes(b"new")
  (tmp_path / "file").write_bytes(b"old")
  return tmp_path / "file"


def names(path):
  return sorted(p.name for p in path.parent.iterdir())


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_replaces_the_file(path, writer):
  WRITERS[writer](path)
  assert path.read_bytes().strip(b'"\n') == b"new"
  assert names(path) == ["file", "source"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_failure_before_the_replacement_leaves_the_old_file(
  path, writer, monkeypatch
):
  def fail(*args):
    raise OSError("no space left")

  monkeypatch.setattr(os, "replace", fail)
  with pytest.raises(OSError, match="no space left"):
    WRITERS[writer](path)
  assert path.read_bytes() == b"old"
  assert names(path) == ["file", "source"]


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file(path):
  program = f"""
    import os, pathlib, signal
    from alignment_jax import files
    with files.replacing(pathlib.Path({str(path)!r})) as part:
      part.write_bytes(b"half")
      os.kill(os.getpid(), signal.SIGKILL)
  """
  result = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(program)],
    check=False,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
  )
  assert result.returncode == -9
  assert path.read_bytes() == b"old"
  files.write_text(path, "new")  # what it left does not stand in the way
  assert path.read_bytes() == b"new"


def test_the_content_is_on_disk_before_the_name_is_given(path, monkeypatch):
  done = []
  replace, sync = os.replace, os.fsync
  monkeypatch.setattr(
    os, "replace", lambda *a: (done.append("replace"), replace(*a))
  )
  monkeypatch.setattr(
    os, "fsync", lambda fd: (done.append(os.fstat(fd).st_size), sync(fd))
  )
  files.write_bytes(path, b"12345")
  assert done == [5, "replace"]


def test_writers_at_the_same_time_do_not_mix(path):
  contents = [bytes([65 + i]) * 200_000 for i in range(8)]
  threads = [
    threading.Thread(target=files.write_bytes, args=(path, content))
    for content in contents
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert path.read_bytes() in contents
  assert names(path) == ["file", "source"]


def test_a_new_file_has_the_permissions_of_any_other(path):
  files.write_text(path, "new")
  modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent / "file")]
  other = path.with_name("other")
  other.write_text("")
  assert modes == [stat.S_IMODE(other.stat().st_mode)] * 2


def test_json_is_read_as_it_was_written(path):
  value = {"a": [1, 2.5, None, "é\n"], "b": {"c": True}}
  files.write_json(path, value)
  assert files.read_json(path, next_step="none") == value
  assert path.read_text("utf-8").startswith('{\n  "a": [')


@pytest.mark.parametrize(
  "content, message",
  [
    (None, "file is missing; use another folder"),
    (b'{"a": ', "cannot read .*file: Expecting value.*; use another folder"),
    (b"\xff\xfe", "cannot read .*file: .*decode.*; use another folder"),
  ],
)
def test_json_that_cannot_be_read_is_one_clear_error(path, content, message):
  path.unlink() if content is None else path.write_bytes(content)
  with pytest.raises(errors.UserError, match=message):
    files.read_json(path, next_step="use another folder")


def test_a_copy_of_nothing_is_one_clear_error(path):
  with pytest.raises(errors.UserError, match="none is missing; name a stage"):
    files.copy(path.with_name("none"), path, next_step="name a stage")
  assert path.read_bytes() == b"old"
