//! Memory for bodies in flight, shared by all requests.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::rejection::Reason;

/// Memory for the bodies of all requests that are on their way through one or more layers.
///
/// It is taken as bytes arrive, never by what a request announces, and given back once the response
/// is there or the request is gone.
///
/// As long as there is free memory, a request gets what it needs. Once there is none, the fair
/// share of a request is the budget divided by the number of requests that hold memory. A request
/// that would hold more than its share is refused with 503 and `Retry-After`. A request that stays
/// within its share takes the memory from the request that holds most: that one is refused instead,
/// unless its body is complete. So with `n` requests at work, in whatever order they came and
/// however slowly they send, the next one may hold a share of `1 / (n + 1)`, as long as complete
/// bodies, which are verified and handled, leave that much.
///
/// A budget below the body limit of a layer refuses bodies that the layer would take.
///
/// # Examples
///
/// ```
/// use tower_webhook::{MemoryBudget, WebhookLayer, senders};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let budget = MemoryBudget::new(64 * 1024 * 1024);
/// let layer = WebhookLayer::new(senders::github("secret")?).with_memory_budget(&budget);
/// assert_eq!(budget.used(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBudget(Arc<Mutex<Account>>);

struct Account {
    limit: usize,
    used: usize,
    holders: HashMap<u64, Holder>,
    next_id: u64,
}

struct Holder {
    held: usize,
    claim: Arc<Claim>,
}

/// What a lease and its account know of each other.
#[derive(Default)]
struct Claim {
    /// The memory was given to another request; this one is to be refused.
    revoked: AtomicBool,
    /// The body is complete, so that its memory is no longer the sender's to waste.
    complete: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl MemoryBudget {
    /// Creates a budget of this many bytes.
    #[must_use]
    #[inline]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Account { limit: bytes, used: 0, holders: HashMap::new(), next_id: 0 })))
    }

    /// Returns the number of bytes that are taken at this moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.lock().used
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        lock(&self.0)
    }

    /// Returns what leases take their memory from.
    #[inline]
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        self.0.clone()
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    /// Gives this lease so many bytes in all, or refuses.
    fn grant(&mut self, id: u64, claim: &Arc<Claim>, bytes: usize) -> Result<(), Reason> {
        // A request that was revoked is no longer among the holders, and is not to come back.
        if claim.revoked.load(Ordering::Relaxed) {
            return Err(Reason::Overloaded);
        }
        let held = self.holders.get(&id).map_or(0, |holder| holder.held);
        let others = self.holders.len() - usize::from(held > 0);
        while self.used - held + bytes > self.limit {
            if bytes > self.limit / (others + 1) {
                return Err(Reason::Overloaded);
            }
            self.revoke_the_largest(id, bytes)?;
        }
        self.used = self.used - held + bytes;
        self.holders.entry(id).or_insert_with(|| Holder { held, claim: claim.clone() }).held = bytes;
        Ok(())
    }

    /// Takes the memory from the request that holds most of it, if that is more than the one that
    /// asks would hold.
    fn revoke_the_largest(&mut self, asking: u64, bytes: usize) -> Result<(), Reason> {
        let revocable = self.holders.iter().filter(|(id, holder)| {
            **id != asking && holder.held > bytes && !holder.claim.complete.load(Ordering::Relaxed)
        });
        let largest = revocable.max_by_key(|(_, holder)| holder.held).map(|(id, _)| *id);
        let holder = largest.and_then(|id| self.holders.remove(&id)).ok_or(Reason::Overloaded)?;
        self.used -= holder.held;
        holder.claim.revoked.store(true, Ordering::Relaxed);
        let waker = holder.claim.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

/// The memory that one request holds of a budget, if there is one, given back when it is dropped.
/// It is in a box, because every request is moved with room for it.
#[derive(Default)]
pub(crate) struct Lease(Option<Box<Share>>);

/// What one request holds of a budget. Its ledger is what gives it back, so that a lease without a
/// budget costs nothing to drop.
pub(crate) struct Share {
    ledger: Arc<dyn Ledger>,
    id: u64,
    held: usize,
    claim: Arc<Claim>,
}

/// The account of a budget, as a lease knows it: what it does is in the programs alone that have a
/// budget.
pub(crate) trait Ledger: Send + Sync {
    fn open(self: Arc<Self>) -> Box<Share>;
    fn grant(&self, share: &Share, bytes: usize) -> Result<(), Reason>;
    fn wait(&self, share: &Share, waker: &Waker) -> Result<(), Reason>;
    fn complete(&self, share: &Share) -> Result<(), Reason>;
    fn close(&self, id: u64);
}

impl Lease {
    #[inline]
    pub(crate) fn new(budget: Option<&Arc<dyn Ledger>>) -> Self {
        Self(budget.map(|ledger| ledger.clone().open()))
    }

    /// Sees that at least this much is held.
    #[inline]
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Reason> {
        let Some(share) = &mut self.0 else { return Ok(()) };
        if bytes > share.held {
            share.ledger.grant(share, bytes)?;
            share.held = bytes;
        }
        Ok(())
    }

    /// Has this task woken should its memory be revoked while it waits. Fails if it has been.
    pub(super) fn wait(&self, waker: &Waker) -> Result<(), Reason> {
        self.0.as_ref().map_or(Ok(()), |share| share.ledger.wait(share, waker))
    }

    /// Keeps what is held: the body is complete. Fails if it was revoked just now.
    #[inline]
    pub(super) fn complete(&self) -> Result<(), Reason> {
        self.0.as_ref().map_or(Ok(()), |share| share.ledger.complete(share))
    }
}

impl Ledger for Mutex<Account> {
    #[inline]
    fn open(self: Arc<Self>) -> Box<Share> {
        let mut account = lock(&self);
        let id = account.next_id;
        account.next_id += 1;
        drop(account);
        Box::new(Share { ledger: self, id, held: 0, claim: Arc::default() })
    }

    #[inline]
    fn grant(&self, share: &Share, bytes: usize) -> Result<(), Reason> {
        lock(self).grant(share.id, &share.claim, bytes)
    }

    #[inline]
    fn wait(&self, share: &Share, waker: &Waker) -> Result<(), Reason> {
        let claim = &share.claim;
        claim.waker.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&Some(waker.clone()));
        // Looked at after the waker is in place, so that no revocation falls between.
        if claim.revoked.load(Ordering::Relaxed) { Err(Reason::Overloaded) } else { Ok(()) }
    }

    #[inline]
    fn complete(&self, share: &Share) -> Result<(), Reason> {
        // Under the account's lock, as a revocation is.
        let _account = lock(self);
        share.claim.complete.store(true, Ordering::Relaxed);
        if share.claim.revoked.load(Ordering::Relaxed) { Err(Reason::Overloaded) } else { Ok(()) }
    }

    #[inline]
    fn close(&self, id: u64) {
        let mut account = lock(self);
        if let Some(holder) = account.holders.remove(&id) {
            account.used -= holder.held;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.ledger.close(self.id);
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.lock();
        f.debug_struct("MemoryBudget").field("limit", &account.limit).field("used", &account.used).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    fn lease(budget: &MemoryBudget) -> Lease {
        Lease::new(Some(&budget.ledger()))
    }

    #[test]
    fn what_is_held_is_taken_once_and_given_back() {
        let budget = MemoryBudget::new(1000);
        let mut lease = lease(&budget);
        lease.hold(50).unwrap();
        lease.hold(40).unwrap();
        lease.hold(100).unwrap();
        assert_eq!(budget.used(), 100);
        drop(lease);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_request_alone_may_hold_the_whole_budget_and_no_more() {
        let budget = MemoryBudget::new(800);
        let mut lease = lease(&budget);
        assert_eq!(lease.hold(801), Err(Reason::Overloaded));
        assert_eq!(budget.used(), 0);
        lease.hold(800).unwrap();
    }

    /// 58 senders that stall one after another, and an honest one after them: it was refused above
    /// 64 KiB.
    #[test]
    fn senders_that_stall_one_after_another_leave_a_fair_share() {
        let budget = MemoryBudget::new(64 << 20);
        let mut stalled: Vec<_> = (0..58).map(|_| lease(&budget)).collect();
        for lease in &mut stalled {
            let mut size = 0;
            while size < 8 << 20 && lease.hold(size + (16 << 10)).is_ok() {
                size += 16 << 10;
            }
        }
        let mut honest = lease(&budget);
        assert_eq!(honest.hold((64 << 20) / 59), Ok(()), "{} used", budget.used());
        assert!(budget.used() <= 64 << 20);
    }

    #[test]
    fn thousands_of_greedy_requests_leave_room_for_a_small_one() {
        let budget = MemoryBudget::new(64 << 20);
        let mut greedy: Vec<_> = (0..2000).map(|_| lease(&budget)).collect();
        for size in (1..=1024).map(|kib| kib << 10) {
            for lease in &mut greedy {
                let _ = lease.hold(size);
            }
        }
        assert!(budget.used() <= 64 << 20);
        let mut small = lease(&budget);
        assert_eq!(small.hold(16 << 10), Ok(()), "{} used", budget.used());
        drop((greedy, small));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_revoked_request_is_woken_and_refused_and_a_complete_one_is_never_revoked() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let budget = MemoryBudget::new(1000);
        let (mut stalled, mut complete) = (lease(&budget), lease(&budget));
        complete.hold(400).unwrap();
        complete.complete().unwrap();
        stalled.hold(600).unwrap();
        stalled.wait(&count.clone().into()).unwrap();
        let mut next = lease(&budget);
        next.hold(300).unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(stalled.wait(Waker::noop()), Err(Reason::Overloaded));
        assert_eq!(stalled.hold(601), Err(Reason::Overloaded));
        assert_eq!(stalled.complete(), Err(Reason::Overloaded));
        drop(stalled);
        assert_eq!(budget.used(), 700);
        // A complete body stays, even beyond its share.
        assert_eq!(lease(&budget).hold(333), Err(Reason::Overloaded));
        let mut last = lease(&budget);
        assert_eq!(last.hold(300), Ok(()));
        assert_eq!(complete.complete(), Ok(()));
    }

    proptest! {
        /// In whatever order requests come, grow and go, the next one gets its share of the budget.
        #[test]
        fn the_promise_holds_for_every_order(steps in proptest::collection::vec((0..40_usize, 1..3000_usize, any::<bool>()), 1..200)) {
            let budget = MemoryBudget::new(10_000);
            let mut leases: HashMap<usize, Lease> = HashMap::new();
            for (who, bytes, goes) in steps {
                if goes {
                    leases.remove(&who);
                } else {
                    let _ = leases.entry(who).or_insert_with(|| lease(&budget)).hold(bytes);
                }
                prop_assert!(budget.used() <= 10_000);
                let holding = budget.lock().holders.len();
                // Asked of a copy of the account, since the answer may revoke others.
                let share = 10_000 / (holding + 1);
                let copy = {
                    let account = budget.lock();
                    let holders = account.holders.iter().map(|(id, holder)| (*id, Holder { held: holder.held, claim: Arc::default() }));
                    MemoryBudget(Arc::new(Mutex::new(Account { limit: account.limit, used: account.used, holders: holders.collect(), next_id: account.next_id })))
                };
                let mut asked = lease(&copy);
                prop_assert_eq!(asked.hold(share), Ok(()));
                prop_assert!(copy.used() <= 10_000);
            }
            drop(leases);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
