//! Looked-up secrets, kept for a while: one look-up for many requests of a tenant.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};

use crate::maybe_ready::MaybeReady;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{Clock, SystemClock};

use super::head::Head;
use super::keyring::{Kept, Keyring, KeysFor, TenantKey};

/// The most look-ups at a time for tenants that the cache doesn't know. A client can invent any
/// number of tenants; this is what the source of the secrets has to bear of them at once.
const MAX_LOOKUPS: usize = 64;

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
    pub fn with_fresh_for(mut self, duration: Duration) -> Self {
        self.fresh_for = duration;
        self
    }

    /// Sets how long the secrets of before are used if the look-up fails. The default is an hour.
    #[must_use]
    pub fn with_stale_for(mut self, duration: Duration) -> Self {
        self.stale_for = duration;
        self
    }

    /// Sets how long a tenant that has no secrets is remembered. A tenant that is added has to wait
    /// for as long if a request came before. The default is ten seconds.
    #[must_use]
    pub fn with_unknown_for(mut self, duration: Duration) -> Self {
        self.unknown_for = duration;
        self
    }

    /// Sets how many tenants are kept. The default is 100,000.
    #[must_use]
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
    fn header_names(&self) -> impl Iterator<Item = HeaderName> {
        self.headers.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }

    /// Returns what the look-up gets to see of a request: what tells tenants apart, and nothing
    /// else. So no secret can be kept under a key that lacks what chose it.
    fn visible(&self, parts: &Parts, hint: Option<Text>) -> Head {
        let mut visible = Request::new(()).into_parts().0;
        visible.method = parts.method.clone();
        visible.uri = if self.query { parts.uri.clone() } else { without_query(&parts.uri) };
        for name in self.header_names() {
            for value in parts.headers.get_all(&name) {
                visible.headers.append(name.clone(), value.clone());
            }
        }
        Head::from_parts(visible, hint)
    }
}

fn without_query(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = uri.path().parse::<PathAndQuery>().ok();
    // The parts of a valid address, one of them shortened.
    Uri::from_parts(parts).unwrap_or_default()
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CachePolicy {
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
pub(crate) struct KeyCache<K> {
    policy: CachePolicy,
    /// Those of the policy, read once.
    headers: Vec<HeaderName>,
    state: Arc<Mutex<Tenants<K>>>,
}

struct Tenants<K> {
    known: Generations<Keyring<K>>,
    unknown: Generations<()>,
    /// What every unknown tenant's signature is tried with.
    decoy: Option<KeysFor<K>>,
    lookups: HashMap<TenantKey, WeakShared<KeyLookup<K>>>,
}

type KeyLookup<K> = Pin<Box<dyn Future<Output = Result<KeysFor<K>, Rejection>> + Send>>;

impl<K: Clone + Send + Sync + 'static> KeyCache<K> {
    pub(super) fn new(policy: CachePolicy) -> Self {
        let state = Tenants {
            known: Generations::new(policy.max_tenants),
            unknown: Generations::new(policy.max_unknown),
            decoy: None,
            lookups: HashMap::new(),
        };
        Self { headers: policy.header_names().collect(), policy, state: Arc::new(Mutex::new(state)) }
    }

    /// Returns the key of a tenant: every part that is visible, with its length before it.
    fn key(&self, parts: &Parts, hint: Option<&Text>) -> TenantKey {
        // No head has 4 GiB.
        let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let mut key = TenantKey::new();
        let mut push = |part: &[u8]| {
            key.extend_from_slice(&short(part.len()));
            key.extend_from_slice(part);
        };
        push(parts.method.as_str().as_bytes());
        push(parts.uri.path().as_bytes());
        if self.policy.query {
            push(parts.uri.query().unwrap_or_default().as_bytes());
        }
        for name in &self.headers {
            let values = parts.headers.get_all(name);
            push(&short(values.iter().count()));
            values.iter().for_each(|value| push(value.as_bytes()));
        }
        push(hint.map_or(b"", |hint| hint.as_bytes()));
        key
    }

    /// Returns the keys of the request's tenant, kept or from `look_up`.
    pub(super) fn find<F>(
        &self,
        parts: &Parts,
        hint: Option<Text>,
        look_up: impl FnOnce(Head) -> F,
    ) -> MaybeReady<KeysFor<K>>
    where
        F: Future<Output = Result<KeysFor<K>, Rejection>> + Send + 'static,
    {
        let key = self.key(parts, hint.as_ref());
        let now = self.policy.clock.now();
        let mut tenants = lock(&self.state);
        let kept = tenants.known.get(&key);
        if let Some(kept) = kept
            && (is_within(kept.found, now, self.policy.fresh_for)
                || kept.failed.is_some_and(|failed| is_within(failed, now, RETRY_AFTER_FAILURE)))
        {
            return KeysFor::Kept(kept.clone()).into();
        }
        let is_known = kept.is_some();
        if tenants.unknown.get(&key).is_some_and(|kept| is_within(kept.found, now, self.policy.unknown_for))
            && let Some(decoy) = &tenants.decoy
        {
            return decoy.clone().into();
        }
        if let Some(lookup) = tenants.lookups.get(&key[..]).and_then(WeakShared::upgrade) {
            return MaybeReady::Pending(Box::pin(lookup));
        }
        if tenants.lookups.len() >= MAX_LOOKUPS {
            tenants.lookups.retain(|_, lookup| lookup.upgrade().is_some());
        }
        if !is_known && tenants.lookups.len() >= MAX_LOOKUPS {
            let busy = Rejection::new(Reason::SecretUnavailable).with_detail("too many unknown tenants are asked for");
            return MaybeReady::pending(async { Err(busy) });
        }
        let lookup = self.launch(key.clone(), look_up(self.policy.visible(parts, hint)));
        if let Some(weak) = lookup.downgrade() {
            tenants.lookups.insert(key, weak);
        }
        MaybeReady::Pending(Box::pin(lookup))
    }

    /// Starts a look-up that leaves its result in the cache before anyone who waits for it goes on.
    fn launch<F>(&self, key: TenantKey, look_up: F) -> Shared<KeyLookup<K>>
    where
        F: Future<Output = Result<KeysFor<K>, Rejection>> + Send + 'static,
    {
        let (state, policy) = (self.state.clone(), self.policy.clone());
        let lookup: KeyLookup<K> = Box::pin(async move {
            let found = look_up.await;
            let now = policy.clock.now();
            let mut tenants = lock(&state);
            tenants.lookups.remove(&key);
            match found {
                Ok(KeysFor::Found { ring, known: true }) => {
                    tenants.known.insert(Kept { key, found: now, failed: None, value: Keyring::clone(&ring) });
                    Ok(KeysFor::Found { ring, known: true })
                }
                Ok(decoy) => {
                    tenants.known.remove(&key);
                    tenants.unknown.insert(Kept { key, found: now, failed: None, value: () });
                    tenants.decoy = Some(decoy.clone());
                    Ok(decoy)
                }
                Err(rejection) => {
                    let stale_for = policy.fresh_for.saturating_add(policy.stale_for);
                    match tenants.known.get(&key) {
                        Some(kept) if is_within(kept.found, now, stale_for) => {
                            let kept = Kept { failed: Some(now), ..Kept::clone(kept) };
                            Ok(KeysFor::Kept(tenants.known.insert(kept)))
                        }
                        _ => Err(rejection),
                    }
                }
            }
        });
        lookup.shared()
    }
}

fn lock<K>(state: &Mutex<Tenants<K>>) -> MutexGuard<'_, Tenants<K>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether less than `duration` has passed. A clock that was set back makes everything old.
fn is_within(start: SystemTime, now: SystemTime, duration: Duration) -> bool {
    now.duration_since(start).is_ok_and(|passed| passed < duration)
}

/// A bounded set that forgets what was not used for longest, in two halves: what is used moves to
/// the young one, and once that is full, the old one is dropped.
struct Generations<T> {
    half: usize,
    young: HashSet<ByKey<T>>,
    old: HashSet<ByKey<T>>,
}

/// What is kept of a tenant, found by its key. It is in one piece of memory, behind a pointer:
/// among a million tenants, a hit takes as long as the memory does to answer, once for each piece.
struct ByKey<T>(Arc<Kept<T>>);

impl<T> Generations<T> {
    fn new(entries: usize) -> Self {
        Self { half: (entries / 2).max(1), young: HashSet::new(), old: HashSet::new() }
    }

    fn get(&mut self, key: &[u8]) -> Option<&Arc<Kept<T>>> {
        if !self.old.is_empty()
            && !self.young.contains(key)
            && let Some(ByKey(kept)) = self.old.take(key)
        {
            self.put(kept);
        }
        self.young.get(key).map(|ByKey(kept)| kept)
    }

    fn insert(&mut self, kept: Kept<T>) -> Arc<Kept<T>> {
        let kept = Arc::new(kept);
        self.put(kept.clone());
        kept
    }

    fn put(&mut self, kept: Arc<Kept<T>>) {
        if self.young.len() >= self.half && !self.young.contains(&kept.key[..]) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&kept.key[..]);
        self.young.replace(ByKey(kept));
    }

    fn remove(&mut self, key: &[u8]) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

impl<T> Borrow<[u8]> for ByKey<T> {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

impl<T> Hash for ByKey<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key[..].hash(state);
    }
}

impl<T> PartialEq for ByKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<T> Eq for ByKey<T> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::rejection::BoxError;
    use crate::secrets::{Keys, Secret, Secrets};

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
        let Keys::Lookup { cache: Some(cache), .. } = &keys else { panic!() };
        let tenants = lock(&cache.state);
        assert!(tenants.unknown.young.len() + tenants.unknown.old.len() <= 10_000);
        assert!(tenants.lookups.is_empty());
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
