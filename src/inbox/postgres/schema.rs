//! The tables, and what is checked before they are used.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::super::store::{InboxError, InboxErrorKind};
use super::db::failed;

/// What two processes that start at the same time wait for each other by.
const MIGRATION_LOCK: i64 = 0x7768_6962;

/// Each step is applied once, in order. Once released, a version only adds to the tables of the one
/// before, so that an older process can go on beside a newer one.
const STEPS: [&str; 4] = [
    "
CREATE TABLE webhook_inbox.delivery (
    id bigint PRIMARY KEY,
    scope text NOT NULL,
    provider text NOT NULL,
    event text,
    event_id text,
    -- The start of the unique key.
    key bytea NOT NULL,
    order_key text,
    -- The order key, while the delivery has a place in its line.
    line text,
    -- The version of the record's format.
    format smallint NOT NULL,
    -- waiting, in_flight, done, dead or cancelled.
    state text NOT NULL,
    received_at timestamptz NOT NULL,
    -- Only while it waits and is not behind another one.
    due_at timestamptz,
    ended_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    -- How often it was taken in its whole life.
    fence bigint NOT NULL DEFAULT 0,
    -- By the time of this database.
    lease_until timestamptz,
    -- What an operator wants to happen after the attempt that is running: replay or cancel.
    after text,
    failure text,
    failure_detail text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE SEQUENCE webhook_inbox.delivery_id OWNED BY webhook_inbox.delivery.id;
-- The deliveries themselves, apart from what changes, so that a change does not write them again.
CREATE TABLE webhook_inbox.record (id bigint PRIMARY KEY, record bytea NOT NULL);
ALTER TABLE webhook_inbox.record ALTER COLUMN record SET STORAGE EXTERNAL;
-- What a repetition is recognised by; it outlives the delivery.
CREATE TABLE webhook_inbox.unique_key (
    key bytea PRIMARY KEY,
    -- The start of the body's digest.
    body bigint NOT NULL,
    -- NULL once the delivery was removed; then its last state, and when.
    delivery bigint,
    state text,
    gone_at timestamptz
);
CREATE TABLE webhook_inbox.paused (scope text PRIMARY KEY);
-- How many deliveries there are, as changes to be summed: nobody waits for another one to count.
CREATE TABLE webhook_inbox.count (scope text NOT NULL, state text NOT NULL, n bigint NOT NULL);
CREATE FUNCTION webhook_inbox.count_in() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO webhook_inbox.count SELECT scope, state, count(*) FROM added GROUP BY scope, state;
    RETURN NULL;
END $$;
CREATE FUNCTION webhook_inbox.count_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO webhook_inbox.count SELECT scope, state, -count(*) FROM removed GROUP BY scope, state;
    RETURN NULL;
END $$;
CREATE FUNCTION webhook_inbox.count_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO webhook_inbox.count SELECT scope, state, sum(n) FROM (
        SELECT scope, state, 1 AS n FROM added UNION ALL SELECT scope, state, -1 FROM removed) moved
        GROUP BY scope, state HAVING sum(n) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER count_in AFTER INSERT ON webhook_inbox.delivery
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION webhook_inbox.count_in();
CREATE TRIGGER count_out AFTER DELETE ON webhook_inbox.delivery
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION webhook_inbox.count_out();
CREATE TRIGGER count_move AFTER UPDATE ON webhook_inbox.delivery
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION webhook_inbox.count_move();
CREATE INDEX fresh ON webhook_inbox.delivery (scope, due_at) WHERE due_at IS NOT NULL AND attempts = 0;
CREATE INDEX retry ON webhook_inbox.delivery (scope, due_at) WHERE due_at IS NOT NULL AND attempts > 0;
CREATE INDEX line ON webhook_inbox.delivery (scope, line, id) WHERE line IS NOT NULL;
CREATE INDEX in_flight ON webhook_inbox.delivery (lease_until) WHERE state = 'in_flight';
CREATE INDEX ended ON webhook_inbox.delivery (state, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX ended_by_id ON webhook_inbox.delivery (state, id) WHERE ended_at IS NOT NULL;
CREATE INDEX gone ON webhook_inbox.unique_key (gone_at) WHERE gone_at IS NOT NULL;
",
    "
-- A line for each of the last failed attempts.
ALTER TABLE webhook_inbox.delivery ADD COLUMN past text;
",
    "
-- Records of which two fit a page stay in it, instead of going to a table of their own in pieces.
ALTER TABLE webhook_inbox.record SET (toast_tuple_target = 4080);
-- Stores deliveries with keys that differ from each other, and returns the number of each, or NULL if its key is known.
-- It is a function because a session plans the statements of functions once, behind a pooler too.
CREATE FUNCTION webhook_inbox.put(
    keys bytea[], bodies bigint[], scopes text[], providers text[], events text[], event_ids text[], order_keys text[],
    lines text[], formats smallint[], times timestamptz[], records bytea[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
BEGIN
    WITH input AS MATERIALIZED (
        SELECT nextval('webhook_inbox.delivery_id') AS id, *
        FROM unnest(keys, bodies) WITH ORDINALITY AS input (key, body, n)),
    fresh AS (
        -- In an order that all have, so that nobody waits in a circle.
        INSERT INTO webhook_inbox.unique_key (key, body, delivery) SELECT key, body, id FROM input ORDER BY key
            ON CONFLICT (key) DO NOTHING RETURNING delivery AS id)
    SELECT array_agg(fresh.id ORDER BY n) INTO ids FROM input LEFT JOIN fresh USING (id);
    INSERT INTO webhook_inbox.delivery
        (id, scope, provider, event, event_id, key, order_key, line, format, state, received_at, due_at)
        SELECT id, scope, provider, event, event_id, key, order_key, line, format, 'waiting', received_at,
            CASE WHEN line IS NULL THEN received_at END
        FROM unnest(ids, scopes, providers, events, event_ids, keys, order_keys, lines, formats, times)
            AS fresh (id, scope, provider, event, event_id, key, order_key, line, format, received_at)
        WHERE id IS NOT NULL;
    INSERT INTO webhook_inbox.record
        SELECT id, record FROM unnest(ids, records) AS fresh (id, record) WHERE id IS NOT NULL;
    INSERT INTO webhook_inbox.count
        SELECT scope, 'waiting', count(*) FROM unnest(ids, scopes) AS fresh (id, scope)
        WHERE id IS NOT NULL GROUP BY scope;
    RETURN ids;
END $$;
DROP TRIGGER count_in ON webhook_inbox.delivery;
DROP FUNCTION webhook_inbox.count_in();
",
    "
-- Stores a single delivery, which waits for no other and so should take the least time: to take arrays apart takes the
-- server as long as to store it. Returns its number, or NULL if its key is known.
CREATE FUNCTION webhook_inbox.put_one(
    key bytea, body bigint, scope text, provider text, event text, event_id text, order_key text, line text,
    format smallint, received_at timestamptz, record bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint := nextval('webhook_inbox.delivery_id');
BEGIN
    INSERT INTO webhook_inbox.unique_key (key, body, delivery) VALUES (key, body, id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhook_inbox.delivery
        (id, scope, provider, event, event_id, key, order_key, line, format, state, received_at, due_at)
        VALUES (id, scope, provider, event, event_id, key, order_key, line, format, 'waiting', received_at,
            CASE WHEN line IS NULL THEN received_at END);
    INSERT INTO webhook_inbox.record VALUES (id, record);
    INSERT INTO webhook_inbox.count VALUES (scope, 'waiting', 1);
    RETURN id;
END $$;
",
];

/// Creates the tables, or brings them up to date.
pub(super) async fn migrate(client: &Client) -> Result<(), Error> {
    let lock: &(dyn tokio_postgres::types::ToSql + Sync) = &MIGRATION_LOCK;
    client.query_typed("SELECT pg_advisory_xact_lock($1)", &[(lock, Type::INT8)]).await?;
    client
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS webhook_inbox;
             CREATE TABLE IF NOT EXISTS webhook_inbox.version (version integer PRIMARY KEY)",
        )
        .await?;
    let row = client.query_typed_one("SELECT coalesce(max(version), 0) FROM webhook_inbox.version", &[]).await?;
    let version: i32 = row.try_get(0)?;
    for (step, number) in STEPS.iter().zip(1..).filter(|(_, number)| *number > version) {
        client.batch_execute(step).await?;
        client.execute_typed("INSERT INTO webhook_inbox.version VALUES ($1)", &[(&number, Type::INT4)]).await?;
    }
    Ok(())
}

/// Refuses a server that answers before anything is on its disk.
pub(super) async fn check(client: &Client) -> Result<(), InboxError> {
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
    let row = client.query_typed_one(sql, &[]).await.map_err(failed)?;
    let setting = |column| row.try_get::<_, String>(column).map_err(failed);
    if setting(0)? == "off" {
        return Err(refused("Postgres has synchronous_commit = off: it would lose what was acknowledged"));
    }
    if setting(1)? == "off" {
        return Err(refused("Postgres has fsync = off: it would lose what was acknowledged"));
    }
    Ok(())
}

const fn refused(message: &'static str) -> InboxError {
    InboxError::new(InboxErrorKind::Unavailable, message)
}
