//! What arrives while others of its kind are being written goes into the next statement together.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::store::{InboxError, InboxErrorKind};

/// The most items in one statement, and the most bytes, unless a single one is larger.
const MOST_ITEMS: usize = 128;
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The most items that wait, and the most bytes.
const MOST_WAITING: usize = 4096;
pub(super) const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Statements at the same time: while the server writes one to its disk, another one travels.
const MOST_STATEMENTS: usize = 2;

/// Something to be written.
pub(super) trait Item: Send + 'static {
    /// No two with the same key go into one statement.
    type Key: Eq + Hash;
    /// What became of it.
    type Result: Copy + Send + 'static;

    fn key(&self) -> Self::Key;
    fn bytes(&self) -> usize;
}

/// Where items are gathered, and what writes them.
pub(super) trait WriteAll<I: Item>: Clone + Send + Sync + 'static {
    fn gather(&self) -> &Gather<I>;
    fn write_all(&self, items: Vec<I>) -> impl Future<Output = Result<Vec<I::Result>, InboxError>> + Send;
}

type Reply<I> = oneshot::Sender<Result<<I as Item>::Result, InboxError>>;

pub(super) struct Gather<I: Item>(Mutex<Waiting<I>>);

struct Waiting<I: Item> {
    items: VecDeque<(I, Reply<I>)>,
    bytes: usize,
    statements: usize,
}

impl<I: Item> Default for Gather<I> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { items: VecDeque::new(), bytes: 0, statements: 0 }))
    }
}

impl<I: Item> Gather<I> {
    fn lock(&self) -> MutexGuard<'_, Waiting<I>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what goes into one statement, or says that the caller's task may end.
    fn next(&self) -> Option<(Vec<I>, Vec<Reply<I>>)> {
        let mut waiting = self.lock();
        let (mut keys, mut items, mut replies, mut bytes) = (HashSet::new(), Vec::new(), Vec::new(), 0);
        while let Some((item, _)) = waiting.items.front() {
            bytes += item.bytes();
            let is_full = items.len() == MOST_ITEMS || (bytes > MOST_BYTES && !items.is_empty());
            if is_full || !keys.insert(item.key()) {
                break;
            }
            waiting.bytes -= item.bytes();
            let Some((item, reply)) = waiting.items.pop_front() else { break };
            items.push(item);
            replies.push(reply);
        }
        if items.is_empty() {
            waiting.statements -= 1;
            return None;
        }
        Some((items, replies))
    }
}

/// Queues an item. A task of its own writes it, so that a client that hangs up changes nothing.
pub(super) fn write<I: Item, S: WriteAll<I>>(
    store: &S,
    item: I,
) -> Result<oneshot::Receiver<Result<I::Result, InboxError>>, InboxError> {
    let (reply, result) = oneshot::channel();
    let mut waiting = store.gather().lock();
    let bytes = waiting.bytes.saturating_add(item.bytes());
    if waiting.items.len() >= MOST_WAITING || bytes > MOST_WAITING_BYTES {
        return Err(InboxError::new(InboxErrorKind::Full, "too many deliveries wait to be written"));
    }
    waiting.bytes = bytes;
    waiting.items.push_back((item, reply));
    if waiting.statements < MOST_STATEMENTS {
        waiting.statements += 1;
        let store = store.clone();
        tokio::spawn(async move {
            while let Some((items, replies)) = store.gather().next() {
                let result = store.write_all(items).await;
                for (n, reply) in replies.into_iter().enumerate() {
                    // The caller may have left.
                    let _ = reply.send(result.as_ref().map(|results| results[n]).map_err(Clone::clone));
                }
            }
        });
    }
    Ok(result)
}

pub(super) fn ended() -> InboxError {
    InboxError::new(InboxErrorKind::Unavailable, "the runtime has ended")
}
