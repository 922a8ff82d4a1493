//! Where to connect to, and whether what is there will do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisResult,
    ServerErrorKind, TlsCertificates, TlsMode, Value,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::config::ConfigErrorKind;

use super::super::key::{ClaimToken, Key};
use super::fault::{Fault, NODE_OF_A_CLUSTER, REPLICA};
use super::script::{DELETE, PUT};
use super::wire::Wire;

/// The time for a connection to be made. The layer waits a second for an answer, so a slower
/// connection is for later deliveries.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for an answer, if the layer's own time-out is longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for the answer of one node. Shorter, since the cluster's client asks one node about all
/// others and lets everybody wait meanwhile.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a command is sent again within a cluster: to the node that it was redirected to, or to
/// the one that took over.
const MAX_NODE_RETRIES: u32 = 3;
/// The shortest and the longest wait between these, in milliseconds.
const NODE_WAITS: (u64, u64) = (20, 200);
/// How many commands may wait to be written: as many deliveries as arrive in a burst.
const MAX_PIPELINED: usize = 1024;

/// What is at the address.
pub(super) enum Target {
    Server(Client),
    Sentinel(Sentinels),
    Cluster(ClusterClient),
}

/// Sentinels, and the master that they are asked for.
pub(super) struct Sentinels {
    sentinels: Vec<ConnectionInfo>,
    name: String,
    /// How to connect to the master; its host is the name.
    master: ConnectionInfo,
    roots: Option<TlsCertificates>,
}

impl Target {
    pub(super) fn server(url: &str, roots: Option<TlsCertificates>) -> Result<Self, Fault> {
        let info = info(url)?;
        let client = match roots {
            Some(roots) if is_tls(&info) => Client::build_with_tls(info, roots),
            _ => Client::open(info),
        };
        Ok(Self::Server(client?))
    }

    pub(super) fn cluster(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        roots: Option<TlsCertificates>,
    ) -> Result<Self, Fault> {
        let nodes = infos(urls)?;
        let is_tls = nodes.iter().any(is_tls);
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(CONNECTION_TIMEOUT)
            .response_timeout(NODE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            .retries(MAX_NODE_RETRIES)
            .min_retry_wait(NODE_WAITS.0)
            .max_retry_wait(NODE_WAITS.1)
            .tcp_settings(tcp());
        if let Some(roots) = roots.filter(|_| is_tls) {
            builder = builder.certs(roots);
        }
        Ok(Self::Cluster(builder.build()?))
    }

    /// The master is its name, or a URL with the name as its host.
    pub(super) fn sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master: &str,
        roots: Option<TlsCertificates>,
    ) -> Result<Self, Fault> {
        let master = if master.contains("://") { info(master)? } else { info(&format!("redis://{master}"))? };
        let name = match master.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            _ => return Err(Fault::new(ConfigErrorKind::Invalid, "the master's name is malformed")),
        };
        let target = Sentinels { sentinels: infos(urls)?, name, master, roots };
        target.client()?;
        Ok(Self::Sentinel(target))
    }

    /// Connects, and sees that the server takes the store's scripts.
    pub(super) async fn open(&self, prefix: &str) -> Result<Arc<dyn Wire>, Fault> {
        let config = || {
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_pipeline_buffer_size(MAX_PIPELINED)
        };
        let wire: Arc<dyn Wire> = match self {
            Self::Server(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(&config()).await?;
                identify(&connection).await?;
                Arc::new(connection)
            }
            Self::Sentinel(sentinels) => {
                Arc::new(sentinels.client()?.get_async_connection_with_config(&config()).await?)
            }
            Self::Cluster(client) => Arc::new(client.get_async_connection().await.map_err(no_cluster)?),
        };
        probe(&*wire, prefix).await?;
        Ok(wire)
    }
}

impl Sentinels {
    /// A client without connections, so that each attempt asks Sentinels that are there.
    fn client(&self) -> RedisResult<SentinelClient> {
        let addresses = self.sentinels.iter().map(|sentinel| sentinel.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, &self.name, SentinelServerType::Master)?
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_redis_db(self.master.redis_settings().db())
            .set_client_to_redis_protocol(self.master.redis_settings().protocol());
        if let Some(user) = self.master.redis_settings().username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.master.redis_settings().password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if is_tls(&self.master) {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(roots) = &self.roots {
                builder = builder.set_client_to_redis_certificates(roots.clone());
            }
        }
        if let Some(sentinel) = self.sentinels.first() {
            if let Some(user) = sentinel.redis_settings().username() {
                builder = builder.set_client_to_sentinel_username(user);
            }
            if let Some(password) = sentinel.redis_settings().password() {
                builder = builder.set_client_to_sentinel_password(password);
            }
            if let Some(roots) = self.roots.as_ref().filter(|_| is_tls(sentinel)) {
                builder = builder.set_client_to_sentinel_certificates(roots.clone());
            }
        }
        builder.build()
    }
}

fn infos(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<ConnectionInfo>, Fault> {
    let infos = urls.into_iter().map(|url| info(url.as_ref())).collect::<Result<Vec<_>, _>>()?;
    if infos.is_empty() {
        return Err(Fault::new(ConfigErrorKind::Missing, "no address of Redis is given"));
    }
    Ok(infos)
}

fn info(url: &str) -> Result<ConnectionInfo, Fault> {
    let info = url.into_connection_info()?;
    if is_tls(&info) {
        choose_cryptography();
    }
    Ok(info.set_tcp_settings(tcp()))
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// Commands are small, and each is waited for.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Chooses rustls's cryptography if the process hasn't: without a choice, the redis crate panics
/// when it needs TLS.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread has chosen in the meantime.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Tells by what the server says of itself whether it is one that takes all our keys.
async fn identify(wire: &dyn Wire) -> Result<(), Fault> {
    // Servers before 6.0 and some proxies don't know the command; the probe is going to show whether
    // they will do.
    let Ok(value) = wire.query(redis::cmd("HELLO")).await else { return Ok(()) };
    let Ok(facts) = redis::from_redis_value::<HashMap<String, Value>>(value) else { return Ok(()) };
    let fact = |name: &str| facts.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
    match (fact("mode").as_deref(), fact("role").as_deref()) {
        (Some("cluster"), _) => Err(Fault::new(ConfigErrorKind::Conflict, NODE_OF_A_CLUSTER)),
        (Some("sentinel"), _) => Err(Fault::new(ConfigErrorKind::Conflict, SENTINEL)),
        (_, Some("replica" | "slave")) => Err(Fault::new(ConfigErrorKind::Conflict, REPLICA)),
        _ => Ok(()),
    }
}

const SENTINEL: &str = "this is a Sentinel: connect to it with `RedisStore::connect_sentinel`";
const NO_CLUSTER: &str = "this Redis is no node of a cluster: connect to it with `RedisStore::connect`";
const NOT_ALLOWED: &str =
    "Redis must let the user run EVAL and EVALSHA, with GET, SET and DEL, on keys that start with the store's prefix";

fn no_cluster(error: redis::RedisError) -> Fault {
    if error.to_string().contains("cluster support disabled") {
        return Fault::new(ConfigErrorKind::Conflict, NO_CLUSTER).with_source(error);
    }
    error.into()
}

/// Claims and releases a key that nobody else uses, as the store is going to.
async fn probe(wire: &dyn Wire, prefix: &str) -> Result<(), Fault> {
    let token = ClaimToken::new().to_string();
    let name = format!("{prefix}{}", Key::new("probe", &token));
    let claim = PUT.call(name.clone(), vec![token.clone(), token.clone(), "1000".to_owned()]);
    let release = DELETE.call(name, vec![token]);
    for call in [claim, release] {
        call.run(wire).await.map_err(|error| match error.kind() {
            // The second is what servers say when the user may run the script but not a command in it.
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
                Fault::new(ConfigErrorKind::Key, NOT_ALLOWED).with_source(error)
            }
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// The policy by which the server evicts keys when its memory is full, if it has a limit and
/// evicts.
pub(super) async fn eviction(wire: &dyn Wire) -> Option<String> {
    // Who may not ask is not told.
    let info = wire.query(redis::cmd("INFO").arg("memory").to_owned()).await.ok()?;
    let mut texts = Vec::new();
    collect(info, &mut texts);
    texts.iter().find_map(|text| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (limit, policy) = (field("maxmemory:")?, field("maxmemory_policy:")?);
        (limit != "0" && policy != "noeviction").then(|| policy.to_owned())
    })
}

/// All texts of an answer: one of a server, many of a cluster.
fn collect(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::Map(entries) => entries.into_iter().for_each(|(_, value)| collect(value, texts)),
        Value::Array(values) => values.into_iter().for_each(|value| collect(value, texts)),
        value => texts.extend(redis::from_redis_value::<String>(value)),
    }
}
