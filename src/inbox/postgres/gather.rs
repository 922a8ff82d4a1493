//! What arrives while others of its kind are being written goes into the next statement together.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::super::store::{InboxError, InboxErrorKind};

/// The most items in one statement, and the most bytes, unless a single one is larger.
const MOST_ITEMS: usize = 256;
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The most items that wait, and the most bytes.
const MOST_WAITING: usize = 4096;
pub(super) const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The most statements at the same time.
const MOST_STATEMENTS: usize = 2;
/// Whatever comes while a statement is on its way goes into the next one, as a few large ones cost
/// the server less than many small ones. There is a second one beside it only for so many items, or
/// for one that has waited so long: the first one may be waiting for a lock or for a server that is
/// gone.
const ENOUGH_FOR_ANOTHER: usize = MOST_ITEMS;
const PATIENCE: Duration = Duration::from_millis(10);

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

pub(super) struct Gather<I: Item> {
    waiting: Mutex<Waiting<I>>,
    /// Enough wait for another statement.
    enough: Notify,
}

struct Waiting<I: Item> {
    items: VecDeque<(I, Reply<I>, Instant)>,
    bytes: usize,
    /// Tasks that write, or wait until there is reason to.
    writers: usize,
    /// Statements on their way.
    statements: usize,
}

/// What a writer does next.
enum Next<I: Item> {
    Write(Vec<I>, Vec<Reply<I>>),
    /// Another statement is on its way, and those that wait may wait for its end until then.
    Wait(Instant),
    End,
}

impl<I: Item> Default for Gather<I> {
    fn default() -> Self {
        let waiting = Waiting { items: VecDeque::new(), bytes: 0, writers: 0, statements: 0 };
        Self { waiting: Mutex::new(waiting), enough: Notify::new() }
    }
}

impl<I: Item> Gather<I> {
    fn lock(&self) -> MutexGuard<'_, Waiting<I>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Item> Waiting<I> {
    fn next(&mut self) -> Next<I> {
        let Some((_, _, since)) = self.items.front() else {
            self.writers -= 1;
            return Next::End;
        };
        let patience_ends = *since + PATIENCE;
        if self.statements > 0 && self.items.len() < ENOUGH_FOR_ANOTHER && Instant::now() < patience_ends {
            return Next::Wait(patience_ends);
        }
        let (mut keys, mut items, mut replies, mut bytes) = (HashSet::new(), Vec::new(), Vec::new(), 0);
        while let Some((item, ..)) = self.items.front() {
            bytes += item.bytes();
            let is_full = items.len() == MOST_ITEMS || (bytes > MOST_BYTES && !items.is_empty());
            if is_full || !keys.insert(item.key()) {
                break;
            }
            self.bytes -= item.bytes();
            let Some((item, reply, _)) = self.items.pop_front() else { break };
            items.push(item);
            replies.push(reply);
        }
        self.statements += 1;
        Next::Write(items, replies)
    }
}

/// Queues an item. A task of its own writes it, so that a client that hangs up changes nothing.
pub(super) fn write<I: Item, S: WriteAll<I>>(
    store: &S,
    item: I,
) -> Result<oneshot::Receiver<Result<I::Result, InboxError>>, InboxError> {
    let (reply, result) = oneshot::channel();
    let gather = store.gather();
    let mut waiting = gather.lock();
    let bytes = waiting.bytes.saturating_add(item.bytes());
    if waiting.items.len() >= MOST_WAITING || bytes > MOST_WAITING_BYTES {
        return Err(InboxError::new(InboxErrorKind::Full, "too many deliveries wait to be written"));
    }
    waiting.bytes = bytes;
    waiting.items.push_back((item, reply, Instant::now()));
    if waiting.items.len() == ENOUGH_FOR_ANOTHER {
        gather.enough.notify_one();
    }
    if waiting.writers < MOST_STATEMENTS {
        waiting.writers += 1;
        tokio::spawn(write_gathered(store.clone()));
    }
    Ok(result)
}

/// Writes what has gathered, until nothing is left.
async fn write_gathered<I: Item, S: WriteAll<I>>(store: S) {
    let gather = store.gather();
    loop {
        let next = gather.lock().next();
        match next {
            Next::Write(items, replies) => {
                let result = store.write_all(items).await;
                gather.lock().statements -= 1;
                for (n, reply) in replies.into_iter().enumerate() {
                    // The caller may have left.
                    let _ = reply.send(result.as_ref().map(|results| results[n]).map_err(Clone::clone));
                }
            }
            // Both ends are reasons to look again.
            Next::Wait(until) => {
                let _ = timeout_at(until, gather.enough.notified()).await;
            }
            Next::End => return,
        }
    }
}

pub(super) fn ended() -> InboxError {
    InboxError::new(InboxErrorKind::Unavailable, "the runtime has ended")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Semaphore, mpsc};
    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    impl Item for u32 {
        type Key = u32;
        type Result = u32;

        fn key(&self) -> u32 {
            *self
        }

        fn bytes(&self) -> usize {
            0
        }
    }

    /// A store whose statements take as long as the test wants, and which says what is in each.
    #[derive(Clone)]
    struct Slow {
        gather: Arc<Gather<u32>>,
        begun: mpsc::UnboundedSender<Vec<u32>>,
        may_end: Arc<Semaphore>,
    }

    impl Slow {
        fn new() -> (Self, mpsc::UnboundedReceiver<Vec<u32>>) {
            let (begun, statements) = mpsc::unbounded_channel();
            (Self { gather: Arc::default(), begun, may_end: Arc::new(Semaphore::new(0)) }, statements)
        }
    }

    impl WriteAll<u32> for Slow {
        fn gather(&self) -> &Gather<u32> {
            &self.gather
        }

        async fn write_all(&self, items: Vec<u32>) -> Result<Vec<u32>, InboxError> {
            self.begun.send(items.clone()).unwrap();
            self.may_end.acquire().await.unwrap().forget();
            Ok(items)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_statement_is_on_its_way_shares_the_next_one() {
        let (store, mut statements) = Slow::new();
        let first = write(&store, 0).unwrap();
        assert_eq!(statements.recv().await.unwrap(), [0]);
        let mut others = JoinSet::new();
        for item in 1..=50 {
            others.spawn(write(&store, item).unwrap());
        }
        sleep(PATIENCE / 2).await;
        assert!(statements.try_recv().is_err(), "a second statement was begun");
        store.may_end.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap(), 0);
        assert_eq!(statements.recv().await.unwrap(), Vec::from_iter(1..=50));
        assert_eq!(others.join_all().await.len(), 50);
        // Nobody is left who would write, and the next one is written at once again.
        let next = write(&store, 51).unwrap();
        assert_eq!(statements.recv().await.unwrap(), [51]);
        store.may_end.add_permits(1);
        assert_eq!(next.await.unwrap().unwrap(), 51);
        until_idle(&store).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_hangs_delays_others_for_moments_only() {
        let (store, mut statements) = Slow::new();
        let _first = write(&store, 0).unwrap();
        assert_eq!(statements.recv().await.unwrap(), [0]);
        for item in 1..10 {
            let _second = write(&store, item).unwrap();
            let begun = timeout(PATIENCE + Duration::from_millis(1), statements.recv()).await;
            assert_eq!(begun.expect("it waits for the first one").unwrap(), [item]);
            // That of the second one: the first one waits longer.
            store.may_end.add_permits(1);
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_statement_begins_as_soon_as_it_is_full_and_never_a_third() {
        let most = u32::try_from(MOST_ITEMS).unwrap();
        let (store, mut statements) = Slow::new();
        let mut results = vec![write(&store, 0).unwrap()];
        assert_eq!(statements.recv().await.unwrap(), [0]);
        results.extend((1..=3 * most).map(|item| write(&store, item).unwrap()));
        let begun = timeout(PATIENCE / 2, statements.recv()).await;
        assert_eq!(begun.expect("it waits for the first one").unwrap(), Vec::from_iter(1..=most));
        sleep(PATIENCE * 2).await;
        assert!(statements.try_recv().is_err(), "a third statement was begun");
        store.may_end.add_permits(4);
        for (item, result) in results.into_iter().enumerate() {
            assert_eq!(result.await.unwrap().unwrap() as usize, item);
        }
        until_idle(&store).await;
    }

    async fn until_idle(store: &Slow) {
        sleep(PATIENCE * 2).await;
        let waiting = store.gather.lock();
        assert_eq!((waiting.writers, waiting.statements), (0, 0));
    }
}
