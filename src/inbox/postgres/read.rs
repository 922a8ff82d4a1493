//! Looking at what is stored.

use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use crate::text::Text;

use super::super::past;
use super::super::store::{DeliveryId, Detail, Failure, FailureKind, Filter, Listing, Page, State, Stats, Summary};
use super::db::{Db, number, state};

type Result<T> = std::result::Result<T, Error>;

/// How many deliveries one call looks at: some milliseconds' worth.
const MOST_SEEN: usize = 10_000;

const COLUMNS: &str = "id, scope, provider, event, event_id, order_key, format, state, attempts, received_at, due_at, ended_at, \
                       failure, failure_detail";

/// A [`Filter`] as SQL.
pub(super) struct Conditions {
    /// By an index, so that it may be asked for among any number of deliveries.
    indexed: &'static str,
    sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Conditions {
    pub(super) fn new(filter: &Filter) -> Self {
        let indexed = match filter.state {
            Some(State::Done) => "ended_at IS NOT NULL AND state = 'done'",
            Some(State::Dead) => "ended_at IS NOT NULL AND state = 'dead'",
            Some(State::Cancelled) => "ended_at IS NOT NULL AND state = 'cancelled'",
            Some(State::InFlight) => "state = 'in_flight'",
            Some(State::Waiting) | None => "TRUE",
        };
        let mut conditions = Self { indexed, sql: "TRUE".to_owned(), values: Vec::new() };
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.as_str().to_owned());
        conditions.add("id =", filter.id.map(|id| id.0), Type::INT8);
        conditions.add("scope =", text(&filter.scope), Type::TEXT);
        conditions.add("state =", filter.state.map(State::as_str), Type::TEXT);
        conditions.add("provider =", text(&filter.provider), Type::TEXT);
        conditions.add("event =", text(&filter.event), Type::TEXT);
        conditions.add("event_id =", text(&filter.event_id), Type::TEXT);
        conditions.add("received_at >=", filter.from, Type::TIMESTAMPTZ);
        conditions.add("received_at <", filter.until, Type::TIMESTAMPTZ);
        conditions
    }

    fn add<T: ToSql + Sync + Send + 'static>(&mut self, condition: &str, value: Option<T>, kind: Type) {
        if let Some(value) = value {
            self.values.push((Box::new(value), kind));
            // Writing to a string does not fail.
            let _ = write!(self.sql, " AND {condition} ${}", self.values.len());
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }

    /// Returns the oldest deliveries that meet the conditions. It looks at as many as it takes.
    pub(super) async fn ids(&self, db: &impl Db, limit: u32) -> Result<Vec<i64>> {
        let sql = format!(
            "SELECT id FROM webhook_inbox.delivery WHERE {} AND {} ORDER BY id LIMIT {limit}",
            self.indexed, self.sql
        );
        db.query_typed(&sql, &self.parameters()).await?.iter().map(|row| row.try_get(0)).collect()
    }
}

pub(super) async fn list(db: &impl Db, filter: &Filter, page: Page) -> Result<Listing> {
    let conditions = Conditions::new(filter);
    let before = page.before.map_or(i64::MAX, |id| id.0);
    let seen = format!(
        "FROM webhook_inbox.delivery WHERE {} AND id < {before} ORDER BY id DESC LIMIT {MOST_SEEN}",
        conditions.indexed
    );
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT octet_length(record) FROM webhook_inbox.record r WHERE r.id = seen.id)
         FROM (SELECT {COLUMNS} {seen}) seen WHERE {} ORDER BY id DESC LIMIT {}",
        conditions.sql,
        u64::from(page.limit) + 1
    );
    let rows = db.query_typed(&sql, &conditions.parameters()).await?;
    let mut deliveries: Vec<Summary> = rows
        .iter()
        .map(|row| summary(row, row.try_get::<_, Option<i32>>(14)?.map_or(0, |bytes| bytes.unsigned_abs().into())))
        .collect::<Result<_>>()?;
    let next = if deliveries.len() > page.limit as usize {
        deliveries.truncate(page.limit as usize);
        deliveries.last().map(|last| last.id)
    } else {
        // The last one that was looked at, if there may be more behind it.
        let row = db.query_typed_one(&format!("SELECT min(id), count(*) FROM (SELECT id {seen}) seen"), &[]).await?;
        let (last, count): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
        last.filter(|_| count == MOST_SEEN as i64).map(DeliveryId)
    };
    Ok(Listing { deliveries, next })
}

pub(super) async fn get(db: &impl Db, id: i64) -> Result<Option<Detail>> {
    let sql = format!(
        "SELECT {COLUMNS}, record, past FROM webhook_inbox.delivery JOIN webhook_inbox.record USING (id) WHERE id = $1"
    );
    let row = db.query_typed_opt(&sql, &[(&id, Type::INT8)]).await?;
    let detail = |row: Row| {
        let (record, past) = (Bytes::from(row.try_get::<_, Vec<u8>>(14)?), past::read(row.try_get(15)?));
        Ok(Detail { summary: summary(&row, record.len() as u64)?, record, past })
    };
    row.map(detail).transpose()
}

fn summary(row: &Row, record_bytes: u64) -> Result<Summary> {
    let text = |column: usize| row.try_get::<_, Option<String>>(column).map(|text| text.map(Text::from));
    let kind = row.try_get::<_, Option<&str>>(12)?.and_then(FailureKind::from_name);
    let detail: Option<String> = row.try_get(13)?;
    Ok(Summary {
        id: DeliveryId(row.try_get(0)?),
        scope: row.try_get::<_, String>(1)?.into(),
        provider: row.try_get::<_, String>(2)?.into(),
        event: text(3)?,
        event_id: text(4)?,
        order_key: text(5)?,
        format: u8::try_from(row.try_get::<_, i16>(6)?).unwrap_or(u8::MAX),
        state: state(row, 7)?,
        attempts: number(row, 8)?,
        received_at: row.try_get(9)?,
        due_at: row.try_get(10)?,
        ended_at: row.try_get(11)?,
        last_failure: kind.map(|kind| Failure { kind, detail: detail.unwrap_or_default() }),
        record_bytes,
    })
}

pub(super) async fn stats(db: &impl Db, scope: &str) -> Result<Stats> {
    let mut stats = Stats::default();
    let parameters: &[(&(dyn ToSql + Sync), Type)] = &[(&scope, Type::TEXT)];
    let sql = "SELECT state, sum(n)::bigint FROM webhook_inbox.count WHERE scope = $1 GROUP BY state";
    for row in db.query_typed(sql, parameters).await? {
        *stats.of(state(&row, 0)?) = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
    }
    let row = db
        .query_typed_one(
            "SELECT least(
                 (SELECT min(due_at) FROM webhook_inbox.delivery
                  WHERE scope = $1 AND attempts = 0 AND due_at IS NOT NULL),
                 (SELECT min(due_at) FROM webhook_inbox.delivery
                  WHERE scope = $1 AND attempts > 0 AND due_at IS NOT NULL)),
                 EXISTS (SELECT 1 FROM webhook_inbox.paused WHERE scope = $1)",
            parameters,
        )
        .await?;
    stats.oldest_due = row.try_get::<_, Option<SystemTime>>(0)?;
    stats.paused = row.try_get(1)?;
    Ok(stats)
}
