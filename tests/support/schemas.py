"""The JSON Schemas of what ``--json`` prints: made from the values where there are any.

Run ``python -m tests.support.schemas`` to write them into the package again.
"""

import json
from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import msgspec

from keypool_cli.cli.top_text import TopLine
from keypool_cli.core.model import MarkScope
from keypool_cli.service.checking import Checked
from keypool_cli.service.clients import ClientView
from keypool_cli.service.doctor_finding import Finding
from keypool_cli.service.events import EventView
from keypool_cli.service.explaining import Explained
from keypool_cli.service.keys import KeyView
from keypool_cli.service.pools import PoolView
from keypool_cli.service.probing_report import CheckReport, ProbeReport
from keypool_cli.service.projects import ProjectView
from keypool_cli.service.quotas import QuotaView
from keypool_cli.service.standing import Status, promised_schema

FOLDER = Path(__file__).parents[2] / "keypool_cli" / "schemas"

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
FLAG: Json = {"type": "boolean"}
ANY_TABLE: Json = {"type": "object"}


def maybe(kind: Json) -> Json:
    return {"anyOf": [kind, {"type": "null"}]}


def some(kind: Json) -> Json:
    return {"type": "array", "items": kind}


def one_of(*words: str) -> Json:
    return {"enum": list(words)}


def table(fields: Mapping[str, Json], *, optional: Mapping[str, Json] | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": False,
    }


class _Ref(dict[str, Any]):
    """A value's own schema: its parts become definitions of the schema it stands in."""


def of(kind: type) -> _Ref:
    (schema,), parts = msgspec.json.schema_components(
        [kind], schema_hook=lambda _: {"title": "any value"}, ref_template="#/$defs/{name}"
    )
    found = _Ref(schema)
    found["parts"] = parts
    return found


LIMIT: Json = {"anyOf": [COUNT, {"const": "unlimited"}, {"type": "null"}]}
KEY, PROJECT, POOL, CLIENT = of(KeyView), of(ProjectView), of(PoolView), of(ClientView)
QUOTA = of(QuotaView)
CLEARED = table(
    {
        "what": TEXT,
        "subject": TEXT,
        "model": maybe(TEXT),
        "rule": maybe(TEXT),
        "until": maybe(TEXT),
        "before": TEXT,
        "after": TEXT,
    }
)
HELD = table(
    {
        "what": one_of("cooling", "excluded", "disabled"),
        "scope": one_of(*MarkScope),
        "subject": TEXT,
        "model": maybe(TEXT),
        "rule": TEXT,
        "reason": TEXT,
        "until": maybe(TEXT),
        "command": TEXT,
    }
)
KEYS_OF_EXPORT = table(
    {
        "name": TEXT,
        "project": TEXT,
        "pool": TEXT,
        "tier": TEXT,
        "priority": {"type": "integer"},
        "labels": ANY_TABLE,
        "fingerprint": TEXT,
        "state": TEXT,
        "pools": some(TEXT),
        "billing_account": TEXT,
        "egress_proxy": TEXT,
        "project_state": TEXT,
    },
    optional={"secret": TEXT},
)
CHANGE = table(
    {
        "action": one_of("add", "change", "remove"),
        "kind": one_of("pool", "project", "key", "quota", "client"),
        "name": TEXT,
        "before": ANY_TABLE,
        "after": ANY_TABLE,
        "outcome": one_of("planned", "done", "refused"),
        "reason": maybe(TEXT),
    }
)
KEY_LINE = table({"line": COUNT, "name": TEXT, "outcome": TEXT, "reason": maybe(TEXT)})
LIMIT_LINE = table(
    {
        "line": COUNT,
        "model": TEXT,
        "rpm": LIMIT,
        "tpm": LIMIT,
        "rpd": LIMIT,
        "outcome": TEXT,
        "reason": maybe(TEXT),
    }
)
CHANGED_KEYS = {"outcome": TEXT, "keys": some(KEY)}
COUNTS = {"dry_run": FLAG, "added": COUNT, "stored_already": COUNT, "refused": COUNT}
URL = {"url": TEXT}

ANSWERS: Mapping[str, Mapping[str, Json]] = {
    "add": {"key": KEY},
    "list": {"keys": some(KEY)},
    "show": {"key": KEY},
    "disable": CHANGED_KEYS,
    "enable": CHANGED_KEYS,
    "remove": CHANGED_KEYS,
    "rotate": {"key": KEY, "before": table({"fingerprint": TEXT})},
    "import": {**COUNTS, "lines": some(KEY_LINE)},
    "export": {"keys": some(KEYS_OF_EXPORT)},
    "apply": {"dry_run": FLAG, "changed": COUNT, "refused": COUNT, "changes": some(CHANGE)},
    "check": {
        **dict.fromkeys(("valid", "dead", "blocked", "unsure"), COUNT),
        "keys": some(of(Checked)),
    },
    "drain": {
        "project": maybe(TEXT),
        "keys": some(TEXT),
        "leases_at_start": COUNT,
        "leases_left": COUNT,
    },
    "reset": {
        "dry_run": FLAG,
        "cleared": some(CLEARED),
        "projects": some(TEXT),
        "freed": some(TEXT),
        "still_dead": some(TEXT),
        "held": some(HELD),
    },
    "events": {"events": some(of(EventView))},
    "doctor": {"healthy": FLAG, "findings": some(of(Finding))},
    "probe": {"models": some({"anyOf": [of(ProbeReport), of(CheckReport)]})},
    "env": {"env": {"type": "object", "additionalProperties": TEXT}},
    "serve": URL,
    "simulate": URL,
    "demo": {
        "served": ANY_TABLE,
        "tokens": ANY_TABLE,
        "refused_upstream": ANY_TABLE,
        "refused_to_callers": COUNT,
        "promises": some(table({"promise": TEXT, "kept": FLAG})),
        "took_s": NUMBER,
    },
    "config-show": {
        "settings": some(table({"name": TEXT, "value": TEXT, "origin": TEXT})),
    },
    "quota-list": {"quotas": some(QUOTA)},
    "quota-set": {"quota": QUOTA},
    "quota-unset": {"removed": some(QUOTA)},
    "quota-import": {"dry_run": FLAG, "set": COUNT, "refused": COUNT, "lines": some(LIMIT_LINE)},
    "project-list": {"projects": some(PROJECT)},
    "project-show": {"project": PROJECT},
    "project-set": {"project": PROJECT},
    "project-remove": {"project": PROJECT},
    "pool-list": {"pools": some(POOL)},
    "pool-show": {"pool": POOL},
    "pool-set": {"pool": POOL},
    "pool-remove": {"pool": POOL},
    "client-add": {"name": TEXT, "token": TEXT},
    "client-list": {"clients": some(CLIENT)},
    "client-revoke": {"client": CLIENT},
    "error": {
        "error": table({"message": TEXT, "hint": maybe(TEXT), "exit_code": {"type": "integer"}}),
    },
}
"""What stands beside ``schema`` in the answer of each verb, and of each error."""

WHOLE: Mapping[str, type] = {"status": Status, "top": TopLine, "explain": Explained}
"""Answers that are one value; ``top`` prints one a line."""

CHOICES: Mapping[str, tuple[Mapping[str, Json], ...]] = {
    "guide": (
        {"topics": some(table({"topic": TEXT, "about": TEXT}))},
        {"topic": TEXT, "text": TEXT},
    ),
    "completions": ({"files": some(TEXT)}, {"shell": TEXT, "script": TEXT}),
}
"""Answers that depend on what was asked."""


def schemas() -> dict[str, Json]:
    """Every schema by its name."""
    found = {name: _answer(fields) for name, fields in ANSWERS.items()}
    found |= {name: of(kind) for name, kind in WHOLE.items()}
    promised_schema(found["status"]["parts"]["ProjectStatus"])
    found |= {n: {"anyOf": [_answer(each) for each in many]} for n, many in CHOICES.items()}
    return {name: _finished(name, schema) for name, schema in sorted(found.items())}


def _answer(fields: Mapping[str, Json]) -> Json:
    return table({"schema": {"const": 1}, **fields})


def _finished(name: str, schema: Json) -> Json:
    parts: Json = {}
    whole: Json = _without_parts(schema, parts)
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    told |= {"$id": f"urn:keypool:schema:1:{name}", "title": name.replace("-", " ")}
    definitions = {"$defs": dict(sorted(parts.items()))} if parts else {}
    return told | whole | definitions


def _without_parts(value: Any, parts: Json) -> Any:
    """A copy whose values' parts are gathered in ``parts``, and in which nothing else may stand."""
    if isinstance(value, _Ref):
        for name, part in value["parts"].items():
            parts[name] = _closed(part)
        return {name: each for name, each in value.items() if name != "parts"}
    if isinstance(value, dict):
        return {name: _without_parts(each, parts) for name, each in value.items()}
    return [_without_parts(each, parts) for each in value] if isinstance(value, list) else value


def _closed(part: Json) -> Json:
    if "description" in part:
        # Pythons before 3.13 keep a docstring's indentation.
        part = part | {"description": cleandoc(part["description"])}
    return part | {"additionalProperties": False} if "properties" in part else part


def check(name: str, answer: Any) -> Any:
    """The answer, which must be as the package's schema of that name says."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(answer, schema)
    return answer


def text_of(schema: Json) -> str:
    """A schema as it is written into its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write every schema into the package, and remove those of no verb."""
    made = schemas()
    for file in FOLDER.glob("*.json"):
        if file.stem not in made:
            file.unlink()
    for name, schema in made.items():
        (FOLDER / f"{name}.json").write_text(text_of(schema), encoding="utf-8")


if __name__ == "__main__":
    write()
