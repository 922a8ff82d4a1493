//! Where deliveries are kept until they are handled.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::text::Text;

use super::record::Entry;

/// Where an inbox keeps its deliveries.
///
/// A delivery is *waiting* until an attempt takes it; it is then *in flight* until the attempt has
/// an [`Outcome`]. Each operation is atomic over all processes that share the store. A store has no
/// clock: times come from the caller, except for leases, which no change of the wall clock may end.
///
/// `testing::inbox_suite` (feature `testing`) shows whether an implementation keeps these rules.
///
/// # Order
///
/// Deliveries of one scope with the same order key stand in a line, in the order in which they were
/// stored. Only the head of a line can be taken. It leaves the line when it is done, dead (unless
/// it [blocks](Outcome::Dead)), cancelled or erased.
///
/// # Dropped futures
///
/// A future that is dropped may have had its effect or not, wholly.
pub trait InboxStore: Send + Sync + 'static {
    /// Returns the largest record that can ever be put, in bytes. The inbox refuses larger ones for
    /// good, with 413.
    fn largest_record(&self) -> usize {
        usize::MAX
    }

    /// Stores a delivery. When this returns, it is durable.
    ///
    /// # Errors
    ///
    /// If the store is full, fails or is too slow. After a time-out the delivery may be stored; its
    /// repetition is then known.
    fn put(&self, entry: Entry) -> impl Future<Output = Result<Put, InboxError>> + Send;

    /// Takes deliveries that are due and counts an attempt for each, durably, before it returns.
    ///
    /// Half of the room is kept for deliveries that were never tried, so that neither they nor
    /// retries starve; the half that [`Take::retries_first`] names is rounded up. A due time
    /// that lies further ahead than [`Take::longest_delay`] comes from a clock that was wrong,
    /// and counts as reached. Deliveries whose format is newer than [`Take::format`] are left
    /// alone.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn take(&self, take: Take) -> impl Future<Output = Result<Taken, InboxError>> + Send;

    /// Waits until something may have become due after the [`take`](Self::take) that returned this
    /// [`generation`](Taken::generation), other than by the passing of time. It may return early,
    /// and does so often enough to see what other processes stored.
    fn woken(&self, generation: u64) -> impl Future<Output = ()> + Send;

    /// Extends leases to the whole lease from now, and says which still hold.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn extend(
        &self,
        tokens: Vec<Token>,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Lease>, InboxError>> + Send;

    /// Ends an attempt. Returns whether it counted: it doesn't if the attempt no longer holds its
    /// delivery.
    ///
    /// # Errors
    ///
    /// If the store fails. The outcome may count or not.
    fn finish(&self, token: Token, outcome: Outcome) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// Ends attempts whose lease was not extended: their process has died or hangs. It has to be
    /// called more often than a lease lasts.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn reap(&self, policy: CrashPolicy) -> impl Future<Output = Result<Reaped, InboxError>> + Send;

    /// Stops or restarts taking for a scope, for all processes and over restarts. Attempts that run
    /// are not disturbed.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn set_paused(&self, scope: Text, paused: bool) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Returns the numbers of a scope.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn stats(&self, scope: Text) -> impl Future<Output = Result<Stats, InboxError>> + Send;

    /// Lists deliveries, the newest first. A call looks at a bounded number of deliveries: a page
    /// may hold fewer than asked for, or none, and have a successor.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn list(&self, filter: Filter, page: Page) -> impl Future<Output = Result<Listing, InboxError>> + Send;

    /// Returns a delivery with its record.
    ///
    /// # Errors
    ///
    /// If the store fails, or the record cannot be read.
    fn get(&self, id: DeliveryId) -> impl Future<Output = Result<Option<Detail>, InboxError>> + Send;

    /// Has a delivery handled again, with its attempts counted from 0. One that is in flight is
    /// queued after its attempt, and one that is done is replayed only if `force` is set.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn replay(
        &self,
        id: DeliveryId,
        force: bool,
        now: SystemTime,
    ) -> impl Future<Output = Result<Replay, InboxError>> + Send;

    /// Replays at most `limit` dead deliveries, the oldest first, and returns how many.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn replay_dead(
        &self,
        filter: Filter,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<u32, InboxError>> + Send;

    /// Cancels a delivery that is waiting, dead or in flight; of one in flight, the attempt learns
    /// of it by [`extend`](Self::extend) and has to finish. Returns whether there was something
    /// to cancel.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn cancel(&self, id: DeliveryId, now: SystemTime) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// Removes at most `limit` deliveries in any state with everything that was stored of them,
    /// except for their unique keys. Those in flight are cancelled instead: call it again once
    /// they have finished.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn erase(
        &self,
        filter: Filter,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<Erased, InboxError>> + Send;

    /// Removes at most `limit` deliveries, and as many unique keys, that are past their age. Has to
    /// be called again and again.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn prune(
        &self,
        retention: Retention,
        limit: u32,
        now: SystemTime,
    ) -> impl Future<Output = Result<Pruned, InboxError>> + Send;

    /// Returns whether the store accepts deliveries at the moment.
    ///
    /// # Errors
    ///
    /// The reason why it doesn't.
    fn health(&self) -> impl Future<Output = Result<(), InboxError>> + Send;
}

/// The store's number of a delivery. Later deliveries have higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a delivery waits for, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits for its turn: it is due, in back-off, or behind another one with the same order
    /// key.
    Waiting,
    /// An attempt is running.
    InFlight,
    /// It was handled.
    Done,
    /// Every attempt failed.
    Dead,
    /// An operator cancelled it.
    Cancelled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::InFlight, Self::Done, Self::Dead, Self::Cancelled];

    /// Returns the name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InFlight => "in_flight",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What became of a delivery that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new and stored.
    Stored(DeliveryId),
    /// It is a repetition. Of one that was removed, the state is what it was then.
    Known(State),
    /// It is a repetition of a dead one, which waits again.
    Revived(DeliveryId),
    /// It has the unique key of one with another body, and was not stored.
    Conflict(State),
}

/// What to take.
#[derive(Clone, Debug)]
pub struct Take {
    /// The inbox.
    pub scope: Text,
    /// The newest format of records that the taker can read.
    pub format: u8,
    /// The largest number of deliveries.
    pub max: u32,
    /// How long an attempt holds its delivery without being extended.
    pub lease: Duration,
    /// The present time.
    pub now: SystemTime,
    /// The longest delay of a retry.
    pub longest_delay: Duration,
    /// Whether retries have the larger half of an odd number.
    pub retries_first: bool,
}

/// What was taken.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// An attempt for each delivery, of which no two have the same order key.
    pub attempts: Vec<Attempt>,
    /// When the next delivery becomes due, if fewer were due than were asked for.
    pub next_due: Option<SystemTime>,
    /// Changes whenever something becomes due other than by the passing of time.
    pub generation: u64,
}

/// One try at a delivery. The store has counted it.
#[derive(Clone)]
pub struct Attempt {
    /// What the attempt finishes by.
    pub token: Token,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The sealed record.
    pub record: Bytes,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("token", &self.token)
            .field("number", &self.number)
            .field("record", &format_args!("{} bytes", self.record.len()))
            .finish()
    }
}

/// A fencing token: a delivery, and how often it was taken in its whole life. Only the last taker's
/// outcome counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The delivery.
    pub id: DeliveryId,
    /// Goes up by one with each attempt and is never reset.
    pub fence: i64,
}

/// Whether an attempt still holds its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It does, for the whole lease from now.
    Held,
    /// It does, and an operator has cancelled the delivery: stop, and finish with
    /// [`Outcome::GiveBack`].
    Cancelled,
    /// It doesn't: stop; the outcome no longer counts.
    Lost,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Done {
        /// Whether the delivery is kept, to be looked at and replayed. Its unique key is kept
        /// anyway.
        keep: bool,
        /// The present time.
        now: SystemTime,
    },
    /// It failed, and is to be tried again.
    Retry {
        /// Not before this time.
        at: SystemTime,
        /// The present time.
        now: SystemTime,
        /// Why it failed.
        failure: Failure,
    },
    /// It failed, and no attempt is left.
    Dead {
        /// Why it failed.
        failure: Failure,
        /// Whether the delivery stays at the head of its line and blocks it until it is replayed,
        /// cancelled or removed.
        block: bool,
        /// The present time.
        now: SystemTime,
    },
    /// It did not come to an end: the attempt does not count, and the delivery is due at once.
    GiveBack,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// A sentence for the operator, with no secret in it.
    pub detail: String,
}

/// The most past attempts that a store keeps of a delivery: the last ones.
pub const MOST_PAST_ATTEMPTS: usize = 10;

/// An attempt that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// Its number since the delivery was stored or replayed, from 1.
    pub number: u32,
    /// When it ended, to the millisecond.
    pub ended_at: SystemTime,
    /// Why it failed, or `None` if it succeeded.
    pub failure: Option<Failure>,
}

/// The kind of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler returned an error or answered with a status that is not a success.
    Handler,
    /// The handler answered that it will never accept the delivery.
    Refused,
    /// The handler panicked.
    Panic,
    /// The handler took too long.
    Timeout,
    /// The process died, or the lease was not extended.
    Crash,
    /// The stored record is damaged.
    Damaged,
}

impl FailureKind {
    const ALL: [Self; 6] = [Self::Handler, Self::Refused, Self::Panic, Self::Timeout, Self::Crash, Self::Damaged];

    /// Returns the name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Refused => "refused",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Damaged => "damaged",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What happens to attempts whose process died.
#[derive(Clone, Copy, Debug)]
pub struct CrashPolicy {
    /// After so many crashes in a row a delivery is dead.
    pub crashes: u32,
    /// After so many attempts it is dead too.
    pub attempts: u32,
    /// Whether the dead block their line.
    pub block: bool,
    /// The present time, at which the others are due again.
    pub now: SystemTime,
}

/// What [`InboxStore::reap`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Deliveries that wait again.
    pub retried: u32,
    /// Deliveries that are dead.
    pub dead: u32,
}

/// The numbers of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Deliveries that wait, those in back-off included.
    pub waiting: u64,
    /// Attempts that run.
    pub in_flight: u64,
    /// Deliveries that are done and kept.
    pub done: u64,
    /// Dead deliveries.
    pub dead: u64,
    /// Cancelled deliveries that are kept.
    pub cancelled: u64,
    /// The due time of the delivery that is due first. In the future, it is a retry.
    pub oldest_due: Option<SystemTime>,
    /// Whether taking is paused.
    pub paused: bool,
}

impl Stats {
    pub(crate) fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Waiting => &mut self.waiting,
            State::InFlight => &mut self.in_flight,
            State::Done => &mut self.done,
            State::Dead => &mut self.dead,
            State::Cancelled => &mut self.cancelled,
        }
    }
}

/// Which deliveries are meant: those that meet every condition that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// With this number.
    pub id: Option<DeliveryId>,
    /// In this scope.
    pub scope: Option<Text>,
    /// In this state.
    pub state: Option<State>,
    /// Verified by this provider.
    pub provider: Option<Text>,
    /// Of this kind of event.
    pub event: Option<Text>,
    /// With this id of the sender.
    pub event_id: Option<Text>,
    /// That arrived at this time or later.
    pub from: Option<SystemTime>,
    /// That arrived before this time.
    pub until: Option<SystemTime>,
}

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only deliveries with a lower number.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The deliveries.
    pub deliveries: Vec<Summary>,
    /// Where the next page starts, if there is one.
    pub next: Option<DeliveryId>,
}

/// A stored delivery without its record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Its number.
    pub id: DeliveryId,
    /// The inbox that it belongs to.
    pub scope: Text,
    /// The provider that verified it.
    pub provider: Text,
    /// The kind of event.
    pub event: Option<Text>,
    /// The sender's id.
    pub event_id: Option<Text>,
    /// What orders it.
    pub order_key: Option<Text>,
    /// The version of its record's format.
    pub format: u8,
    /// Its state.
    pub state: State,
    /// The attempts since it was stored or replayed.
    pub attempts: u32,
    /// When it arrived.
    pub received_at: SystemTime,
    /// When it is due, if it waits and is not behind another one.
    pub due_at: Option<SystemTime>,
    /// When it was done, dead or cancelled.
    pub ended_at: Option<SystemTime>,
    /// Why its last failed attempt failed.
    pub last_failure: Option<Failure>,
    /// The length of its record, which holds the body and a little more.
    pub record_bytes: u64,
}

/// A stored delivery with its record.
#[derive(Clone)]
pub struct Detail {
    /// Everything else.
    pub summary: Summary,
    /// The sealed record.
    pub record: Bytes,
    /// The last attempts, the oldest first:
    /// [`MOST_PAST_ATTEMPTS`](super::MOST_PAST_ATTEMPTS) at most.
    pub past: Vec<PastAttempt>,
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail")
            .field("summary", &self.summary)
            .field("record", &format_args!("{} bytes", self.record.len()))
            .finish()
    }
}

/// What became of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The delivery waits.
    Queued,
    /// An attempt is running; the delivery waits again after it, however it ends.
    AfterAttempt,
    /// It is done, and `force` was not set.
    AlreadyDone,
    /// There is no such delivery.
    Unknown,
}

/// What [`InboxStore::erase`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Deliveries that were removed.
    pub erased: u32,
    /// Deliveries that are in flight and were cancelled.
    pub in_flight: u32,
}

/// How long things are kept after they ended.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Deliveries that are done or cancelled.
    pub done: Duration,
    /// Dead deliveries. With `None` they stay until an operator decides.
    pub dead: Option<Duration>,
    /// Unique keys, after their delivery was removed. It has to be longer than a sender repeats.
    pub keys: Duration,
}

/// What [`InboxStore::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deliveries that were done or cancelled.
    pub done: u32,
    /// Dead deliveries.
    pub dead: u32,
    /// Unique keys.
    pub keys: u32,
}

/// An error of an [`InboxStore`].
///
/// Its source is for the operator and must hold no password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct InboxError {
    kind: InboxErrorKind,
    message: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of an [`InboxError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InboxErrorKind {
    /// There is no room: on the disk, within the store's limit, or in the queue before it.
    Full,
    /// The store cannot be reached or fails.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// Something stored cannot be read.
    Corrupt,
}

impl InboxError {
    /// Creates an error.
    #[must_use]
    pub const fn new(kind: InboxErrorKind, message: &'static str) -> Self {
        Self { kind, message, source: None }
    }

    /// Adds the error that caused this one. It must hold no password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> InboxErrorKind {
        self.kind
    }
}
