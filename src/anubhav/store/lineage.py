"""Rows of lineage: what each lap used, and the walks through them, each one statement.

An adapter is known to come from a lap by the release that the lap ended in, or by its checkpoint, which has the lap's
name. A lap went on from what its alias answered with when it was released: the newest change of the alias before.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from anubhav.store.connection import Connection, Row
from anubhav.types.people import Edge, Node, Trace, Use

_LIMIT = 5000
"""Edges of one walk."""

_MADE = """
made (lap, adapter, release, alias, seq) AS (
    SELECT lap, adapter, id, alias, seq FROM releases WHERE lap IS NOT NULL AND adapter IS NOT NULL),
parents (lap, adapter) AS (
    SELECT made.lap, (SELECT before.adapter FROM releases AS before WHERE before.alias = made.alias
        AND before.seq < made.seq AND before.action <> 'discard' ORDER BY before.seq DESC LIMIT 1) FROM made)
"""
_FACTS = """
SELECT kind, id, CASE kind
    WHEN 'reply' THEN (SELECT json_object('alias', alias, 'tenant', tenant, 'user', user, 'session', session,
        'turn', turn, 'arm', arm, 'memory', memory, 'created_at', created_at) FROM episodes WHERE episodes.id = walk.id)
    WHEN 'feedback' THEN (SELECT json_object('kind', kind, 'rater', rater, 'tenant', tenant, 'created_at', created_at)
        FROM feedback WHERE feedback.id = walk.id LIMIT 1)
    WHEN 'lap' THEN (SELECT json_object('alias', alias, 'state', state, 'started_at', started_at)
        FROM laps WHERE laps.id = walk.id)
    WHEN 'release' THEN (SELECT json_object('alias', alias, 'action', action, 'path', path, 'created_at', created_at)
        FROM releases WHERE releases.id = walk.id)
    WHEN 'adapter' THEN (SELECT json_object('path', path, 'base_model', base_model)
        FROM checkpoints WHERE checkpoints.adapter = walk.id LIMIT 1)
    WHEN 'memory' THEN (SELECT json_object('scope', scope, 'key', key, 'version', version)
        FROM memories WHERE memories.id = substr(walk.id, 1, instr(walk.id, '@') - 1))
    END AS facts, source, what
FROM walk
"""
_BACK = f"""
WITH RECURSIVE {_MADE},
walk (kind, id, source, what) AS (
    VALUES (:kind, :id, NULL, NULL)
    UNION SELECT 'adapter', episodes.adapter, walk.id, 'said by'
        FROM walk JOIN episodes ON episodes.id = walk.id
        WHERE walk.kind = 'reply' AND walk.source IS NULL AND episodes.adapter <> ''
    UNION SELECT 'memory', episodes.memory, walk.id, 'remembered from'
        FROM walk JOIN episodes ON episodes.id = walk.id
        WHERE walk.kind = 'reply' AND walk.source IS NULL AND episodes.memory IS NOT NULL
    UNION SELECT 'reply', feedback.episode, walk.id, 'about'
        FROM walk JOIN feedback ON feedback.id = walk.id WHERE walk.kind = 'feedback' AND walk.source IS NULL
    UNION SELECT 'adapter', releases.adapter, walk.id, 'released'
        FROM walk JOIN releases ON releases.id = walk.id WHERE walk.kind = 'release' AND walk.source IS NULL
        AND releases.adapter IS NOT NULL
    UNION SELECT 'release', made.release, walk.id, 'released as'
        FROM walk JOIN made ON made.adapter = walk.id WHERE walk.kind = 'adapter'
    UNION SELECT 'lap', made.lap, walk.id, 'made by'
        FROM walk JOIN made ON made.adapter = walk.id WHERE walk.kind = 'adapter'
    UNION SELECT 'lap', checkpoints.name, walk.id, 'made by'
        FROM walk JOIN checkpoints ON checkpoints.adapter = walk.id JOIN laps ON laps.id = checkpoints.name
        WHERE walk.kind = 'adapter'
    UNION SELECT 'adapter', parents.adapter, walk.id, 'went on from'
        FROM walk JOIN parents ON parents.lap = walk.id WHERE walk.kind = 'lap' AND parents.adapter IS NOT NULL
    UNION SELECT 'reply', used.episode, walk.id, used.role || ' in batch ' || used.part
        FROM walk JOIN used ON used.lap = walk.id WHERE walk.kind = 'lap'
    UNION SELECT 'feedback', used.feedback, used.episode, 'judged by'
        FROM walk JOIN used ON used.lap = walk.id WHERE walk.kind = 'lap' AND used.feedback <> ''
    UNION SELECT 'rater', feedback.tenant || '/' || feedback.rater, walk.id, 'given by'
        FROM walk JOIN feedback ON feedback.id = walk.id WHERE walk.kind = 'feedback' AND feedback.rater IS NOT NULL
    LIMIT {_LIMIT + 1})
{_FACTS}
"""
_ONWARD = f"""
WITH RECURSIVE {_MADE},
walk (kind, id, source, what) AS (
    VALUES (:kind, :id, NULL, NULL)
    UNION SELECT 'reply', episodes.id, walk.id,
        CASE episodes.arm WHEN 'shadow' THEN 'was answered unheard' ELSE 'was given' END
        FROM walk JOIN episodes ON episodes.user = :name AND (:tenant IS NULL OR episodes.tenant = :tenant)
        WHERE walk.kind = 'user'
    UNION SELECT 'feedback', feedback.id, walk.id, 'gave'
        FROM walk JOIN feedback ON feedback.rater = :name AND (:tenant IS NULL OR feedback.tenant = :tenant)
        WHERE walk.kind IN ('rater', 'user')
    UNION SELECT 'feedback', feedback.id, walk.id, 'judged by'
        FROM walk JOIN feedback ON feedback.episode = walk.id
        WHERE walk.kind = 'reply' AND (walk.source IS NULL OR walk.what = 'was given')
    UNION SELECT 'lap', used.lap, walk.id, used.role || ' in batch ' || used.part
        FROM walk JOIN used ON used.episode = walk.id
        WHERE walk.kind = 'reply' AND (walk.source IS NULL OR walk.what = 'was given')
    UNION SELECT 'lap', used.lap, walk.id, used.role || ' in batch ' || used.part
        FROM walk JOIN used ON used.feedback = walk.id WHERE walk.kind = 'feedback'
    UNION SELECT 'release', made.release, walk.id, 'ended in'
        FROM walk JOIN made ON made.lap = walk.id WHERE walk.kind = 'lap'
    UNION SELECT 'adapter', made.adapter, walk.id, 'made'
        FROM walk JOIN made ON made.lap = walk.id WHERE walk.kind = 'lap'
    UNION SELECT 'adapter', checkpoints.adapter, walk.id, 'made'
        FROM walk JOIN checkpoints ON checkpoints.name = walk.id WHERE walk.kind = 'lap'
    UNION SELECT 'adapter', releases.adapter, walk.id, 'released'
        FROM walk JOIN releases ON releases.id = walk.id
        WHERE walk.kind = 'release' AND walk.source IS NULL AND releases.adapter IS NOT NULL
    UNION SELECT 'lap', parents.lap, walk.id, 'was gone on from by'
        FROM walk JOIN parents ON parents.adapter = walk.id WHERE walk.kind = 'adapter'
    UNION SELECT 'reply', episodes.id, walk.id, 'said'
        FROM walk JOIN episodes ON episodes.adapter = walk.id WHERE walk.kind = 'adapter'
    LIMIT {_LIMIT + 1})
{_FACTS}
"""
_TAUGHT = f"""
WITH RECURSIVE {_MADE},
walk (lap, direct) AS (
    SELECT used.lap, 1 FROM json_each(:names) AS one JOIN used ON used.episode = one.value
    UNION SELECT used.lap, 1 FROM json_each(:names) AS one
        JOIN used ON used.feedback <> '' AND used.feedback = one.value
    UNION SELECT parents.lap, 0 FROM walk JOIN made ON made.lap = walk.lap
        JOIN parents ON parents.adapter = made.adapter)
SELECT laps.id AS lap, laps.alias, max(direct) AS direct,
    (SELECT json_group_array(DISTINCT path) FROM checkpoints WHERE checkpoints.name = laps.id) AS checkpoints,
    (SELECT json_group_array(json_object('id', id, 'action', action, 'adapter', adapter))
        FROM releases WHERE releases.lap = laps.id) AS releases
FROM walk JOIN laps ON laps.id = walk.lap GROUP BY laps.seq ORDER BY laps.seq
"""
_KINDS = {"ep": "reply", "fb": "feedback", "lap": "lap", "rel": "release", "ad": "adapter"}
_TABLES = {"reply": "episodes", "feedback": "feedback", "lap": "laps", "release": "releases"}


def add(connection: Connection, lap: str, rows: Iterable[Use]) -> None:
    connection.executemany(
        "INSERT INTO used (lap, part, role, episode, choice, feedback) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        [(lap, row.part, row.role, row.episode, row.choice, row.feedback or "") for row in rows],
    )


def trace(connection: Connection, name: str) -> Trace | None:
    """None for what is not here."""
    kind, _, person = name.partition(":")
    if kind not in ("rater", "user"):
        return _walk(connection, kind := _kind(connection, name), name, {}) if _kind(connection, name) else None
    tenant, slash, rest = person.partition("/")
    found = _walk(connection, kind, person, {"name": person, "tenant": None})
    if slash and not found.onward:
        found = _walk(connection, kind, person, {"name": rest, "tenant": tenant})
    return found if found.onward else None


def taught_on(connection: Connection, names: Sequence[str]) -> list[dict[str, object]]:
    """By episodes and feedback; oldest first; `direct` where the lap itself used one, not only what it went on from."""
    rows = connection.execute(_TAUGHT, {"names": msgspec.json.encode(list(names)).decode()})
    return [
        {
            "lap": row["lap"],
            "alias": row["alias"],
            "direct": bool(row["direct"]),
            "checkpoints": msgspec.json.decode(row["checkpoints"]),
            "releases": msgspec.json.decode(row["releases"]),
        }
        for row in rows
    ]


def _kind(connection: Connection, name: str) -> str:
    """What an id names; feedback may have any id its giver chose. Empty for nothing that is here."""
    prefix = _KINDS.get(name.partition("_")[0], "")
    if prefix == "adapter":
        return prefix if connection.execute("SELECT 1 FROM releases WHERE adapter = ?", (name,)).fetchone() else ""
    for kind in [prefix] if prefix in _TABLES else ["feedback"]:
        if connection.execute(f"SELECT 1 FROM {_TABLES[kind]} WHERE id = ? LIMIT 1", (name,)).fetchone():
            return kind
    return ""


def _walk(connection: Connection, kind: str, name: str, more: dict[str, Any]) -> Trace:
    given = {"kind": kind, "id": name, "name": None, "tenant": None, **more}
    back = connection.execute(_BACK, given).fetchall()
    onward = connection.execute(_ONWARD, given).fetchall()
    nodes = {row["id"]: _node(row) for row in (*onward, *back)}
    cut = max(len(back), len(onward)) > _LIMIT
    return Trace(name, _edges(back), _edges(onward), tuple(nodes.values()), cut)


def _edges(rows: Iterable[Row]) -> tuple[Edge, ...]:
    return tuple(dict.fromkeys(Edge(row["source"], row["id"], row["what"]) for row in rows if row["source"]))


def _node(row: Row) -> Node:
    return Node(row["id"], row["kind"], msgspec.json.decode(row["facts"]) if row["facts"] else {})
