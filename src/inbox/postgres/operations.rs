//! What happens to deliveries, each within a transaction.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use crate::text::Text;

use super::super::past;
use super::super::record::Entry;
use super::super::store::{
    Attempt, CrashPolicy, DeliveryId, Erased, Failure, FailureKind, Lease, Pruned, Put, Reaped, Replay, Retention,
    State, Take, Taken, Token,
};
use super::db::{Db, number, state};
use super::read::Conditions;

type Result<T> = std::result::Result<T, Error>;

/// A line of one scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    scope: String,
    key: String,
}

impl Line {
    /// The number of its advisory lock. Lines that share one by accident wait for each other.
    fn lock(&self) -> i64 {
        let digest = Sha256::new()
            .chain_update((self.scope.len() as u64).to_be_bytes())
            .chain_update(&self.scope)
            .chain_update(&self.key)
            .finalize();
        let mut number = [0; 8];
        number.copy_from_slice(&digest[..8]);
        i64::from_le_bytes(number)
    }
}

/// Lines that this transaction has locked: nobody else changes who stands in them.
pub(super) struct Lines(BTreeSet<Line>);

impl Lines {
    async fn lock(db: &impl Db, lines: BTreeSet<Line>) -> Result<Self> {
        if !lines.is_empty() {
            // Sorted, so that two transactions wait for each other in one direction only.
            let locks: BTreeSet<i64> = lines.iter().map(Line::lock).collect();
            let locks: Vec<i64> = locks.into_iter().collect();
            db.query_typed("SELECT pg_advisory_xact_lock(lock) FROM unnest($1) lock", &[(&locks, Type::INT8_ARRAY)])
                .await?;
        }
        Ok(Self(lines))
    }

    /// Locks the lines of these deliveries, before anything else is locked.
    pub(super) async fn of(db: &impl Db, ids: &[i64]) -> Result<Self> {
        let rows = db
            .query_typed(
                "SELECT scope, coalesce(order_key, line) FROM webhook_inbox.delivery
                 WHERE id = ANY($1) AND coalesce(order_key, line) IS NOT NULL",
                &[(&ids, Type::INT8_ARRAY)],
            )
            .await?;
        let line = |row: &Row| Ok(Line { scope: row.try_get(0)?, key: row.try_get(1)? });
        Self::lock(db, rows.iter().map(line).collect::<Result<_>>()?).await
    }

    /// Lets the first one of each line that has no head go ahead. A head is due, in flight, or dead
    /// and blocks. Tenants take turns: the next one of a lane comes after those that are due
    /// already.
    pub(super) async fn settle(self, db: &impl Db, now: SystemTime) -> Result<()> {
        for Line { scope, key } in &self.0 {
            db.execute_typed(
                "UPDATE webhook_inbox.delivery
                 SET due_at = CASE WHEN order_key IS NULL THEN greatest(received_at, $3) ELSE received_at END WHERE id =
                     (SELECT min(id) FROM webhook_inbox.delivery WHERE scope = $1 AND line = $2
                      HAVING bool_and(state = 'waiting' AND due_at IS NULL))",
                &[(scope, Type::TEXT), (key, Type::TEXT), (&now, Type::TIMESTAMPTZ)],
            )
            .await?;
        }
        Ok(())
    }
}

/// Whether a batch has to be put within a transaction of several statements.
pub(super) fn is_ordered(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.line().is_some())
}

/// Stores deliveries with keys that differ from each other. Of those whose key is known there is no
/// number.
pub(super) async fn insert(db: &impl Db, entries: &[Entry]) -> Result<Vec<Option<DeliveryId>>> {
    let line =
        |entry: &Entry| Some(Line { scope: entry.scope.as_str().to_owned(), key: entry.line()?.as_str().to_owned() });
    let lines = Lines::lock(db, entries.iter().filter_map(line).collect()).await?;
    let ids = match entries {
        [entry] => vec![put_one(db, entry).await?],
        _ => put_all(db, entries).await?,
    };
    lines.settle(db, entries.iter().map(|entry| entry.received_at).max().unwrap_or(UNIX_EPOCH)).await?;
    Ok(ids.into_iter().map(|id| id.map(DeliveryId)).collect())
}

async fn put_one(db: &impl Db, entry: &Entry) -> Result<Option<i64>> {
    let parameters: [(&(dyn ToSql + Sync), Type); 11] = [
        (&&entry.unique_key.short()[..], Type::BYTEA),
        (&entry.body_digest, Type::INT8),
        (&entry.scope.as_str(), Type::TEXT),
        (&entry.provider.as_str(), Type::TEXT),
        (&entry.event.as_deref(), Type::TEXT),
        (&entry.event_id.as_deref(), Type::TEXT),
        (&entry.order_key.as_deref(), Type::TEXT),
        (&entry.line().map(Text::as_str), Type::TEXT),
        (&i16::from(entry.format), Type::INT2),
        (&entry.received_at, Type::TIMESTAMPTZ),
        (&&entry.record[..], Type::BYTEA),
    ];
    let sql = "SELECT webhook_inbox.put_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    db.query_typed_one(sql, &parameters).await?.try_get(0)
}

async fn put_all(db: &impl Db, entries: &[Entry]) -> Result<Vec<Option<i64>>> {
    let keys: Vec<&[u8]> = entries.iter().map(|entry| &entry.unique_key.short()[..]).collect();
    let bodies: Vec<i64> = entries.iter().map(|entry| entry.body_digest).collect();
    let scopes: Vec<&str> = entries.iter().map(|entry| entry.scope.as_str()).collect();
    let providers: Vec<&str> = entries.iter().map(|entry| entry.provider.as_str()).collect();
    let events: Vec<Option<&str>> = entries.iter().map(|entry| entry.event.as_deref()).collect();
    let event_ids: Vec<Option<&str>> = entries.iter().map(|entry| entry.event_id.as_deref()).collect();
    let order_keys: Vec<Option<&str>> = entries.iter().map(|entry| entry.order_key.as_deref()).collect();
    let lines_of: Vec<Option<&str>> = entries.iter().map(|entry| entry.line().map(Text::as_str)).collect();
    let formats: Vec<i16> = entries.iter().map(|entry| i16::from(entry.format)).collect();
    let times: Vec<SystemTime> = entries.iter().map(|entry| entry.received_at).collect();
    let records: Vec<&[u8]> = entries.iter().map(|entry| &entry.record[..]).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 11] = [
        (&keys, Type::BYTEA_ARRAY),
        (&bodies, Type::INT8_ARRAY),
        (&scopes, Type::TEXT_ARRAY),
        (&providers, Type::TEXT_ARRAY),
        (&events, Type::TEXT_ARRAY),
        (&event_ids, Type::TEXT_ARRAY),
        (&order_keys, Type::TEXT_ARRAY),
        (&lines_of, Type::TEXT_ARRAY),
        (&formats, Type::INT2_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
        (&records, Type::BYTEA_ARRAY),
    ];
    let sql = "SELECT webhook_inbox.put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    db.query_typed_one(sql, &parameters).await?.try_get(0)
}

/// Answers for a delivery whose key is known. `None` if it no longer is.
pub(super) async fn repeat(db: &impl Db, entry: &Entry) -> Result<Option<Put>> {
    let key = &entry.unique_key.short()[..];
    let row = db
        .query_typed_opt(
            "SELECT body, delivery, coalesce((SELECT state FROM webhook_inbox.delivery WHERE id = delivery), state)
             FROM webhook_inbox.unique_key WHERE key = $1",
            &[(&key, Type::BYTEA)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (body, id): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let state = state(&row, 2)?;
    let Some(id) = id.filter(|_| state == State::Dead && body == entry.body_digest) else {
        return Ok(Some(if body == entry.body_digest { Put::Known(state) } else { Put::Conflict(state) }));
    };
    let lines = Lines::of(db, &[id]).await?;
    // Somebody else may have been faster.
    let Some(State::Dead) = lock(db, id).await? else { return Ok(Some(Put::Known(State::Waiting))) };
    requeue(db, id, entry.received_at).await?;
    // The stored one may be dead because it is damaged.
    db.execute_typed(
        "UPDATE webhook_inbox.record SET record = $1 WHERE id = $2",
        &[(&&entry.record[..], Type::BYTEA), (&id, Type::INT8)],
    )
    .await?;
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET format = $1 WHERE id = $2",
        &[(&i16::from(entry.format), Type::INT2), (&id, Type::INT8)],
    )
    .await?;
    lines.settle(db, entry.received_at).await?;
    Ok(Some(Put::Revived(DeliveryId(id))))
}

/// Locks a delivery and returns its state.
async fn lock(db: &impl Db, id: i64) -> Result<Option<State>> {
    let row = db
        .query_typed_opt("SELECT state FROM webhook_inbox.delivery WHERE id = $1 FOR UPDATE", &[(&id, Type::INT8)])
        .await?;
    row.map(|row| state(&row, 0)).transpose()
}

/// Makes a delivery wait again as if it were new; settling its line decides when it is its turn,
/// unless it was the head.
pub(super) async fn requeue(db: &impl Db, id: i64, due_at: SystemTime) -> Result<()> {
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET state = 'waiting', line = order_key, ended_at = NULL, after = NULL,
             due_at = CASE WHEN order_key IS NULL OR line IS NOT NULL THEN $2::timestamptz END, attempts = 0, crashes = 0
         WHERE id = $1",
        &[(&id, Type::INT8), (&due_at, Type::TIMESTAMPTZ)],
    )
    .await
    .map(drop)
}

pub(super) async fn end(
    db: &impl Db,
    id: i64,
    state: State,
    ended_at: Option<SystemTime>,
    keeps_line: bool,
) -> Result<()> {
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET state = $2, due_at = NULL, ended_at = coalesce($3, ended_at), after = NULL,
             line = CASE WHEN $4 THEN line END WHERE id = $1",
        &[(&id, Type::INT8), (&state.as_str(), Type::TEXT), (&ended_at, Type::TIMESTAMPTZ), (&keeps_line, Type::BOOL)],
    )
    .await
    .map(drop)
}

/// Removes deliveries that have left their lines. Their keys stay with the state, or go with them.
pub(super) async fn remove(db: &impl Db, id: i64, gone: Option<(State, SystemTime)>) -> Result<()> {
    let keys = match gone {
        Some(_) => {
            "UPDATE webhook_inbox.unique_key SET delivery = NULL, state = $2, gone_at = $3
             WHERE key = (SELECT key FROM removed)"
        }
        None => {
            "DELETE FROM webhook_inbox.unique_key WHERE key = (SELECT key FROM removed)
             AND $2::text IS NULL AND $3::timestamptz IS NULL"
        }
    };
    let (state, at) = (gone.map(|(state, _)| state.as_str()), gone.map(|(_, at)| at));
    db.execute_typed(
        &format!(
            "WITH removed AS (DELETE FROM webhook_inbox.delivery WHERE id = $1 RETURNING key),
                  record AS (DELETE FROM webhook_inbox.record WHERE id = $1)
             {keys}"
        ),
        &[(&id, Type::INT8), (&state, Type::TEXT), (&at, Type::TIMESTAMPTZ)],
    )
    .await
    .map(drop)
}

pub(super) async fn set_failure(db: &impl Db, id: i64, failure: &Failure, now: SystemTime) -> Result<()> {
    let past = pasts(db, &[id]).await?.remove(&id).unwrap_or_default().and(now, Some(failure));
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET failure = $2, failure_detail = $3, past = $4 WHERE id = $1",
        &[(&id, Type::INT8), (&failure.kind.as_str(), Type::TEXT), (&detail(failure), Type::TEXT), (&past, Type::TEXT)],
    )
    .await
    .map(drop)
}

/// Notes that the last attempt succeeded.
pub(super) async fn add_success(db: &impl Db, id: i64, now: SystemTime) -> Result<()> {
    let past = pasts(db, &[id]).await?.remove(&id).unwrap_or_default().and(now, None);
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET past = $2 WHERE id = $1",
        &[(&id, Type::INT8), (&past, Type::TEXT)],
    )
    .await
    .map(drop)
}

/// The attempts at a delivery so far.
#[derive(Default)]
pub(super) struct Past {
    attempts: u32,
    past: Option<String>,
}

impl Past {
    pub(super) fn and(self, now: SystemTime, failure: Option<&Failure>) -> String {
        past::add(self.past.as_deref(), self.attempts, now, failure)
    }
}

/// Reads the attempts at these deliveries so far. Only the attempt that holds a delivery adds to
/// them.
pub(super) async fn pasts(db: &impl Db, ids: &[i64]) -> Result<HashMap<i64, Past>> {
    let rows = db
        .query_typed(
            "SELECT id, attempts, past FROM webhook_inbox.delivery WHERE id = ANY($1)",
            &[(&ids, Type::INT8_ARRAY)],
        )
        .await?;
    let past = |row: &Row| Ok((row.try_get(0)?, Past { attempts: number(row, 1)?, past: row.try_get(2)? }));
    rows.iter().map(past).collect()
}

/// Postgres stores no NUL in texts.
pub(super) fn detail(failure: &Failure) -> String {
    failure.detail.replace('\0', "")
}

pub(super) async fn take(db: &impl Db, take: &Take) -> Result<Taken> {
    let far = take.now.checked_add(take.longest_delay).unwrap_or(take.now);
    let (max, lease) = (i64::from(take.max), take.lease.as_secs_f64());
    // What is due, and what a wrong clock has set too far ahead.
    let due = |name: &str, condition: &str, time: &str| {
        format!(
            "{name} AS (SELECT id FROM webhook_inbox.delivery WHERE scope = $1 AND {condition} AND {time}
                 AND format <= $2 AND NOT EXISTS (SELECT 1 FROM webhook_inbox.paused WHERE scope = $1)
                 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)"
        )
    };
    let sql = format!(
        "WITH {}, {}, {}, {},
         fresh AS (SELECT * FROM due_fresh UNION ALL SELECT * FROM late_fresh),
         retry AS (SELECT * FROM due_retry UNION ALL SELECT * FROM late_retry),
         retried AS (SELECT id FROM retry LIMIT greatest(($3 + $7) / 2, $3 - (SELECT count(*) FROM fresh))),
         picked AS (
             (SELECT id FROM fresh LIMIT $3 - (SELECT count(*) FROM retried)) UNION ALL SELECT id FROM retried),
         taken AS (
             UPDATE webhook_inbox.delivery delivery SET state = 'in_flight', due_at = NULL, attempts = attempts + 1,
                 fence = fence + 1, lease_until = clock_timestamp() + make_interval(secs => $6)
             FROM picked WHERE delivery.id = picked.id RETURNING delivery.id, fence, attempts)
         SELECT id, fence, attempts, record FROM taken JOIN webhook_inbox.record USING (id)",
        due("due_fresh", "attempts = 0", "due_at <= $4"),
        due("due_retry", "attempts > 0", "due_at <= $4"),
        due("late_fresh", "attempts = 0", "due_at > $5"),
        due("late_retry", "attempts > 0", "due_at > $5"),
    );
    let rows = db
        .query_typed(
            &sql,
            &[
                (&take.scope.as_str(), Type::TEXT),
                (&i16::from(take.format), Type::INT2),
                (&max, Type::INT8),
                (&take.now, Type::TIMESTAMPTZ),
                (&far, Type::TIMESTAMPTZ),
                (&lease, Type::FLOAT8),
                (&i64::from(take.retries_first), Type::INT8),
            ],
        )
        .await?;
    let mut taken = Taken::default();
    for row in &rows {
        taken.attempts.push(Attempt {
            token: Token { id: DeliveryId(row.try_get(0)?), fence: row.try_get(1)? },
            number: number(row, 2)?,
            record: row.try_get::<_, Vec<u8>>(3)?.into(),
        });
    }
    // A join keeps no order.
    taken.attempts.sort_by_key(|attempt| attempt.token.id);
    if taken.attempts.len() < take.max as usize {
        let next = db
            .query_typed_one(
                "SELECT least(
                     (SELECT min(due_at) FROM webhook_inbox.delivery WHERE scope = $1 AND attempts = 0 AND due_at > $2),
                     (SELECT min(due_at) FROM webhook_inbox.delivery WHERE scope = $1 AND attempts > 0 AND due_at > $2))",
                &[(&take.scope.as_str(), Type::TEXT), (&take.now, Type::TIMESTAMPTZ)],
            )
            .await?;
        taken.next_due = next.try_get(0)?;
    }
    Ok(taken)
}

pub(super) async fn extend(db: &impl Db, tokens: &[Token], lease: Duration) -> Result<Vec<Lease>> {
    let ids: Vec<i64> = tokens.iter().map(|token| token.id.0).collect();
    let fences: Vec<i64> = tokens.iter().map(|token| token.fence).collect();
    let rows = db
        .query_typed(
            "UPDATE webhook_inbox.delivery delivery SET lease_until = clock_timestamp() + make_interval(secs => $3)
             FROM unnest($1, $2) AS held (id, fence)
             WHERE delivery.id = held.id AND delivery.fence = held.fence AND state = 'in_flight'
             RETURNING delivery.id, delivery.fence, after IS NOT DISTINCT FROM 'cancel'",
            &[(&ids, Type::INT8_ARRAY), (&fences, Type::INT8_ARRAY), (&lease.as_secs_f64(), Type::FLOAT8)],
        )
        .await?;
    let mut held = HashMap::new();
    for row in &rows {
        let lease = if row.try_get(2)? { Lease::Cancelled } else { Lease::Held };
        held.insert(Token { id: DeliveryId(row.try_get(0)?), fence: row.try_get(1)? }, lease);
    }
    Ok(tokens.iter().map(|token| held.get(token).copied().unwrap_or(Lease::Lost)).collect())
}

pub(super) const CANCEL: &str = "cancel";
pub(super) const REPLAY: &str = "replay";

/// The most attempts that one call reaps.
const MOST_REAPED: i64 = 100;

pub(super) async fn reap(db: &impl Db, policy: &CrashPolicy) -> Result<Reaped> {
    let expired = "state = 'in_flight' AND lease_until < clock_timestamp()";
    let sql = format!("SELECT id FROM webhook_inbox.delivery WHERE {expired} ORDER BY lease_until LIMIT {MOST_REAPED}");
    let ids = ids(&db.query_typed(&sql, &[]).await?)?;
    if ids.is_empty() {
        return Ok(Reaped::default());
    }
    let lines = Lines::of(db, &ids).await?;
    let sql = format!(
        "SELECT id, attempts, crashes, after FROM webhook_inbox.delivery WHERE id = ANY($1) AND {expired}
         FOR UPDATE SKIP LOCKED"
    );
    let mut reaped = Reaped::default();
    for row in db.query_typed(&sql, &[(&ids, Type::INT8_ARRAY)]).await? {
        let id: i64 = row.try_get(0)?;
        let (attempts, crashes) = (number(&row, 1)?, number(&row, 2)?);
        let after: Option<String> = row.try_get(3)?;
        let detail = "its process died or did not extend its lease".to_owned();
        set_failure(db, id, &Failure { kind: FailureKind::Crash, detail }, policy.now).await?;
        match after.as_deref() {
            Some(REPLAY) => requeue(db, id, policy.now).await?,
            Some(_) => end(db, id, State::Cancelled, None, false).await?,
            None if crashes + 1 >= policy.crashes || attempts >= policy.attempts => {
                end(db, id, State::Dead, Some(policy.now), policy.block).await?;
                reaped.dead += 1;
                continue;
            }
            None => {
                db.execute_typed(
                    "UPDATE webhook_inbox.delivery SET state = 'waiting', line = order_key, due_at = $2,
                         crashes = crashes + 1 WHERE id = $1",
                    &[(&id, Type::INT8), (&policy.now, Type::TIMESTAMPTZ)],
                )
                .await?;
            }
        }
        reaped.retried += 1;
    }
    lines.settle(db, policy.now).await?;
    Ok(reaped)
}

fn ids(rows: &[Row]) -> Result<Vec<i64>> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

pub(super) async fn set_paused(db: &impl Db, scope: &str, paused: bool) -> Result<()> {
    let sql = if paused {
        "INSERT INTO webhook_inbox.paused VALUES ($1) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM webhook_inbox.paused WHERE scope = $1"
    };
    db.execute_typed(sql, &[(&scope, Type::TEXT)]).await.map(drop)
}

pub(super) async fn replay(db: &impl Db, id: i64, force: bool, now: SystemTime) -> Result<Replay> {
    let lines = Lines::of(db, &[id]).await?;
    let replay = match lock(db, id).await? {
        None => Replay::Unknown,
        Some(State::Done) if !force => Replay::AlreadyDone,
        Some(State::InFlight) => {
            db.execute_typed(
                "UPDATE webhook_inbox.delivery SET after = $2, ended_at = NULL WHERE id = $1",
                &[(&id, Type::INT8), (&REPLAY, Type::TEXT)],
            )
            .await?;
            Replay::AfterAttempt
        }
        // Behind another one it stays so; only the back-off of one whose turn it is ends.
        Some(State::Waiting) => {
            db.execute_typed(
                "UPDATE webhook_inbox.delivery SET attempts = 0, crashes = 0,
                     due_at = CASE WHEN due_at IS NOT NULL THEN $2::timestamptz END WHERE id = $1",
                &[(&id, Type::INT8), (&now, Type::TIMESTAMPTZ)],
            )
            .await?;
            Replay::Queued
        }
        Some(State::Done | State::Dead | State::Cancelled) => {
            requeue(db, id, now).await?;
            Replay::Queued
        }
    };
    lines.settle(db, now).await?;
    Ok(replay)
}

pub(super) async fn replay_dead(db: &impl Db, filter: &Conditions, limit: u32, now: SystemTime) -> Result<u32> {
    let ids = filter.ids(db, limit).await?;
    let lines = Lines::of(db, &ids).await?;
    let mut replayed = 0;
    for id in ids {
        if lock(db, id).await? == Some(State::Dead) {
            requeue(db, id, now).await?;
            replayed += 1;
        }
    }
    lines.settle(db, now).await?;
    Ok(replayed)
}

pub(super) async fn cancel(db: &impl Db, id: i64, now: SystemTime) -> Result<bool> {
    let lines = Lines::of(db, &[id]).await?;
    match lock(db, id).await? {
        None | Some(State::Done | State::Cancelled) => return Ok(false),
        Some(State::InFlight) => cancel_running(db, id, now).await?,
        Some(State::Waiting | State::Dead) => end(db, id, State::Cancelled, Some(now), false).await?,
    }
    lines.settle(db, now).await?;
    Ok(true)
}

async fn cancel_running(db: &impl Db, id: i64, now: SystemTime) -> Result<()> {
    db.execute_typed(
        "UPDATE webhook_inbox.delivery SET after = $2, ended_at = $3 WHERE id = $1",
        &[(&id, Type::INT8), (&CANCEL, Type::TEXT), (&now, Type::TIMESTAMPTZ)],
    )
    .await
    .map(drop)
}

pub(super) async fn erase(db: &impl Db, filter: &Conditions, limit: u32, now: SystemTime) -> Result<Erased> {
    let ids = filter.ids(db, limit).await?;
    let lines = Lines::of(db, &ids).await?;
    let mut erased = Erased::default();
    for id in ids {
        let known_as = match lock(db, id).await? {
            None => continue,
            Some(State::InFlight) => {
                cancel_running(db, id, now).await?;
                erased.in_flight += 1;
                continue;
            }
            Some(State::Done) => State::Done,
            Some(_) => State::Cancelled,
        };
        remove(db, id, Some((known_as, now))).await?;
        erased.erased += 1;
    }
    lines.settle(db, now).await?;
    Ok(erased)
}

pub(super) async fn prune(db: &impl Db, retention: &Retention, limit: u32, now: SystemTime) -> Result<Pruned> {
    let before = |age: Duration| now.checked_sub(age).unwrap_or(UNIX_EPOCH);
    let mut pruned = Pruned::default();
    for (state, age) in
        [(State::Done, Some(retention.done)), (State::Cancelled, Some(retention.done)), (State::Dead, retention.dead)]
    {
        let Some(age) = age else { continue };
        let limit = i64::from(limit - pruned.done);
        let rows = db
            .query_typed(
                "SELECT id FROM webhook_inbox.delivery WHERE state = $1 AND ended_at < $2 ORDER BY ended_at LIMIT $3",
                &[(&state.as_str(), Type::TEXT), (&before(age), Type::TIMESTAMPTZ), (&limit, Type::INT8)],
            )
            .await?;
        let ids = ids(&rows)?;
        let lines = Lines::of(db, &ids).await?;
        for id in ids {
            if lock(db, id).await? != Some(state) {
                continue;
            }
            if state == State::Dead {
                // Nobody handled it, so a repetition is welcome.
                remove(db, id, None).await?;
                pruned.dead += 1;
            } else {
                remove(db, id, Some((state, now))).await?;
                pruned.done += 1;
            }
        }
        lines.settle(db, now).await?;
    }
    let keys = db
        .execute_typed(
            "DELETE FROM webhook_inbox.unique_key WHERE key IN
                 (SELECT key FROM webhook_inbox.unique_key WHERE gone_at < $1 ORDER BY gone_at LIMIT $2
                  FOR UPDATE SKIP LOCKED)",
            &[(&before(retention.keys), Type::TIMESTAMPTZ), (&i64::from(limit), Type::INT8)],
        )
        .await?;
    pruned.keys = u32::try_from(keys).unwrap_or(limit);
    // The changes of the numbers become few again. Another replica may be at it.
    db.execute_typed(
        "WITH changes AS (
             DELETE FROM webhook_inbox.count WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM webhook_inbox.count FOR UPDATE SKIP LOCKED)) RETURNING *)
         INSERT INTO webhook_inbox.count SELECT scope, state, sum(n) FROM changes GROUP BY scope, state",
        &[],
    )
    .await?;
    Ok(pruned)
}
