//! What happens to deliveries, each within the transaction of the writer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::text::Text;

use super::super::past;
use super::super::record::Entry;
use super::super::store::{
    Attempt, CrashPolicy, DeliveryId, Erased, Failure, FailureKind, Lease, Outcome, Pruned, Put, Reaped, Replay,
    Retention, State, Take, Taken, Token,
};
use super::columns::{millis, state, time};
use super::leases::Leases;
use super::read::Conditions;
use super::recent::Recent;
use super::schema::LEAVE_NO_COPIES;

type Result<T> = rusqlite::Result<T>;

fn seconds(time: SystemTime) -> i64 {
    millis(time) / 1000
}

fn before(now: SystemTime, age: Duration) -> SystemTime {
    now.checked_sub(age).unwrap_or(UNIX_EPOCH)
}

/// What a transaction has stored, of what is written once for all of it.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The number of the last delivery that was ever stored, once it was asked for.
    last_id: Option<i64>,
    /// How many were stored in each scope.
    counts: Vec<(Text, i64)>,
}

impl Stored {
    fn next_id(&mut self, connection: &Connection) -> Result<i64> {
        let last = match self.last_id {
            Some(last) => last,
            None => {
                connection.prepare_cached("SELECT n FROM count WHERE scope = x''")?.query_row((), |row| row.get(0))?
            }
        };
        self.last_id = Some(last + 1);
        Ok(last + 1)
    }

    fn count(&mut self, connection: &Connection, scope: &Text) -> Result<()> {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| known == scope) {
            *count += 1;
            return Ok(());
        }
        // There has to be a row that whatever else this transaction does is subtracted from.
        connection
            .prepare_cached("INSERT INTO count VALUES (?, 'waiting', 0) ON CONFLICT DO NOTHING")?
            .execute([scope.as_str()])?;
        self.counts.push((scope.clone(), 1));
        Ok(())
    }

    /// Ends the transaction's part.
    pub(super) fn write(self, connection: &Connection) -> Result<()> {
        if let Some(last) = self.last_id {
            connection.prepare_cached("UPDATE count SET n = ? WHERE scope = x''")?.execute([last])?;
        }
        for (scope, count) in self.counts {
            connection
                .prepare_cached("UPDATE count SET n = n + ? WHERE scope = ? AND state = 'waiting'")?
                .execute(params![count, scope.as_str()])?;
        }
        Ok(())
    }
}

pub(super) fn put(connection: &Connection, entry: &Entry, stored: &mut Stored, recent: &mut Recent) -> Result<Put> {
    if stored.last_id.is_none() {
        recent.refresh(connection)?;
    }
    if let Some(known) = known(connection, entry.unique_key.short(), recent)? {
        return repeat(connection, entry, known);
    }
    let id = stored.next_id(connection)?;
    insert(connection, entry, id)?;
    recent.add(*entry.unique_key.short(), id, entry.body_digest);
    stored.count(connection, &entry.scope)?;
    Ok(Put::Stored(DeliveryId(id)))
}

/// What is known of a key: the body's digest, the delivery unless it was removed, and its last
/// state.
type Known = (i64, Option<i64>, State);

fn known(connection: &Connection, key: &[u8; 16], recent: &Recent) -> Result<Option<Known>> {
    if let Some((id, body)) = recent.find(key) {
        let state = connection
            .prepare_cached("SELECT state FROM delivery WHERE id = ?")?
            .query_row([id], |row| state(row, 0))
            .optional()?;
        // If it was removed, its key went to the others.
        if let Some(state) = state {
            return Ok(Some((body, Some(id), state)));
        }
    }
    connection
        .prepare_cached(
            "SELECT u.body, u.delivery, coalesce(d.state, u.state, 'done')
             FROM unique_key u LEFT JOIN delivery d ON d.id = u.delivery WHERE u.key = ?",
        )?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, state(row, 2)?)))
        .optional()
}

fn repeat(connection: &Connection, entry: &Entry, known: Known) -> Result<Put> {
    match known {
        (body, _, state) if body != entry.body_digest => Ok(Put::Conflict(state)),
        (_, Some(id), State::Dead) => {
            requeue(connection, id, millis(entry.received_at))?;
            // The stored one may be dead because it is damaged.
            connection
                .prepare_cached("UPDATE record SET record = ? WHERE id = ?")?
                .execute(params![&entry.record[..], id])?;
            connection
                .prepare_cached("UPDATE delivery SET format = ? WHERE id = ?")?
                .execute(params![entry.format, id])?;
            Ok(Put::Revived(DeliveryId(id)))
        }
        (_, _, state) => Ok(Put::Known(state)),
    }
}

fn insert(connection: &Connection, entry: &Entry, id: i64) -> Result<()> {
    let received_at = millis(entry.received_at);
    let is_behind = match entry.line() {
        Some(key) => others_in_line(connection, &entry.scope, key, id)?,
        None => false,
    };
    connection
        .prepare_cached(
            "INSERT INTO delivery
             (id, scope, provider, event, event_id, key, body, order_key, line, format, state, received_at, due_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?)",
        )?
        .execute(params![
            id,
            entry.scope.as_str(),
            entry.provider.as_str(),
            entry.event.as_deref(),
            entry.event_id.as_deref(),
            entry.unique_key.short(),
            entry.body_digest,
            entry.order_key.as_deref(),
            entry.line().map(Text::as_str),
            entry.format,
            received_at,
            (!is_behind).then_some(received_at),
        ])?;
    connection.prepare_cached("INSERT INTO record VALUES (?, ?)")?.execute(params![id, &entry.record[..]]).map(drop)
}

fn others_in_line(connection: &Connection, scope: &str, line: &str, id: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE scope = ? AND line = ? AND id <> ?)")?
        .query_row(params![scope, line, id], |row| row.get(0))
}

/// Makes a delivery wait again as if it were new. It takes its place in its line: the head if it
/// was or nobody else is there.
fn requeue(connection: &Connection, id: i64, due_at: i64) -> Result<()> {
    let (scope, order_key, line): (String, Option<String>, Option<String>) = connection
        .prepare_cached("SELECT scope, order_key, line FROM delivery WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let is_behind = match (&order_key, line) {
        (Some(key), None) => others_in_line(connection, &scope, key, id)?,
        _ => false,
    };
    connection
        .prepare_cached(
            "UPDATE delivery SET state = 'waiting', line = order_key, due_at = ?, ended_at = NULL, after = NULL,
             attempts = 0, crashes = 0 WHERE id = ?",
        )?
        .execute(params![(!is_behind).then_some(due_at), id])?;
    Ok(())
}

/// Ends a delivery that holds the head of its line, or another place in it, and lets the next one
/// go ahead.
fn end(connection: &Connection, id: i64, state: State, ended_at: Option<i64>, keeps_line: bool) -> Result<()> {
    let ended: (String, Option<String>, bool) = connection
        .prepare_cached("SELECT scope, line, due_at IS NOT NULL OR state <> 'waiting' FROM delivery WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    connection
        .prepare_cached(
            "UPDATE delivery SET state = ?, due_at = NULL, ended_at = coalesce(?, ended_at), after = NULL,
             line = iif(?, line, NULL) WHERE id = ?",
        )?
        .execute(params![state.as_str(), ended_at, keeps_line, id])?;
    match ended {
        (scope, Some(line), true) if !keeps_line => promote(connection, &scope, &line, ended_at.unwrap_or_default()),
        _ => Ok(()),
    }
}

/// Lets the first one of a line go ahead. Tenants take turns: the next one of a lane comes after
/// those that are due already.
fn promote(connection: &Connection, scope: &str, line: &str, now: i64) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE delivery SET due_at = iif(order_key IS NULL, max(received_at, ?), received_at)
             WHERE state = 'waiting' AND id =
             (SELECT id FROM delivery WHERE scope = ? AND line = ? ORDER BY id LIMIT 1)",
        )?
        .execute(params![now, scope, line])?;
    Ok(())
}

/// Takes a delivery that was tried out of its lane, if it has one, so that the next one is not held
/// up by retries.
fn leave_lane(connection: &Connection, id: i64, now: i64) -> Result<()> {
    let lane: Option<(String, String)> = connection
        .prepare_cached("SELECT scope, line FROM delivery WHERE id = ? AND order_key IS NULL AND line IS NOT NULL")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((scope, lane)) = lane else { return Ok(()) };
    connection.prepare_cached("UPDATE delivery SET line = NULL WHERE id = ?")?.execute([id])?;
    promote(connection, &scope, &lane, now)
}

/// Removes a delivery that has left its line. Its key stays with the state, or goes with it.
fn remove(connection: &Connection, id: i64, gone: Option<(State, i64)>) -> Result<()> {
    let key = connection
        .prepare_cached("DELETE FROM delivery WHERE id = ? RETURNING key, body")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    forget(connection, id, key, gone)
}

/// Removes what belonged to a delivery that was removed, with this key and body's digest.
fn forget(
    connection: &Connection,
    id: i64,
    (key, body): (Vec<u8>, Option<i64>),
    gone: Option<(State, i64)>,
) -> Result<()> {
    connection.prepare_cached("DELETE FROM record WHERE id = ?")?.execute([id])?;
    match gone {
        Some((state, at)) => connection
            .prepare_cached(
                "INSERT INTO unique_key (key, body, state, gone_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
                 SET delivery = NULL, state = excluded.state, gone_at = excluded.gone_at",
            )?
            // A delivery of the first version has no digest, and its key is there.
            .execute(params![key, body.unwrap_or_default(), (state != State::Done).then_some(state.as_str()), at])?,
        None => connection.prepare_cached("DELETE FROM unique_key WHERE key = ?")?.execute([key])?,
    };
    Ok(())
}

/// `unreadable` holds deliveries whose record SQLite could not read in an earlier try: one such
/// read and the transaction is lost.
pub(super) fn take(
    connection: &Connection,
    take: &Take,
    leases: &mut Leases,
    unreadable: &mut Vec<i64>,
) -> Result<Taken> {
    for &id in unreadable.iter() {
        set_aside(connection, id, take.now)?;
    }
    let is_paused: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM paused WHERE scope = ?)")?
        .query_row([take.scope.as_str()], |row| row.get(0))?;
    if is_paused || take.max == 0 {
        return Ok(Taken::default());
    }
    let max = take.max as usize;
    let (mut ids, mut retries) = (due(connection, take, FRESH)?, due(connection, take, RETRY)?);
    let half = (max + usize::from(take.retries_first)) / 2;
    // Each kind may have the half, and what the other one leaves.
    let for_retries = retries.len().min(half.max(max.saturating_sub(ids.len())));
    ids.truncate(max - for_retries);
    retries.truncate(for_retries);
    ids.append(&mut retries);
    let mut taken = Taken::default();
    if ids.len() < max {
        for (index, format) in
            [FRESH, RETRY].into_iter().flat_map(|index| formats(take).map(move |format| (index, format)))
        {
            let next: Option<i64> = connection
                .prepare_cached(&format!(
                    "SELECT min(due_at) FROM delivery WHERE {index} AND scope = ? AND format = ? AND due_at > ?"
                ))?
                .query_row(params![take.scope.as_str(), format, millis(take.now)], |row| row.get(0))?;
            taken.next_due = [taken.next_due, next.map(time)].into_iter().flatten().min();
        }
    }
    for id in ids {
        let (fence, number) = connection
            .prepare_cached(
                "UPDATE delivery SET state = 'in_flight', due_at = NULL, attempts = attempts + 1, fence = fence + 1,
                 beat = 0, lease_ms = ? WHERE id = ? RETURNING fence, attempts",
            )?
            .query_row(params![lease_millis(take.lease), id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let record: Result<Vec<u8>> =
            connection.prepare_cached("SELECT record FROM record WHERE id = ?")?.query_row([id], |row| row.get(0));
        match record {
            Ok(record) => {
                leases.seen(id, fence, 0);
                taken.attempts.push(Attempt {
                    token: Token { id: DeliveryId(id), fence },
                    number,
                    record: record.into(),
                });
            }
            Err(error) => {
                unreadable.push(id);
                return Err(error);
            }
        }
    }
    Ok(taken)
}

fn set_aside(connection: &Connection, id: i64, now: SystemTime) -> Result<()> {
    let is_waiting = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE id = ? AND state = 'waiting')")?
        .query_row([id], |row| row.get(0))?;
    if is_waiting {
        let detail = "SQLite cannot read the record".to_owned();
        set_failure(connection, id, &Failure { kind: FailureKind::Damaged, detail }, now)?;
        end(connection, id, State::Dead, Some(millis(now)), false)?;
    }
    Ok(())
}

/// The formats that the taker can read, the newest first. The indexes start with the format.
fn formats(take: &Take) -> impl Iterator<Item = u8> {
    (1..=take.format).rev()
}

const FRESH: &str = "attempts = 0";
const RETRY: &str = "attempts > 0";

/// Reads what is due, by one of the two partial indexes, for each format that the taker can read.
fn due(connection: &Connection, take: &Take, index: &str) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    let far = take.now.checked_add(take.longest_delay).map_or(i64::MAX, millis);
    for format in formats(take) {
        for (condition, limit) in [("due_at <= ?", millis(take.now)), ("due_at > ?", far)] {
            let room = i64::from(take.max) - ids.len() as i64;
            let sql = format!(
                "SELECT id FROM delivery WHERE {index} AND scope = ? AND format = ? AND {condition}
                 ORDER BY due_at LIMIT ?"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map(params![take.scope.as_str(), format, limit, room], |row| row.get(0))?;
            for id in found {
                ids.push(id?);
            }
        }
    }
    Ok(ids)
}

fn lease_millis(lease: Duration) -> i64 {
    i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn extend(connection: &Connection, tokens: &[Token], lease: Duration) -> Result<Vec<Lease>> {
    let mut statement = connection.prepare_cached(
        "UPDATE delivery SET beat = beat + 1, lease_ms = ? WHERE id = ? AND fence = ? AND state = 'in_flight'
         RETURNING after",
    )?;
    let mut extend = |token: &Token| {
        let parameters = params![lease_millis(lease), token.id.0, token.fence];
        let after: Option<Option<String>> = statement.query_row(parameters, |row| row.get(0)).optional()?;
        Ok(match after {
            None => Lease::Lost,
            Some(Some(after)) if after == CANCEL => Lease::Cancelled,
            Some(_) => Lease::Held,
        })
    };
    tokens.iter().map(&mut extend).collect()
}

const CANCEL: &str = "cancel";
const REPLAY: &str = "replay";

fn set_failure(connection: &Connection, id: i64, failure: &Failure, now: SystemTime) -> Result<()> {
    add_past(connection, id, Some(failure), now)?;
    connection
        .prepare_cached("UPDATE delivery SET failure = ?, failure_detail = ? WHERE id = ?")?
        .execute(params![failure.kind.as_str(), failure.detail, id])
        .map(drop)
}

/// Notes how the last attempt ended.
fn add_past(connection: &Connection, id: i64, failure: Option<&Failure>, now: SystemTime) -> Result<()> {
    let (number, past): (u32, Option<String>) = connection
        .prepare_cached("SELECT attempts, past FROM delivery WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached("UPDATE delivery SET past = ? WHERE id = ?")?
        .execute(params![past::add(past.as_deref(), number, now, failure), id])
        .map(drop)
}

/// Ends an attempt in one statement if it is as most are: no other delivery waits for this one, no
/// operator has plans for it, and one that is kept never failed. Returns whether it is.
fn finish_plainly(connection: &Connection, token: Token, keep: bool, now: SystemTime) -> Result<bool> {
    const HELD: &str = "id = ? AND fence = ? AND state = 'in_flight' AND line IS NULL AND after IS NULL";
    let id = token.id.0;
    if keep {
        let done = connection
            .prepare_cached(&format!(
                "UPDATE delivery SET state = 'done', ended_at = ?1, past = attempts || ' ' || ?1 || ' {}'
                 WHERE {HELD} AND past IS NULL",
                past::DONE
            ))?
            .execute(params![millis(now), id, token.fence])?;
        return Ok(done == 1);
    }
    let key = connection
        .prepare_cached(&format!("DELETE FROM delivery WHERE {HELD} RETURNING key, body"))?
        .query_row([id, token.fence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match key {
        Some(key) => forget(connection, id, key, Some((State::Done, seconds(now)))).map(|()| true),
        None => Ok(false),
    }
}

pub(super) fn finish(connection: &Connection, token: Token, outcome: &Outcome) -> Result<bool> {
    if let Outcome::Done { keep, now } = *outcome
        && finish_plainly(connection, token, keep, now)?
    {
        return Ok(true);
    }
    let id = token.id.0;
    let held: Option<(Option<String>, i64)> = connection
        .prepare_cached("SELECT after, received_at FROM delivery WHERE id = ? AND fence = ? AND state = 'in_flight'")?
        .query_row([id, token.fence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((after, received_at)) = held else { return Ok(false) };
    match outcome {
        Outcome::Retry { failure, now, .. } | Outcome::Dead { failure, now, .. } => {
            set_failure(connection, id, failure, *now)?;
        }
        Outcome::Done { now, .. } => add_past(connection, id, None, *now)?,
        Outcome::GiveBack => {}
    }
    match (after.as_deref(), outcome) {
        (Some(REPLAY), _) => {
            leave_lane(connection, id, received_at)?;
            requeue(connection, id, received_at)?;
        }
        (_, Outcome::Done { keep, now }) => {
            end(connection, id, State::Done, Some(millis(*now)), false)?;
            if !keep {
                remove(connection, id, Some((State::Done, seconds(*now))))?;
            }
        }
        // The time of its end was set when it was cancelled.
        (Some(CANCEL), _) => end(connection, id, State::Cancelled, None, false)?,
        (_, Outcome::Dead { block, now, .. }) => end(connection, id, State::Dead, Some(millis(*now)), *block)?,
        (_, Outcome::Retry { at, now, .. }) => {
            leave_lane(connection, id, millis(*now))?;
            connection
                .prepare_cached("UPDATE delivery SET state = 'waiting', due_at = ?, crashes = 0 WHERE id = ?")?
                .execute([millis(*at), id])?;
        }
        (_, Outcome::GiveBack) => {
            connection
                .prepare_cached(
                    "UPDATE delivery SET state = 'waiting', due_at = received_at, attempts = attempts - 1 WHERE id = ?",
                )?
                .execute([id])?;
        }
    }
    Ok(true)
}

pub(super) fn reap(connection: &Connection, policy: &CrashPolicy, leases: &mut Leases) -> Result<Reaped> {
    let mut statement = connection.prepare_cached(
        "SELECT id, fence, beat, lease_ms, attempts, crashes, after FROM delivery WHERE state = 'in_flight'",
    )?;
    let running: Vec<(i64, i64, i64, i64, u32, u32, Option<String>)> = statement
        .query_map((), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })?
        .collect::<Result<_>>()?;
    let expired = leases.expired(running.iter().map(|&(id, fence, beat, lease, ..)| (id, fence, beat, lease)));
    let mut reaped = Reaped::default();
    for (id, _, _, _, attempts, crashes, after) in running {
        if !expired.contains(&id) {
            continue;
        }
        let detail = "its process died or did not extend its lease".to_owned();
        set_failure(connection, id, &Failure { kind: FailureKind::Crash, detail }, policy.now)?;
        match after.as_deref() {
            Some(REPLAY) => {
                leave_lane(connection, id, millis(policy.now))?;
                requeue(connection, id, millis(policy.now))?;
            }
            Some(_) => end(connection, id, State::Cancelled, None, false)?,
            None if crashes + 1 >= policy.crashes || attempts >= policy.attempts => {
                end(connection, id, State::Dead, Some(millis(policy.now)), policy.block)?;
                reaped.dead += 1;
                continue;
            }
            None => {
                leave_lane(connection, id, millis(policy.now))?;
                connection
                    .prepare_cached(
                        "UPDATE delivery SET state = 'waiting', due_at = ?, crashes = crashes + 1 WHERE id = ?",
                    )?
                    .execute([millis(policy.now), id])?;
            }
        }
        reaped.retried += 1;
    }
    Ok(reaped)
}

pub(super) fn set_paused(connection: &Connection, scope: &str, paused: bool) -> Result<()> {
    let sql = if paused { "INSERT OR IGNORE INTO paused VALUES (?)" } else { "DELETE FROM paused WHERE scope = ?" };
    connection.prepare_cached(sql)?.execute([scope]).map(drop)
}

pub(super) fn replay(connection: &Connection, id: i64, force: bool, now: SystemTime) -> Result<Replay> {
    let state = connection
        .prepare_cached("SELECT state FROM delivery WHERE id = ?")?
        .query_row([id], |row| state(row, 0))
        .optional()?;
    match state {
        None => Ok(Replay::Unknown),
        Some(State::Done) if !force => Ok(Replay::AlreadyDone),
        Some(State::InFlight) => {
            connection
                .prepare_cached("UPDATE delivery SET after = ?, ended_at = NULL WHERE id = ?")?
                .execute(params![REPLAY, id])?;
            Ok(Replay::AfterAttempt)
        }
        // Behind another one it stays so; only the back-off of one whose turn it is ends.
        Some(State::Waiting) => {
            connection
                .prepare_cached(
                    "UPDATE delivery SET attempts = 0, crashes = 0, due_at = iif(due_at IS NULL, NULL, ?) WHERE id = ?",
                )?
                .execute([millis(now), id])?;
            Ok(Replay::Queued)
        }
        Some(State::Done | State::Dead | State::Cancelled) => {
            requeue(connection, id, millis(now))?;
            Ok(Replay::Queued)
        }
    }
}

pub(super) fn replay_dead(connection: &Connection, filter: &Conditions, limit: u32, now: SystemTime) -> Result<u32> {
    let ids = filter.ids(connection, limit)?;
    for id in &ids {
        requeue(connection, *id, millis(now))?;
    }
    Ok(u32::try_from(ids.len()).unwrap_or(limit))
}

pub(super) fn cancel(connection: &Connection, id: i64, now: SystemTime) -> Result<bool> {
    let state = connection
        .prepare_cached("SELECT state FROM delivery WHERE id = ?")?
        .query_row([id], |row| state(row, 0))
        .optional()?;
    match state {
        None | Some(State::Done | State::Cancelled) => return Ok(false),
        Some(State::InFlight) => {
            connection.prepare_cached("UPDATE delivery SET after = ?, ended_at = ? WHERE id = ?")?.execute(params![
                CANCEL,
                millis(now),
                id
            ])?;
        }
        Some(State::Waiting | State::Dead) => end(connection, id, State::Cancelled, Some(millis(now)), false)?,
    }
    Ok(true)
}

pub(super) fn erase(connection: &Connection, filter: &Conditions, limit: u32, now: SystemTime) -> Result<Erased> {
    // What is removed is overwritten, not only let go.
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let mut erased = Erased::default();
    for id in filter.ids(connection, limit)? {
        let state = connection
            .prepare_cached("SELECT state FROM delivery WHERE id = ?")?
            .query_row([id], |row| state(row, 0))?;
        if state == State::InFlight {
            cancel(connection, id, now)?;
            erased.in_flight += 1;
            continue;
        }
        let known_as = if state == State::Done { State::Done } else { State::Cancelled };
        end(connection, id, known_as, Some(millis(now)), false)?;
        remove(connection, id, Some((known_as, seconds(now))))?;
        erased.erased += 1;
    }
    connection.execute_batch(LEAVE_NO_COPIES)?;
    Ok(erased)
}

/// Removes what is past its age. What is damaged stays until an operator erases it: SQLite may be
/// unable to, and then nothing else would be removed. `sweep` is where the search for old keys goes
/// on the next time: they have no index by time, which would be as large as the keys themselves.
pub(super) fn prune(
    connection: &Connection,
    retention: &Retention,
    limit: u32,
    now: SystemTime,
    sweep: &mut Vec<u8>,
) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    let ended = |state: State, age: Duration, limit: u32| -> Result<Vec<i64>> {
        connection
            .prepare_cached(
                "SELECT id FROM delivery WHERE state = ? AND ended_at < ? AND failure IS NOT 'damaged'
                 ORDER BY ended_at LIMIT ?",
            )?
            .query_map(params![state.as_str(), millis(before(now, age)), limit], |row| row.get(0))?
            .collect()
    };
    for state in [State::Done, State::Cancelled] {
        for id in ended(state, retention.done, limit - pruned.done)? {
            remove(connection, id, Some((state, seconds(now))))?;
            pruned.done += 1;
        }
    }
    if let Some(age) = retention.dead {
        for id in ended(State::Dead, age, limit - pruned.done)? {
            end(connection, id, State::Dead, None, false)?;
            // Nobody handled it, so a repetition is welcome.
            remove(connection, id, None)?;
            pruned.dead += 1;
        }
    }
    let mut statement =
        connection.prepare_cached("SELECT key, gone_at FROM unique_key WHERE key > ? ORDER BY key LIMIT ?")?;
    let keys: Vec<(Vec<u8>, Option<i64>)> = statement
        .query_map(params![&sweep[..], limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let is_end = keys.len() < limit as usize;
    *sweep = keys.last().filter(|_| !is_end).map(|(key, _)| key.clone()).unwrap_or_default();
    let oldest = seconds(before(now, retention.keys));
    for (key, gone_at) in keys {
        if gone_at.is_some_and(|gone_at| gone_at < oldest) {
            connection.prepare_cached("DELETE FROM unique_key WHERE key = ?")?.execute([key])?;
            pruned.keys += 1;
        }
    }
    give_back(connection)?;
    Ok(pruned)
}

/// Gives pages to the file system if many are free, a bounded number at a time.
fn give_back(connection: &Connection) -> Result<()> {
    const KEPT: i64 = 1024;
    const AT_ONCE: i64 = 128;
    let free: i64 = connection.query_row("PRAGMA freelist_count", (), |row| row.get(0))?;
    if free > KEPT {
        // Each step gives one page.
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({AT_ONCE})"))?;
        let mut rows = statement.query(())?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Returns how much of the file is in use.
pub(super) fn used_bytes(connection: &Connection) -> Result<i64> {
    let number = |name: &str| connection.prepare_cached(name)?.query_row((), |row| row.get::<_, i64>(0));
    Ok((number("PRAGMA page_count")? - number("PRAGMA freelist_count")?) * number("PRAGMA page_size")?)
}
