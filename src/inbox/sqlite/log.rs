//! The write-ahead log, and how it is written back into the file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::{Connection, Result};

use super::schema::{self, FileError, KEPT_LOG_BYTES, PAGE_BYTES};

/// The log starts over once it is so long.
const LOG_BYTES: u64 = KEPT_LOG_BYTES / 2;
/// The thread looks at it each time that about so much was written.
const STEP_BYTES: u64 = LOG_BYTES / 2;
/// If readers keep it from starting over, it is cut at this size.
const TRUNCATE_BYTES: u64 = 64 * 1024 * 1024;

/// The log of the connection that writes.
///
/// A thread writes it back while commits go on, so that these don't wait for it. The log can't
/// start over from there, as there is always more in it by then: the connection that writes does
/// the rest, which is little, once the log is long.
pub(super) struct Log {
    path: PathBuf,
    /// What was written to it since the thread was last told, about.
    untold: u64,
    /// What was written to it since it last started over, about.
    written: u64,
    /// How long it was when the thread last looked, in bytes.
    found: Arc<AtomicU64>,
    thread: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Log {
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let (tell, told) = sync_channel(1);
        let found = Arc::default();
        let run = {
            let (path, found) = (path.to_owned(), Arc::clone(&found));
            move || run(&path, &told, &found)
        };
        let thread = std::thread::Builder::new().name("webhook-inbox-log".to_owned()).spawn(run)?;
        Ok(Self { path: path.to_owned(), untold: 0, written: 0, found, thread: Some((tell, thread)) })
    }

    /// Counts what a commit writes.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.untold += bytes;
        self.written += bytes;
    }

    /// Has the log written back if it is time to. It has to be called between transactions.
    pub(super) fn write_back(&mut self, connection: &Connection) -> Result<()> {
        if self.untold >= STEP_BYTES
            && let Some((tell, _)) = &self.thread
        {
            self.untold = 0;
            // While it is told already, it will see this too.
            let _ = tell.try_send(());
        }
        // A thread that does not keep up isn't waited for.
        if self.found.load(Ordering::Relaxed) < LOG_BYTES && self.written < KEPT_LOG_BYTES {
            return Ok(());
        }
        let mode = if file_bytes(&self.path) < TRUNCATE_BYTES { "PASSIVE" } else { "TRUNCATE" };
        let is_busy: bool = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| row.get(0))?;
        if !is_busy {
            self.found.store(0, Ordering::Relaxed);
            self.written = 0;
        }
        Ok(())
    }
}

/// Ends the thread.
impl Drop for Log {
    fn drop(&mut self) {
        if let Some((tell, thread)) = self.thread.take() {
            drop(tell);
            // If it panicked, there is nothing left to do.
            let _ = thread.join();
        }
    }
}

fn run(path: &Path, told: &Receiver<()>, found: &AtomicU64) {
    let mut connection = None;
    while told.recv().is_ok() {
        // If it fails, the connection that writes tries it as well, and deals with the reason.
        let bytes = look(path, &mut connection).unwrap_or(LOG_BYTES);
        found.store(bytes, Ordering::Relaxed);
    }
}

/// Writes back what is in the log so far, and returns how long it is.
fn look(path: &Path, kept: &mut Option<Connection>) -> std::result::Result<u64, FileError> {
    let connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let connection = schema::open_writer(path)?;
            // It reads no pages. What it may keep in memory, SQLite would give to the others.
            connection.execute_batch("PRAGMA cache_size = 1")?;
            connection
        }
    };
    let pages: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(1))?;
    *kept = Some(connection);
    Ok(pages.unsigned_abs() * u64::from(PAGE_BYTES))
}

fn file_bytes(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |log| log.len())
}
