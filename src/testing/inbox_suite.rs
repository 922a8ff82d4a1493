//! What every store of an inbox has to do.

#![allow(clippy::expect_used, reason = "a suite of tests fails by panicking")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::join_all;
use sha2::{Digest as _, Sha256};

use crate::inbox::{
    Attempt, CrashPolicy, DeliveryId, Entry, Failure, FailureKind, Filter, InboxStore, Lease, Outcome, Page, Put,
    Replay, Retention, Seal, State, Summary, Take, Taken, Token, UniqueKey, record::Record,
};
use crate::text::Text;
use crate::time::{Clock as _, SystemClock};

/// Shows that an [`InboxStore`] keeps the rules of the trait; it panics where one does not, with
/// the name of the rule.
///
/// `open` gives a way to the one store, a new one each time, as replicas have it. The store should
/// hold nothing else: the suite prunes. It waits for leases to end, for some five seconds in all.
///
/// # Panics
///
/// If the store breaks a rule, or fails.
pub async fn inbox_suite<S: InboxStore>(open: impl AsyncFn() -> S) {
    let (here, there) = (open().await, open().await);
    let rule = |name| Rule { name, here: &here, there: &there, scope: scope() };
    rule("what_was_put_is_taken_byte_for_byte").what_was_put_is_taken_byte_for_byte().await;
    rule("a_repetition_is_known_in_every_state").a_repetition_is_known_in_every_state().await;
    rule("a_repetition_of_a_dead_one_revives_it").a_repetition_of_a_dead_one_revives_it().await;
    rule("another_body_under_a_known_key_is_a_conflict").another_body_under_a_known_key_is_a_conflict().await;
    rule("of_simultaneous_repetitions_one_is_stored").of_simultaneous_repetitions_one_is_stored().await;
    rule("an_attempt_counts_before_it_runs").an_attempt_counts_before_it_runs().await;
    rule("no_two_takers_get_the_same").no_two_takers_get_the_same().await;
    rule("only_the_holder_finishes").only_the_holder_finishes().await;
    rule("a_lease_ends_unless_it_is_extended").a_lease_ends_unless_it_is_extended().await;
    rule("the_last_crash_is_death").the_last_crash_is_death().await;
    rule("a_retry_waits_for_its_time").a_retry_waits_for_its_time().await;
    rule("the_last_failures_are_kept").the_last_failures_are_kept().await;
    rule("successes_are_kept_beside_failures").successes_are_kept_beside_failures().await;
    rule("what_is_given_back_is_not_counted").what_is_given_back_is_not_counted().await;
    rule("a_line_moves_one_by_one_in_order").a_line_moves_one_by_one_in_order().await;
    rule("a_dead_head_blocks_or_steps_aside").a_dead_head_blocks_or_steps_aside().await;
    rule("a_line_moves_on_when_its_head_is_cancelled_or_erased").a_line_moves_on().await;
    rule("lanes_take_turns_and_retries_leave_them").lanes_take_turns_and_retries_leave_them().await;
    rule("neither_new_ones_nor_retries_starve").neither_new_ones_nor_retries_starve().await;
    rule("a_clock_that_was_wrong_delays_nothing_for_long").a_clock_that_was_wrong_delays_nothing_for_long().await;
    rule("a_newer_format_is_left_alone").a_newer_format_is_left_alone().await;
    rule("a_paused_scope_is_not_taken").a_paused_scope_is_not_taken().await;
    rule("numbers_are_told").numbers_are_told().await;
    rule("lists_are_filtered_and_paged").lists_are_filtered_and_paged().await;
    rule("a_replay_starts_anew_and_never_runs_beside").a_replay_starts_anew_and_never_runs_beside().await;
    rule("replays_of_all_dead_are_bounded").replays_of_all_dead_are_bounded().await;
    rule("what_is_cancelled_is_not_tried_again").what_is_cancelled_is_not_tried_again().await;
    rule("what_is_erased_is_gone_but_known").what_is_erased_is_gone_but_known().await;
    rule("a_put_wakes_the_taker").a_put_wakes_the_taker().await;
    rule("each_kind_has_its_own_age").each_kind_has_its_own_age().await;
}

/// Returns a delivery for tests of stores that go beyond the suite. Nothing was proven about it.
#[must_use]
pub fn inbox_entry(scope: &'static str, name: &str, body: &[u8]) -> Entry {
    let digest = Sha256::digest(name.as_bytes());
    let body = Bytes::copy_from_slice(body);
    let mut record = Record::new("acme".into(), scope.into(), UniqueKey::new(digest.into()), body, SystemClock.now());
    record.id = Some(name.to_owned().into());
    record.seal(&Seal::checksum())
}

/// Returns whether a record with a checksum is as it was stored.
#[must_use]
pub fn inbox_record_is_whole(record: &Bytes) -> bool {
    Record::decode(record, &Seal::checksum()).is_ok()
}

/// A lease that can be waited for, and a moment longer.
const SHORT: Duration = Duration::from_millis(1000);
const OVER: Duration = Duration::from_millis(1100);
const LONG: Duration = Duration::from_secs(600);
const LONGEST_DELAY: Duration = Duration::from_secs(3600);
const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// A name that no other run has.
fn scope() -> Text {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nonce = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("suite-{nonce:x}").into()
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Handler, detail: "the handler answered 500".to_owned() }
}

const fn done(keep: bool) -> Outcome {
    Outcome::Done { keep, now: UNIX_EPOCH }
}

fn dead(block: bool) -> Outcome {
    Outcome::Dead { failure: failure(), block, now: at(0) }
}

fn retry(seconds: u64) -> Outcome {
    Outcome::Retry { at: at(seconds), now: at(0), failure: failure() }
}

/// Two replicas of one service, and a scope for one rule.
struct Rule<'a, S> {
    name: &'static str,
    here: &'a S,
    there: &'a S,
    scope: Text,
}

impl<S: InboxStore> Rule<'_, S> {
    #[track_caller]
    fn holds(&self, holds: bool, what: &str) {
        assert!(holds, "the store breaks the rule {}: {what}", self.name);
    }

    #[track_caller]
    fn is<T: PartialEq + std::fmt::Debug>(&self, found: T, expected: T, what: &str) {
        assert!(
            found == expected,
            "the store breaks the rule {}: {what}: {found:?} instead of {expected:?}",
            self.name
        );
    }

    #[track_caller]
    fn ok<T, E: std::error::Error>(&self, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("the store fails in the rule {}: {error} ({:?})", self.name, error.source()),
        }
    }

    fn record(&self, name: &str, body: &str) -> Record {
        let digest = Sha256::new().chain_update(self.scope.as_bytes()).chain_update(name).finalize();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut record = Record::new("acme".into(), self.scope.clone(), UniqueKey::new(digest.into()), body, at(0));
        record.id = Some(name.to_owned().into());
        record
    }

    fn entry(&self, name: &str) -> Entry {
        self.record(name, name).seal(&Seal::checksum())
    }

    fn ordered(&self, name: &str, key: &'static str) -> Entry {
        self.record(name, name).with_order_key(key.into()).seal(&Seal::checksum())
    }

    async fn put(&self, entry: Entry) -> DeliveryId {
        match self.ok(self.here.put(entry).await) {
            Put::Stored(id) | Put::Revived(id) => id,
            other => panic!("the store breaks the rule {}: a new delivery is {other:?}", self.name),
        }
    }

    fn order(&self, max: u32, lease: Duration, seconds: u64) -> Take {
        Take {
            scope: self.scope.clone(),
            format: 1,
            max,
            lease,
            now: at(seconds),
            longest_delay: LONGEST_DELAY,
            retries_first: false,
        }
    }

    async fn take_all(&self, max: u32, lease: Duration, seconds: u64) -> Taken {
        self.ok(self.there.take(self.order(max, lease, seconds)).await)
    }

    /// Takes what has to be the only one that is due.
    async fn take(&self, seconds: u64) -> Attempt {
        let mut attempts = self.take_all(10, LONG, seconds).await.attempts;
        self.is(attempts.len(), 1, "so many are due");
        attempts.remove(0)
    }

    /// The names of what was taken, in the order of arrival; the order within a take is not
    /// promised.
    async fn names(&self, attempts: &[Attempt]) -> Vec<String> {
        let mut names = Vec::new();
        let mut attempts: Vec<&Attempt> = attempts.iter().collect();
        attempts.sort_by_key(|attempt| attempt.token.id);
        for attempt in attempts {
            names.push(self.find(attempt.token.id).await.event_id.expect("every delivery has an id").to_string());
        }
        names
    }

    async fn finish(&self, token: Token, outcome: Outcome) {
        let counted = self.ok(self.here.finish(token, outcome).await);
        self.holds(counted, "the outcome of the holder counts");
    }

    async fn find(&self, id: DeliveryId) -> Summary {
        match self.ok(self.here.get(id).await) {
            Some(found) => found.summary,
            None => panic!("the store breaks the rule {}: a delivery is missing", self.name),
        }
    }

    async fn state(&self, id: DeliveryId) -> State {
        self.find(id).await.state
    }

    fn filter(&self) -> Filter {
        Filter { scope: Some(self.scope.clone()), ..Filter::default() }
    }

    async fn what_was_put_is_taken_byte_for_byte(self) {
        let body: String = ('\u{0}'..='\u{2ff}').cycle().take(700_000).collect();
        let entry = self.record("big", &body).seal(&Seal::checksum());
        let id = self.put(entry.clone()).await;
        let attempt = self.take(0).await;
        self.is(attempt.token.id, id, "the delivery");
        self.is(attempt.number, 1, "the first attempt");
        self.holds(attempt.record == entry.record, "the record is the same");
        let detail = self.ok(self.there.get(id).await).expect("it was found before");
        self.holds(detail.record == entry.record, "the record that is shown is the same");
        self.is(detail.summary.scope, self.scope.clone(), "the scope");
        self.is(detail.summary.received_at, at(0), "the time of arrival");
        self.is(self.ok(self.here.get(DeliveryId(i64::MAX)).await).is_none(), true, "an unknown number has nothing");
        self.holds(self.here.health().await.is_ok(), "a store that works is healthy");
    }

    async fn a_repetition_is_known_in_every_state(self) {
        let again = async |state: State, what: &str| {
            self.is(self.ok(self.there.put(self.entry("a")).await), Put::Known(state), what);
        };
        self.put(self.entry("a")).await;
        again(State::Waiting, "while it waits").await;
        let attempt = self.take(0).await;
        again(State::InFlight, "while it is in flight").await;
        self.finish(attempt.token, retry(10)).await;
        again(State::Waiting, "while it is in back-off").await;
        let attempt = self.take(10).await;
        self.finish(attempt.token, done(true)).await;
        again(State::Done, "once it is done").await;
        self.put(self.entry("b")).await;
        let attempt = self.take(10).await;
        self.finish(attempt.token, done(false)).await;
        self.is(self.ok(self.there.put(self.entry("b")).await), Put::Known(State::Done), "once it is done and removed");
        let gone = self.ok(self.here.get(attempt.token.id).await);
        self.holds(gone.is_none(), "what is done and not kept is removed");
    }

    async fn a_repetition_of_a_dead_one_revives_it(self) {
        let id = self.put(self.entry("a")).await;
        self.finish(self.take(0).await.token, dead(false)).await;
        self.is(self.state(id).await, State::Dead, "a delivery without attempts left");
        let mut later = self.record("a", "a");
        later.received_at = at(60);
        let entry = later.seal(&Seal::checksum());
        self.is(self.ok(self.there.put(entry.clone()).await), Put::Revived(id), "a repetition of a dead one");
        let attempt = self.take(60).await;
        self.is(attempt.number, 1, "its attempts count from 1");
        self.holds(attempt.record == entry.record, "what was sent last is handled: the first may be damaged");
        self.is(self.ok(self.there.put(entry).await), Put::Known(State::InFlight), "revived once");
    }

    async fn another_body_under_a_known_key_is_a_conflict(self) {
        let other = || self.record("a", "another body").seal(&Seal::checksum());
        let entry = self.entry("a");
        self.put(entry.clone()).await;
        self.is(self.ok(self.there.put(other()).await), Put::Conflict(State::Waiting), "while it waits");
        let attempt = self.take(0).await;
        self.holds(attempt.record == entry.record, "the first one stays as it is");
        self.finish(attempt.token, dead(false)).await;
        self.is(self.ok(self.there.put(other()).await), Put::Conflict(State::Dead), "it does not revive");
    }

    async fn of_simultaneous_repetitions_one_is_stored(self) {
        let puts = (0..16).map(|n| if n % 2 == 0 { self.here } else { self.there }.put(self.entry("a")));
        let results = join_all(puts.collect()).await;
        let stored = results.into_iter().filter(|put| matches!(put, Ok(Put::Stored(_)))).count();
        self.is(stored, 1, "so many are stored");
    }

    async fn an_attempt_counts_before_it_runs(self) {
        let id = self.put(self.entry("a")).await;
        let attempt = self.take(0).await;
        let found = self.find(id).await;
        self.is((found.state, found.attempts), (State::InFlight, 1), "what another process sees");
        self.is(attempt.number, 1, "what the taker sees");
    }

    async fn no_two_takers_get_the_same(self) {
        join_all((0..40).map(|n| self.here.put(self.entry(&format!("{n}")))).collect()).await;
        let takes = (0..12).map(|n| if n % 2 == 0 { self.here } else { self.there }.take(self.order(7, LONG, 0)));
        let mut taken: Vec<Token> = Vec::new();
        for result in join_all(takes.collect()).await {
            let attempts = self.ok(result).attempts;
            self.holds(attempts.len() <= 7, "no more than asked for");
            taken.extend(attempts.iter().map(|attempt| attempt.token));
        }
        let distinct: HashSet<DeliveryId> = taken.iter().map(|token| token.id).collect();
        self.is((taken.len(), distinct.len()), (40, 40), "taken, and different");
    }

    async fn only_the_holder_finishes(self) {
        let id = self.put(self.entry("a")).await;
        let token = self.take(0).await.token;
        let wrong = Token { fence: token.fence + 1, ..token };
        self.is(self.ok(self.there.finish(wrong, done(true)).await), false, "a token that was never given");
        self.finish(token, retry(0)).await;
        self.is(self.ok(self.there.finish(token, done(true)).await), false, "a second outcome");
        let second = self.take(0).await.token;
        self.holds(second != token, "each attempt has its own token");
        self.is(self.ok(self.there.finish(token, done(true)).await), false, "an outcome of an earlier attempt");
        let leases = self.ok(self.there.extend(vec![token, second], LONG).await);
        self.is(leases, vec![Lease::Lost, Lease::Held], "the leases of an earlier attempt and of the present one");
        self.is(self.state(id).await, State::InFlight, "an outcome that does not count changes nothing");
        self.finish(second, done(false)).await;
        self.is(self.ok(self.there.finish(second, done(true)).await), false, "of one that was removed");
        self.is(self.ok(self.there.extend(vec![second], LONG).await), vec![Lease::Lost], "of one that was removed");
    }

    fn policy(crashes: u32, attempts: u32) -> CrashPolicy {
        CrashPolicy { crashes, attempts, block: false, now: at(5) }
    }

    /// Lets time pass while it reaps, as a worker does.
    async fn reap_for(&self, time: Duration, policy: CrashPolicy) {
        let step = Duration::from_millis(50);
        let mut passed = Duration::ZERO;
        self.ok(self.here.reap(policy).await);
        while passed < time {
            tokio::time::sleep(step).await;
            passed += step;
            self.ok(self.here.reap(policy).await);
        }
    }

    async fn a_lease_ends_unless_it_is_extended(self) {
        let (lost, kept) = (self.put(self.entry("lost")).await, self.put(self.entry("kept")).await);
        let attempts = self.take_all(2, SHORT, 0).await.attempts;
        self.is(attempts.len(), 2, "both are taken");
        let token = |id| attempts.iter().map(|attempt| attempt.token).find(|token| token.id == id);
        let (lost, kept) = (token(lost).expect("taken"), token(kept).expect("taken"));
        // Often, so that a slow machine does not lose it.
        for _ in 0..12 {
            self.reap_for(SHORT / 10, Self::policy(9, 9)).await;
            self.ok(self.there.extend(vec![kept], SHORT).await);
        }
        self.is(self.state(lost.id).await, State::Waiting, "one whose lease ended waits again");
        self.is(self.state(kept.id).await, State::InFlight, "one whose lease is extended does not");
        self.is(self.ok(self.there.finish(lost, done(true)).await), false, "who lost the lease cannot finish");
        let leases = self.ok(self.there.extend(vec![lost, kept], LONG).await);
        self.is(leases, vec![Lease::Lost, Lease::Held], "the holder learns of it");
        let again = self.take(5).await;
        self.is((again.token.id, again.number), (lost.id, 2), "the lost attempt counts");
        let kind = self.find(lost.id).await.last_failure.map(|failure| failure.kind);
        self.is(kind, Some(FailureKind::Crash), "the failure says so");
    }

    async fn the_last_crash_is_death(self) {
        let (by_crashes, by_attempts) = (self.put(self.entry("a")).await, self.put(self.entry("b")).await);
        for (number, policy) in [(1, Self::policy(2, 99)), (2, Self::policy(2, 99))] {
            let attempts = self.take_all(2, SHORT, 5).await.attempts;
            self.is(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), vec![number; 2], "attempts");
            if number == 2 {
                let other = attempts.iter().find(|attempt| attempt.token.id == by_attempts).expect("both are taken");
                self.finish(other.token, retry(5)).await;
            }
            self.reap_for(OVER, policy).await;
        }
        let found = self.find(by_crashes).await;
        self.is(found.state, State::Dead, "after two crashes of two");
        self.is(found.last_failure.map(|failure| failure.kind), Some(FailureKind::Crash), "why");
        self.is(self.state(by_attempts).await, State::Waiting, "an outcome in between makes crashes count anew");
        self.is(self.take_all(2, SHORT, 5).await.attempts.len(), 1, "the dead are not taken");
        self.reap_for(OVER, Self::policy(99, 3)).await;
        self.is(self.state(by_attempts).await, State::Dead, "a crash in the last attempt");
    }

    async fn a_retry_waits_for_its_time(self) {
        let id = self.put(self.entry("a")).await;
        self.finish(self.take(0).await.token, retry(60)).await;
        let early = self.take_all(10, LONG, 59).await;
        self.is(early.attempts.len(), 0, "before its time");
        self.is(early.next_due, Some(at(60)), "the taker learns when");
        let found = self.find(id).await;
        self.is(found.last_failure, Some(failure()), "why it failed");
        self.is(found.due_at, Some(at(60)), "when it is due");
        self.is(self.take(60).await.number, 2, "at its time");
    }

    async fn the_last_failures_are_kept(self) {
        let id = self.put(self.entry("a")).await;
        for n in 1..=12 {
            let token = self.take(0).await.token;
            let detail = format!("the handler answered 500,\nthe {n}th time");
            let failure = Failure { kind: FailureKind::Handler, detail };
            self.finish(token, Outcome::Retry { at: at(0), now: at(n), failure }).await;
        }
        let detail = self.ok(self.there.get(id).await).expect("it is stored");
        let kept = detail.past.iter().map(|attempt| (attempt.number, attempt.ended_at));
        self.is(kept.collect(), (3..=12).map(|n| (n, at(n.into()))).collect::<Vec<_>>(), "the last ten");
        let last = detail.past[9].failure.as_ref();
        self.holds(last.is_some_and(|failure| failure.detail.ends_with("the 12th time")), "with their details");
    }

    async fn successes_are_kept_beside_failures(self) {
        let past = async |id| {
            let detail = self.ok(self.there.get(id).await).expect("it is stored");
            let past = detail.past.into_iter().map(|attempt| (attempt.number, attempt.ended_at, attempt.failure));
            past.collect::<Vec<_>>()
        };
        let id = self.put(self.entry("a")).await;
        self.finish(self.take(0).await.token, Outcome::Done { keep: true, now: at(1) }).await;
        self.is(past(id).await, vec![(1, at(1), None)], "of one that succeeded at once");
        self.is(self.ok(self.here.replay(id, true, at(2)).await), Replay::Queued, "a replay");
        let attempt = self.take(2).await;
        self.finish(attempt.token, Outcome::Retry { at: at(3), now: at(3), failure: failure() }).await;
        self.finish(self.take(3).await.token, Outcome::Done { keep: true, now: at(4) }).await;
        let expected = vec![(1, at(1), None), (1, at(3), Some(failure())), (2, at(4), None)];
        self.is(past(id).await, expected, "after a replay");
    }

    async fn what_is_given_back_is_not_counted(self) {
        let id = self.put(self.entry("a")).await;
        for _ in 0..3 {
            let attempt = self.take(0).await;
            self.is(attempt.number, 1, "the number of the attempt");
            self.finish(attempt.token, Outcome::GiveBack).await;
        }
        let found = self.find(id).await;
        self.is((found.state, found.attempts), (State::Waiting, 0), "it waits as before");
    }

    async fn a_line_moves_one_by_one_in_order(self) {
        for name in ["a1", "a2", "b1", "a3"] {
            self.put(self.ordered(name, if name.starts_with('a') { "a" } else { "b" })).await;
        }
        self.put(self.entry("free")).await;
        let mut attempts = self.take_all(10, LONG, 0).await.attempts;
        attempts.sort_by_key(|attempt| attempt.token.id);
        self.is(self.names(&attempts).await, names(&["a1", "b1", "free"]), "one of each line");
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "nothing while the heads are in flight");
        self.finish(attempts[0].token, retry(60)).await;
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "nothing while the head is in back-off");
        let head = self.take(60).await;
        self.finish(head.token, done(false)).await;
        let second = self.take(60).await;
        self.is(self.names(std::slice::from_ref(&second)).await, names(&["a2"]), "the second");
        self.finish(second.token, Outcome::GiveBack).await;
        let second = self.take(60).await;
        self.is(self.names(std::slice::from_ref(&second)).await, names(&["a2"]), "given back, it stays the head");
        self.put(self.ordered("a4", "a")).await;
        self.is(self.take_all(10, LONG, 60).await.attempts.len(), 0, "a new one goes to the end");
        self.finish(second.token, done(true)).await;
        let third = self.take(60).await;
        self.is(self.names(std::slice::from_ref(&third)).await, names(&["a3"]), "the third");
    }

    async fn a_dead_head_blocks_or_steps_aside(self) {
        let blocking = self.put(self.ordered("b1", "b")).await;
        self.put(self.ordered("b2", "b")).await;
        self.finish(self.take(0).await.token, dead(true)).await;
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "a dead head blocks");
        self.put(self.ordered("b3", "b")).await;
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "a new one too");
        self.is(self.ok(self.there.replay(blocking, false, at(0)).await), Replay::Queued, "it is replayed");
        let head = self.take(0).await;
        self.is(head.token.id, blocking, "at the head");
        self.finish(head.token, dead(false)).await;
        let second = self.take(0).await;
        self.is(self.names(std::slice::from_ref(&second)).await, names(&["b2"]), "a dead one steps aside");
        self.ok(self.there.replay(blocking, false, at(0)).await);
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "replayed, it waits for the one in flight");
        self.finish(second.token, done(false)).await;
        self.is(self.take(0).await.token.id, blocking, "and then comes first, as the oldest");
    }

    async fn a_line_moves_on(self) {
        let mut ids = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            ids.push(self.put(self.ordered(name, "k")).await);
        }
        self.ok(self.there.cancel(ids[1], at(0)).await);
        let head = self.take(0).await;
        self.is(head.token.id, ids[0], "cancelling another one leaves the head");
        self.finish(head.token, Outcome::GiveBack).await;
        self.ok(self.there.cancel(ids[0], at(0)).await);
        let head = self.take(0).await;
        self.is(head.token.id, ids[2], "after the head was cancelled");
        self.finish(head.token, dead(true)).await;
        let filter = Filter { event_id: Some("c".into()), ..self.filter() };
        self.is(self.ok(self.there.erase(filter, 10, at(0)).await).erased, 1, "the dead head is erased");
        let head = self.take(0).await;
        self.is(head.token.id, ids[3], "after the dead head was erased");
        self.finish(head.token, dead(true)).await;
        self.ok(self.there.cancel(ids[3], at(0)).await);
        self.is(self.take(0).await.token.id, ids[4], "after the dead head was cancelled");
    }

    async fn lanes_take_turns_and_retries_leave_them(self) {
        for (n, name) in ["a1", "a2", "a3", "b1", "b2"].into_iter().enumerate() {
            let mut record = self.record(name, name);
            record.received_at = at(n as u64);
            let mut entry = record.seal(&Seal::checksum());
            entry.lane = Some(if name.starts_with('a') { "a" } else { "b" }.into());
            self.put(entry).await;
        }
        let done = |seconds| Outcome::Done { keep: true, now: at(seconds) };
        let one = async |seconds: u64, outcome: Outcome| {
            let attempts = self.take_all(1, LONG, seconds).await.attempts;
            self.is(attempts.len(), 1, "so many are due");
            let names = self.names(&attempts).await.join(" ");
            self.finish(attempts[0].token, outcome).await;
            names
        };
        let first = self.take_all(10, LONG, 10).await.attempts;
        self.is(self.names(&first).await, names(&["a1", "b1"]), "one of each lane");
        self.is(self.take_all(10, LONG, 10).await.attempts.len(), 0, "nothing while they are in flight");
        for attempt in first {
            self.finish(attempt.token, Outcome::GiveBack).await;
        }
        self.is(one(10, done(20)).await, "a1".into(), "the oldest");
        self.is(one(30, done(31)).await, "b1".into(), "then the other lane");
        let retry = Outcome::Retry { at: at(60), now: at(40), failure: failure() };
        self.is(one(40, retry).await, "a2".into(), "by turns");
        self.is(one(50, done(50)).await, "b2".into(), "by turns, a retry too");
        self.is(self.names(&self.take_all(10, LONG, 60).await.attempts).await, names(&["a2", "a3"]), "past the retry");
    }

    async fn neither_new_ones_nor_retries_starve(self) {
        for n in 0..20 {
            self.put(self.entry(&format!("old {n}"))).await;
        }
        for attempt in self.take_all(20, LONG, 0).await.attempts {
            self.finish(attempt.token, retry(0)).await;
        }
        for n in 0..20 {
            self.put(self.entry(&format!("new {n}"))).await;
        }
        let numbers = async |max| {
            let attempts = self.take_all(max, LONG, 60).await.attempts;
            let retries = attempts.iter().filter(|attempt| attempt.number > 1).count();
            (attempts.len() - retries, retries)
        };
        self.is(numbers(10).await, (5, 5), "new ones and retries");
        self.is(numbers(25).await, (13, 12), "new ones and retries");
        self.is(numbers(1).await, (1, 0), "a single place for new ones");
        let take = Take { retries_first: true, ..self.order(1, LONG, 60) };
        let attempts = self.ok(self.there.take(take).await).attempts;
        self.is(
            attempts.iter().map(|attempt| attempt.number).collect(),
            vec![2],
            "and for retries, if they come first",
        );
        self.is(numbers(10).await, (1, 2), "what is left");
    }

    async fn a_clock_that_was_wrong_delays_nothing_for_long(self) {
        const DAY: u64 = 86_400;
        let mut entry = self.entry("a");
        entry.received_at = at(2 * DAY);
        self.put(entry).await;
        self.put(self.entry("b")).await;
        let attempts = self.take_all(10, LONG, DAY).await.attempts;
        self.is(attempts.len(), 2, "put while the clock was a day ahead");
        for attempt in attempts {
            self.finish(attempt.token, retry(2 * DAY)).await;
        }
        self.is(self.take_all(10, LONG, DAY).await.attempts.len(), 2, "postponed while the clock was a day ahead");
    }

    async fn a_newer_format_is_left_alone(self) {
        let mut newer = self.entry("newer");
        newer.format = 2;
        let id = self.put(newer).await;
        self.put(self.entry("a")).await;
        let taken = self.take_all(10, LONG, 0).await;
        self.is(self.names(&taken.attempts).await, names(&["a"]), "an old process takes what it can read");
        let found = self.find(id).await;
        self.is((found.state, found.attempts, found.format), (State::Waiting, 0, 2), "the other one waits");
        self.finish(taken.attempts[0].token, retry(60)).await;
        let newer = Take { format: 2, ..self.order(10, LONG, 0) };
        let taken = self.ok(self.there.take(newer).await);
        self.is(taken.attempts.len(), 1, "a new process takes it");
        self.is(taken.next_due, Some(at(60)), "and learns when older ones are due");
    }

    async fn a_paused_scope_is_not_taken(self) {
        self.put(self.entry("a")).await;
        let running = self.take(0).await;
        self.put(self.entry("b")).await;
        self.ok(self.here.set_paused(self.scope.clone(), true).await);
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 0, "while it is paused");
        self.is(self.ok(self.there.stats(self.scope.clone()).await).paused, true, "the numbers say so");
        self.finish(running.token, done(false)).await;
        self.put(self.entry("c")).await;
        self.ok(self.there.set_paused(self.scope.clone(), false).await);
        self.is(self.take_all(10, LONG, 0).await.attempts.len(), 2, "after it was resumed");
    }

    async fn numbers_are_told(self) {
        for name in ["waiting", "back-off", "running", "done", "dead", "cancelled", "removed"] {
            self.put(self.entry(name)).await;
        }
        for attempt in self.take_all(10, LONG, 0).await.attempts {
            match &*self.names(std::slice::from_ref(&attempt)).await[0] {
                "waiting" => self.finish(attempt.token, Outcome::GiveBack).await,
                "back-off" => self.finish(attempt.token, retry(9)).await,
                "done" => self.finish(attempt.token, done(true)).await,
                "dead" => self.finish(attempt.token, dead(false)).await,
                "cancelled" => {
                    self.ok(self.here.cancel(attempt.token.id, at(0)).await);
                    self.finish(attempt.token, Outcome::GiveBack).await;
                }
                "removed" => self.finish(attempt.token, done(false)).await,
                _ => {}
            }
        }
        let stats = self.ok(self.there.stats(self.scope.clone()).await);
        self.is(
            [stats.waiting, stats.in_flight, stats.done, stats.dead, stats.cancelled],
            [2, 1, 1, 1, 1],
            "waiting, in flight, done, dead, cancelled",
        );
        self.is(stats.oldest_due, Some(at(0)), "the oldest that is due");
        self.is(stats.paused, false, "nobody paused it");
        let nothing = self.ok(self.there.stats(scope()).await);
        self.is((nothing.waiting, nothing.oldest_due), (0, None), "an unknown scope has nothing");
    }

    async fn lists_are_filtered_and_paged(self) {
        for n in 0..10_u64 {
            let mut record = self.record(&format!("{n}"), "");
            record.provider = if n % 2 == 0 { "even".into() } else { "odd".into() };
            record.event = (n == 3).then(|| "push".into());
            record.received_at = at(n);
            self.put(record.seal(&Seal::checksum())).await;
        }
        for attempt in self.take_all(3, LONG, 60).await.attempts {
            self.finish(attempt.token, dead(false)).await;
        }
        let found = async |filter: Filter| {
            let page = Page { before: None, limit: 100 };
            let listing = self.ok(self.there.list(filter, page).await);
            let ids = listing.deliveries.iter().filter_map(|delivery| delivery.event_id.as_deref());
            ids.collect::<Vec<_>>().join(" ")
        };
        let all = self.filter();
        self.is(found(all.clone()).await, "9 8 7 6 5 4 3 2 1 0".into(), "the newest first");
        let odd = Filter { provider: Some("odd".into()), ..all.clone() };
        self.is(found(odd.clone()).await, "9 7 5 3 1".into(), "by provider");
        self.is(found(Filter { state: Some(State::Dead), ..all.clone() }).await, "2 1 0".into(), "by state");
        self.is(found(Filter { state: Some(State::Dead), ..odd }).await, "1".into(), "by state and provider");
        self.is(found(Filter { event: Some("push".into()), ..all.clone() }).await, "3".into(), "by event");
        self.is(found(Filter { event_id: Some("7".into()), ..all.clone() }).await, "7".into(), "by id");
        let times = Filter { from: Some(at(4)), until: Some(at(6)), ..all.clone() };
        self.is(found(times).await, "5 4".into(), "by time, the end left out");
        let (mut before, mut pages) = (None, Vec::new());
        loop {
            let listing = self.ok(self.here.list(all.clone(), Page { before, limit: 4 }).await);
            pages.push(listing.deliveries.len());
            before = listing.next;
            if before.is_none() || pages.len() > 9 {
                break;
            }
        }
        self.is(pages, vec![4, 4, 2], "pages");
    }

    async fn a_replay_starts_anew_and_never_runs_beside(self) {
        let id = self.put(self.entry("a")).await;
        let replay = async |force| self.ok(self.there.replay(id, force, at(9)).await);
        self.finish(self.take(0).await.token, retry(600)).await;
        self.is(replay(false).await, Replay::Queued, "in back-off");
        let running = self.take(9).await;
        self.is(running.number, 1, "attempts count anew, and it is due at once");
        self.is(replay(false).await, Replay::AfterAttempt, "while it runs");
        self.is(self.take_all(10, LONG, 600).await.attempts.len(), 0, "never two at once");
        self.finish(running.token, done(false)).await;
        let again = self.take(9).await;
        self.is((again.token.id, again.number), (id, 1), "after it ran, though it was done");
        self.finish(again.token, done(true)).await;
        self.is(replay(false).await, Replay::AlreadyDone, "one that is done");
        self.is(replay(true).await, Replay::Queued, "one that is done, by force");
        self.finish(self.take(9).await.token, dead(false)).await;
        self.is(replay(false).await, Replay::Queued, "a dead one");
        self.is(self.ok(self.there.replay(DeliveryId(i64::MAX), true, at(0)).await), Replay::Unknown, "none");
    }

    async fn replays_of_all_dead_are_bounded(self) {
        for n in 0..5 {
            self.put(self.entry(&format!("{n}"))).await;
        }
        for attempt in self.take_all(5, LONG, 0).await.attempts {
            self.finish(attempt.token, dead(false)).await;
        }
        let replay = async |limit| self.ok(self.there.replay_dead(self.filter(), limit, at(0)).await);
        self.is(replay(3).await, 3, "as many as asked for");
        self.is(self.names(&self.take_all(10, LONG, 0).await.attempts).await, names(&["0", "1", "2"]), "the oldest");
        self.is(replay(3).await, 2, "the rest");
        self.is(replay(3).await, 0, "no more");
    }

    async fn what_is_cancelled_is_not_tried_again(self) {
        let cancel = async |id| self.ok(self.there.cancel(id, at(0)).await);
        let id = self.put(self.entry("waits")).await;
        self.is(cancel(id).await, true, "one that waits");
        self.is(self.take_all(10, LONG, 60).await.attempts.len(), 0, "is not taken");
        self.is(cancel(id).await, false, "nothing is left to cancel");
        self.is(self.ok(self.here.put(self.entry("waits")).await), Put::Known(State::Cancelled), "its repetition");
        for (name, outcome, state) in [
            ("given back", Outcome::GiveBack, State::Cancelled),
            ("failed", retry(0), State::Cancelled),
            ("done", done(true), State::Done),
        ] {
            let id = self.put(self.entry(name)).await;
            let token = self.take(0).await.token;
            self.is(cancel(id).await, true, "one that runs");
            self.is(self.ok(self.here.extend(vec![token], LONG).await), vec![Lease::Cancelled], "its attempt learns");
            self.is(self.state(id).await, State::InFlight, "until it has ended");
            self.finish(token, outcome).await;
            self.is(self.state(id).await, state, name);
        }
    }

    async fn what_is_erased_is_gone_but_known(self) {
        let id = self.put(self.entry("waits")).await;
        let erase = async |filter| self.ok(self.there.erase(filter, 10, at(0)).await);
        let other = Filter { provider: Some("nobody".into()), ..self.filter() };
        self.is(erase(other).await.erased, 0, "others stay");
        self.is(erase(self.filter()).await.erased, 1, "what is meant goes");
        self.holds(self.ok(self.here.get(id).await).is_none(), "it is gone");
        self.is(self.ok(self.here.put(self.entry("waits")).await), Put::Known(State::Cancelled), "its repetition");
        self.put(self.entry("runs")).await;
        let token = self.take(0).await.token;
        let erased = erase(self.filter()).await;
        self.is((erased.erased, erased.in_flight), (0, 1), "one that runs is cancelled");
        self.finish(token, Outcome::GiveBack).await;
        self.is(erase(self.filter()).await.erased, 1, "and goes when it has ended");
        let stats = self.ok(self.there.stats(self.scope.clone()).await);
        self.is([stats.waiting, stats.in_flight, stats.cancelled], [0; 3], "nothing is left");
    }

    async fn a_put_wakes_the_taker(self) {
        let taken = self.ok(self.here.take(self.order(10, LONG, 0)).await);
        let waking = async {
            loop {
                self.here.woken(taken.generation).await;
                if !self.ok(self.here.take(self.order(10, LONG, 0)).await).attempts.is_empty() {
                    break;
                }
            }
        };
        let put = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.put(self.entry("a")).await;
        };
        let both = async { tokio::join!(waking, put) };
        self.holds(tokio::time::timeout(Duration::from_secs(2), both).await.is_ok(), "the taker is woken");
        let before = tokio::time::timeout(Duration::from_secs(2), self.here.woken(taken.generation)).await;
        self.holds(before.is_ok(), "what came before it waits wakes it too");
    }

    async fn each_kind_has_its_own_age(self) {
        let mut ids = Vec::new();
        for name in ["done", "dead", "waits"] {
            let id = self.put(self.entry(name)).await;
            match name {
                "done" => self.finish(self.take(0).await.token, Outcome::Done { keep: true, now: at(0) }).await,
                "dead" => self.finish(self.take(0).await.token, dead(false)).await,
                _ => {}
            }
            ids.push(id);
        }
        let there = async || {
            let mut there = Vec::new();
            for id in &ids {
                there.push(self.ok(self.here.get(*id).await).is_some());
            }
            there
        };
        let prune = async |hours: u32| {
            let retention = Retention { done: HOUR, dead: Some(2 * HOUR), keys: HOUR };
            // Often enough to look through all keys.
            for _ in 0..20 {
                self.ok(self.there.prune(retention, 100, at(0) + HOUR * hours + Duration::from_secs(1)).await);
            }
        };
        prune(0).await;
        self.is(there().await, vec![true, true, true], "done, dead, waiting at once");
        prune(1).await;
        self.is(there().await, vec![false, true, true], "done, dead, waiting after an hour");
        self.is(self.ok(self.here.put(self.entry("done")).await), Put::Known(State::Done), "the key outlives it");
        prune(2).await;
        self.is(there().await, vec![false, false, true], "done, dead, waiting after two hours");
        for _ in 0..2 {
            prune(3).await;
        }
        let new = async |name| matches!(self.ok(self.here.put(self.entry(name)).await), Put::Stored(_));
        self.is(new("dead").await, true, "a repetition of a dead one that was removed is handled");
        self.is(new("done").await, true, "a key past its age");
        self.is(self.ok(self.here.put(self.entry("waits")).await), Put::Known(State::Waiting), "a key that is in use");
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Enough of `futures` for the suite.
mod futures {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;

    /// Polls all futures until each is ready.
    pub(super) async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
        let mut waiting: Vec<(Pin<Box<F>>, Option<F::Output>)> =
            futures.into_iter().map(|future| (Box::pin(future), None)).collect();
        poll_fn(|cx| {
            let mut is_ready = true;
            for (future, output) in &mut waiting {
                if output.is_none() {
                    match future.as_mut().poll(cx) {
                        Poll::Ready(ready) => *output = Some(ready),
                        Poll::Pending => is_ready = false,
                    }
                }
            }
            if is_ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        waiting.into_iter().filter_map(|(_, output)| output).collect()
    }
}
