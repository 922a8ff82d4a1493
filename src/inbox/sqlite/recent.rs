//! The keys of the newest deliveries.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

/// So many keys are gathered before they are written into the table of keys, in its order. Each
/// would otherwise change a page of its own, as keys come in no order, and that page would be most
/// of what an accept writes. The more there are, the more of them share a page.
const AT_ONCE: usize = 32_768;
/// So many of them are written in one transaction, so that no accept waits for all.
const IN_A_TRANSACTION: usize = 1024;

/// The keys of the newest deliveries, which are in the table of deliveries alone: those behind the
/// number in `indexed`.
///
/// What it says is a hint, as another process may have removed a delivery. It says it of every
/// delivery that is there.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// For each key the number of the delivery, and the start of its body's digest.
    keys: HashMap<[u8; 16], (i64, i64)>,
    /// The keys that are still to be written, and their deliveries' numbers; the next one is the
    /// last.
    unwritten: Vec<([u8; 16], i64)>,
    /// The number of the newest delivery whose key is, or was, among them.
    newest_unwritten: i64,
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

    /// Writes some of the keys into their table, if there are so many that it is time to.
    ///
    /// What is written is still found here until all are, as a restart begins with the first one
    /// again.
    ///
    /// Returns how many pages of the table were changed, about.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<u64> {
        if self.unwritten.is_empty() {
            if self.keys.len() < AT_ONCE {
                return Ok(0);
            }
            self.unwritten.extend(self.keys.iter().map(|(key, (id, _))| (*key, *id)));
            self.unwritten.sort_unstable_by(|one, other| other.cmp(one));
            self.newest_unwritten = self.seen;
        }
        let rest = self.unwritten.len().saturating_sub(IN_A_TRANSACTION);
        let count = self.unwritten.len() - rest;
        let ids: Vec<String> = self.unwritten.drain(rest..).rev().map(|(_, id)| id.to_string()).collect();
        // A delivery that was removed has left its key there, or wants none.
        connection
            .prepare_cached(
                "INSERT INTO unique_key (key, body, delivery)
                 SELECT d.key, d.body, d.id FROM json_each(?) j CROSS JOIN delivery d ON d.id = j.value
                 ON CONFLICT DO NOTHING",
            )?
            .execute([format!("[{}]", ids.join(","))])?;
        if self.unwritten.is_empty() {
            connection.prepare_cached("UPDATE indexed SET up_to = max(up_to, ?)")?.execute([self.newest_unwritten])?;
            self.keys.retain(|_, (id, _)| *id > self.newest_unwritten);
        }
        // The table has a page for every 256 keys, some of which may be gone.
        let pages = self.newest_unwritten.unsigned_abs() / 256;
        let share = pages * count as u64 / AT_ONCE as u64;
        Ok(share.min(count as u64))
    }
}

fn indexed(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT up_to FROM indexed")?.query_row((), |row| row.get(0))
}
