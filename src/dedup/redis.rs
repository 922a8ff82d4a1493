//! Claims in Redis, shared by all replicas.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::StatusCode;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, ErrorKind, RedisError, Script};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::key::{ClaimToken, Key};
use super::store::{Claim, Store, StoreError};

/// The default prefix of the names of all entries.
pub const DEFAULT_PREFIX: &str = "webhook:";

/// The time for a connection to be made. The layer waits a second for an answer, so a slower connection is for later
/// deliveries.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for an answer, if the layer's own time-out is longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Each call without a connection makes another attempt, so one retry within it is enough.
const MAX_RECONNECTIONS: usize = 1;
/// How many commands may wait to be written: as many deliveries as arrive in a burst.
const MAX_PIPELINED: usize = 1024;

/// Puts a value under the key if it is free or holds the owner's claim, and otherwise returns what it holds. It claims, renews
/// and commits.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false",
    )
});

/// Removes the owner's claim.
static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// A [`Store`] in Redis, or in a server that speaks its protocol and runs its scripts, for any number of processes. Clones share
/// one multiplexed connection, which reconnects by itself. It needs tokio.
///
/// Each delivery is one entry, `webhook:` and 64 hexadecimal digits, some 200 bytes in all, with its lease or retention as
/// expiry. All operations are scripts on a single key, so they run on a cluster as well.
///
/// Give Redis memory for the whole retention with the policy `noeviction`, so that it evicts nothing, and persistence
/// (`appendonly yes`), so that a restart doesn't lose what is done.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::{DedupLayer, RedisStore};
///
/// # async fn run() -> Result<(), tower_webhook::dedup::StoreError> {
/// let layer = DedupLayer::new(RedisStore::connect("rediss://user:password@redis.example.com").await?);
/// # Ok(())
/// # }
/// ```
///
/// Any other connection of the [`redis`] crate works as well, such as that of a cluster or one with your own certificates: see
/// [`new`](Self::new).
#[derive(Clone)]
pub struct RedisStore<C = ConnectionManager> {
    connection: C,
    prefix: Arc<str>,
}

impl RedisStore {
    /// Connects to the server with this address: `redis://`, `rediss://` for TLS (trusting Mozilla's roots), `unix://`.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is malformed, or if the server can't be reached or refuses. The error doesn't repeat the
    /// address.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        let (client, config) = client(url.as_ref())?;
        let mut connection = ConnectionManager::new_with_config(client, config).await.map_err(failed)?;
        // A server that wants a password only says so when it gets a command.
        redis::cmd("PING").exec_async(&mut connection).await.map_err(failed)?;
        Ok(Self::new(connection))
    }

    /// As [`connect`](Self::connect), but connects with the first delivery, so that a service starts without its Redis. Call it
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is malformed.
    pub fn connect_lazily(url: impl AsRef<str>) -> Result<Self, StoreError> {
        let (client, config) = client(url.as_ref())?;
        ConnectionManager::new_lazy_with_config(client, config).map(Self::new).map_err(failed)
    }
}

fn client(url: &str) -> Result<(Client, ConnectionManagerConfig), StoreError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(MAX_RECONNECTIONS)
        .set_pipeline_buffer_size(MAX_PIPELINED);
    let client = Client::open(url).map_err(failed)?;
    if matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. }) {
        choose_cryptography();
    }
    Ok((client, config))
}

/// Chooses rustls's cryptography if the process hasn't: without a choice, the redis crate panics when it needs TLS.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread has chosen in the meantime.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

impl<C> RedisStore<C> {
    /// Creates a store over a connection of the [`redis`] crate that can be shared: a
    /// [`MultiplexedConnection`](redis::aio::MultiplexedConnection), a [`ConnectionManager`], a cluster's connection.
    #[must_use]
    pub fn new(connection: C) -> Self {
        Self { connection, prefix: DEFAULT_PREFIX.into() }
    }

    /// Sets the prefix of the names of all entries. The default is [`DEFAULT_PREFIX`]. Services that share a Redis but not their
    /// deliveries need different ones.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    fn name(&self, key: Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Puts the value there, or returns what is in the way.
    async fn put(&self, key: Key, claim: &str, value: &str, time: Duration) -> Result<Option<String>, StoreError> {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut connection = self.connection.clone();
        let mut call = PUT.key(self.name(key));
        call.arg(claim).arg(value).arg(millis);
        call.invoke_async(&mut connection).await.map_err(failed)
    }
}

impl<C> Store for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        let claim = claim_value(token);
        match self.put(key, &claim, &claim, lease).await?.as_deref() {
            None => Ok(Claim::Won),
            Some(held) if held.starts_with(CLAIM) => Ok(Claim::InFlight),
            Some(held) => {
                let status = held.strip_prefix(DONE).and_then(|status| status.parse().ok());
                status.map(Claim::Done).ok_or_else(|| StoreError::new("the entry in Redis is not one of ours"))
            }
        }
    }

    async fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        status: StatusCode,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let done = format!("{DONE}{}", status.as_u16());
        Ok(self.put(key, &claim_value(token), &done, retention).await?.is_none())
    }

    async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
        let mut connection = self.connection.clone();
        let mut call = DELETE.key(self.name(key));
        call.arg(claim_value(token)).invoke_async(&mut connection).await.map_err(failed)
    }
}

const CLAIM: char = 'c';
const DONE: char = 'd';

fn claim_value(token: ClaimToken) -> String {
    format!("{CLAIM}{token}")
}

/// Converts an error, without the server's own words if they repeat what was sent.
fn failed(error: RedisError) -> StoreError {
    let message = match error.kind() {
        _ if error.is_timeout() => "Redis did not answer in time",
        _ if error.is_connection_refusal() || error.is_io_error() => "Redis could not be reached",
        ErrorKind::InvalidClientConfig => return StoreError::new("the address of Redis is malformed"),
        ErrorKind::AuthenticationFailed => return StoreError::new("Redis refused the credentials"),
        _ => "Redis refused",
    };
    StoreError::new(message).with_source(error)
}

/// Prints nothing of the connection.
impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

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
