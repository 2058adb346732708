"""Where settings come from, what is refused, and where the master key lies."""

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keypool_cli.config import (
    SETTING_NAMES,
    Settings,
    ensure_home,
    is_loopback,
    load,
    masked_url,
    master_key,
    misspelt,
)
from keypool_cli.errors import NotPermittedError, UsageError

RAW = bytes(range(32))


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch) -> Path:
    """The user's own config file, in a scratch folder; not written yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "config" / "keypool"
    folder.mkdir(parents=True)
    return folder / "keypool.toml"


@pytest.fixture
def local_file(tmp_path: Path, user_file) -> Path:
    """./keypool.toml of a working folder beside it; not written yet."""
    assert not user_file.exists()
    folder = tmp_path / "work"
    folder.mkdir()
    return folder / "keypool.toml"


@pytest.fixture
def settings(local_file):
    """Load settings in the scratch working folder, from the given flags and variables alone."""

    def load_here(flags=None, **env: str) -> Settings:
        return load(flags or {}, env=env, cwd=local_file.parent)

    return load_here


def test_with_nothing_set_every_setting_has_its_default(settings, tmp_path):
    found = settings()
    assert found.home == tmp_path / "data" / "keypool"
    assert found.database_url == f"sqlite:///{tmp_path}/data/keypool/keypool.db"
    assert found.redis_url is None
    assert found.upstream_url == "https://generativelanguage.googleapis.com"
    assert (found.host, found.port) == ("127.0.0.1", 8787)
    assert (found.guard_ms, found.window_s, found.starve_s) == (500, 60.0, 10.0)
    assert {found.origin(name) for name in SETTING_NAMES} == {"default"}


def test_a_flag_beats_the_environment_beats_both_files(settings, local_file, user_file):
    user_file.write_text('host = "user"\nport = 1\nguard_ms = 1\nstarve_s = 1\n')
    local_file.write_text("port = 2\nguard_ms = 2\nstarve_s = 2\n")
    found = settings({"starve_s": 4}, KEYPOOL_GUARD_MS="3", KEYPOOL_STARVE_S="3")
    assert (found.host, found.port, found.guard_ms, found.starve_s) == ("user", 2, 3, 4.0)
    assert found.origin("starve_s") == "flag --starve-s"
    assert found.origin("guard_ms") == "environment KEYPOOL_GUARD_MS"
    assert found.origin("port") == "./keypool.toml"
    assert found.origin("host") == str(user_file)


def test_a_flag_that_is_none_and_an_empty_variable_count_as_not_given(settings):
    found = settings({"port": None}, KEYPOOL_PORT="", KEYPOOL_REDIS_URL=" ")
    assert (found.port, found.redis_url) == (8787, None)
    assert found.origin("port") == "default"


def test_the_default_database_lies_in_the_home_that_was_chosen(settings):
    assert settings(KEYPOOL_HOME="/h").database_url == "sqlite:////h/keypool.db"


@pytest.mark.parametrize(
    "line",
    [
        'home = "/h"',
        'redis_url = "redis://h"',
        'database_url = "sqlite:///d"',
        'master_key = "k"',
        'master_key_file = "/k"',
        'upstream_url = "https://evil.example"',
        "insecure_upstream = true",
    ],
    ids=lambda line: line.split()[0],
)
def test_the_working_folder_may_not_redirect_secrets(settings, local_file, user_file, line):
    local_file.write_text(line)
    with pytest.raises(UsageError) as caught:
        settings()
    assert f"./keypool.toml may not set '{line.split()[0]}'" in str(caught.value)
    assert str(user_file) in str(caught.value.hint)


def test_a_forbidden_line_is_refused_even_where_a_flag_overrides_it(settings, local_file):
    local_file.write_text('home = "/h"')
    with pytest.raises(UsageError):
        settings({"home": "/mine"})


def test_the_users_own_file_may_set_everything(settings, user_file):
    user_file.write_text('home = "data"\nredis_url = "redis://h"\nmaster_key_file = "k"')
    found = settings()
    assert found.home == user_file.parent / "data"
    assert found.master_key_file == user_file.parent / "k"
    assert found.redis_url == "redis://h"


def test_the_users_file_is_no_strangers_when_its_folder_is_the_working_folder(user_file):
    user_file.write_text('home = "/h"')
    assert load({}, env={}, cwd=user_file.parent).home == Path("/h")


def test_an_unknown_name_in_a_file_names_the_closest_setting(settings, local_file):
    local_file.write_text("gaurd_ms = 5")
    with pytest.raises(UsageError, match=r"\./keypool\.toml sets 'gaurd_ms'") as caught:
        settings()
    assert caught.value.hint == "did you mean 'guard_ms'?"


def test_a_variable_much_like_a_settings_own_is_found():
    env = {
        "KEYPOOL_REDISURL": "redis://h", "KEYPOOL_UPSTREAM": "u", "KEYPOOL_MASTERKEY_FILE": "f",
        "KEYPOOL_HOME": "h", "KEYPOOL_TOKEN": "t", "KEYPOOL_IMAGE": "i", "REDISURL": "r",
    }  # fmt: skip
    assert misspelt(env) == {
        "KEYPOOL_MASTERKEY_FILE": "KEYPOOL_MASTER_KEY_FILE",
        "KEYPOOL_REDISURL": "KEYPOOL_REDIS_URL",
        "KEYPOOL_UPSTREAM": "KEYPOOL_UPSTREAM_URL",
    }


def test_a_file_that_is_nested_without_end_is_no_toml(settings, user_file):
    user_file.write_text("host = " + "[" * 100_000)
    with pytest.raises(UsageError, match="not valid TOML"):
        settings()


def test_a_broken_file_is_named_with_the_place_but_not_its_text(settings, user_file):
    user_file.write_text('redis_url = "redis://:hunter2@h')
    with pytest.raises(UsageError, match=r"not valid TOML \(at .*\)") as caught:
        settings()
    assert str(user_file) in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", True),
        ("guard_ms", "-1"),
        ("guard_ms", 2.5),
        ("window_s", "nan"),
        ("starve_s", "soon"),
        ("insecure_upstream", "maybe"),
        ("redis_url", "http://h"),
        ("redis_url", "redis"),
        ("database_url", "keypool.db"),
        ("upstream_url", "ftp://h"),
        ("upstream_url", "https://"),
        ("upstream_url", "https://h:port"),
        ("upstream_url", "https://user:hunter2@h"),
        ("upstream_url", "https://h?key=hunter2"),
        ("upstream_url", "https://h/v1beta/"),
        ("upstream_url", "https://h/gateway/v1beta/openai"),
        ("host", " "),
        ("host", 7),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_name_and_origin(settings, name, value):
    with pytest.raises(UsageError, match=f"^{name} is not valid \\(flag --") as caught:
        settings({name: value})
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_an_unknown_flag_is_refused(settings):
    with pytest.raises(UsageError, match="no setting"):
        settings({"prot": 1})


def test_plain_http_beyond_this_machine_needs_consent(settings):
    away = {"upstream_url": "http://proxy.example/"}
    with pytest.raises(UsageError, match="unencrypted") as caught:
        settings(away)
    assert "--insecure-upstream" in str(caught.value.hint)
    assert settings({**away, "insecure_upstream": True}).upstream_url == "http://proxy.example"


def test_consent_is_asked_for_in_a_way_that_every_verb_understands(settings):
    away = {"upstream_url": "http://proxy.example/"}
    with pytest.raises(UsageError) as caught:
        settings(away)
    variable, _, value = str(caught.value.hint).split(": ")[1].split()[0].partition("=")
    assert settings(away, **{variable: value}).insecure_upstream


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9", "127.8.0.1", "[::1]:9", "localhost", "a.localhost"]
)
def test_plain_http_on_this_machine_is_fine_with_any_window(settings, host):
    found = settings({"upstream_url": f"http://{host}", "window_s": "2"})
    assert found.window_s == 2.0


@pytest.mark.parametrize("host", [None, "127.0.0.1.example", "localhost.example", "0.0.0.0", ""])
def test_other_hosts_are_not_this_machine(host):
    assert not is_loopback(host)


def test_another_window_is_refused_for_the_real_upstream(settings):
    with pytest.raises(UsageError, match="window_s is 60"):
        settings(KEYPOOL_WINDOW_S="2")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u:hunter2@h:1/0", "redis://u:***@h:1/0"),
        ("redis://:hunter2@h", "redis://:***@h"),
        ("redis://hunter2@h", "redis://***@h"),
        ("redis://u:hun/ter2@h", "redis://u:***@h"),
        ("redis://u:hun#te?r2@h", "redis://u:***@h"),
        ("redis://u:hunt@er2@h", "redis://u:***@h"),
        ("redis+sentinel://h/s?sentinel_password=hunter2&db=1", "redis+sentinel://h/s?sentinel_password=***&db=1"),
        ("unix:///s?password=hunt@er2", "unix:///s?password=***"),
        ("postgresql://h/d?Password=hunter2", "postgresql://h/d?Password=***"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)  # fmt: skip
def test_no_password_of_a_url_is_shown(url, shown):
    assert masked_url(url) == shown


def test_neither_repr_nor_display_holds_a_secret(settings):
    found = settings(
        KEYPOOL_REDIS_URL="redis://u:hunter2@h",
        KEYPOOL_DATABASE_URL="postgresql://u:hunter2@h/d",
        KEYPOOL_MASTER_KEY="hunter2",
    )
    shown = [found.shown(name) for name in SETTING_NAMES]
    assert "hunter2" not in f"{found!r} {found} {shown}"
    assert found.shown("master_key") == "***"
    assert found.shown("insecure_upstream") == "false"
    assert settings().shown("redis_url") == "embedded Valkey"
    assert settings().shown("master_key") == ""


# --- home and master key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_home_is_made_for_its_owner_alone(tmp_path):
    assert mode(ensure_home(tmp_path / "deep" / "home")) == 0o700


def test_a_home_that_others_may_write_in_is_refused(tmp_path):
    tmp_path.chmod(0o770)
    with pytest.raises(NotPermittedError) as caught:
        ensure_home(tmp_path)
    assert f"chmod 700 '{tmp_path}'" in str(caught.value.hint)


def test_a_home_that_cannot_be_made_is_not_permitted(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotPermittedError, match="cannot be made"):
        ensure_home(tmp_path / "file" / "home")


@pytest.mark.parametrize(
    "text",
    [
        RAW.hex(),
        RAW.hex().upper(),
        base64.b64encode(RAW).decode(),
        base64.b64encode(RAW).decode().rstrip("="),
        f" {base64.urlsafe_b64encode(RAW).decode()}\n",
    ],
)
def test_a_master_key_is_read_as_hex_or_base64(settings, text):
    assert master_key(settings(KEYPOOL_MASTER_KEY=text)) == RAW


@pytest.mark.parametrize("text", ["hunter2", "00" * 31, "zz" * 32, "!" * 44, RAW.hex() + "00"])
def test_a_malformed_master_key_is_refused_without_repeating_it(settings, text):
    with pytest.raises(UsageError, match="32 bytes") as caught:
        master_key(settings(KEYPOOL_MASTER_KEY=text))
    assert text not in f"{caught.value}{caught.value.hint}"
    assert "environment KEYPOOL_MASTER_KEY" in str(caught.value)


def test_the_master_key_comes_from_a_named_file(settings, tmp_path):
    file = tmp_path / "k"
    file.write_text(RAW.hex() + "\n")
    file.chmod(0o640)  # as a container mounts a secret for a group
    assert master_key(settings(KEYPOOL_MASTER_KEY_FILE=str(file))) == RAW


@pytest.mark.parametrize("bits", [0o644, 0o604, 0o602, 0o620])
def test_a_named_key_file_that_others_can_use_is_refused(settings, tmp_path, bits):
    file = tmp_path / "k"
    file.write_text(RAW.hex())
    file.chmod(bits)
    with pytest.raises(NotPermittedError) as caught:
        master_key(settings(KEYPOOL_MASTER_KEY_FILE=str(file)))
    assert f"chmod 600 '{file}'" in str(caught.value.hint)


def test_a_named_key_file_that_is_missing_is_not_made(settings, tmp_path):
    file = tmp_path / "k"
    with pytest.raises(UsageError, match="cannot be read"):
        master_key(settings(KEYPOOL_MASTER_KEY_FILE=str(file)))
    assert not file.exists()


def test_a_key_file_of_other_bytes_is_refused(settings, tmp_path):
    file = tmp_path / "k"
    file.write_bytes(b"\xff" * 32)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="not text"):
        master_key(settings(KEYPOOL_MASTER_KEY_FILE=str(file)))


def test_the_key_file_in_home_is_made_once_and_read_ever_after(settings, tmp_path):
    found = settings(KEYPOOL_HOME=str(tmp_path / "h"))
    key = master_key(found)
    assert len(key) == 32
    assert master_key(found) == key
    assert [file.name for file in found.home.iterdir()] == ["master.key"]
    assert mode(found.home / "master.key") == 0o600


def test_a_key_file_in_home_that_others_can_read_is_refused(settings, tmp_path):
    found = settings(KEYPOOL_HOME=str(tmp_path / "h"))
    master_key(found)
    (found.home / "master.key").chmod(0o640)
    with pytest.raises(NotPermittedError, match="mode 0640") as caught:
        master_key(found)
    assert "chmod 600" in str(caught.value.hint)


RACER = """
import sys
from pathlib import Path
from keypool_cli.config import load, master_key
settings = load({"home": sys.argv[1]}, env={})
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    pass
print(master_key(settings).hex())
"""


def test_processes_that_make_the_key_file_at_once_agree_on_one_key(tmp_path):
    go = tmp_path / "go"
    words = [sys.executable, "-c", RACER, str(tmp_path / "home"), str(go)]
    racers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    go.touch()
    keys = {racer.communicate(timeout=60)[0] for racer in racers}
    assert len(keys) == 1
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["master.key"]


def test_config_imports_none_of_the_heavy_libraries():
    program = (
        "import sys, keypool_cli.config\n"
        "print([name for name in ('sqlalchemy', 'typer', 'rich', 'redis') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"
