//! Memory for bodies in flight, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rejection::Reason;

/// A request may hold at most this part of what is free, so that greedy requests, however many, leave room for small ones: a
/// budget of `B` bytes with `n` of them at their limit still grants `B / (8 + n)` to the next. The rule is that of dynamic
/// queue thresholds (Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
const PART_OF_FREE: usize = 8;

/// A memory budget for the bodies of all requests in flight through one or more layers.
///
/// Memory is taken as bytes arrive, never by what a request announces, and returned when the response is there or the request
/// is gone. A request may hold an eighth of what is free at the moment: a few large bodies, or thousands of slow senders, can't
/// take it all, and small deliveries still pass. A request that gets no more is refused with 503 and `Retry-After`.
///
/// For a single body of the largest size to pass, the budget must be nine times the body limit. A hundred times is comfortable.
///
/// # Examples
///
/// ```
/// use tower_webhook::{MemoryBudget, WebhookLayer, senders};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let budget = MemoryBudget::new(64 * 1024 * 1024);
/// let layer = WebhookLayer::new(senders::github("the secret of the webhook")?).with_memory_budget(&budget);
/// assert_eq!(budget.used(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// Creates a budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Account { limit: bytes, used: AtomicUsize::new(0) }))
    }

    /// Returns how many bytes are taken at the moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// A request's share of a budget, returned when it is dropped. Without a budget it only counts.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    budget: Option<MemoryBudget>,
    held: usize,
}

impl Lease {
    pub(crate) fn new(budget: Option<MemoryBudget>) -> Self {
        Self { budget, held: 0 }
    }

    /// Grows the share to at least this much.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Reason> {
        let Some(more) = bytes.checked_sub(self.held).filter(|&more| more > 0) else { return Ok(()) };
        if let Some(MemoryBudget(account)) = &self.budget {
            let grant = |used: usize| {
                let free = account.limit.saturating_sub(used);
                (bytes <= free / PART_OF_FREE).then_some(used + more)
            };
            account.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant).map_err(|_| Reason::Overloaded)?;
        }
        self.held = bytes;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(MemoryBudget(account)) = &self.budget {
            account.used.fetch_sub(self.held, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_taken_once_and_given_back() {
        let budget = MemoryBudget::new(1000);
        let mut lease = Lease::new(Some(budget.clone()));
        lease.hold(50).unwrap();
        lease.hold(40).unwrap();
        lease.hold(100).unwrap();
        assert_eq!(budget.used(), 100);
        drop(lease);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_request_gets_an_eighth_of_what_is_free() {
        let budget = MemoryBudget::new(800);
        let mut lease = Lease::new(Some(budget.clone()));
        assert_eq!(lease.hold(101), Err(Reason::Overloaded));
        assert_eq!(budget.used(), 0);
        lease.hold(100).unwrap();
    }

    #[test]
    fn thousands_of_greedy_requests_leave_room_for_a_small_one() {
        let budget = MemoryBudget::new(64 << 20);
        let mut greedy: Vec<_> = (0..2000).map(|_| Lease::new(Some(budget.clone()))).collect();
        for size in (1..=1024).map(|kib| kib << 10) {
            for lease in &mut greedy {
                let _ = lease.hold(size);
            }
        }
        assert!(budget.used() <= 64 << 20);
        let mut small = Lease::new(Some(budget.clone()));
        assert_eq!(small.hold(16 << 10), Ok(()), "{} used", budget.used());
        drop((greedy, small));
        assert_eq!(budget.used(), 0);
    }
}
