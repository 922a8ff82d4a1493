//! Looked-up secrets, kept for a while: one look-up for many requests of a tenant.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};

use crate::maybe_ready::{BoxFuture, MaybeReady};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{Clock, SystemClock};

use super::head::{Head, HeadRef};
use super::keyring::{AnyKeyring, KeysFor, SmallKey};
use super::name::{Name, Namer};
use super::source::{FindKeys, KeyMaker, LookUp};
use super::table::{Row, Table};

/// The most look-ups at a time for tenants that the cache doesn't know. A client can invent any
/// number of tenants; this is what the source of the secrets has to bear of them at once.
const MAX_LOOKUPS: usize = 64;

/// The most parts that known tenants are divided into. Two requests wait for each other only if
/// their tenants are in one, and hold it for the time of a look into its table.
const MAX_SHARDS: usize = 16;
/// A part is for at least this many tenants.
const MIN_SHARD: usize = 512;

/// How long a source that failed is left alone if there are secrets of before.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long looked-up secrets are kept: see [`Secrets::cached`](crate::Secrets::cached).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::CachePolicy;
///
/// let policy = CachePolicy::default().with_fresh_for(Duration::from_secs(10)).with_header("x-tenant");
/// ```
#[derive(Clone)]
pub struct CachePolicy {
    fresh_for: Duration,
    stale_for: Duration,
    unknown_for: Duration,
    max_tenants: usize,
    max_unknown: usize,
    headers: Vec<Text>,
    query: bool,
    clock: Arc<dyn Clock>,
}

impl CachePolicy {
    /// Creates the default policy: see the setters.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self {
            fresh_for: Duration::from_secs(60),
            stale_for: Duration::from_secs(3600),
            unknown_for: Duration::from_secs(10),
            max_tenants: 100_000,
            max_unknown: 10_000,
            headers: vec![Text::from_static("host")],
            query: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how long secrets are used without asking again. A secret that was withdrawn is accepted
    /// for as long. The default is a minute.
    #[must_use]
    #[inline]
    pub fn with_fresh_for(mut self, duration: Duration) -> Self {
        self.fresh_for = duration;
        self
    }

    /// Sets how long the secrets of before are used if the look-up fails. The default is an hour.
    #[must_use]
    #[inline]
    pub fn with_stale_for(mut self, duration: Duration) -> Self {
        self.stale_for = duration;
        self
    }

    /// Sets how long a tenant that has no secrets is remembered. A tenant that is added has to wait
    /// for as long if a request came before. The default is ten seconds.
    #[must_use]
    #[inline]
    pub fn with_unknown_for(mut self, duration: Duration) -> Self {
        self.unknown_for = duration;
        self
    }

    /// Sets how many tenants are kept. The default is 100,000.
    #[must_use]
    #[inline]
    pub fn with_max_tenants(mut self, tenants: usize) -> Self {
        self.max_tenants = tenants;
        self
    }

    /// Tells tenants apart by this header too, and hands it to the look-up. By default it is the
    /// path, the `Host` header and the [hint](Head::unverified_hint).
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Text>) -> Self {
        self.headers.push(name.into());
        self
    }

    /// Tells tenants apart by the query too, and hands it to the look-up.
    #[must_use]
    #[inline]
    pub fn with_query(mut self) -> Self {
        self.query = true;
        self
    }

    /// Sets the clock. The default is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the headers that tell tenants apart. One whose name is not valid is never there.
    #[inline]
    fn header_names(&self) -> impl Iterator<Item = HeaderName> {
        self.headers.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }

    /// Returns whether secrets are used without asking again.
    #[inline]
    fn is_fresh(&self, kept: &Known, now: Moment) -> bool {
        kept.found.is_within(now, self.fresh_for)
            || kept.failed.is_some_and(|failed| failed.is_within(now, RETRY_AFTER_FAILURE))
    }

    /// Returns what the look-up gets to see of a request: what tells tenants apart, and nothing
    /// else. So no secret can be kept under a key that lacks what chose it.
    #[inline]
    fn visible(&self, parts: &Parts, hint: Option<Text>) -> Head {
        let mut visible = Request::new(()).into_parts().0;
        visible.method = parts.method.clone();
        visible.uri = if self.query { parts.uri.clone() } else { without_query(&parts.uri) };
        for name in self.header_names() {
            for value in parts.headers.get_all(&name) {
                visible.headers.append(name.clone(), value.clone());
            }
        }
        Head::new(Arc::new(visible), hint)
    }
}

#[inline]
fn without_query(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = uri.path().parse::<PathAndQuery>().ok();
    // The parts of a valid address, one of them shortened.
    Uri::from_parts(parts).unwrap_or_default()
}

impl Default for CachePolicy {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CachePolicy {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachePolicy")
            .field("fresh_for", &self.fresh_for)
            .field("stale_for", &self.stale_for)
            .field("unknown_for", &self.unknown_for)
            .finish_non_exhaustive()
    }
}

/// The keys of tenants, looked up once for many requests.
///
/// There is no task: a look-up is driven by the requests that wait for it. If one of them goes
/// away, the others carry on.
pub(super) struct KeyCache {
    policy: Arc<CachePolicy>,
    /// Those of the policy, read once.
    headers: Vec<HeaderName>,
    namer: Namer,
    look_up: Arc<LookUp>,
    maker: Arc<KeyMaker>,
    tenants: Arc<Tenants>,
}

struct Tenants {
    known: Box<[Mutex<Table<Known>>]>,
    /// Locked before a part of the known ones, if both are.
    others: Mutex<Others>,
}

/// A tenant whose keys were found. A row is two neighbouring lines of a processor's cache, which
/// it fetches at the same time.
#[derive(Clone)]
#[repr(align(128))]
struct Known {
    name: Name,
    found: Moment,
    /// The last failure to find them anew.
    failed: Option<Moment>,
    was_used: bool,
    keys: KnownKeys,
}

const _: () = assert!(size_of::<Option<Known>>() == 128);

#[derive(Clone)]
enum KnownKeys {
    /// Copied for each request, which takes less than counting references in memory that is far
    /// away.
    Small(SmallKey),
    Any(Arc<dyn AnyKeyring>),
}

#[derive(Clone)]
struct Unknown {
    name: Name,
    found: Moment,
    was_used: bool,
}

struct Others {
    unknown: Table<Unknown>,
    /// What every unknown tenant's signature is tried with.
    decoy: Option<KeysFor>,
    lookups: HashMap<Name, WeakShared<KeyLookup>>,
}

type KeyLookup = BoxFuture<Result<KeysFor, Rejection>>;

impl KeyCache {
    #[inline]
    pub(super) fn new(policy: CachePolicy, look_up: Arc<LookUp>, maker: Arc<KeyMaker>) -> Self {
        let shards = (policy.max_tenants / MIN_SHARD).clamp(1, MAX_SHARDS);
        let share = |shard| policy.max_tenants / shards + usize::from(shard < policy.max_tenants % shards);
        let known = (0..shards).map(|shard| Mutex::new(Table::new(share(shard)))).collect();
        let others = Others { unknown: Table::new(policy.max_unknown), decoy: None, lookups: HashMap::new() };
        let headers = policy.header_names().collect();
        let tenants = Arc::new(Tenants { known, others: Mutex::new(others) });
        Self { policy: Arc::new(policy), headers, namer: Namer::new(), look_up, maker, tenants }
    }

    /// Returns the name of a tenant: of every part that is visible.
    #[inline]
    fn name(&self, parts: &Parts, hint: Option<&Text>) -> Name {
        self.namer.name(|push| {
            push(parts.method.as_str().as_bytes());
            push(parts.uri.path().as_bytes());
            if self.policy.query {
                push(parts.uri.query().unwrap_or_default().as_bytes());
            }
            for name in &self.headers {
                let values = parts.headers.get_all(name);
                push(&values.iter().count().to_le_bytes());
                values.iter().for_each(|value| push(value.as_bytes()));
            }
            push(hint.map_or(b"", |hint| hint.as_bytes()));
        })
    }

    /// Finds the keys of a tenant that is not known, or was known too long ago.
    #[cold]
    #[inline]
    fn find_anew(
        &self,
        name: Name,
        is_known: bool,
        head: &Parts,
        hint: Option<Text>,
        now: Moment,
    ) -> MaybeReady<KeysFor> {
        let mut others = lock(&self.tenants.others);
        // Another request may have found it meanwhile.
        if let Some(keys) = self
            .tenants
            .known(name)
            .get(name)
            .filter(|kept| self.policy.is_fresh(kept, now))
            .and_then(|kept| kept.keys(&self.maker))
        {
            return keys.into();
        }
        let unknown = others.unknown.get(name);
        if unknown.is_some_and(|kept| kept.found.is_within(now, self.policy.unknown_for))
            && let Some(decoy) = &others.decoy
        {
            return decoy.clone().into();
        }
        if let Some(lookup) = others.lookups.get(&name).and_then(WeakShared::upgrade) {
            return MaybeReady::Pending(Box::pin(lookup));
        }
        if others.lookups.len() >= MAX_LOOKUPS {
            others.lookups.retain(|_, lookup| lookup.upgrade().is_some());
        }
        if !is_known && others.lookups.len() >= MAX_LOOKUPS {
            let busy = Rejection::new(Reason::SecretUnavailable).with_detail("too many unknown tenants are asked for");
            return MaybeReady::pending(async { Err(busy) });
        }
        let lookup = self.launch(name, self.policy.visible(head, hint));
        if let Some(weak) = lookup.downgrade() {
            others.lookups.insert(name, weak);
        }
        MaybeReady::Pending(Box::pin(lookup))
    }

    /// Starts a look-up that leaves its result in the cache before anyone who waits for it goes on.
    #[inline]
    fn launch(&self, name: Name, visible: Head) -> Shared<KeyLookup> {
        let (tenants, policy, maker) = (self.tenants.clone(), self.policy.clone(), self.maker.clone());
        let look_up = (self.look_up)(visible, self.maker.clone());
        let lookup: KeyLookup = Box::pin(async move {
            let found = look_up.await;
            tenants.keep(name, found, &policy, &maker)
        });
        lookup.shared()
    }
}

impl FindKeys for KeyCache {
    #[inline]
    fn find(&self, head: HeadRef<'_>, hint: Option<Text>) -> MaybeReady<KeysFor> {
        let now = Moment::of(self.policy.clock.now());
        let name = self.name(head.parts(), hint.as_ref());
        let is_known = {
            let mut known = self.tenants.known(name);
            let kept = known.get(name);
            // Nearly every request.
            if let Some(kept) = &kept
                && self.policy.is_fresh(kept, now)
                && let Some(keys) = kept.keys(&self.maker)
            {
                return keys.into();
            }
            kept.is_some()
        };
        self.find_anew(name, is_known, head.parts(), hint, now)
    }

    /// What a look-up sees is taken out of the head.
    #[inline]
    fn sees_whole_head(&self) -> bool {
        false
    }
}

impl Tenants {
    /// Returns the part of the known tenants that may have this one. Its table goes by the upper
    /// half of the hash.
    #[inline]
    fn known(&self, name: Name) -> MutexGuard<'_, Table<Known>> {
        #[allow(clippy::cast_possible_truncation, reason = "it is one of 16")]
        let shard = (((name.place & 0xffff_ffff) * self.known.len() as u64) >> 32) as usize;
        lock(&self.known[shard])
    }

    /// Keeps what a look-up has found, and returns the keys to be tried.
    #[inline]
    fn keep(
        &self,
        name: Name,
        found: Result<KeysFor, Rejection>,
        policy: &CachePolicy,
        maker: &KeyMaker,
    ) -> Result<KeysFor, Rejection> {
        let now = Moment::of(policy.clock.now());
        let mut others = lock(&self.others);
        let mut known = self.known(name);
        others.lookups.remove(&name);
        match found {
            Ok(KeysFor::Found { ring, known: true }) => {
                let keys = ring.small().map_or_else(|| KnownKeys::Any(ring.clone()), KnownKeys::Small);
                known.insert(Known { name, found: now, failed: None, was_used: false, keys });
                Ok(KeysFor::Found { ring, known: true })
            }
            Ok(decoy) => {
                known.remove(name);
                others.unknown.insert(Unknown { name, found: now, was_used: false });
                others.decoy = Some(decoy.clone());
                Ok(decoy)
            }
            Err(rejection) => {
                let stale_for = policy.fresh_for.saturating_add(policy.stale_for);
                let kept = known.get(name).filter(|kept| kept.found.is_within(now, stale_for));
                let Some(kept) = kept else { return Err(rejection) };
                kept.failed = Some(now);
                kept.keys(maker).ok_or(rejection)
            }
        }
    }
}

impl Known {
    /// Returns the keys for a request.
    #[inline]
    fn keys(&self, maker: &KeyMaker) -> Option<KeysFor> {
        let ring = match &self.keys {
            KnownKeys::Small(key) => (maker.from_small)(key)?,
            KnownKeys::Any(ring) => ring.clone(),
        };
        Some(KeysFor::Found { ring, known: true })
    }
}

impl Row for Known {
    #[inline]
    fn name(&self) -> Name {
        self.name
    }

    #[inline]
    fn was_used(&mut self) -> &mut bool {
        &mut self.was_used
    }
}

impl Row for Unknown {
    #[inline]
    fn name(&self) -> Name {
        self.name
    }

    #[inline]
    fn was_used(&mut self) -> &mut bool {
        &mut self.was_used
    }
}

#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A time in little memory: milliseconds since 1970, in 48 bits.
#[derive(Clone, Copy)]
struct Moment([u16; 3]);

impl Moment {
    #[inline]
    fn of(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        #[allow(clippy::cast_possible_truncation, reason = "each is 16 bits of it")]
        Self([millis as u16, (millis >> 16) as u16, (millis >> 32) as u16])
    }

    #[inline]
    fn millis(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }

    /// Returns whether less than `duration` has passed. A clock that was set back makes everything
    /// old.
    #[inline]
    fn is_within(self, now: Self, duration: Duration) -> bool {
        now.millis().checked_sub(self.millis()).is_some_and(|passed| Duration::from_millis(passed) < duration)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::rejection::BoxError;
    use crate::secrets::{Keys, Secret, Secrets, SenderKey};

    impl SenderKey for String {}

    /// A source of secrets that counts how often it is asked, and a clock that is set.
    #[derive(Clone)]
    struct Source {
        asked: Arc<AtomicUsize>,
        now: Arc<AtomicU64>,
        down: Arc<AtomicBool>,
        /// Each answer takes a permit.
        gate: Arc<Semaphore>,
    }

    impl Default for Source {
        fn default() -> Self {
            Self {
                asked: Arc::default(),
                now: Arc::default(),
                down: Arc::default(),
                gate: Arc::new(Semaphore::new(1_000_000)),
            }
        }
    }

    impl Source {
        fn keys(&self, policy: CachePolicy) -> Keys<String> {
            let (source, now) = (self.clone(), self.now.clone());
            let clock = move || SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + now.load(Ordering::Relaxed));
            let look_up = move |head: Head| {
                let source = source.clone();
                async move {
                    source.asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    source.gate.acquire().await.unwrap().forget();
                    if source.down.load(Ordering::Relaxed) {
                        return Err(BoxError::from("the database is down"));
                    }
                    let tenant = head.uri.path().trim_start_matches('/').to_owned();
                    Ok((!tenant.starts_with("junk")).then(|| format!("{tenant} {:?}", head.headers.get("x-tenant"))))
                }
            };
            let secrets = Secrets::lookup(look_up).cached(policy.with_clock(clock));
            let text = |secret: &Secret| {
                let key = secret.key(crate::secrets::KeyFormat::Text)?;
                Ok(String::from_utf8_lossy(&key).into_owned())
            };
            secrets.into_keys(text).unwrap()
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn head(path: &str, tenant: &str) -> Parts {
        Request::post(path).header("x-tenant", tenant).header("x-signature", "s").body(()).unwrap().into_parts().0
    }

    async fn find(keys: &Keys<String>, path: &str) -> Result<Option<String>, Reason> {
        find_by(keys, &head(path, "t")).await
    }

    async fn find_by(keys: &Keys<String>, head: &Parts) -> Result<Option<String>, Reason> {
        let found = keys.find(head, None).wait().await.map_err(|rejection| rejection.reason())?;
        let found = keys.tried(&found).unwrap();
        Ok(found.known.then(|| found.ring.iter().next().unwrap().clone()))
    }

    #[tokio::test]
    async fn a_tenant_is_looked_up_once_while_its_secrets_are_fresh() {
        let source = Source::default();
        let keys = source.keys(CachePolicy::default());
        for _ in 0..100 {
            assert_eq!(find(&keys, "/a").await, Ok(Some("a None".into())));
        }
        assert_eq!(source.asked(), 1);
        source.now.store(60, Ordering::Relaxed);
        assert_eq!(find(&keys, "/a").await, Ok(Some("a None".into())));
        assert_eq!(source.asked(), 2);
        // A clock that is set back makes everything old.
        source.now.store(0, Ordering::Relaxed);
        find(&keys, "/a").await.unwrap();
        assert_eq!(source.asked(), 3);
    }

    #[tokio::test]
    async fn many_requests_at_once_cause_one_look_up_and_survive_the_loss_of_the_first() {
        let source = Source { gate: Arc::new(Semaphore::new(0)), ..Source::default() };
        let keys = source.keys(CachePolicy::default());
        let (first, others) = (head("/a", "t"), head("/a", "t"));
        let mut first = Box::pin(find_by(&keys, &first));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut others = futures_util::future::join_all((0..50).map(|_| find_by(&keys, &others)));
        assert!(futures_util::poll!(&mut others).is_pending());
        drop(first);
        source.gate.add_permits(1);
        for found in others.await {
            assert_eq!(found, Ok(Some("a None".into())));
        }
        assert_eq!(source.asked(), 1);
    }

    #[tokio::test]
    async fn five_thousand_forgeries_are_one_look_up() {
        let source = Source::default();
        let keys = source.keys(CachePolicy::default());
        for _ in 0..5000 {
            assert_eq!(find(&keys, "/junk").await, Ok(None));
        }
        assert_eq!(source.asked(), 1);
        source.now.store(10, Ordering::Relaxed);
        assert_eq!(find(&keys, "/junk").await, Ok(None));
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn invented_tenants_are_bounded_and_push_out_no_known_one() {
        let source = Source::default();
        let keys = source.keys(CachePolicy::default());
        find(&keys, "/a").await.unwrap();
        let heads: Vec<_> = (0..200).map(|number| head(&format!("/junk{number}"), "t")).collect();
        let found = futures_util::future::join_all(heads.iter().map(|head| find_by(&keys, head))).await;
        assert_eq!(found.iter().filter(|found| **found == Ok(None)).count(), MAX_LOOKUPS);
        assert_eq!(found.iter().filter(|found| **found == Err(Reason::SecretUnavailable)).count(), 200 - MAX_LOOKUPS);
        for number in 0..20_000 {
            find(&keys, &format!("/junk{number}")).await.unwrap();
        }
        let asked = source.asked();
        find(&keys, "/a").await.unwrap();
        assert_eq!(source.asked(), asked);
        let Keys::Lookup(keys) = &keys else { panic!() };
        let keys: &dyn std::any::Any = &**keys;
        let others = lock(&keys.downcast_ref::<KeyCache>().unwrap().tenants.others);
        assert_eq!(others.unknown.len(), 10_000);
        assert!(others.lookups.is_empty());
    }

    #[tokio::test]
    async fn while_the_source_is_down_the_secrets_of_before_are_used_for_a_while() {
        let source = Source::default();
        let keys = source.keys(CachePolicy::default());
        find(&keys, "/a").await.unwrap();
        source.down.store(true, Ordering::Relaxed);
        source.now.store(61, Ordering::Relaxed);
        for _ in 0..10 {
            assert_eq!(find(&keys, "/a").await, Ok(Some("a None".into())));
        }
        assert_eq!(source.asked(), 2, "a source that is down is asked once a second");
        assert_eq!(find(&keys, "/b").await, Err(Reason::SecretUnavailable));
        source.now.store(3660, Ordering::Relaxed);
        assert_eq!(find(&keys, "/a").await, Err(Reason::SecretUnavailable));
        source.down.store(false, Ordering::Relaxed);
        assert_eq!(find(&keys, "/a").await, Ok(Some("a None".into())));
    }

    /// A look-up that chose by a header which is no part of the key would give one tenant's secrets
    /// to another.
    #[tokio::test]
    async fn the_look_up_sees_only_what_tells_tenants_apart() {
        let source = Source::default();
        let keys = source.keys(CachePolicy::default());
        for tenant in ["x", "y"] {
            assert_eq!(find_by(&keys, &head("/a?q=1", tenant)).await, Ok(Some("a None".into())));
        }
        let keys = source.keys(CachePolicy::default().with_header("x-tenant"));
        for tenant in ["x", "y"] {
            let expected = format!("a Some({tenant:?})");
            assert_eq!(find_by(&keys, &head("/a", tenant)).await, Ok(Some(expected)));
        }
        let policy = CachePolicy::default();
        let visible = policy.visible(&head("/a?q=1", "x"), None);
        assert_eq!((visible.uri.to_string().as_str(), visible.headers.len()), ("/a", 0));
        assert_eq!(policy.with_query().visible(&head("/a?q=1", "x"), None).uri, "/a?q=1");
    }
}
