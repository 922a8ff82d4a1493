//! Looking at what is stored.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use crate::text::Text;

use super::super::past;
use super::super::store::{DeliveryId, Detail, Failure, FailureKind, Filter, Listing, Page, State, Stats, Summary};
use super::columns::{millis, state, time};

type Result<T> = rusqlite::Result<T>;

/// How many deliveries one call looks at: some milliseconds' worth.
const MOST_SEEN: i64 = 10_000;

const COLUMNS: &str = "id, scope, provider, event, event_id, order_key, format, state, attempts, received_at, due_at, ended_at, \
                       failure, failure_detail";

/// A [`Filter`] as SQL.
pub(super) struct Conditions {
    /// By an index, so that it may be asked for among any number of deliveries.
    indexed: &'static str,
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    pub(super) fn new(filter: &Filter) -> Self {
        let text = |text: &Option<Text>| text.as_ref().map(|text| Value::Text(text.as_str().to_owned()));
        let conditions = [
            ("id = ?", filter.id.map(|id| Value::Integer(id.0))),
            ("scope = ?", text(&filter.scope)),
            ("state = ?", filter.state.map(|state| Value::Text(state.as_str().to_owned()))),
            ("provider = ?", text(&filter.provider)),
            ("event = ?", text(&filter.event)),
            ("event_id = ?", text(&filter.event_id)),
            ("received_at >= ?", filter.from.map(|from| Value::Integer(millis(from)))),
            ("received_at < ?", filter.until.map(|until| Value::Integer(millis(until)))),
        ];
        let indexed = match filter.state {
            Some(State::Done) => "ended_at IS NOT NULL AND state = 'done'",
            Some(State::Dead) => "ended_at IS NOT NULL AND state = 'dead'",
            Some(State::Cancelled) => "ended_at IS NOT NULL AND state = 'cancelled'",
            Some(State::InFlight) => "state = 'in_flight'",
            Some(State::Waiting) | None => "TRUE",
        };
        let (mut sql, mut values) = ("TRUE".to_owned(), Vec::new());
        for (condition, value) in conditions {
            if let Some(value) = value {
                sql = sql + " AND " + condition;
                values.push(value);
            }
        }
        Self { indexed, sql, values }
    }

    /// Returns the oldest deliveries that meet the conditions. It looks at as many as it takes.
    pub(super) fn ids(&self, connection: &Connection, limit: u32) -> Result<Vec<i64>> {
        let sql = format!("SELECT id FROM delivery WHERE {} AND {} ORDER BY id LIMIT {limit}", self.indexed, self.sql);
        connection.prepare(&sql)?.query_map(params_from_iter(&self.values), |row| row.get(0))?.collect()
    }
}

pub(super) fn list(connection: &Connection, filter: &Filter, page: Page) -> Result<Listing> {
    let Conditions { indexed, sql, values } = Conditions::new(filter);
    let before = page.before.map_or(i64::MAX, |id| id.0);
    let seen = format!("FROM delivery WHERE {indexed} AND id < {before} ORDER BY id DESC LIMIT {MOST_SEEN}");
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT length(record) FROM record r WHERE r.id = seen.id)
         FROM (SELECT {COLUMNS} {seen}) seen WHERE {sql} ORDER BY id DESC LIMIT {}",
        i64::from(page.limit) + 1
    );
    let mut deliveries: Vec<Summary> = connection
        .prepare(&sql)?
        .query_map(params_from_iter(&values), |row| summary(row, row.get::<_, Option<i64>>(14)?))?
        .collect::<Result<_>>()?;
    let next = if deliveries.len() > page.limit as usize {
        deliveries.truncate(page.limit as usize);
        deliveries.last().map(|last| last.id)
    } else {
        // The last one that was looked at, if there may be more behind it.
        connection
            .query_row(&format!("SELECT min(id), count(*) FROM (SELECT id {seen})"), (), |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?))
            })
            .map(|(last, seen)| last.filter(|_| seen == MOST_SEEN).map(DeliveryId))?
    };
    Ok(Listing { deliveries, next })
}

pub(super) fn get(connection: &Connection, id: i64) -> Result<Option<Detail>> {
    let sql =
        format!("SELECT {COLUMNS}, (SELECT record FROM record r WHERE r.id = d.id), past FROM delivery d WHERE id = ?");
    connection
        .query_row(&sql, [id], |row| {
            let past = past::read(row.get::<_, Option<String>>(15)?.as_deref());
            let record = Bytes::from(row.get::<_, Vec<u8>>(14)?);
            Ok(Detail { summary: summary(row, i64::try_from(record.len()).ok())?, record, past })
        })
        .optional()
}

fn summary(row: &Row<'_>, record_bytes: Option<i64>) -> Result<Summary> {
    let text = |column: usize| row.get::<_, Option<String>>(column).map(|text| text.map(Text::from));
    let at = |column: usize| row.get::<_, Option<i64>>(column).map(|millis| millis.map(time));
    let kind = row.get::<_, Option<String>>(12)?.and_then(|kind| FailureKind::from_name(&kind));
    let detail: Option<String> = row.get(13)?;
    Ok(Summary {
        id: DeliveryId(row.get(0)?),
        scope: row.get::<_, String>(1)?.into(),
        provider: row.get::<_, String>(2)?.into(),
        event: text(3)?,
        event_id: text(4)?,
        order_key: text(5)?,
        format: row.get(6)?,
        state: state(row, 7)?,
        attempts: row.get(8)?,
        received_at: time(row.get(9)?),
        due_at: at(10)?,
        ended_at: at(11)?,
        last_failure: kind.map(|kind| Failure { kind, detail: detail.unwrap_or_default() }),
        record_bytes: record_bytes.unwrap_or_default().unsigned_abs(),
    })
}

pub(super) fn stats(connection: &Connection, scope: &str) -> Result<Stats> {
    let mut stats = Stats::default();
    let mut statement = connection.prepare_cached("SELECT state, n FROM count WHERE scope = ?")?;
    let mut rows = statement.query([scope])?;
    while let Some(row) = rows.next()? {
        *stats.of(state(row, 0)?) = row.get::<_, i64>(1)?.try_into().unwrap_or_default();
    }
    for index in ["fresh WHERE attempts = 0", "retry WHERE attempts > 0"] {
        // A record of any format counts. The index is asked for the first one of each, as it would be read
        // whole otherwise.
        let sql = format!(
            "SELECT format, due_at FROM delivery INDEXED BY {index} AND due_at IS NOT NULL AND scope = ? AND format > ?
             ORDER BY format, due_at LIMIT 1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut format = -1;
        while let Some((next, due_at)) = statement
            .query_row(params![scope, format], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?
        {
            stats.oldest_due = stats.oldest_due.into_iter().chain([time(due_at)]).min();
            format = next;
        }
    }
    stats.paused =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM paused WHERE scope = ?)", [scope], |row| row.get(0))?;
    Ok(stats)
}
