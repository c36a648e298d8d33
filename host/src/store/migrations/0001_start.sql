-- Times are milliseconds since 1970-01-01 UTC.

-- Ended calls. The summary is what lists show; the journal is apart, so that lists do not read it.
CREATE TABLE call (
    call_id     TEXT PRIMARY KEY NOT NULL,
    tenant      TEXT,                   -- none where the call was nobody's
    received_ms BIGINT NOT NULL,
    status      INTEGER NOT NULL,
    summary     TEXT NOT NULL           -- JSON
);
CREATE INDEX call_by_tenant ON call (tenant, received_ms);
CREATE INDEX call_by_time ON call (received_ms);

CREATE TABLE call_journal (
    call_id     TEXT PRIMARY KEY NOT NULL REFERENCES call (call_id) ON DELETE CASCADE,
    lines       BLOB NOT NULL           -- one JSON object a line, LZ4 with its size before it
);

CREATE TABLE kv (
    tenant      TEXT NOT NULL,
    plugin      TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       BLOB NOT NULL,
    expires_ms  BIGINT,
    PRIMARY KEY (tenant, plugin, key)
);
CREATE INDEX kv_by_expiry ON kv (expires_ms) WHERE expires_ms IS NOT NULL;

-- Only a hash is kept of a token.
CREATE TABLE token (
    id          TEXT PRIMARY KEY NOT NULL,
    tenant      TEXT NOT NULL,
    name        TEXT NOT NULL,
    hash        BLOB NOT NULL UNIQUE,   -- SHA-256
    prefix      TEXT NOT NULL,
    scopes      TEXT NOT NULL,          -- separated by blanks
    created_ms  BIGINT NOT NULL,
    expires_ms  BIGINT
);

CREATE TABLE audit (
    id          INTEGER PRIMARY KEY,
    at_ms       BIGINT NOT NULL,
    tenant      TEXT,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    object      TEXT NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant, at_ms);
