"""``drain``: set aside, and wait for the leases."""

import pytest

from keypool_cli.errors import ExitCode
from tests.support.command_line import process, terminal
from tests.support.daemon import FLASH, a_home


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A daemon of a home with projects to drain."""
    with a_home(tmp_path_factory.mktemp("drain") / "home") as home, home.daemon() as daemon:
        yield home, daemon


def drain(home, *words):
    return process(home.path, "drain", *words, "--json")


def test_a_key_is_drained_when_its_leases_are_settled(serving):
    home, daemon = serving
    home.add_project("a", keys=["a1"], pool="a", rpm=50)
    home.add_project("other", keys=["o1"], pool="other", rpm=50)
    lease = daemon.granted(pool="a")
    other = daemon.granted(pool="other")
    left = drain(home, "a1", "--timeout", "0")
    assert left.code == ExitCode.FAILURE
    assert left.json == {
        "schema": 1,
        "project": None,
        "keys": ["a1"],
        "leases_at_start": 1,
        "leases_left": 1,
    }
    assert daemon.lease(pool="a").status_code in {429, 503}, "it is set aside all the same"
    daemon.settled(lease, status=200)
    assert drain(home, "a1").json["leases_left"] == 0
    daemon.release(other)


def test_a_sibling_keys_leases_are_not_waited_for(serving):
    home, daemon = serving
    home.add_project("b", keys=["b1", "b2"], pool="b", rpm=50)
    leases = [daemon.granted(pool="b") for _ in range(4)]
    used = {each["key"]["name"] for each in leases}
    counts = {name: drain(home, name, "--timeout", "0").json["leases_at_start"] for name in used}
    assert counts == {name: sum(each["key"]["name"] == name for each in leases) for name in used}
    for each in leases:
        daemon.release(each)


def test_a_project_is_drained_as_a_whole_on_every_model(serving):
    home, daemon = serving
    home.add_project("c", keys=["c1", "c2"], pool="c", rpm=50)
    leases = [daemon.granted(pool="c"), daemon.granted(pool="c", model="gemini-2.5-pro")]
    result = drain(home, "--project", "c", "--timeout", "0")
    assert result.json["leases_left"] == 2
    for each in leases:
        daemon.release(each)
    assert drain(home, "--project", "c").code == 0
    assert home.run(_project_of("c")).enabled is False


def _project_of(name):
    async def find(ports):
        return await ports.call(ports.registry.projects.find, name)

    return find


def test_waiting_ends_with_the_last_lease_and_shows_how_many_are_left(serving):
    home, daemon = serving
    home.add_project("d", keys=["d1"], pool="d", rpm=50)
    lease = daemon.granted(pool="d", model=FLASH)
    with terminal(home.path, "drain", "d1") as screen:
        screen.read_until(lambda text: "1 lease is left" in text)
        daemon.settled(lease, status=200)
        assert screen.end() == 0
    assert "d1 drained" in screen.text


def test_a_lease_whose_time_is_over_is_not_waited_for(serving):
    home, daemon = serving
    home.add_project("f", keys=["f1"], pool="f", rpm=50)
    daemon.granted(pool="f", ttl_s=1)
    assert drain(home, "f1", "--timeout", "20").json["leases_left"] == 0


def test_without_a_running_store_there_is_nobody_to_wait_for(keypool):
    keypool.add("k1", "p1")
    result = keypool("drain", "k1")
    assert (result.code, result.out) == (
        0,
        "k1 drained: disabled, no lease is left (there were 0)\n",
    )
    assert keypool("list").rows[0][2] == "disabled"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], ExitCode.USAGE),
        (["k1", "--project", "p1"], ExitCode.USAGE),
        (["k11"], ExitCode.NOT_FOUND),
        (["--project", "p11"], ExitCode.NOT_FOUND),
        (["k1", "k11"], ExitCode.NOT_FOUND),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_set_aside(keypool, words, code):
    keypool.add("k1", "p1")
    assert keypool("drain", *words).code == code
    assert keypool("list").rows[0][2] == "ready"


def test_who_stops_waiting_is_told_that_the_keys_stay_disabled_and_how_to_go_back(serving):
    home, daemon = serving
    home.add_project("left", keys=["left1"], pool="left", rpm=50)
    lease = daemon.granted(pool="left")
    with terminal(home.path, "drain", "left1") as drained:
        drained.read_until(lambda text: "1 lease is left" in text)
        drained.type("\x03")
        assert drained.end() == ExitCode.INTERRUPTED
    assert "Traceback" not in drained.text
    assert "no longer waiting; what was disabled stays so" in drained.text
    assert "hint: to go back: keypool enable left1" in drained.text
    late = process(home.path, "drain", "--project", "left", "--timeout", "0")
    assert "to go back: keypool project set left --enable" in late.err
    daemon.release(lease)
