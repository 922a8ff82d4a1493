//! The one thread that writes: it puts what has gathered while the last commit ran into the next
//! one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::super::store::{InboxError, InboxErrorKind};
use super::leases::Leases;
use super::operations::Stored;
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

/// The most accepts in one commit. More gain nothing and make the first ones wait.
const MOST_PUTS: usize = 256;
/// The most bytes of accepts in one commit, unless a single one is larger.
const MOST_PUT_BYTES: usize = 8 * 1024 * 1024;
/// The most work other than accepts in one commit, in deliveries that it touches. Beside accepts,
/// which wait for it, it is half as much as there are accepts.
const MOST_OTHERS: usize = 48;
/// The most operations that wait.
const MOST_WAITING: usize = 4096;
/// The write-ahead log is written back to the file once about so much was written to it. The size
/// of its file doesn't tell, as it is overwritten from the start and not cut.
const CHECKPOINT_BYTES: u64 = 8 * 1024 * 1024;
/// What is written to it beside the records, about, as measured: for each commit the pages that all
/// its changes share, and for each change of a row.
const COMMIT_BYTES: u64 = 80 * 1024;
const CHANGE_BYTES: u64 = 512;
/// If readers keep it from starting over, it is cut at this size.
const TRUNCATE_BYTES: u64 = 64 * 1024 * 1024;
/// How often a full disk is tried again.
const RETRY_FULL: Duration = Duration::from_millis(500);

/// What an operation works on.
pub(super) struct Work<'a> {
    pub(super) connection: &'a Connection,
    pub(super) stored: &'a mut Stored,
    pub(super) recent: &'a mut Recent,
    pub(super) leases: &'a mut Leases,
    pub(super) sweep: &'a mut Vec<u8>,
    pub(super) unreadable: &'a mut Vec<i64>,
}

/// Something to be done within a transaction, which may be tried again after a rollback.
trait Operation: Send {
    fn run(&mut self, work: &mut Work<'_>) -> rusqlite::Result<()>;
    fn reply(self: Box<Self>, result: Result<(), InboxError>);
}

struct Op<T, F> {
    run: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, InboxError>>,
}

impl<T: Send, F> Operation for Op<T, F>
where
    F: FnMut(&mut Work<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, work: &mut Work<'_>) -> rusqlite::Result<()> {
        self.value = Some((self.run)(work)?);
        Ok(())
    }

    fn reply(self: Box<Self>, result: Result<(), InboxError>) {
        let value = match (result, self.value) {
            (Ok(()), Some(value)) => Ok(value),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(InboxError::new(InboxErrorKind::Unavailable, "the operation was not run")),
        };
        // The caller may have left.
        let _ = self.reply.send(value);
    }
}

struct Job {
    operation: Box<dyn Operation>,
    /// Bytes of a put, deliveries of anything else.
    weight: usize,
}

#[derive(Default)]
struct Waiting {
    puts: VecDeque<Job>,
    put_bytes: usize,
    others: VecDeque<Job>,
    /// Whether the thread waits for work.
    is_idle: bool,
    is_closed: bool,
    /// Where those who ask wait for their answers, as far as is known.
    runtime: Option<Handle>,
}

/// What the store and the thread share.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    most_bytes: usize,
    /// Goes up with each commit that changed something.
    generation: watch::Sender<u64>,
}

impl Queue {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), most_bytes, generation: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held; the queue would be whole anyway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an accept of so many bytes.
    pub(super) fn put<T, F>(&self, bytes: usize, run: F) -> Result<oneshot::Receiver<Result<T, InboxError>>, InboxError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.puts.len() >= MOST_WAITING || waiting.put_bytes.saturating_add(bytes) > self.most_bytes {
            return Err(InboxError::new(InboxErrorKind::Full, "too many deliveries wait to be stored"));
        }
        waiting.put_bytes += bytes;
        waiting.puts.push_back(Job { operation: Box::new(Op { run, value: None, reply }), weight: bytes });
        self.wake(waiting);
        Ok(result)
    }

    /// Queues anything else, which touches so many deliveries.
    pub(super) fn other<T, F>(
        &self,
        weight: usize,
        run: F,
    ) -> Result<oneshot::Receiver<Result<T, InboxError>>, InboxError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.others.len() >= MOST_WAITING {
            return Err(InboxError::new(InboxErrorKind::Full, "too many operations wait for the store"));
        }
        waiting.others.push_back(Job { operation: Box::new(Op { run, value: None, reply }), weight });
        self.wake(waiting);
        Ok(result)
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.runtime.is_none() {
            // One of a single thread may be busy while others, of other runtimes, wait for their answers.
            let has_threads = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
            waiting.runtime = Handle::try_current().ok().filter(has_threads);
        }
        // A thread that works looks again anyway.
        if waiting.is_idle {
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Answers from within the runtime, where that takes one wake-up instead of one for each
    /// answer.
    fn reply(&self, operations: Vec<Box<dyn Operation>>, result: Result<(), InboxError>) {
        let replies = Replies { operations, result };
        let runtime = self.lock().runtime.clone();
        match runtime {
            // If it has ended, it drops them right here.
            Some(runtime) => drop(runtime.spawn(async move { drop(replies) })),
            None => drop(replies),
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    pub(super) fn generation(&self) -> &watch::Sender<u64> {
        &self.generation
    }

    /// Waits for work: accepts, and some of everything else. `None` once the store was dropped and
    /// all is done.
    fn next(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        while waiting.puts.is_empty() && waiting.others.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting.is_idle = true;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.is_idle = false;
        }
        let mut batch = Batch::default();
        while let Some(job) = waiting.puts.front() {
            let bytes = batch.put_bytes + job.weight;
            if batch.puts.len() == MOST_PUTS || (bytes > MOST_PUT_BYTES && !batch.puts.is_empty()) {
                break;
            }
            batch.put_bytes = bytes;
            waiting.put_bytes -= job.weight;
            batch.puts.extend(waiting.puts.pop_front().map(|job| job.operation));
        }
        let mut weight = 0;
        let most = match batch.puts.len() {
            0 => MOST_OTHERS,
            puts => (puts / 2).clamp(2, MOST_OTHERS),
        };
        while let Some(job) = waiting.others.front() {
            weight += job.weight;
            if weight > most && !batch.others.is_empty() {
                break;
            }
            batch.others.extend(waiting.others.pop_front().map(|job| job.operation));
        }
        Some(batch)
    }
}

#[derive(Default)]
struct Batch {
    puts: Vec<Box<dyn Operation>>,
    put_bytes: usize,
    others: Vec<Box<dyn Operation>>,
}

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
    /// What was written to the log since it was last written back, about.
    pub(super) logged: u64,
}

impl Writer {
    /// Runs until the store was dropped.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.next() {
            self.handle(batch);
            self.checkpoint();
        }
        if let Some(connection) = self.connection.take() {
            // Leaves one small file behind; if it fails, the next start reads the log.
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn handle(&mut self, Batch { mut puts, put_bytes, mut others }: Batch) {
        self.logged += put_bytes as u64;
        if !puts.is_empty()
            && let Err(error) = self.has_room()
        {
            self.queue.reply(std::mem::take(&mut puts), Err(error));
        }
        if puts.is_empty() && others.is_empty() {
            return;
        }
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
            self.logged += COMMIT_BYTES + changes * CHANGE_BYTES;
            self.queue.generation.send_modify(|generation| *generation = generation.wrapping_add(1));
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
        self.logged += self.recent.write(connection)? * u64::from(PAGE_BYTES);
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

    /// Writes the log back into the file, after everybody has their answer.
    fn checkpoint(&mut self) {
        if self.logged < CHECKPOINT_BYTES {
            return;
        }
        let Some(connection) = &self.connection else { return };
        self.logged = 0;
        let mode = if wal_bytes(&self.path) < TRUNCATE_BYTES { "PASSIVE" } else { "TRUNCATE" };
        let result = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| row.get::<_, i64>(0));
        if result.is_err_and(|error| is_full(&error.into())) {
            self.connection = None;
            self.make_room();
        }
    }
}

fn wal_bytes(path: &std::path::Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |log| log.len())
}

/// Answers that are sent when this is dropped, so that none is lost with a runtime that ends.
struct Replies {
    operations: Vec<Box<dyn Operation>>,
    result: Result<(), InboxError>,
}

impl Drop for Replies {
    fn drop(&mut self) {
        for operation in self.operations.drain(..) {
            operation.reply(self.result.clone());
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
