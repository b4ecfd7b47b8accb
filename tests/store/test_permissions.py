"""Who may read what Leadline writes: the owner of a home, and of the published file a group."""

from __future__ import annotations

import grp
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store.home import point_at_home
from store.permissions import BELONGING, OTHERS, open_to_group
from store.places import SettingError
from store.settings import settings
from tests.homes import open_to_others

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("LEADLINE_HOME", "LEADLINE_WAREHOUSE", "DAGSTER_HOME", "LEADLINE_DBT_TARGET", "LEADLINE_DUCKDB_PATH",
         "LEADLINE_PUBLISHED")  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the environment and the umask forget what they were told; a user may have set any."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def group() -> grp.struct_group:
    """Return a group to which this process can give files, unlike the one that they have anyway."""
    own = os.getegid()
    for each in grp.getgrall():
        if each.gr_gid != own and (os.geteuid() == 0 or each.gr_gid in os.getgroups()):
            return each
    pytest.skip("the user of the tests is a member of one group alone")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def chosen(home: Path, **more: str) -> None:
    point_at_home(settings({"LEADLINE_HOME": str(home), **more}))


def test_a_home_of_an_earlier_state_is_closed_and_links_lead_nowhere(tmp_path: Path) -> None:
    home, beside = tmp_path / "home", tmp_path / "beside"
    for folder in (home / "artifacts" / "models", beside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("text")
    (home / "artifacts" / "run.sh").touch(mode=0o755)
    (home / "linked").symlink_to(beside)
    (home / "broken").symlink_to(tmp_path / "nowhere")
    link = tmp_path / "link"
    link.symlink_to(home)
    assert mode(home) == 0o777
    chosen(link)
    assert open_to_others(home) == []
    assert mode(home / "artifacts" / "models" / "file") == 0o600
    assert mode(home / "artifacts" / "run.sh") == 0o700
    assert (mode(beside), mode(beside / "file"), mode(tmp_path)) == (0o777, 0o666, 0o700)
    (home / "later").mkdir()
    (home / "later" / "file").touch()
    assert open_to_others(home) == []


def test_the_folders_above_a_home_keep_their_modes(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o755)
    chosen(above / "new" / "home")
    assert (mode(above), mode(above / "new"), mode(above / "new" / "home")) == (0o755, 0o700, 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user")
@pytest.mark.parametrize(
    ("rights", "said"),
    [
        (
            0o777,
            "LEADLINE_HOME: expected a folder that can be closed to all but its owner, found {home} of the user root",
        ),
        (0o700, "LEADLINE_HOME: expected a home of yours, found {home}, which is closed to all but its owner"),
        (None, "LEADLINE_HOME: expected a folder that is there or can be made, found {home}: Permission denied"),
    ],
)
def test_a_home_that_cannot_be_ones_own_is_refused(rights: int | None, said: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        if rights is not None:
            home.mkdir()
            home.chmod(rights)
        assert _said_to_another_user(home).startswith(said.format(home=home))
        assert rights is None or mode(home) == rights


def _said_to_another_user(home: Path) -> str:
    """Return what a process of another user is told that chooses a home."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            chosen(home)
        except BaseException as error:  # noqa: BLE001
            os.write(tell, str(error).encode())
        os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told) as said:
        return said.read()


def test_a_published_file_can_be_opened_to_a_group_and_to_nobody_else(tmp_path: Path, group: grp.struct_group) -> None:
    home, folder = tmp_path / "home", tmp_path / "published"
    given = {"LEADLINE_PUBLISHED": str(folder), "LEADLINE_PUBLISHED_GROUP": group.gr_name}
    chosen(home, **given)
    assert (mode(folder), folder.stat().st_gid) == (0o2750, group.gr_gid)
    unfinished = folder / ".leadline.duckdb.unfinished"
    unfinished.touch()
    # as it comes from DuckDB: closed, until it has its group
    assert mode(unfinished) & OTHERS == 0
    open_to_group(unfinished, group.gr_name)
    assert (mode(unfinished), unfinished.stat().st_gid) == (0o640, group.gr_gid)
    unfinished.replace(folder / "leadline.duckdb")
    assert mode(folder / BELONGING) == 0o600
    # what was set aside, or is left of a publication that was killed, keeps nobody out; nor does a file cut short
    for name in ("leadline.duckdb.damaged-1", ".leadline.duckdb.unfinished.wal.checkpoint"):
        (folder / name).touch()
    (home / "publication.json").write_text("{}")
    for damage in (b"", b"\xff"):
        (folder / BELONGING).write_bytes(damage)
        chosen(home, **given)
        assert (folder / BELONGING).read_text() == f"{home}\n"
    # the setting is taken back
    chosen(home, LEADLINE_PUBLISHED=str(folder))
    assert (mode(folder), mode(folder / "leadline.duckdb")) == (0o700, 0o600)
    with pytest.raises(SettingError, match=rf"{folder}, to which {home} does"):
        chosen(tmp_path / "other", **given)


def test_what_somebody_may_have_planted_is_not_opened(tmp_path: Path, group: grp.struct_group) -> None:
    """Neither what a link leads to nor a folder of another user gets other rights."""
    home, folder, secret = tmp_path / "home", tmp_path / "published", tmp_path / "secret"
    folder.mkdir()
    secret.touch(mode=0o600)
    given = {"LEADLINE_PUBLISHED": str(folder), "LEADLINE_PUBLISHED_GROUP": group.gr_name}
    for name in ("leadline.duckdb", BELONGING):
        (folder / name).symlink_to(secret)
        with pytest.raises(SettingError, match=rf"found {folder / name}, which is a link or another user's"):
            chosen(home, **given)
        (folder / name).unlink()
    assert mode(secret) == 0o600
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        with pytest.raises(SettingError, match=f"expected a folder of the user root, who publishes, found {folder}"):
            chosen(home, **given)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"LEADLINE_PUBLISHED_GROUP": "root"},
            "LEADLINE_PUBLISHED_GROUP: expected LEADLINE_PUBLISHED with a folder outs",
        ),
        (
            {"LEADLINE_PUBLISHED": "{home}/published", "LEADLINE_PUBLISHED_GROUP": "root"},
            "outside of the home {home}, which its owner alone can enter, found {home}/published",
        ),
        (
            {"LEADLINE_PUBLISHED": "{folder}/new", "LEADLINE_PUBLISHED_GROUP": "nobody knows"},
            "LEADLINE_PUBLISHED_GROUP: expected a group of this machine, found 'nobody knows'",
        ),
        ({"LEADLINE_PUBLISHED": "{folder}"}, "expected a folder for the published file alone, found notes in {folder}"),
        ({"LEADLINE_PUBLISHED": "{folder}/no/folder"}, "found {folder}/no/folder: No such file or directory"),
        ({"LEADLINE_PUBLISHED": "{folder}/notes"}, "found {folder}/notes: "),
        ({"LEADLINE_PUBLISHED": "{open}/below/new"}, "found {open}/below/new, below {open}, in which another user can"),
        ({"LEADLINE_PUBLISHED": "{home}/artifacts/new"}, "found {home}/artifacts/new, which is one of Leadline's own"),
        ({"LEADLINE_PUBLISHED": "{another}"}, "found {another}/leadline.duckdb, of which the home knows nothing"),
        (
            {"LEADLINE_PUBLISHED": "{folder}/new", "LEADLINE_WAREHOUSE": "postgresql://me@host/leads"},
            "LEADLINE_PUBLISHED: expected a warehouse that is a DuckDB file",
        ),
    ],
)
def test_a_place_that_cannot_be_published_to_is_refused(more: dict[str, str], said: str, tmp_path: Path) -> None:
    places = {"home": tmp_path / "home", "folder": tmp_path / "folder", "another": tmp_path / "another"}
    places["open"] = tmp_path / "open"
    for name in ("folder", "another", "open", "open/below"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777 if name == "open" else 0o755)
    (places["folder"] / "notes").touch()
    (places["another"] / "leadline.duckdb").touch()
    with pytest.raises(SettingError) as refused:
        chosen(places["home"], **{name: value.format(**places) for name, value in more.items()})
    assert said.format(**places) in str(refused.value)
    # what is somebody's keeps its mode
    assert (mode(places["folder"]), mode(places["another"])) == (0o755, 0o755)
