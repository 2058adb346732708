"""What the scripts store of a project: most of it stands from grant to grant, and is written seldom."""

import re
from importlib.resources import files

LUA = files("keypool_cli.engine") / "lua"
FIELD = re.compile(r"\{ '(\w+)', '\w+' \}")
ASSIGNED = re.compile(r"((?:(?:state|client)\.\w+, )*(?:state|client)\.\w+) = ")


def standing() -> set[str]:
    text = (LUA / "records.lua").read_text("utf-8")
    _, _, rest = text.partition("FIELDS.standing = {")
    return set(FIELD.findall(rest.partition("\n}")[0]))


def test_what_stands_is_changed_only_so_that_it_is_written():
    # set() notes the change; a plain assignment would be lost with the call
    found = [
        (part.name, name)
        for part in LUA.iterdir()
        for left in ASSIGNED.findall(part.read_text("utf-8"))
        for name in re.findall(r"\.(\w+)", left)
        if name in standing()
    ]
    assert "cool_until" in standing()
    assert found == []
