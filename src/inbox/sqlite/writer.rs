//! The one thread that writes: it puts what has gathered while the last commit ran into the next
//! one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::time::Instant;

use super::super::store::{InboxError, InboxErrorKind};
use super::leases::Leases;
use super::log::Log;
use super::operations::Stored;
use super::queue::{Batch, Operation, Queue, Work};
use super::recent::Recent;
use super::reserve::Reserve;
use super::schema::{FileError, PAGE_BYTES};
use super::{operations, schema};

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) put_timeout: Duration,
    pub(super) queue_bytes: usize,
    pub(super) max_bytes: Option<i64>,
    pub(super) reserve: u64,
    pub(super) allows_unsafe_file_systems: bool,
}

/// What is written to the log beside the records, about, as measured: for each commit the pages
/// that all its changes share, and for each change of a row.
const COMMIT_BYTES: u64 = 80 * 1024;
const CHANGE_BYTES: u64 = 512;
/// How often a full disk is tried again.
const RETRY_FULL: Duration = Duration::from_millis(500);

/// The thread's own.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) settings: Settings,
    pub(super) queue: Arc<Queue>,
    pub(super) connection: Option<Connection>,
    pub(super) recent: Recent,
    pub(super) leases: Leases,
    pub(super) sweep: Vec<u8>,
    /// Deliveries that a transaction failed at, until one has set them aside.
    pub(super) unreadable: Vec<i64>,
    pub(super) reserve: Reserve,
    pub(super) tried_at: Option<Instant>,
    pub(super) log: Log,
}

impl Writer {
    /// Runs until the store was dropped.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.next() {
            self.handle(batch);
            self.checkpoint();
        }
        drop(self.log);
        if let Some(connection) = self.connection.take() {
            // Leaves one small file behind; if it fails, the next start reads the log.
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn handle(&mut self, Batch { mut puts, put_bytes, mut others }: Batch) {
        self.log.wrote(put_bytes as u64);
        if !puts.is_empty()
            && let Err(error) = self.has_room()
        {
            self.queue.reply(std::mem::take(&mut puts), Err(error));
        }
        if puts.is_empty() && others.is_empty() {
            return;
        }
        // At the most, each changes a page of the keys, which come in no order.
        self.log.wrote(others.len() as u64 * u64::from(PAGE_BYTES));
        let accepts = puts.len();
        if accepts > 0 {
            crate::observe::inbox_batch(accepts);
        }
        puts.append(&mut others);
        let mut all = puts;
        let Err(error) = self.commit(&mut all) else { return self.queue.reply(all, Ok(())) };
        // Nothing of it is stored.
        let others = all.split_off(accepts);
        if is_full(&error) {
            self.queue.reply(all, Err(failed(error)));
            // They need little, and there is some now.
            self.each(others);
        } else if is_of_one(&error) {
            self.each(all);
            self.each(others);
        } else {
            let result = Err(failed(error));
            self.queue.reply(all, result.clone());
            self.queue.reply(others, result);
        }
    }

    fn each(&mut self, operations: Vec<Box<dyn Operation>>) {
        for operation in operations {
            let mut one = vec![operation];
            let mut known = self.unreadable.len();
            let mut result = self.commit(&mut one);
            // Once more for each delivery that was found out to be unreadable.
            while result.is_err() && self.unreadable.len() > known {
                known = self.unreadable.len();
                result = self.commit(&mut one);
            }
            self.unreadable.clear();
            self.queue.reply(one, result.map_err(failed));
        }
    }

    /// Runs operations in a transaction.
    fn commit(&mut self, operations: &mut [Box<dyn Operation>]) -> Result<(), FileError> {
        let result = self.try_commit(operations);
        if let Err(error) = &result {
            // It may hold what was not stored.
            self.recent = Recent::default();
            if is_full(error) {
                self.make_room();
            }
        }
        result
    }

    /// A connection whose transaction failed is not used again: SQLite may have taken back less or
    /// more than one thinks.
    fn try_commit(&mut self, operations: &mut [Box<dyn Operation>]) -> Result<(), FileError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::open_writer(&self.path)?,
        };
        let before = connection.total_changes();
        self.transaction(&connection, operations)?;
        let changes = connection.total_changes() - before;
        if changes > 0 {
            self.log.wrote(COMMIT_BYTES + changes * CHANGE_BYTES);
            self.queue.generation().send_modify(|generation| *generation = generation.wrapping_add(1));
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Gives up the reserve, for what frees some room.
    fn make_room(&mut self) {
        self.tried_at = Some(Instant::now());
        self.reserve.release();
    }

    fn transaction(&mut self, connection: &Connection, operations: &mut [Box<dyn Operation>]) -> rusqlite::Result<()> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut stored = Stored::default();
        let mut work = Work {
            connection,
            stored: &mut stored,
            recent: &mut self.recent,
            leases: &mut self.leases,
            sweep: &mut self.sweep,
            unreadable: &mut self.unreadable,
        };
        for operation in operations {
            operation.run(&mut work)?;
        }
        stored.write(connection)?;
        self.log.wrote(self.recent.write(connection)? * u64::from(PAGE_BYTES));
        connection.prepare_cached("COMMIT")?.execute(()).map(drop)
    }

    /// Returns whether accepts may be tried: not while the reserve is gone and cannot be made
    /// again, nor above the limit.
    fn has_room(&mut self) -> Result<(), InboxError> {
        if !self.reserve.is_held() {
            let is_early = self.tried_at.is_some_and(|tried_at| tried_at.elapsed() < RETRY_FULL);
            if is_early || !self.reserve.acquire() {
                if !is_early {
                    self.tried_at = Some(Instant::now());
                }
                return Err(InboxError::new(InboxErrorKind::Full, "the disk is full"));
            }
        }
        match (&self.connection, self.settings.max_bytes) {
            (Some(connection), Some(max)) if operations::used_bytes(connection).is_ok_and(|used| used >= max) => {
                Err(InboxError::new(InboxErrorKind::Full, "the store has reached its size limit"))
            }
            _ => Ok(()),
        }
    }

    /// Sees to the log, after everybody has their answer.
    fn checkpoint(&mut self) {
        let Some(connection) = &self.connection else { return };
        let result = self.log.write_back(connection);
        if result.is_err_and(|error| is_full(&error.into())) {
            self.connection = None;
            self.make_room();
        }
    }
}

fn code(error: &FileError) -> Option<ErrorCode> {
    match error {
        FileError::Sqlite(error) => error.sqlite_error_code(),
        _ => None,
    }
}

fn is_full(error: &FileError) -> bool {
    code(error) == Some(ErrorCode::DiskFull)
}

/// Whether it may be one operation that fails, and the others not.
fn is_of_one(error: &FileError) -> bool {
    match error {
        FileError::Sqlite(error) => matches!(
            error.sqlite_error_code(),
            None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::TooBig)
        ),
        _ => false,
    }
}

pub(super) fn failed(error: impl Into<FileError>) -> InboxError {
    let error = error.into();
    let (kind, message) = match (&error, code(&error)) {
        (_, Some(ErrorCode::DiskFull)) => (InboxErrorKind::Full, "the disk is full"),
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            (InboxErrorKind::Timeout, "another process did not let go of the file")
        }
        (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => {
            (InboxErrorKind::Corrupt, "the file is damaged")
        }
        (FileError::Sqlite(_), None) => (InboxErrorKind::Corrupt, "a row cannot be read"),
        _ => (InboxErrorKind::Unavailable, "SQLite failed"),
    };
    InboxError::new(kind, message).with_source(error)
}
