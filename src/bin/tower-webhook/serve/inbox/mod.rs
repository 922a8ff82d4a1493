//! The gateway's inbox: deliveries are stored, and forwarded until their target has taken them.

mod admin;
mod forward;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, any};
use http::HeaderName;
use serde::Deserialize;
use serde::de::MapAccess;
use tower_webhook::inbox::postgres::PostgresStore;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Backoff, Inbox, InboxWorker, OrderOnDead};
use tower_webhook::inspect::MIN_INSPECTOR_TOKEN;

use super::config::{Config, Endpoint, Result};
use super::server::terminated;
use super::{Output, with_sources};

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    first_seconds: f64,
    longest_seconds: f64,
    attempts: u32,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    Skip,
    Block,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    path: String,
    bearer: String,
}

/// Defines the keys that an endpoint may have, and the whole file for all endpoints.
macro_rules! keys {
    ($($key:ident: $type:ty),* $(,)?) => {
        #[derive(Default, Clone)]
        pub struct Keys {
            $($key: Option<$type>,)*
        }

        impl Keys {
            /// Reads the value of this key, and returns whether it is one of these.
            pub fn read_key<'de, A: MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> std::result::Result<bool, A::Error> {
                match key {
                    $(stringify!($key) => self.$key = map.next_value()?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Returns these keys, and the others where these are not set.
            fn or(&self, others: &Self) -> Self {
                Self { $($key: self.$key.clone().or_else(|| others.$key.clone()),)* }
            }
        }
    };
}

keys! {
    inbox: String, forward: String, forward_secret: String, forward_timeout_seconds: f64, forward_signature: bool,
    retry: Retry, lease_seconds: f64, concurrency: usize, order: String, order_on_dead: OnDead,
}

#[derive(Clone)]
enum Store {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// The inboxes of all endpoints.
#[derive(Default)]
pub struct Inboxes {
    stores: HashMap<String, Store>,
    inboxes: Vec<Inbox<MethodRouter>>,
    workers: Vec<InboxWorker<MethodRouter>>,
}

impl Inboxes {
    /// Returns what stands behind an endpoint's webhook layer: its handler, or what forwards in its
    /// place, or the inbox of either.
    pub async fn wrap(
        &mut self,
        config: &Config,
        endpoint: &Endpoint,
        output: &Output,
        handler: MethodRouter<Output>,
    ) -> Result<MethodRouter<Output>> {
        let keys = endpoint.keys.or(&config.keys);
        let with_signature = keys.forward_signature.unwrap_or(false);
        let handler = match keys.forward {
            None => handler,
            Some(url) => {
                let timeout = seconds("forward_timeout_seconds", keys.forward_timeout_seconds.unwrap_or(30.0))?;
                let forward = forward::Forward::new(&url, keys.forward_secret.as_deref(), timeout, with_signature)?;
                any(move |request| forward.clone().handle(request))
            }
        };
        let Some(address) = keys.inbox else { return Ok(handler) };
        let mut builder = match self.store(&address).await? {
            Store::Sqlite(store) => Inbox::new(store),
            Store::Postgres(store) => Inbox::new(store),
        };
        builder = builder.with_scope(endpoint.path.clone());
        if with_signature {
            builder = builder.with_headers(forward::SIGNATURES.map(HeaderName::from_static));
        }
        if let Some(Retry { first_seconds, longest_seconds, attempts }) = keys.retry {
            let delays = seconds("first_seconds", first_seconds)?..seconds("longest_seconds", longest_seconds)?;
            builder = builder.with_retry(Backoff::exponential(delays).attempts(attempts));
        }
        if let Some(lease) = keys.lease_seconds {
            builder = builder.with_lease(seconds("lease_seconds", lease)?);
        }
        if let Some(concurrency) = keys.concurrency {
            builder = builder.with_concurrency(concurrency);
        }
        if let Some(pointer) = keys.order {
            builder = builder.with_order(move |delivery| delivery.json(&pointer));
        }
        if let Some(OnDead::Block) = keys.order_on_dead {
            builder = builder.with_order_on_dead(OrderOnDead::Block);
        }
        let (inbox, worker) = builder.wrap(handler.with_state(output.clone()));
        self.inboxes.push(inbox.clone());
        self.workers.push(worker);
        Ok(axum::routing::any_service(tower::ServiceBuilder::new().map_request(forward::whole).service(inbox)))
    }

    async fn store(&mut self, address: &str) -> Result<Store> {
        if let Some(store) = self.stores.get(address) {
            return Ok(store.clone());
        }
        let store = match address.strip_prefix("sqlite:") {
            Some(path) => Store::Sqlite(SqliteStore::open(path).map_err(|error| with_sources(&error))?),
            None if address.starts_with("postgres") => {
                Store::Postgres(PostgresStore::connect(address).await.map_err(|error| with_sources(&error))?)
            }
            None => return Err("`inbox` is neither sqlite: nor postgres://".into()),
        };
        self.stores.insert(address.to_owned(), store.clone());
        Ok(store)
    }

    /// Returns the routes of the operator.
    pub fn admin(&self, config: &Config) -> Result<Router<Output>> {
        match &config.admin {
            None => Ok(Router::new()),
            Some(Admin { path, .. }) if !path.starts_with('/') || path.len() < 2 => {
                Err("`admin` needs a path that starts with /".into())
            }
            Some(Admin { bearer, .. }) if bearer.is_empty() => Err("`admin` needs a bearer".into()),
            Some(Admin { path, bearer }) => {
                let mut routes = admin::router(&self.inboxes, bearer);
                // In several stores, a number is that of several deliveries.
                if self.stores.len() == 1 && bearer.len() >= MIN_INSPECTOR_TOKEN {
                    routes = routes.merge(admin::inspector(&self.inboxes, bearer)?);
                }
                Ok(Router::new().nest(path, routes))
            }
        }
    }

    /// Starts the workers, which end with the gateway.
    pub fn start(self) -> tokio::task::JoinSet<()> {
        self.workers.into_iter().map(|worker| worker.run(terminated())).collect()
    }
}

fn seconds(name: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("`{name}`: {error}").into())
}
