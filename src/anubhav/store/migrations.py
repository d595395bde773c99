"""The schema, as numbered steps applied once each and counted in `PRAGMA user_version`. Steps are only ever added, and
Postgres gets them as `store/dialect.py` rewrites them.

Times are seconds since the epoch and decide nothing but `expires_at`; order comes from `seq` (rowid) columns.
"""

import sqlite3

from anubhav.errors import Unavailable

_FIRST = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, operator INTEGER NOT NULL,
    note TEXT NOT NULL, created_at REAL NOT NULL, revoked_at REAL);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, tags TEXT NOT NULL, metadata TEXT NOT NULL, sdk TEXT NOT NULL,
    created_at REAL NOT NULL, finished TEXT, idempotency TEXT UNIQUE);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, tenant TEXT NOT NULL, base_model TEXT NOT NULL, spec TEXT NOT NULL,
    metadata TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL, ended INTEGER NOT NULL DEFAULT 0);
CREATE TABLE ops (
    run TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, digest TEXT NOT NULL,
    promise TEXT NOT NULL UNIQUE, state TEXT NOT NULL, result BLOB, created_at REAL NOT NULL, done_at REAL,
    PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE INDEX ops_by_state ON ops (state, run, seq);
CREATE TABLE snapshots (
    run TEXT NOT NULL, seq INTEGER NOT NULL, folder TEXT NOT NULL, manifest TEXT NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (run, seq));
CREATE TABLE checkpoints (
    path TEXT PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL,
    base_model TEXT NOT NULL, spec TEXT NOT NULL, adapter TEXT NOT NULL, folder TEXT NOT NULL, manifest TEXT NOT NULL,
    has_optimizer INTEGER NOT NULL, size_bytes INTEGER NOT NULL, public INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL);
CREATE INDEX checkpoints_by_run ON checkpoints (run);
CREATE INDEX checkpoints_by_adapter ON checkpoints (adapter);
CREATE TABLE samplers (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, tenant TEXT NOT NULL, base_model TEXT NOT NULL, path TEXT,
    created_at REAL NOT NULL);
CREATE TABLE episodes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, alias TEXT NOT NULL,
    session TEXT, body BLOB NOT NULL, created_at REAL NOT NULL);
CREATE INDEX episodes_by_alias ON episodes (alias, seq);
CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, tenant TEXT NOT NULL, episode TEXT NOT NULL,
    alias TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, digest TEXT NOT NULL, created_at REAL NOT NULL,
    UNIQUE (tenant, id));
CREATE INDEX feedback_by_alias ON feedback (alias, seq);
CREATE INDEX feedback_by_episode ON feedback (episode);
CREATE TABLE probes (
    id TEXT PRIMARY KEY, alias TEXT NOT NULL, suite TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL);
CREATE TABLE cursors (stage TEXT NOT NULL, alias TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (stage, alias));
CREATE TABLE laps (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL, state TEXT NOT NULL,
    phase TEXT NOT NULL, report TEXT NOT NULL, evidence TEXT, started_at REAL NOT NULL, finished_at REAL);
CREATE TABLE releases (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL, path TEXT, adapter TEXT,
    action TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, lap TEXT, verdict TEXT, created_at REAL NOT NULL);
CREATE INDEX releases_by_alias ON releases (alias, seq);
CREATE TABLE live (alias TEXT PRIMARY KEY, release TEXT NOT NULL REFERENCES releases (id));
"""

_SAMPLING = """
ALTER TABLE samplers ADD COLUMN inflight TEXT;
ALTER TABLE samplers ADD COLUMN clones INTEGER NOT NULL DEFAULT 0;
CREATE INDEX samplers_by_inflight ON samplers (inflight);
CREATE TABLE sequences (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, tokens BLOB NOT NULL,
    logprobs BLOB NOT NULL, used_at REAL NOT NULL);
CREATE INDEX sequences_by_use ON sequences (used_at);
"""

_REGISTRY = """
ALTER TABLE sessions ADD COLUMN project TEXT;
ALTER TABLE sessions ADD COLUMN display_name TEXT;
ALTER TABLE sessions ADD COLUMN detail TEXT;
CREATE INDEX sessions_by_tenant ON sessions (tenant, created_at);
ALTER TABLE runs ADD COLUMN source TEXT;
ALTER TABLE runs ADD COLUMN copied_as TEXT;
CREATE UNIQUE INDEX runs_by_copied_as ON runs (copied_as);
CREATE INDEX runs_by_session ON runs (session);
ALTER TABLE ops ADD COLUMN tokens INTEGER;
ALTER TABLE checkpoints ADD COLUMN expires_at REAL;
ALTER TABLE checkpoints ADD COLUMN metadata TEXT;
CREATE INDEX checkpoints_by_expiry ON checkpoints (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX checkpoints_by_folder ON checkpoints (folder);
CREATE TABLE storage (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, run TEXT NOT NULL, tenant TEXT NOT NULL,
    base_model TEXT NOT NULL, size_bytes INTEGER NOT NULL, since REAL NOT NULL, until REAL);
CREATE INDEX storage_by_path ON storage (path) WHERE until IS NULL;
CREATE INDEX storage_by_tenant ON storage (tenant, since);
INSERT INTO storage (path, run, tenant, base_model, size_bytes, since)
    SELECT path, run, tenant, base_model, size_bytes, created_at FROM checkpoints;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, event TEXT NOT NULL, details TEXT NOT NULL,
    created_at REAL NOT NULL);
CREATE INDEX audit_by_tenant ON audit (tenant, created_at);
"""

_LOSSES = """
CREATE TABLE losses (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, tenant TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL);
"""

_INSERTS = """
CREATE TABLE inserts (
    run TEXT NOT NULL, seq INTEGER NOT NULL, behind INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (run, seq),
    UNIQUE (run, key));
CREATE INDEX inserts_by_place ON inserts (run, behind);
CREATE TABLE pins (run TEXT NOT NULL, seq INTEGER NOT NULL, folder TEXT NOT NULL, PRIMARY KEY (run, seq));
CREATE INDEX pins_by_folder ON pins (folder);
"""

_QUOTAS = """
ALTER TABLE keys ADD COLUMN scopes TEXT;
CREATE TABLE quotas (
    tenant TEXT PRIMARY KEY, tokens_a_day INTEGER, runs INTEGER, storage_bytes INTEGER, queue INTEGER) WITHOUT ROWID;
CREATE TABLE spent (
    tenant TEXT NOT NULL, day INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (tenant, day)) WITHOUT ROWID;
CREATE INDEX runs_by_tenant ON runs (tenant, ended);
CREATE INDEX checkpoints_by_tenant ON checkpoints (tenant);
"""

_ROUTES = """
ALTER TABLE sequences ADD COLUMN routes BLOB;
"""

_BELIEFS = """
CREATE TABLE beliefs (
    alias TEXT NOT NULL, base_model TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (alias, base_model));
CREATE TABLE belief_votes (
    alias TEXT NOT NULL, base_model TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (alias, base_model, key)) WITHOUT ROWID;
CREATE TABLE belief_raters (
    alias TEXT NOT NULL, base_model TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (alias, base_model, name)) WITHOUT ROWID;
CREATE TABLE belief_ballots (
    alias TEXT NOT NULL, base_model TEXT NOT NULL, item TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (alias, base_model, item)) WITHOUT ROWID;
CREATE TABLE rater_marks (name TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reward_settings (alias TEXT PRIMARY KEY, implied INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE readings (
    base_model TEXT NOT NULL, name TEXT NOT NULL, episode TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (base_model, name)) WITHOUT ROWID;
CREATE INDEX readings_by_episode ON readings (episode);
CREATE INDEX episodes_by_what_was_said ON episodes (tenant, session, seq) WHERE session IS NOT NULL;
"""

_PEOPLE = """
ALTER TABLE episodes ADD COLUMN user TEXT;
ALTER TABLE episodes ADD COLUMN turn TEXT NOT NULL DEFAULT 'main';
ALTER TABLE episodes ADD COLUMN adapter TEXT;
CREATE INDEX episodes_by_session ON episodes (tenant, session, seq) WHERE session IS NOT NULL;
CREATE INDEX episodes_by_user ON episodes (tenant, user, seq) WHERE user IS NOT NULL;
CREATE INDEX episodes_by_adapter ON episodes (adapter, seq);
CREATE INDEX episodes_by_age ON episodes (tenant, created_at);
ALTER TABLE feedback ADD COLUMN rater TEXT;
CREATE INDEX feedback_by_rater ON feedback (rater, tenant, seq) WHERE rater IS NOT NULL;
CREATE INDEX releases_by_adapter ON releases (adapter);
CREATE INDEX releases_by_lap ON releases (lap);
CREATE INDEX checkpoints_by_name ON checkpoints (name);
CREATE TABLE used (
    lap TEXT NOT NULL, part INTEGER NOT NULL, role TEXT NOT NULL, episode TEXT NOT NULL, choice INTEGER NOT NULL,
    feedback TEXT NOT NULL, PRIMARY KEY (lap, part, role, episode, choice, feedback)) WITHOUT ROWID;
CREATE INDEX used_by_episode ON used (episode, lap);
CREATE INDEX used_by_feedback ON used (feedback, lap);
CREATE INDEX feedback_by_id ON feedback (id);
CREATE TABLE policies (
    tenant TEXT PRIMARY KEY, train INTEGER NOT NULL, keep_days REAL, patterns TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE opt_outs (
    tenant TEXT NOT NULL, user TEXT NOT NULL, created_at REAL NOT NULL, PRIMARY KEY (tenant, user)) WITHOUT ROWID;
CREATE TABLE exports (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, form TEXT NOT NULL, place TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE exported (
    export TEXT NOT NULL, episode TEXT NOT NULL, PRIMARY KEY (episode, export)) WITHOUT ROWID;
CREATE TABLE erased (
    tenant TEXT NOT NULL, mark TEXT NOT NULL, episode TEXT NOT NULL, PRIMARY KEY (tenant, mark, episode)) WITHOUT ROWID;
"""

_TRIALS = """
ALTER TABLE episodes ADD COLUMN arm TEXT NOT NULL DEFAULT 'stable';
CREATE INDEX episodes_by_arm ON episodes (alias, arm, created_at);
CREATE TABLE release_policies (alias TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL, state TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE UNIQUE INDEX trials_running ON trials (alias) WHERE state = 'running';
"""

_SCHEDULES = """
CREATE TABLE schedules (alias TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""

_MEMORIES = """
CREATE TABLE memories (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL, user TEXT,
    base_model TEXT NOT NULL, budget INTEGER NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
    oldest REAL, created_at REAL NOT NULL, updated_at REAL NOT NULL, UNIQUE (tenant, scope, key));
CREATE INDEX memories_by_user ON memories (tenant, user);
CREATE INDEX memories_by_age ON memories (tenant, oldest);
CREATE TABLE memory_heard (
    memory TEXT NOT NULL, session TEXT NOT NULL, messages INTEGER NOT NULL, asked TEXT NOT NULL,
    answered TEXT NOT NULL, first INTEGER NOT NULL, PRIMARY KEY (memory, session)) WITHOUT ROWID;
CREATE TABLE memory_ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, memory TEXT NOT NULL, version INTEGER NOT NULL, chunk TEXT NOT NULL,
    act TEXT NOT NULL, body BLOB NOT NULL, episode TEXT, created_at REAL NOT NULL);
CREATE INDEX memory_ledger_by_memory ON memory_ledger (memory, seq);
CREATE INDEX memory_ledger_by_episode ON memory_ledger (episode, seq) WHERE episode IS NOT NULL;
CREATE TABLE memory_policies (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, action TEXT NOT NULL, body TEXT NOT NULL,
    who TEXT NOT NULL, why TEXT NOT NULL, created_at REAL NOT NULL);
CREATE INDEX memory_policies_by_tenant ON memory_policies (tenant, seq);
CREATE TABLE memory_labels (
    tenant TEXT NOT NULL, feedback TEXT NOT NULL, episode TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (tenant, feedback)) WITHOUT ROWID;
CREATE INDEX memory_labels_by_episode ON memory_labels (episode);
CREATE INDEX memory_labels_by_time ON memory_labels (tenant, created_at);
ALTER TABLE episodes ADD COLUMN memory TEXT;
CREATE INDEX episodes_by_memory ON episodes (memory) WHERE memory IS NOT NULL;
"""

_SHADOWS = """
CREATE TABLE shadows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL,
    reply TEXT NOT NULL REFERENCES episodes (id) ON DELETE CASCADE, body TEXT NOT NULL, UNIQUE (trial, reply));
CREATE INDEX shadows_by_reply ON shadows (reply);
CREATE TABLE failures (
    alias TEXT NOT NULL, trial TEXT NOT NULL, arm TEXT NOT NULL, cause TEXT NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (alias, trial, arm, cause)) WITHOUT ROWID;
CREATE TABLE tallies (
    alias TEXT PRIMARY KEY, trial TEXT NOT NULL, since REAL NOT NULL, position INTEGER NOT NULL,
    unheard TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tally_votes (
    number INTEGER PRIMARY KEY, alias TEXT NOT NULL, episode TEXT NOT NULL, choice INTEGER NOT NULL,
    kind TEXT NOT NULL, voter TEXT NOT NULL, arm TEXT NOT NULL, person TEXT NOT NULL, reward REAL NOT NULL,
    UNIQUE (alias, episode, choice, kind, voter));
CREATE INDEX tally_votes_by_person ON tally_votes (alias, arm, person, number);
CREATE TABLE tally_people (
    alias TEXT NOT NULL, arm TEXT NOT NULL, person TEXT NOT NULL, mean REAL NOT NULL, replies INTEGER NOT NULL,
    PRIMARY KEY (alias, arm, person)) WITHOUT ROWID;
CREATE TRIGGER tally_votes_erased AFTER DELETE ON feedback
    WHEN old.created_at >= (SELECT since - 3600 FROM tallies WHERE alias = old.alias) BEGIN
    DELETE FROM tally_votes WHERE alias = old.alias; DELETE FROM tally_people WHERE alias = old.alias; DELETE FROM
    tallies WHERE alias = old.alias; END;
CREATE TRIGGER tally_replies_erased AFTER DELETE ON episodes
    WHEN EXISTS (SELECT 1 FROM tally_votes WHERE alias = old.alias AND episode = old.id) BEGIN
    DELETE FROM tally_votes WHERE alias = old.alias; DELETE FROM tally_people WHERE alias = old.alias; DELETE FROM
    tallies WHERE alias = old.alias; END;
"""

_TUNING = """
CREATE TABLE uploads (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, name TEXT NOT NULL,
    purpose TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL, created_at REAL NOT NULL,
    expires_at REAL);
CREATE INDEX uploads_by_tenant ON uploads (tenant, seq);
CREATE INDEX uploads_by_digest ON uploads (digest);
CREATE INDEX uploads_by_expiry ON uploads (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE tuning_jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, state TEXT NOT NULL,
    run TEXT NOT NULL, training TEXT NOT NULL, validation TEXT, body TEXT NOT NULL);
CREATE INDEX tuning_jobs_by_tenant ON tuning_jobs (tenant, seq);
CREATE INDEX tuning_jobs_by_state ON tuning_jobs (state, seq);
CREATE TABLE tuning_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL, key TEXT NOT NULL,
    body TEXT NOT NULL, UNIQUE (job, key));
CREATE INDEX tuning_events_by_job ON tuning_events (job, seq);
CREATE TABLE tuned_models (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, path TEXT NOT NULL,
    job TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX tuned_models_by_tenant ON tuned_models (tenant, seq);
CREATE INDEX tuned_models_by_path ON tuned_models (path);
"""

_LOOKING = """
CREATE INDEX episodes_by_time ON episodes (created_at);
CREATE INDEX feedback_by_time ON feedback (created_at);
CREATE TABLE holds (
    what TEXT PRIMARY KEY, who TEXT NOT NULL, why TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID;
"""

_PAGES = """
CREATE INDEX feedback_by_kind ON feedback (alias, kind, seq);
CREATE INDEX ops_told ON ops (run, seq) WHERE kind NOT IN ('Compute', 'Step', 'Distil') OR state = 'failed';
"""

_TALKS = """
CREATE TABLE talks (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, metadata TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE talk_entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, talk TEXT NOT NULL REFERENCES talks (id) ON DELETE CASCADE,
    episode TEXT, body BLOB NOT NULL, created_at REAL NOT NULL, UNIQUE (talk, id));
CREATE INDEX talk_entries_by_episode ON talk_entries (episode) WHERE episode IS NOT NULL;
CREATE TABLE deferred (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, alias TEXT NOT NULL, state TEXT NOT NULL, code TEXT, problem TEXT,
    created_at REAL NOT NULL) WITHOUT ROWID;
CREATE TRIGGER talks_erased AFTER DELETE ON episodes BEGIN
    DELETE FROM talk_entries WHERE episode = old.id; DELETE FROM deferred WHERE id = old.id; END;
"""

STEPS = (
    _FIRST,
    _SAMPLING,
    _REGISTRY,
    _LOSSES,
    _INSERTS,
    _QUOTAS,
    _ROUTES,
    _BELIEFS,
    _PEOPLE,
    _TRIALS,
    _SCHEDULES,
    _MEMORIES,
    _SHADOWS,
    _TUNING,
    _LOOKING,
    _PAGES,
    _TALKS,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older database to this version in one transaction; raises Unavailable on a newer one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    refuse_newer(version)
    connection.execute("BEGIN")
    for number, step in enumerate(STEPS[version:], start=version + 1):
        for statement in filter(str.strip, step.split(";\n")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")


def refuse_newer(version: int) -> None:
    if version > len(STEPS):
        raise Unavailable(
            f"The data folder was written by a newer Anubhav (schema {version}, this one knows {len(STEPS)})",
            hint="Upgrade Anubhav, or choose another --data-dir.",
        )
