//! Puts that arrive while others are being stored go into the next statement together.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::record::{Entry, UniqueKey};
use super::super::store::{InboxError, InboxErrorKind, Put};

/// The most puts in one statement, and the most bytes, unless a single one is larger.
const MOST_PUTS: usize = 128;
const MOST_PUT_BYTES: usize = 8 * 1024 * 1024;
/// The most puts that wait, and the most bytes.
const MOST_WAITING: usize = 4096;
pub(super) const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Statements at the same time: while the server writes one to its disk, another one travels.
const MOST_STATEMENTS: usize = 2;

/// Where puts are gathered, and what stores them.
pub(super) trait PutAll: Clone + Send + Sync + 'static {
    fn gather(&self) -> &Gather;
    fn put_all(&self, entries: Vec<Entry>) -> impl Future<Output = Result<Vec<Put>, InboxError>> + Send;
}

type Reply = oneshot::Sender<Result<Put, InboxError>>;

#[derive(Default)]
pub(super) struct Gather(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    puts: VecDeque<(Entry, Reply)>,
    bytes: usize,
    statements: usize,
}

impl Gather {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what goes into one statement, or says that the caller's task may end. No two have the same key.
    fn next(&self) -> Option<(Vec<Entry>, Vec<Reply>)> {
        let mut waiting = self.lock();
        let (mut keys, mut entries, mut replies, mut bytes) = (HashSet::<UniqueKey>::new(), Vec::new(), Vec::new(), 0);
        while let Some((entry, _)) = waiting.puts.front() {
            bytes += entry.record.len();
            let is_full = entries.len() == MOST_PUTS || (bytes > MOST_PUT_BYTES && !entries.is_empty());
            if is_full || !keys.insert(entry.unique_key) {
                break;
            }
            waiting.bytes -= entry.record.len();
            let Some((entry, reply)) = waiting.puts.pop_front() else { break };
            entries.push(entry);
            replies.push(reply);
        }
        if entries.is_empty() {
            waiting.statements -= 1;
            return None;
        }
        Some((entries, replies))
    }
}

/// Queues a put. A task of its own stores it, so that a client that hangs up changes nothing.
pub(super) fn put(store: &impl PutAll, entry: Entry) -> Result<oneshot::Receiver<Result<Put, InboxError>>, InboxError> {
    let (reply, put) = oneshot::channel();
    let mut waiting = store.gather().lock();
    let bytes = waiting.bytes.saturating_add(entry.record.len());
    if waiting.puts.len() >= MOST_WAITING || bytes > MOST_WAITING_BYTES {
        return Err(InboxError::new(InboxErrorKind::Full, "too many deliveries wait to be stored"));
    }
    waiting.bytes = bytes;
    waiting.puts.push_back((entry, reply));
    if waiting.statements < MOST_STATEMENTS {
        waiting.statements += 1;
        let store = store.clone();
        tokio::spawn(async move {
            while let Some((entries, replies)) = store.gather().next() {
                let result = store.put_all(entries).await;
                for (n, reply) in replies.into_iter().enumerate() {
                    // Whoever asked may have left.
                    let _ = reply.send(result.as_ref().map(|puts| puts[n]).map_err(Clone::clone));
                }
            }
        });
    }
    Ok(put)
}

pub(super) fn ended() -> InboxError {
    InboxError::new(InboxErrorKind::Unavailable, "the runtime has ended")
}
