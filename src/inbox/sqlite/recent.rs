//! The keys of the newest deliveries.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

/// So many keys are written into the table of keys at once. Each would otherwise change a page of
/// its own, as keys come in no order, and that page would be most of what an accept writes.
const AT_ONCE: usize = 4096;

/// The keys of the newest deliveries, which are in the table of deliveries alone: those behind the
/// number in `indexed`.
///
/// What it says is a hint, as another process may have removed a delivery. It says it of every
/// delivery that is there.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// For each key the number of the delivery, and the start of its body's digest.
    keys: HashMap<[u8; 16], (i64, i64)>,
    /// The number of the last delivery that was looked at.
    seen: i64,
    /// Another one says that another process has changed the file.
    version: Option<i64>,
}

impl Recent {
    /// Reads what other processes have stored. Has to be called in each transaction that stores.
    pub(super) fn refresh(&mut self, connection: &Connection) -> Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?;
        if self.version == Some(version) {
            return Ok(());
        }
        let indexed = indexed(connection)?;
        self.keys.retain(|_, (id, _)| *id > indexed);
        let mut statement = connection.prepare_cached("SELECT id, key, body FROM delivery WHERE id > ? ORDER BY id")?;
        let mut rows = statement.query([self.seen.max(indexed)])?;
        while let Some(row) = rows.next()? {
            self.add(row.get(1)?, row.get(0)?, row.get(2)?);
        }
        self.version = Some(version);
        Ok(())
    }

    pub(super) fn find(&self, key: &[u8; 16]) -> Option<(i64, i64)> {
        self.keys.get(key).copied()
    }

    /// Adds the newest delivery.
    pub(super) fn add(&mut self, key: [u8; 16], id: i64, body: i64) {
        self.keys.insert(key, (id, body));
        self.seen = id;
    }

    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= AT_ONCE
    }

    /// Writes all keys into their table, in its order.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<()> {
        let from = indexed(connection)?;
        connection
            .prepare_cached(
                "INSERT INTO unique_key (key, body, delivery)
                 SELECT key, body, id FROM delivery WHERE id > ? AND id <= ? ORDER BY key ON CONFLICT DO NOTHING",
            )?
            .execute([from, self.seen])?;
        connection.prepare_cached("UPDATE indexed SET up_to = max(up_to, ?)")?.execute([self.seen])?;
        self.keys.clear();
        Ok(())
    }
}

fn indexed(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT up_to FROM indexed")?.query_row((), |row| row.get(0))
}
