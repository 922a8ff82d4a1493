//! A conformance suite for deduplication stores.

#![allow(clippy::expect_used, reason = "a suite of tests fails by panicking")]

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::dedup::{Claim, ClaimToken, DoneAnswer, Key, Store};

/// A lease and retention that is long enough for a few calls to a store over a network, and short
/// enough to wait for.
const SHORT: Duration = Duration::from_millis(400);
/// A little more than that, since a store may keep an entry a moment longer.
const OVER: Duration = Duration::from_millis(450);
const LONG: Duration = Duration::from_secs(600);

/// Tests that a [`Store`] keeps the rules of the trait.
///
/// `open` opens the same store each time it is called, as replicas do. `wait` lets time pass: by
/// moving the clock of a store that has its own, otherwise by sleeping. The suite waits for less
/// than three seconds in total. It uses keys of its own.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory-store")] {
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_webhook::MemoryStore;
/// use tower_webhook::testing::{ManualClock, store_suite};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::new(UNIX_EPOCH);
/// let store = MemoryStore::new(100).with_clock(clock.clone());
/// store_suite(async || store.clone(), async |time: Duration| clock.advance(time)).await;
/// # });
/// # }
/// ```
///
/// # Panics
///
/// Panics if the store breaks a rule, or fails.
pub async fn store_suite<S: Store>(open: impl AsyncFn() -> S, wait: impl AsyncFn(Duration)) {
    let (here, there) = (open().await, open().await);
    let suite = Suite { here, there };
    suite.one_owner().await;
    suite.release_frees().await;
    suite.commit_is_remembered().await;
    suite.only_the_owner().await;
    suite.keys_are_apart().await;
    suite.lease_ends(&wait).await;
    suite.lease_is_extended(&wait).await;
    suite.late_commit(&wait).await;
    suite.retention_ends(&wait).await;
}

/// Two replicas of one service.
struct Suite<S> {
    here: S,
    there: S,
}

impl<S: Store> Suite<S> {
    async fn claim(store: &S, key: Key, token: ClaimToken, lease: Duration) -> Claim {
        store.claim(key, token, lease).await.expect("the store fails to claim")
    }

    async fn commit(store: &S, key: Key, token: ClaimToken, retention: Duration) -> bool {
        store.commit(key, token, answer(), retention).await.expect("the store fails to commit")
    }

    async fn release(store: &S, key: Key, token: ClaimToken) {
        store.release(key, token).await.expect("the store fails to release");
    }

    async fn one_owner(&self) {
        let (key, one, other) = names();
        assert_eq!(Self::claim(&self.here, key, one, LONG).await, Claim::Won, "a free key can be claimed");
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::InFlight, "a claimed key has one owner");
        assert_eq!(
            Self::claim(&self.there, key, one, LONG).await,
            Claim::Won,
            "a claim is by token, not by connection"
        );
    }

    async fn release_frees(&self) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, LONG).await;
        Self::release(&self.here, key, one).await;
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::Won, "a released key can be claimed");
        Self::release(&self.there, key, other).await;
        Self::release(&self.there, key, other).await;
    }

    async fn commit_is_remembered(&self) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, LONG).await;
        assert!(Self::commit(&self.here, key, one, LONG).await, "the owner can commit");
        let done = Claim::Done(answer());
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, done, "what is done keeps its answer");
        assert_eq!(Self::claim(&self.here, key, one, LONG).await, done, "what is done is done for its owner too");
        Self::release(&self.here, key, one).await;
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, done, "what is done cannot be released");
        assert!(!Self::commit(&self.there, key, other, LONG).await, "what is done cannot be committed again");
    }

    async fn only_the_owner(&self) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, LONG).await;
        Self::release(&self.there, key, other).await;
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::InFlight, "only the owner releases");
        assert!(!Self::commit(&self.there, key, other, LONG).await, "only the owner commits");
        assert_eq!(
            Self::claim(&self.there, key, other, LONG).await,
            Claim::InFlight,
            "a refused commit changes nothing"
        );
        assert!(Self::commit(&self.here, key, one, LONG).await, "the owner still commits");
    }

    async fn keys_are_apart(&self) {
        let ((key, one, _), (another, other, _)) = (names(), names());
        assert_eq!(Self::claim(&self.here, key, one, LONG).await, Claim::Won);
        assert_eq!(Self::claim(&self.here, another, other, LONG).await, Claim::Won, "keys do not disturb each other");
    }

    async fn lease_ends(&self, wait: &impl AsyncFn(Duration)) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, SHORT).await;
        wait(OVER).await;
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::Won, "a lease that ended frees the key");
        Self::release(&self.here, key, one).await;
        assert!(!Self::commit(&self.here, key, one, LONG).await, "an owner that lost its claim cannot commit");
        assert_eq!(
            Self::claim(&self.here, key, one, LONG).await,
            Claim::InFlight,
            "an owner that lost its claim cannot claim again"
        );
        assert!(Self::commit(&self.there, key, other, LONG).await);
    }

    async fn lease_is_extended(&self, wait: &impl AsyncFn(Duration)) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, SHORT).await;
        assert_eq!(Self::claim(&self.here, key, one, LONG).await, Claim::Won, "the owner may claim again");
        wait(OVER).await;
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::InFlight, "the lease is the later one");
    }

    async fn late_commit(&self, wait: &impl AsyncFn(Duration)) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, SHORT).await;
        wait(OVER).await;
        assert!(Self::commit(&self.here, key, one, LONG).await, "a key that nobody took meanwhile can be committed");
        assert_eq!(Self::claim(&self.there, key, other, LONG).await, Claim::Done(answer()));
    }

    async fn retention_ends(&self, wait: &impl AsyncFn(Duration)) {
        let (key, one, other) = names();
        Self::claim(&self.here, key, one, LONG).await;
        Self::commit(&self.here, key, one, SHORT).await;
        wait(OVER).await;
        assert_eq!(
            Self::claim(&self.there, key, other, LONG).await,
            Claim::Won,
            "what is done is forgotten in the end"
        );
    }
}

/// Returns an answer with everything that one may have. The body is no text.
fn answer() -> DoneAnswer {
    DoneAnswer::new(StatusCode::ACCEPTED)
        .with_content_type(Some(HeaderValue::from_static("text/plain; charset=utf-8")))
        .with_body(&b"[accepted]\r\n\0\xff"[..])
}

/// Returns a key that nobody else uses, and two owners.
fn names() -> (Key, ClaimToken, ClaimToken) {
    let unique = ClaimToken::new();
    (Key::new("store suite", unique.to_string()), ClaimToken::new(), ClaimToken::new())
}
