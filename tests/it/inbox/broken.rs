//! Stores that break one rule each: the suite has to name it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tower_webhook::Text;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{
    CrashPolicy, DeliveryId, Detail, Entry, Erased, Filter, InboxError, InboxStore, Lease, Listing, Outcome, Page,
    Pruned, Put, Reaped, Replay, Retention, State, Stats, Take, Taken, Token,
};
use tower_webhook::testing::inbox_suite;

use super::sqlite::Folder;

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    ForgetsRepetitions,
    LeavesTheDead,
    IgnoresTheBody,
    CountsNothing,
    AnyoneFinishes,
    ExtendsForever,
    NeverReaps,
    NeverDies,
    RetriesAtOnce,
    CountsWhatIsGivenBack,
    IgnoresLines,
    NeverBlocks,
    ForgetsFailures,
    IgnoresLanes,
    PrefersNewOnes,
    TrustsTheClock,
    TakesAnyFormat,
    IgnoresThePause,
    ListsAll,
    ReplaysWhatIsDone,
    ReplaysWithoutEnd,
    IgnoresCancelling,
    ErasesNothing,
    SleepsOn,
    PrunesTheDeadEarly,
}

/// A store that works, but for one fault.
#[derive(Clone)]
struct Broken {
    store: SqliteStore,
    fault: Fault,
    last_fence: Arc<AtomicI64>,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        std::mem::discriminant(&self.fault) == std::mem::discriminant(&fault)
    }
}

impl InboxStore for Broken {
    async fn put(&self, mut entry: Entry) -> Result<Put, InboxError> {
        if self.is(Fault::IgnoresTheBody) {
            entry.body_digest = 0;
        }
        if self.is(Fault::IgnoresLanes) {
            entry.lane = None;
        }
        if self.is(Fault::IgnoresLines) {
            entry.order_key = None;
        }
        Ok(match self.store.put(entry).await? {
            Put::Known(_) if self.is(Fault::ForgetsRepetitions) => Put::Stored(DeliveryId(1)),
            Put::Revived(_) if self.is(Fault::LeavesTheDead) => Put::Known(State::Dead),
            put => put,
        })
    }

    async fn take(&self, mut take: Take) -> Result<Taken, InboxError> {
        if self.is(Fault::TrustsTheClock) {
            take.longest_delay = Duration::from_secs(1 << 40);
        }
        if self.is(Fault::PrefersNewOnes) {
            take.retries_first = false;
        }
        if self.is(Fault::TakesAnyFormat) {
            take.format = 9;
        }
        if self.is(Fault::IgnoresThePause) {
            self.store.set_paused(take.scope.clone(), false).await?;
        }
        let mut taken = self.store.take(take).await?;
        if self.is(Fault::CountsNothing) {
            taken.attempts.iter_mut().for_each(|attempt| attempt.number = 1);
        }
        for attempt in &taken.attempts {
            self.last_fence.store(attempt.token.fence, Ordering::Relaxed);
        }
        Ok(taken)
    }

    async fn woken(&self, generation: u64) {
        if self.is(Fault::SleepsOn) {
            std::future::pending::<()>().await;
        }
        self.store.woken(generation).await;
    }

    async fn extend(&self, tokens: Vec<Token>, lease: Duration) -> Result<Vec<Lease>, InboxError> {
        let mut leases = self.store.extend(tokens, lease).await?;
        if self.is(Fault::ExtendsForever) {
            leases.fill(Lease::Held);
        }
        Ok(leases)
    }

    async fn finish(&self, mut token: Token, mut outcome: Outcome) -> Result<bool, InboxError> {
        if self.is(Fault::AnyoneFinishes) {
            token.fence = self.last_fence.load(Ordering::Relaxed);
        }
        match &mut outcome {
            Outcome::Retry { at, .. } if self.is(Fault::RetriesAtOnce) => *at = SystemTime::UNIX_EPOCH,
            Outcome::Dead { block, .. } if self.is(Fault::NeverBlocks) => *block = false,
            Outcome::GiveBack if self.is(Fault::CountsWhatIsGivenBack) => {
                let failure = tower_webhook::inbox::Failure {
                    kind: tower_webhook::inbox::FailureKind::Handler,
                    detail: String::new(),
                };
                let now = SystemTime::UNIX_EPOCH;
                outcome = Outcome::Retry { at: now, now, failure };
            }
            _ => {}
        }
        self.store.finish(token, outcome).await
    }

    async fn reap(&self, mut policy: CrashPolicy) -> Result<Reaped, InboxError> {
        if self.is(Fault::NeverReaps) {
            return Ok(Reaped::default());
        }
        if self.is(Fault::NeverDies) {
            (policy.crashes, policy.attempts) = (99, 99);
        }
        self.store.reap(policy).await
    }

    async fn set_paused(&self, scope: Text, paused: bool) -> Result<(), InboxError> {
        self.store.set_paused(scope, paused).await
    }

    async fn stats(&self, scope: Text) -> Result<Stats, InboxError> {
        self.store.stats(scope).await
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listing, InboxError> {
        let filter =
            if self.is(Fault::ListsAll) { Filter { scope: filter.scope, ..Filter::default() } } else { filter };
        self.store.list(filter, page).await
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<Detail>, InboxError> {
        let mut detail = self.store.get(id).await?;
        if let Some(detail) = detail.as_mut().filter(|_| self.is(Fault::ForgetsFailures)) {
            detail.past.truncate(1);
        }
        Ok(detail)
    }

    async fn replay(&self, id: DeliveryId, force: bool, now: SystemTime) -> Result<Replay, InboxError> {
        self.store.replay(id, force || self.is(Fault::ReplaysWhatIsDone), now).await
    }

    async fn replay_dead(&self, filter: Filter, limit: u32, now: SystemTime) -> Result<u32, InboxError> {
        let limit = if self.is(Fault::ReplaysWithoutEnd) { u32::MAX } else { limit };
        self.store.replay_dead(filter, limit, now).await
    }

    async fn cancel(&self, id: DeliveryId, now: SystemTime) -> Result<bool, InboxError> {
        if self.is(Fault::IgnoresCancelling) {
            return Ok(true);
        }
        self.store.cancel(id, now).await
    }

    async fn erase(&self, filter: Filter, limit: u32, now: SystemTime) -> Result<Erased, InboxError> {
        let limit = if self.is(Fault::ErasesNothing) { 0 } else { limit };
        self.store.erase(filter, limit, now).await
    }

    async fn prune(&self, mut retention: Retention, limit: u32, now: SystemTime) -> Result<Pruned, InboxError> {
        if self.is(Fault::PrunesTheDeadEarly) {
            retention.dead = Some(Duration::ZERO);
        }
        self.store.prune(retention, limit, now).await
    }

    async fn health(&self) -> Result<(), InboxError> {
        self.store.health().await
    }
}

#[tokio::test]
async fn the_suite_names_the_rule_that_a_store_breaks() {
    let faults = [
        (Fault::None, ""),
        (Fault::ForgetsRepetitions, "a_repetition_is_known_in_every_state"),
        (Fault::LeavesTheDead, "a_repetition_of_a_dead_one_revives_it"),
        (Fault::IgnoresTheBody, "another_body_under_a_known_key_is_a_conflict"),
        (Fault::CountsNothing, "a_lease_ends_unless_it_is_extended"),
        (Fault::AnyoneFinishes, "only_the_holder_finishes"),
        (Fault::ExtendsForever, "only_the_holder_finishes"),
        (Fault::NeverReaps, "a_lease_ends_unless_it_is_extended"),
        (Fault::NeverDies, "the_last_crash_is_death"),
        (Fault::RetriesAtOnce, "a_retry_waits_for_its_time"),
        (Fault::CountsWhatIsGivenBack, "what_is_given_back_is_not_counted"),
        (Fault::IgnoresLines, "a_line_moves_one_by_one_in_order"),
        (Fault::NeverBlocks, "a_dead_head_blocks_or_steps_aside"),
        (Fault::ForgetsFailures, "the_last_failures_are_kept"),
        (Fault::IgnoresLanes, "lanes_take_turns_and_retries_leave_them"),
        (Fault::PrefersNewOnes, "neither_new_ones_nor_retries_starve"),
        (Fault::TrustsTheClock, "a_clock_that_was_wrong_delays_nothing_for_long"),
        (Fault::TakesAnyFormat, "a_newer_format_is_left_alone"),
        (Fault::IgnoresThePause, "a_paused_scope_is_not_taken"),
        (Fault::ListsAll, "lists_are_filtered_and_paged"),
        (Fault::ReplaysWhatIsDone, "a_replay_starts_anew_and_never_runs_beside"),
        (Fault::ReplaysWithoutEnd, "replays_of_all_dead_are_bounded"),
        (Fault::IgnoresCancelling, "a_line_moves_on_when_its_head_is_cancelled_or_erased"),
        (Fault::ErasesNothing, "a_line_moves_on_when_its_head_is_cancelled_or_erased"),
        (Fault::SleepsOn, "a_put_wakes_the_taker"),
        (Fault::PrunesTheDeadEarly, "each_kind_has_its_own_age"),
    ];
    // Most of the time is spent waiting for leases, so all go at once.
    let local = tokio::task::LocalSet::new();
    let mut suites = tokio::task::JoinSet::new();
    for (fault, rule) in faults {
        let folder = Folder::in_memory();
        let store = SqliteStore::builder(folder.file()).allow_unsafe_file_systems().with_reserve(0).open().unwrap();
        let broken = Broken { store, fault, last_fence: Arc::default() };
        let suite = async move {
            let suite = AssertUnwindSafe(inbox_suite(async || broken.clone())).catch_unwind().await;
            drop(folder);
            let found = suite.err().map(|panic| *panic.downcast::<String>().expect("a message"));
            match found {
                None => assert_eq!(rule, "", "{fault:?} is not found"),
                Some(message) => assert!(!rule.is_empty() && message.contains(rule), "{fault:?}: {message}"),
            }
        };
        suites.spawn_local_on(suite, &local);
    }
    local.run_until(suites.join_all()).await;
}
