//! How attempts end.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::Error;
use tokio_postgres::types::Type;

use super::super::store::{Failure, Outcome, State, Token};
use super::db::Db;
use super::operations::{CANCEL, Lines, REPLAY, add_success, detail, end, pasts, remove, requeue, set_failure};

type Result<T> = std::result::Result<T, Error>;

/// The end of an attempt.
pub(super) struct Finish {
    pub(super) token: Token,
    pub(super) outcome: Outcome,
}

impl Finish {
    /// Returns when it ended, if it did. A delivery that was given back goes before those that came
    /// later.
    fn at(&self) -> Option<SystemTime> {
        match &self.outcome {
            Outcome::Done { now, .. } | Outcome::Dead { now, .. } | Outcome::Retry { now, .. } => Some(*now),
            Outcome::GiveBack => None,
        }
    }
}

/// Ends attempts at deliveries that differ from each other. Returns which counted.
pub(super) async fn finish_all(db: &impl Db, finishes: &[Finish]) -> Result<Vec<bool>> {
    let ids: Vec<i64> = finishes.iter().map(|finish| finish.token.id.0).collect();
    let lines = Lines::of(db, &ids).await?;
    let mut ended = end_all(db, finishes).await?;
    ended.extend(remove_all(db, finishes).await?);
    let mut counted = Vec::with_capacity(finishes.len());
    for finish in finishes {
        // Those that are left are lost, given back, or an operator has plans for them.
        counted.push(ended.contains(&finish.token.id.0) || finish_one(db, finish).await?);
    }
    let now = finishes.iter().filter_map(Finish::at).max();
    lines.settle(db, now.unwrap_or(UNIX_EPOCH)).await?;
    Ok(counted)
}

/// Ends the attempts whose delivery stays. Returns the deliveries that were held, with no plans for
/// them, and that never failed if they are done.
async fn end_all(db: &impl Db, finishes: &[Finish]) -> Result<HashSet<i64>> {
    let failed = |finish: &&Finish| matches!(finish.outcome, Outcome::Dead { .. } | Outcome::Retry { .. });
    let failed: Vec<i64> = finishes.iter().filter(failed).map(|finish| finish.token.id.0).collect();
    let mut pasts = if failed.is_empty() { HashMap::new() } else { pasts(db, &failed).await? };
    let mut ends = Ends::default();
    for Finish { token, outcome } in finishes {
        let mut past = || pasts.remove(&token.id.0).unwrap_or_default();
        match outcome {
            Outcome::Done { keep: true, now } => ends.push(*token, State::Done, None, Some(*now), false, None),
            Outcome::Dead { failure, block, now } => {
                let failed = (failure, past().and(*now, Some(failure)));
                ends.push(*token, State::Dead, None, Some(*now), *block, Some(failed));
            }
            Outcome::Retry { at, failure, now } => {
                let failed = (failure, past().and(*now, Some(failure)));
                ends.push(*token, State::Waiting, Some(*at), None, true, Some(failed));
            }
            Outcome::Done { keep: false, .. } | Outcome::GiveBack => {}
        }
    }
    if ends.ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = db
        .query_typed(
            "UPDATE webhook_inbox.delivery delivery SET
                 state = ends.state, due_at = ends.due_at, ended_at = coalesce(ends.ended_at, delivery.ended_at),
                 line = CASE WHEN ends.state = 'waiting' THEN order_key WHEN keeps_line THEN line END,
                 failure = coalesce(kind, failure), failure_detail = coalesce(detail, failure_detail),
                 past = CASE WHEN ends.state = 'done'
                     THEN attempts || ' ' || (extract(epoch FROM ends.ended_at) * 1000)::bigint || ' done'
                     ELSE coalesce(ends.past, delivery.past) END,
                 crashes = CASE WHEN ends.state = 'waiting' THEN 0 ELSE crashes END
             FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 AS ends (id, fence, state, due_at, ended_at, keeps_line, kind, detail, past)
             WHERE delivery.id = ends.id AND delivery.fence = ends.fence AND delivery.state = 'in_flight'
                 AND after IS NULL AND (ends.state <> 'done' OR delivery.past IS NULL)
             RETURNING delivery.id",
            &[
                (&ends.ids, Type::INT8_ARRAY),
                (&ends.fences, Type::INT8_ARRAY),
                (&ends.states, Type::TEXT_ARRAY),
                (&ends.due_at, Type::TIMESTAMPTZ_ARRAY),
                (&ends.ended_at, Type::TIMESTAMPTZ_ARRAY),
                (&ends.keeps_line, Type::BOOL_ARRAY),
                (&ends.kinds, Type::TEXT_ARRAY),
                (&ends.details, Type::TEXT_ARRAY),
                (&ends.pasts, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The columns of [`end_all`].
#[derive(Default)]
struct Ends {
    ids: Vec<i64>,
    fences: Vec<i64>,
    states: Vec<&'static str>,
    due_at: Vec<Option<SystemTime>>,
    ended_at: Vec<Option<SystemTime>>,
    keeps_line: Vec<bool>,
    kinds: Vec<Option<&'static str>>,
    details: Vec<Option<String>>,
    pasts: Vec<Option<String>>,
}

impl Ends {
    fn push(
        &mut self,
        token: Token,
        state: State,
        due_at: Option<SystemTime>,
        ended_at: Option<SystemTime>,
        keeps_line: bool,
        failed: Option<(&Failure, String)>,
    ) {
        self.ids.push(token.id.0);
        self.fences.push(token.fence);
        self.states.push(state.as_str());
        self.due_at.push(due_at);
        self.ended_at.push(ended_at);
        self.keeps_line.push(keeps_line);
        let (failure, past) = failed.unzip();
        self.kinds.push(failure.map(|failure| failure.kind.as_str()));
        self.details.push(failure.map(detail));
        self.pasts.push(past);
    }
}

/// Ends the attempts whose delivery is done and not kept. Returns the deliveries that were held,
/// with no plans for them.
async fn remove_all(db: &impl Db, finishes: &[Finish]) -> Result<HashSet<i64>> {
    let (mut ids, mut fences, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for finish in finishes {
        if let Outcome::Done { keep: false, now } = finish.outcome {
            ids.push(finish.token.id.0);
            fences.push(finish.token.fence);
            times.push(now);
        }
    }
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = db
        .query_typed(
            "WITH removed AS (
                 DELETE FROM webhook_inbox.delivery delivery USING unnest($1, $2, $3) AS done (id, fence, at)
                 WHERE delivery.id = done.id AND delivery.fence = done.fence AND state = 'in_flight' AND after IS NULL
                 RETURNING delivery.id, key, at),
             records AS (DELETE FROM webhook_inbox.record record USING removed WHERE record.id = removed.id),
             keys AS (
                 UPDATE webhook_inbox.unique_key known SET delivery = NULL, state = 'done', gone_at = at
                 FROM removed WHERE known.key = removed.key)
             SELECT id FROM removed",
            &[(&ids, Type::INT8_ARRAY), (&fences, Type::INT8_ARRAY), (&times, Type::TIMESTAMPTZ_ARRAY)],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

pub(super) async fn finish(db: &impl Db, finish: &Finish) -> Result<bool> {
    let lines = Lines::of(db, &[finish.token.id.0]).await?;
    let counted = finish_one(db, finish).await?;
    lines.settle(db, finish.at().unwrap_or(UNIX_EPOCH)).await?;
    Ok(counted)
}

async fn finish_one(db: &impl Db, Finish { token, outcome }: &Finish) -> Result<bool> {
    let id = token.id.0;
    let held = db
        .query_typed_opt(
            "SELECT after, received_at FROM webhook_inbox.delivery
             WHERE id = $1 AND fence = $2 AND state = 'in_flight' FOR UPDATE",
            &[(&id, Type::INT8), (&token.fence, Type::INT8)],
        )
        .await?;
    let Some(held) = held else { return Ok(false) };
    let (after, received_at): (Option<String>, SystemTime) = (held.try_get(0)?, held.try_get(1)?);
    match outcome {
        Outcome::Retry { failure, now, .. } | Outcome::Dead { failure, now, .. } => {
            set_failure(db, id, failure, *now).await?;
        }
        Outcome::Done { keep: true, now } => add_success(db, id, *now).await?,
        Outcome::Done { keep: false, .. } | Outcome::GiveBack => {}
    }
    match (after.as_deref(), outcome) {
        (Some(REPLAY), _) => requeue(db, id, received_at).await?,
        (_, Outcome::Done { keep: true, now }) => end(db, id, State::Done, Some(*now), false).await?,
        (_, Outcome::Done { keep: false, now }) => remove(db, id, Some((State::Done, *now))).await?,
        // The time of its end was set when it was cancelled.
        (Some(CANCEL), _) => end(db, id, State::Cancelled, None, false).await?,
        (_, Outcome::Dead { block, now, .. }) => end(db, id, State::Dead, Some(*now), *block).await?,
        (_, Outcome::Retry { at, .. }) => {
            db.execute_typed(
                "UPDATE webhook_inbox.delivery SET state = 'waiting', line = order_key, due_at = $2, crashes = 0
                 WHERE id = $1",
                &[(&id, Type::INT8), (at, Type::TIMESTAMPTZ)],
            )
            .await?;
        }
        (_, Outcome::GiveBack) => {
            db.execute_typed(
                "UPDATE webhook_inbox.delivery SET state = 'waiting', due_at = received_at, attempts = attempts - 1
                 WHERE id = $1",
                &[(&id, Type::INT8)],
            )
            .await?;
        }
    }
    Ok(true)
}
