//! What waits for the one thread that writes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{oneshot, watch};

use super::super::store::{InboxError, InboxErrorKind};
use super::leases::Leases;
use super::operations::Stored;
use super::recent::Recent;

/// The most accepts in one commit. More gain nothing and make the first ones wait.
const MOST_PUTS: usize = 256;
/// The most bytes of accepts in one commit, unless a single one is larger.
const MOST_PUT_BYTES: usize = 8 * 1024 * 1024;
/// The most work other than accepts in one commit, in deliveries that it touches. Beside accepts,
/// which wait for it, it is half as much as there are accepts.
const MOST_OTHERS: usize = 48;
/// The most operations that wait.
const MOST_WAITING: usize = 4096;
/// How long the accepts that are there wait for more, at most.
const GATHER: Duration = Duration::from_millis(2);

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
pub(super) trait Operation: Send {
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
    /// If the thread waits for more accepts: how many are enough.
    enough: usize,
    /// How many accepts the last commit had.
    committed: usize,
    /// The most accepts that were open at once of late.
    most_open: usize,
    is_closed: bool,
    /// Where those who ask wait for their answers, as far as is known.
    runtime: Option<Handle>,
}

/// What the store and the thread share.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    most_bytes: usize,
    gather: Duration,
    /// Goes up with each commit that changed something.
    generation: watch::Sender<u64>,
}

impl Queue {
    pub(super) fn new(most_bytes: usize) -> Self {
        let generation = watch::Sender::new(0);
        Self { waiting: Mutex::default(), arrived: Condvar::new(), most_bytes, gather: GATHER, generation }
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
        if waiting.is_idle || (waiting.enough > 0 && waiting.puts.len() >= waiting.enough) {
            (waiting.is_idle, waiting.enough) = (false, 0);
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Answers from within the runtime, where that takes one wake-up instead of one for each
    /// answer.
    pub(super) fn reply(&self, operations: Vec<Box<dyn Operation>>, result: Result<(), InboxError>) {
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
    pub(super) fn next(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        waiting.most_open = waiting.most_open.max(waiting.committed + waiting.puts.len());
        while waiting.puts.is_empty() && waiting.others.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting.is_idle = true;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.is_idle = false;
        }
        waiting = self.gather(waiting);
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
        waiting.committed = batch.puts.len();
        Some(batch)
    }

    /// Waits until half of the accepts are there that were open at once of late: while these are
    /// committed, the other half arrives. A commit for the first one alone would take as long, and
    /// everything else waits as well, as a long commit without accepts would delay those to come.
    fn gather<'a>(&self, mut waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        let enough = MOST_PUTS.min(waiting.most_open / 2);
        if waiting.puts.len() >= enough {
            return waiting;
        }
        waiting.enough = enough;
        let (mut waiting, waited) = self
            .arrived
            .wait_timeout_while(waiting, self.gather, |waiting| waiting.puts.len() < enough && !waiting.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.enough = 0;
        if waited.timed_out() {
            // Fewer are sent by now. It isn't waited for the others again.
            waiting.most_open = 2 * waiting.puts.len();
        }
        waiting
    }
}

/// What goes into one commit.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) puts: Vec<Box<dyn Operation>>,
    pub(super) put_bytes: usize,
    pub(super) others: Vec<Box<dyn Operation>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(gather: Duration) -> Queue {
        Queue { gather, ..Queue::new(usize::MAX) }
    }

    fn put(queue: &Queue, count: usize) {
        for _ in 0..count {
            queue.put(1, |_| Ok(())).unwrap();
        }
    }

    fn next(queue: &Queue) -> (usize, usize) {
        let batch = queue.next().unwrap();
        (batch.puts.len(), batch.others.len())
    }

    #[test]
    fn half_of_the_accepts_that_were_open_at_once_share_a_commit() {
        let queue = queue(Duration::from_secs(60));
        put(&queue, 8);
        assert_eq!(next(&queue), (8, 0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                queue.other(1, |_| Ok(())).unwrap();
                for _ in 0..4 {
                    put(&queue, 1);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            assert_eq!(next(&queue), (4, 1));
        });
    }

    #[test]
    fn accepts_that_do_not_come_are_waited_for_once() {
        let queue = queue(Duration::from_millis(1));
        put(&queue, 64);
        assert_eq!(next(&queue), (64, 0));
        put(&queue, 1);
        assert_eq!(next(&queue), (1, 0));
        assert_eq!(queue.lock().most_open, 2);
        queue.other(1, |_| Ok(())).unwrap();
        assert_eq!(next(&queue), (0, 1));
        assert_eq!(queue.lock().most_open, 0);
    }

    #[test]
    fn beside_accepts_there_is_half_as_much_else() {
        let queue = queue(Duration::ZERO);
        put(&queue, 8);
        for _ in 0..100 {
            queue.other(1, |_| Ok(())).unwrap();
        }
        assert_eq!(next(&queue), (8, 4));
        assert_eq!(next(&queue), (0, MOST_OTHERS));
    }

    #[test]
    fn what_waits_is_done_before_the_end() {
        let queue = queue(Duration::from_secs(60));
        put(&queue, 8);
        assert_eq!(next(&queue), (8, 0));
        put(&queue, 1);
        queue.close();
        assert_eq!(next(&queue), (1, 0));
        assert!(queue.next().is_none());
    }
}
