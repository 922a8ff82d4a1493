//! Claims in Redis, shared by all replicas.

mod fault;
mod link;
mod script;
mod target;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use redis::TlsCertificates;
use redis::aio::ConnectionLike;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::observe;

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
use super::store::{Claim, Store, StoreError};

use fault::Fault;
use link::Link;
use script::{Call, DELETE, KnowsSet, PUT};
use target::{Target, eviction};

/// The default prefix of all keys.
pub const DEFAULT_PREFIX: &str = "webhook:";

/// A [`Store`] in Redis, or in a server that speaks its protocol and runs its scripts, for any
/// number of processes. Clones share one multiplexed connection, which reconnects by itself. It
/// needs tokio.
///
/// Each delivery is one entry, `webhook:` and 64 hexadecimal digits, some 200 bytes in all and its
/// answer, with its lease or retention as expiry. Each operation is a script on that key, so a
/// cluster spreads them over its nodes.
///
/// Give Redis memory for the whole retention with the policy `noeviction`, and persistence
/// (`appendonly yes`), so that a restart doesn't lose what is done. Any other policy may evict
/// deliveries before their retention ends; they are then handled again if they are repeated.
/// Connecting warns of it (feature `tracing`).
///
/// # Fail-over
///
/// The store connects again by itself when the connection is lost, when calls go unanswered, and
/// when the server refuses for the state that it is in: a demoted master, one that is loading, one
/// that changed its users. A new connection is used after a probe has shown that its server takes
/// writes, so it doesn't matter whether a fail-over moves an address or leaves connections to the
/// old master open. Attempts are at most two seconds apart. Until one succeeds, calls fail, and the
/// layer answers by its [`StoreFailure`](super::StoreFailure).
///
/// Redis replicates after it answers. What it was told in the milliseconds before a master dies may
/// be unknown to the replica that takes over.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::{DedupLayer, RedisStore};
///
/// # async fn run() -> Result<(), tower_webhook::ConfigError> {
/// let layer = DedupLayer::new(RedisStore::connect("rediss://user:password@redis.example.com").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    link: Link,
    prefix: Arc<str>,
    knows_set: KnowsSet,
}

impl RedisStore {
    /// Connects to the server at this address: `redis://`, `rediss://` for TLS (trusting Mozilla's
    /// roots), `unix://`.
    ///
    /// Connecting claims and releases a key of its own, to see that the server is a master and the
    /// user may do what the store is going to do.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is malformed, the server can't be reached or refuses, is a
    /// replica, a Sentinel or a node of a cluster, or the user may not run scripts or write
    /// keys with the prefix. The error does not repeat the address.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::builder().connect(url).await
    }

    /// Connects as [`connect`](Self::connect) does, but with the first delivery, so that a service
    /// starts without its Redis. What `connect` would have found wrong fails each delivery.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is malformed.
    pub fn connect_lazily(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::builder().connect_lazily(url)
    }

    /// Connects to a cluster. Some of its nodes are enough; the others are found through them.
    ///
    /// Avoid a prefix with braces: Redis would keep all keys on one node.
    ///
    /// # Errors
    ///
    /// Returns an error as [`connect`](Self::connect) does, if the nodes are no cluster, or if the
    /// addresses differ in credentials or TLS.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use tower_webhook::RedisStore;
    /// # async fn run() -> Result<(), tower_webhook::ConfigError> {
    /// let store = RedisStore::connect_cluster(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_cluster(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ConfigError> {
        Self::builder().connect_cluster(urls).await
    }

    /// Connects to the master that these Sentinels name, and asks them again after a fail-over.
    ///
    /// `master` is the name that the Sentinels know it by. If the server needs credentials, TLS or
    /// a database, pass a URL with the name as its host. The Sentinels' own credentials stand
    /// in their addresses, and are the same for all. The user needs the command `ROLE` in
    /// addition to what [`connect`](Self::connect) asks for.
    ///
    /// # Errors
    ///
    /// Returns an error as [`connect`](Self::connect) does, or if no Sentinel can be reached or
    /// knows the master.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use tower_webhook::RedisStore;
    /// # async fn run() -> Result<(), tower_webhook::ConfigError> {
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let store = RedisStore::connect_sentinel(sentinels, "mymaster").await?;
    /// let secured = RedisStore::connect_sentinel(sentinels, "rediss://user:password@mymaster/0").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master: impl AsRef<str>,
    ) -> Result<Self, ConfigError> {
        Self::builder().connect_sentinel(urls, master).await
    }

    /// Returns a builder, for a prefix or root certificates of your own.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder { prefix: DEFAULT_PREFIX.into(), roots: None }
    }

    /// Creates a store over a connection of the [`redis`] crate that many can use at once. The
    /// store neither probes it nor connects again: whether it outlives a fail-over is up to the
    /// connection.
    #[must_use]
    pub fn new(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self { link: Link::over(connection), prefix: DEFAULT_PREFIX.into(), knows_set: KnowsSet::default() }
    }

    /// Sets the prefix of all keys. The default is [`DEFAULT_PREFIX`]. Services that share a Redis
    /// but not their deliveries need different ones.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    fn name(&self, key: Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The call that puts a value there.
    fn put(&self, key: Key, claim: &str, value: &str, time: Duration) -> Call {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        PUT.call(self.name(key), vec![claim.to_owned(), value.to_owned(), millis.to_string()])
    }

    /// Makes such a call. Returns what stands in the way of the value.
    async fn run(&self, call: Call) -> Result<Put, StoreError> {
        let answer = self.link.call(&self.prefix, &call).await?;
        let held =
            redis::from_redis_value(answer.value).map_err(|error| Fault::from(redis::RedisError::from(error)))?;
        Ok(Put { held, is_repeated: answer.is_repeated })
    }
}

struct Put {
    held: Option<String>,
    is_repeated: bool,
}

impl Store for RedisStore {
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        let claim = claim_value(token);
        let put = self.put(key, &claim, &claim, lease).by_set(&self.knows_set);
        match self.run(put).await?.held.as_deref() {
            None => Ok(Claim::Won),
            Some(held) if held.starts_with(CLAIM) => Ok(Claim::InFlight),
            Some(held) => {
                let answer = held.strip_prefix(DONE).and_then(read_answer);
                answer.map(Claim::Done).ok_or_else(|| StoreError::new("the entry in Redis is not one of ours"))
            }
        }
    }

    async fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let done = format!("{DONE}{}", written(&answer));
        let put = self.run(self.put(key, &claim_value(token), &done, retention)).await?;
        // A commit whose answer was lost finds itself when it is repeated.
        Ok(put.held.is_none_or(|held| put.is_repeated && held == done))
    }

    async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
        let call = DELETE.call(self.name(key), vec![claim_value(token)]);
        self.link.call(&self.prefix, &call).await?;
        Ok(())
    }
}

const CLAIM: char = 'c';
const DONE: char = 'd';

fn claim_value(token: ClaimToken) -> String {
    format!("{CLAIM}{token}")
}

/// An answer as text: the status alone, or with the content type and the body in base64, which has
/// no space.
fn written(answer: &DoneAnswer) -> String {
    let status = answer.status().as_u16();
    if answer.body().is_empty() {
        return status.to_string();
    }
    let content_type = answer.content_type().and_then(|value| value.to_str().ok()).unwrap_or_default();
    format!("{status} {} {content_type}", Encoding::Base64.encode(answer.body()))
}

fn read_answer(text: &str) -> Option<DoneAnswer> {
    let mut parts = text.splitn(3, ' ');
    let answer = DoneAnswer::new(parts.next()?.parse().ok()?);
    let Some(body) = parts.next() else { return Some(answer) };
    let content_type = parts.next().filter(|text| !text.is_empty()).map(HeaderValue::from_str).transpose().ok()?;
    Some(answer.with_body(Encoding::Base64.decode(body.as_bytes())?).with_content_type(content_type))
}

/// Prints nothing of the connection.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Settings of a [`RedisStore`] that matter when it connects, made by [`RedisStore::builder`].
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::RedisStore;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder()
///     .with_prefix("shop:")
///     .with_roots(std::fs::read("our-ca.pem")?)
///     .connect("rediss://shop:password@redis.internal")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisBuilder {
    prefix: Arc<str>,
    roots: Option<TlsCertificates>,
}

impl RedisBuilder {
    /// Sets the prefix of all keys. The default is [`DEFAULT_PREFIX`].
    ///
    /// It is set here rather than by [`RedisStore::with_prefix`] where the user's permissions cover
    /// no other prefix: connecting writes and removes a key to see that it may.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    /// Sets the root certificates that TLS trusts, in PEM, instead of Mozilla's.
    #[must_use]
    pub fn with_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(TlsCertificates { client_tls: None, root_cert: Some(pem.into()) });
        self
    }

    /// Connects as [`RedisStore::connect`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect(self, url: impl AsRef<str>) -> Result<RedisStore, ConfigError> {
        let target = Target::server(url.as_ref(), self.roots)?;
        connected(self.prefix, target).await
    }

    /// Sets up a store as [`RedisStore::connect_lazily`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub fn connect_lazily(self, url: impl AsRef<str>) -> Result<RedisStore, ConfigError> {
        let target = Target::server(url.as_ref(), self.roots)?;
        Ok(RedisStore { link: Link::to(target), prefix: self.prefix, knows_set: KnowsSet::default() })
    }

    /// Connects as [`RedisStore::connect_cluster`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect_cluster(
        self,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<RedisStore, ConfigError> {
        let target = Target::cluster(urls, self.roots)?;
        connected(self.prefix, target).await
    }

    /// Connects as [`RedisStore::connect_sentinel`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect_sentinel(
        self,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master: impl AsRef<str>,
    ) -> Result<RedisStore, ConfigError> {
        let target = Target::sentinel(urls, master.as_ref(), self.roots)?;
        connected(self.prefix, target).await
    }
}

async fn connected(prefix: Arc<str>, target: Target) -> Result<RedisStore, ConfigError> {
    let link = Link::to(target);
    let wire = link.connect(&prefix).await?;
    if let Some(policy) = eviction(&*wire).await {
        observe::store_evicts(&policy);
    }
    Ok(RedisStore { link, prefix, knows_set: KnowsSet::default() })
}

/// Prints no certificate.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Mutex;

    use http::StatusCode;
    use redis::{ErrorKind, RedisResult, ServerErrorKind, Value};

    use super::wire::{BoxFuture, Wire};
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let plain = DoneAnswer::new(StatusCode::ACCEPTED);
        let body = plain.clone().with_body(&b"\0\xff a\n"[..]);
        let typed = body.clone().with_content_type(Some(HeaderValue::from_static("text/plain; charset=utf-8")));
        for answer in [plain, body, typed] {
            assert_eq!(read_answer(&written(&answer)), Some(answer));
        }
        for bad in ["", "x", "99", "200 !", "200 AA== a\nb"] {
            assert_eq!(read_answer(bad), None, "{bad:?}");
        }
    }

    /// A server that grants everything and keeps the names of the commands.
    #[derive(Clone, Default)]
    struct Granting {
        commands: Arc<Mutex<Vec<String>>>,
        /// As Redis before 7.
        is_old: bool,
    }

    impl Wire for Granting {
        fn query(&self, command: redis::Cmd) -> BoxFuture<RedisResult<Value>> {
            let packed = String::from_utf8_lossy(&command.get_packed_command()).into_owned();
            let name = packed.lines().nth(2).unwrap_or_default().to_owned();
            let refused = self.is_old && name == "SET";
            self.commands.lock().unwrap().push(name);
            Box::pin(std::future::ready(if refused {
                Err((ErrorKind::Server(ServerErrorKind::ResponseError), "syntax error").into())
            } else {
                Ok(Value::Nil)
            }))
        }
    }

    async fn commands_of(server: &Granting, store: &RedisStore) -> Vec<String> {
        let (key, token) = (Key::new("test", "1"), ClaimToken::new());
        assert_eq!(store.claim(key, token, Duration::from_secs(60)).await.unwrap(), Claim::Won);
        let answer = DoneAnswer::new(StatusCode::OK);
        assert!(store.commit(key, token, answer, Duration::from_secs(60)).await.unwrap());
        std::mem::take(&mut *server.commands.lock().unwrap())
    }

    #[tokio::test]
    async fn a_delivery_takes_two_round_trips_and_an_old_server_is_asked_once_what_it_knows() {
        let store = |server: &Granting| RedisStore {
            link: Link::over(server.clone()),
            prefix: DEFAULT_PREFIX.into(),
            knows_set: KnowsSet::default(),
        };
        let server = Granting::default();
        let new = store(&server);
        for _ in 0..2 {
            assert_eq!(commands_of(&server, &new).await, ["SET", "EVALSHA"]);
        }
        let server = Granting { is_old: true, ..Granting::default() };
        let old = store(&server);
        assert_eq!(commands_of(&server, &old).await, ["SET", "EVALSHA", "EVALSHA"]);
        assert_eq!(commands_of(&server, &old).await, ["EVALSHA", "EVALSHA"]);
    }

    #[tokio::test]
    async fn neither_debug_nor_an_error_tells_the_password() {
        let url = "redis://user:hunter2@127.0.0.1:1/";
        let store = RedisStore::connect_lazily(url).unwrap();
        let error = RedisStore::connect(url).await.unwrap_err();
        assert_eq!(error.to_string(), "Redis could not be reached");
        let malformed = RedisStore::connect_lazily("redis:/user:hunter2@nowhere:nothing").unwrap_err();
        assert_eq!(malformed.to_string(), "the address of Redis is malformed");
        let shown = format!("{store:?} {error:?} {} {malformed:?}", error.source().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn an_address_with_tls_neither_panics_nor_talks_in_the_clear() {
        use tokio::io::AsyncReadExt as _;

        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rediss://:hunter2@{}/", server.local_addr().unwrap());
        let accept = async {
            let mut first = [0; 3];
            let mut connection = server.accept().await.unwrap().0;
            connection.read_exact(&mut first).await.unwrap();
            first
        };
        let (first, connected) = tokio::join!(accept, RedisStore::connect(&url));
        assert_eq!(first[..2], [0x16, 0x03], "a handshake of TLS");
        assert!(connected.is_err());
    }
}
