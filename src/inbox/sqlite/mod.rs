//! The embedded store: one SQLite file.

mod columns;
mod leases;
mod log;
mod operations;
mod queue;
mod read;
mod recent;
mod reserve;
mod schema;
mod writer;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::text::Text;

use super::record::Entry;
use super::store::{
    CrashPolicy, DeliveryId, Detail, Erased, Filter, InboxError, InboxErrorKind, InboxStore, Lease, Listing, Outcome,
    Page, Pruned, Put, Reaped, Replay, Retention, Stats, Take, Taken, Token,
};
use leases::Leases;
use log::Log;
use queue::{Queue, Work};
use read::Conditions;
use recent::Recent;
use reserve::Reserve;
use schema::FileError;
use writer::{Settings, Writer, failed};

/// How long a put may take by default. Senders wait for ten seconds or longer, most of them.
pub const DEFAULT_PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that may wait to be stored by default.
pub const DEFAULT_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// The room on the disk that is kept for working off what is stored, by default: twice the size at
/// which the log starts over.
pub const DEFAULT_RESERVE: u64 = 16 * 1024 * 1024;
/// How often the file is looked at for what other processes stored.
const POLL: Duration = Duration::from_millis(500);

/// An [`InboxStore`] in one SQLite file. Clones share it.
///
/// A commit is on the disk before anybody is answered (write-ahead log, `synchronous = FULL`);
/// accepts that arrive while one runs share the next one. Several processes on one machine may use
/// the file at the same time, as they do during a deploy. It can be looked at with the `sqlite3`
/// shell: see the tables `delivery`, `record` and `unique_key`, into which the keys of the newest
/// deliveries come later, many together.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    settings: Settings,
    queue: Arc<Queue>,
    reader: Mutex<Option<Connection>>,
}

/// Ends the writer once it has done what waits.
impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Settings of a [`SqliteStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteBuilder {
    path: PathBuf,
    settings: Settings,
}

impl SqliteStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// If the file cannot be used, belongs to something else, or is where nothing is durable.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, InboxError> {
        Self::builder(path).open()
    }

    /// Returns a builder with the default settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        let settings = Settings {
            put_timeout: DEFAULT_PUT_TIMEOUT,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            max_bytes: None,
            reserve: DEFAULT_RESERVE,
            allows_unsafe_file_systems: false,
        };
        SqliteBuilder { path: path.as_ref().to_owned(), settings }
    }

    async fn write<T, F>(&self, weight: usize, run: F) -> Result<T, InboxError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        answer(self.shared.queue.other(weight, run)?).await
    }

    /// Looks at the file in a thread that may block.
    async fn read<T, F>(&self, run: F) -> Result<T, InboxError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = match reader.take() {
                Some(connection) => connection,
                None => schema::open_reader(&shared.path)?,
            };
            let result = run(&connection);
            *reader = result.is_ok().then_some(connection);
            result
        });
        match reading.await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(InboxError::new(InboxErrorKind::Unavailable, "the runtime has ended")),
        }
    }
}

async fn answer<T>(answer: oneshot::Receiver<Result<T, InboxError>>) -> Result<T, InboxError> {
    answer.await.unwrap_or_else(|_| Err(InboxError::new(InboxErrorKind::Unavailable, "the writer has ended")))
}

impl SqliteBuilder {
    /// Sets how long a put may take. The default is [`DEFAULT_PUT_TIMEOUT`].
    pub fn with_put_timeout(mut self, timeout: Duration) -> Self {
        self.settings.put_timeout = timeout;
        self
    }

    /// Sets how many bytes may wait to be stored; more are refused at once. The default is
    /// [`DEFAULT_QUEUE_BYTES`].
    pub fn with_queue_bytes(mut self, bytes: usize) -> Self {
        self.settings.queue_bytes = bytes;
        self
    }

    /// Sets the size in use at which the store is full. By default it is full when the disk is.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_bytes = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        self
    }

    /// Sets the room on the disk that is kept for working off what is stored. The default is
    /// [`DEFAULT_RESERVE`].
    pub fn with_reserve(mut self, bytes: u64) -> Self {
        self.settings.reserve = bytes;
        self
    }

    /// Allows file systems in memory, where everything is lost with the machine, and over a
    /// network, where locks may not hold.
    pub fn allow_unsafe_file_systems(mut self) -> Self {
        self.settings.allows_unsafe_file_systems = true;
        self
    }

    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// If the file cannot be used, belongs to something else, or is where nothing is durable.
    pub fn open(self) -> Result<SqliteStore, InboxError> {
        let Self { path, settings } = self;
        let refused = |error: FileError| {
            InboxError::new(InboxErrorKind::Unavailable, "the file cannot be opened as an inbox").with_source(error)
        };
        if !settings.allows_unsafe_file_systems {
            schema::check_file_system(&path).map_err(refused)?;
        }
        let connection = schema::open_writer(&path).map_err(refused)?;
        let mut reserve = Reserve::new(&path, settings.reserve);
        // If it fails, the store opens anyway: what it holds can be worked off.
        reserve.acquire();
        let queue = Arc::new(Queue::new(settings.queue_bytes));
        let without_thread = |error: io::Error| {
            InboxError::new(InboxErrorKind::Unavailable, "the writing thread cannot be started").with_source(error)
        };
        let writer = Writer {
            path: path.clone(),
            settings,
            queue: Arc::clone(&queue),
            connection: Some(connection),
            recent: Recent::default(),
            leases: Leases::default(),
            sweep: Vec::new(),
            unreadable: Vec::new(),
            reserve,
            tried_at: None,
            log: Log::start(&path).map_err(without_thread)?,
        };
        let thread = std::thread::Builder::new().name("webhook-inbox".to_owned());
        thread.spawn(move || writer.run()).map_err(without_thread)?;
        Ok(SqliteStore { shared: Arc::new(Shared { path, settings, queue, reader: Mutex::new(None) }) })
    }
}

/// SQLite's own limit, less the other columns.
const LARGEST_RECORD: usize = 999_000_000;

impl InboxStore for SqliteStore {
    fn largest_record(&self) -> usize {
        self.shared.settings.queue_bytes.min(LARGEST_RECORD)
    }

    async fn put(&self, entry: Entry) -> Result<Put, InboxError> {
        let bytes = entry.record.len();
        let stored = self
            .shared
            .queue
            .put(bytes, move |work| operations::put(work.connection, &entry, work.stored, work.recent))?;
        // What has waited too long is stored anyway; its repetition is then known.
        tokio::time::timeout(self.shared.settings.put_timeout, answer(stored))
            .await
            .unwrap_or_else(|_| Err(InboxError::new(InboxErrorKind::Timeout, "SQLite did not commit in time")))
    }

    async fn take(&self, take: Take) -> Result<Taken, InboxError> {
        // Read before, so that nothing that is committed meanwhile is missed.
        let generation = *self.shared.queue.generation().borrow();
        let max = take.max as usize;
        let taken =
            self.write(max, move |work| operations::take(work.connection, &take, work.leases, work.unreadable)).await?;
        Ok(Taken { generation, ..taken })
    }

    async fn woken(&self, generation: u64) {
        let mut changes = self.shared.queue.generation().subscribe();
        // Both ends are reasons to look again.
        let _ = tokio::time::timeout(POLL, changes.wait_for(|now| *now != generation)).await;
    }

    fn extend(
        &self,
        tokens: Vec<Token>,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Lease>, InboxError>> + Send {
        self.write(tokens.len(), move |work| operations::extend(work.connection, &tokens, lease))
    }

    fn finish(&self, token: Token, outcome: Outcome) -> impl Future<Output = Result<bool, InboxError>> + Send {
        self.write(1, move |work| operations::finish(work.connection, token, &outcome))
    }

    fn reap(&self, policy: CrashPolicy) -> impl Future<Output = Result<Reaped, InboxError>> + Send {
        self.write(1, move |work| operations::reap(work.connection, &policy, work.leases))
    }

    fn set_paused(&self, scope: Text, paused: bool) -> impl Future<Output = Result<(), InboxError>> + Send {
        self.write(1, move |work| operations::set_paused(work.connection, &scope, paused))
    }

    fn stats(&self, scope: Text) -> impl Future<Output = Result<Stats, InboxError>> + Send {
        self.read(move |connection| read::stats(connection, &scope))
    }

    fn list(&self, filter: Filter, page: Page) -> impl Future<Output = Result<Listing, InboxError>> + Send {
        self.read(move |connection| read::list(connection, &filter, page))
    }

    fn get(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Detail>, InboxError>> + Send {
        self.read(move |connection| read::get(connection, id.0))
    }

    fn replay(
        &self,
        id: DeliveryId,
        force: bool,
        now: SystemTime,
    ) -> impl Future<Output = Result<Replay, InboxError>> + Send {
        self.write(1, move |work| operations::replay(work.connection, id.0, force, now))
    }

    fn replay_dead(
        &self,
        filter: Filter,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<u32, InboxError>> + Send {
        let filter = Filter { state: Some(super::store::State::Dead), ..filter };
        self.write(limit as usize, move |work| {
            operations::replay_dead(work.connection, &Conditions::new(&filter), limit, now)
        })
    }

    fn cancel(&self, id: DeliveryId, now: SystemTime) -> impl Future<Output = Result<bool, InboxError>> + Send {
        self.write(1, move |work| operations::cancel(work.connection, id.0, now))
    }

    fn erase(
        &self,
        filter: Filter,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<Erased, InboxError>> + Send {
        self.write(limit as usize, move |work| {
            operations::erase(work.connection, &Conditions::new(&filter), limit, now)
        })
    }

    fn prune(
        &self,
        retention: Retention,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<Pruned, InboxError>> + Send {
        self.write(limit as usize, move |work| operations::prune(work.connection, &retention, limit, now, work.sweep))
    }

    async fn health(&self) -> Result<(), InboxError> {
        let nothing = self.shared.queue.put(0, |_| Ok(()))?;
        tokio::time::timeout(self.shared.settings.put_timeout, answer(nothing))
            .await
            .unwrap_or_else(|_| Err(InboxError::new(InboxErrorKind::Timeout, "SQLite did not commit in time")))
    }
}

/// Prints the path and the settings.
impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.shared.path)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
