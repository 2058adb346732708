"""What upstream keeps in one project: found by name, owned by its maker, forgotten in time."""

import pytest
from sqlalchemy import text

from keypool_cli.core.known_sizes import Size
from keypool_cli.core.model import Secret
from keypool_cli.errors import NotPermittedError
from keypool_cli.registry import database, schema
from keypool_cli.registry.repository import Registry
from keypool_cli.registry.resources import Resource
from keypool_cli.registry.values import NewClient
from tests.support.registry import BY, MASTER_KEY


@pytest.fixture
def projects(registry):
    return [registry.projects.create(name, by=BY).id for name in ("p1", "p2")]


@pytest.fixture
def clients(registry):
    return [registry.clients.add(NewClient(name), by=BY)[0].id for name in ("amal", "badr")]


def test_a_resource_is_found_by_its_name_with_project_and_maker(registry, projects, clients):
    made = Resource("files/a", projects[0], clients[0], 99_999_999_999_999)
    registry.resources.keep([made], made=True)
    assert registry.resources.find(["files/a", "files/b"]) == [made]
    assert registry.resources.find([]) == []


def test_two_projects_may_use_one_name(registry, projects):
    both = [Resource("files/a", each) for each in projects]
    registry.resources.keep(both, made=True)
    assert sorted(registry.resources.find(["files/a"]), key=lambda r: r.project_id) == both


def test_what_is_only_heard_of_does_not_change_its_owner_and_what_is_made_does(
    registry, projects, clients
):
    first, second = (Resource("files/a", projects[0], each) for each in clients)
    registry.resources.keep([first], made=True)
    registry.resources.keep([second], made=False)
    assert registry.resources.find(["files/a"]) == [first]
    registry.resources.keep([second], made=True)
    assert registry.resources.find(["files/a"]) == [second]


def test_a_client_has_its_own_by_project_and_collection(registry, projects, clients):
    mine = [
        Resource("files/a", projects[0], clients[0]),
        Resource("files/b", projects[1], clients[0]),
    ]
    others = [
        Resource("files/c", projects[0], clients[1]),
        Resource("batches/d", projects[0], clients[0]),
    ]
    registry.resources.keep([*mine, *others], made=True)
    found = registry.resources.made_by(clients[0], "files")
    assert found == {projects[0]: {"files/a"}, projects[1]: {"files/b"}}


def test_the_newest_living_resource_tells_where_a_client_is_at_home(
    registry, projects, clients, clock
):
    last = registry.resources.last_project
    assert last(clients[0], projects) is None
    registry.resources.keep([Resource("files/a", projects[0], clients[0])], made=True)
    clock.now_ms += 1000
    brief = Resource("files/b", projects[1], clients[0], clock.now_ms + 10)
    registry.resources.keep([brief], made=True)
    assert last(clients[0], projects) == projects[1]
    assert last(clients[0], projects[:1]) == projects[0]
    clock.now_ms += 11
    assert last(clients[0], projects) == projects[0]


def test_what_is_surely_gone_is_forgotten_when_the_next_one_comes(registry, projects, clock):
    registry.resources.keep([Resource("files/a", projects[0], None, clock.now_ms + 10)], made=True)
    clock.now_ms += 11
    registry.resources.keep([Resource("files/b", projects[0])], made=True)
    assert registry.resources.find(["files/a"]) == []


def test_a_deleted_one_is_forgotten_in_its_project_only(registry, projects):
    registry.resources.keep([Resource("files/a", each) for each in projects], made=True)
    registry.resources.forget("files/a", projects[0])
    assert [each.project_id for each in registry.resources.find(["files/a"])] == [projects[1]]


def test_a_project_takes_what_it_had_along(registry, projects):
    registry.resources.keep([Resource("files/a", projects[0])], made=True)
    registry.projects.remove("p1", by=BY)
    assert registry.resources.find(["files/a"]) == []
    registry.resources.keep([Resource("files/b", projects[0])], made=True)
    assert registry.resources.find(["files/b"]) == []


def test_resources_make_no_revision(registry, projects):
    before = registry.revision()
    registry.resources.keep([Resource("files/a", projects[0])], made=True)
    registry.resources.forget("files/a", projects[0])
    assert registry.revision() == before


def test_a_token_opens_for_its_purpose_only_and_tells_nothing(registry):
    token = registry.seals.token("https://upstream/upload_id=1", "upload")
    assert registry.seals.text(token, "upload") == "https://upstream/upload_id=1"
    assert "upstream" not in token
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong, purpose in ((token, "page"), (changed, "upload"), ("", "upload"), ("ä", "upload")):
        with pytest.raises(NotPermittedError):
            registry.seals.text(wrong, purpose)


def test_an_egress_proxy_is_sealed_and_its_password_shows_nowhere(registry, migrated_url):
    url = Secret("http://amal:hunter2@proxy.example:3128")
    registry.projects.create("p1", by=BY, egress_proxy=url)
    registry.projects.set("p1", by=BY, egress_proxy=url)
    project = registry.projects.find("p1")
    assert project.egress_proxy == "http://amal:***@proxy.example:3128"
    opened = database.connect(migrated_url)
    with opened.read() as connection:
        for table in ("projects", "events"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert "hunter2" not in repr(rows)
    opened.close()
    registry.projects.set("p1", by=BY, egress_proxy=None)
    assert registry.projects.find("p1").egress_proxy is None


def test_a_database_of_the_first_schema_is_brought_up_to_date(url):
    opened = database.connect(url)
    _at_first_schema(opened)
    with opened.write() as connection:
        connection.execute(
            text(
                "INSERT INTO pools (name, policy, wait_s, created_at_ms) "
                "VALUES ('main', 'spread', 0, 0)"
            )
        )
    opened.close()
    registry = Registry.open(url, master_key=MASTER_KEY)
    assert registry.pools.find("main").shared_resources is False
    registry.close()


def _at_first_schema(opened):
    head, schema.HEAD = schema.HEAD, "0001"
    try:
        schema.ensure(opened)
    finally:
        schema.HEAD = head


def test_a_size_is_kept_and_learned_once(registry, projects, clients):
    sized = Resource("files/a", projects[0], clients[0], None, Size(None, "text/csv", 9, 1.5))
    registry.resources.keep([sized, Resource("cachedContents/c", projects[0])], made=True)
    registry.resources.measure("cachedContents/c", projects[0], Size(tokens=5000))
    registry.resources.measure("cachedContents/c", projects[0], Size(tokens=6000, seconds=2.5))
    found = registry.resources.find(["files/a", "cachedContents/c"])
    assert {each.name: each.size for each in found} == {
        "files/a": sized.size,
        "cachedContents/c": Size(tokens=5000, seconds=2.5),
    }


def test_a_type_that_no_database_takes_is_kept_as_near_as_can_be(registry, projects):
    told = Size(mime_type="text/\0plain")
    registry.resources.keep([Resource("files/a", projects[0], size=told)], made=True)
    registry.resources.keep([Resource("files/b", projects[0])], made=True)
    registry.resources.measure("files/b", projects[0], told)
    kept = registry.resources.find(["files/a", "files/b"])
    assert [each.size.mime_type for each in kept] == ["text/�plain"] * 2
