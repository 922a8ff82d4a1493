//! The store that replicas share: a schema in a Postgres database.

mod db;
mod finish;
mod gather;
mod listen;
mod operations;
mod read;
mod schema;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::sync::watch;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls, Transaction};

use crate::text::Text;

use super::record::{Entry, UniqueKey};
use super::store::{
    CrashPolicy, DeliveryId, Detail, Erased, Filter, InboxError, InboxErrorKind, InboxStore, Lease, Listing, Outcome,
    Page, Pruned, Put, Reaped, Replay, Retention, State, Stats, Take, Taken, Token,
};
use db::failed;
use finish::Finish;
use gather::{Gather, Item, WriteAll};
use listen::Listener;
use read::Conditions;

/// How many connections a store opens by default.
pub const DEFAULT_CONNECTIONS: usize = 8;
/// How long an operation may take by default, waiting for a connection included.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the tables are looked at for what other replicas stored, if no notification comes.
const POLL: Duration = Duration::from_millis(500);
/// How often an operation is tried again that Postgres ended because of another one.
const MOST_RETRIES: u32 = 5;

/// An [`InboxStore`] in Postgres, for any number of replicas. Clones share their connections.
///
/// It makes its tables itself, in the schema `webhook_inbox`. All statements are complete in
/// themselves, with no prepared statement and no setting of a session, so that PgBouncer in
/// transaction mode may stand in between; what stores deliveries are functions, which each session
/// of the server plans once. Leases go by the database's time.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    timeout: Duration,
    puts: Gather<Entry>,
    finishes: Gather<Finish>,
    generation: watch::Sender<u64>,
    /// Ends with the store.
    listener: Option<Listener>,
}

/// Runs one statement, or several that need not be seen together. (A macro, as the future of an
/// async closure that borrows its argument cannot be said to be `Send`.)
macro_rules! run {
    ($store:expr, |$client:ident| $run:expr) => {{
        let attempt = async {
            let session = $store.session().await?;
            let $client = session.client();
            let value = $run.await.map_err(failed)?;
            session.done();
            Ok(value)
        };
        within($store.shared.timeout, attempt).await
    }};
}

/// Runs statements in a transaction, and again if Postgres ends it because of another one.
macro_rules! transaction {
    ($store:expr, |$client:ident| $run:expr) => {{
        let attempt = async {
            let mut retries = 0;
            loop {
                let session = $store.session().await?;
                let $client = session.client();
                let transaction = async {
                    $client.batch_execute("BEGIN").await?;
                    let value = $run.await?;
                    // Only reached if no statement failed: Postgres answers the commit of an aborted transaction with
                    // success.
                    $client.batch_execute("COMMIT").await?;
                    Ok(value)
                };
                match transaction.await {
                    Ok(value) => {
                        session.done();
                        return Ok(value);
                    }
                    Err(error) if retries < MOST_RETRIES && is_of_another(&error) => retries += 1,
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        within($store.shared.timeout, attempt).await
    }};
}

impl PostgresStore {
    /// Connects to the database with this URL or connection string, without TLS. For TLS, use
    /// [`from_pool`](Self::from_pool).
    ///
    /// # Errors
    ///
    /// If the string is malformed or asks for TLS, the database cannot be reached, or its settings
    /// lose data.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, InboxError> {
        let config: Config = url
            .as_ref()
            .parse()
            .map_err(|_| InboxError::new(InboxErrorKind::Unavailable, "the address of Postgres is malformed"))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(InboxError::new(
                InboxErrorKind::Unavailable,
                "the address asks for TLS: build a pool with your TLS library and use PostgresStore::from_pool",
            ));
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), NoTls, recycling))
            .max_size(DEFAULT_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| {
                InboxError::new(InboxErrorKind::Unavailable, "the pool cannot be built").with_source(error)
            })?;
        Self::start(pool, Some(config)).await
    }

    /// Uses connections of your own pool. Without a connection of its own that listens, the store
    /// looks for what other replicas stored twice a second.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or its settings lose data.
    pub async fn from_pool(pool: Pool) -> Result<Self, InboxError> {
        Self::start(pool, None).await
    }

    async fn start(pool: Pool, listen: Option<Config>) -> Result<Self, InboxError> {
        let generation = watch::Sender::new(0);
        let listener = listen.map(|config| Listener::start(config, generation.clone()));
        let (puts, finishes) = (Gather::default(), Gather::default());
        let shared = Shared { pool, timeout: DEFAULT_TIMEOUT, puts, finishes, generation, listener };
        let store = Self { shared: Arc::new(shared) };
        let session = store.session().await?;
        schema::check(session.client()).await?;
        session.done();
        transaction!(store, |client| schema::migrate(client))?;
        Ok(store)
    }

    /// Marks a delivery as done within your own transaction, so that it is done exactly if your
    /// changes are committed. Returns whether the attempt still holds it; roll back if it
    /// doesn't.
    ///
    /// # Errors
    ///
    /// If a statement fails. The transaction is then aborted, and Postgres rolls it back whatever
    /// you call.
    pub async fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        token: Token,
        keep: bool,
        now: SystemTime,
    ) -> Result<bool, InboxError> {
        finish::finish(transaction, &Finish { token, outcome: Outcome::Done { keep, now } }).await.map_err(failed)
    }

    async fn session(&self) -> Result<Session, InboxError> {
        let object = self.shared.pool.get().await.map_err(|error| {
            InboxError::new(InboxErrorKind::Unavailable, "Postgres cannot be reached").with_source(error)
        })?;
        Ok(Session { object: Some(object) })
    }

    fn changed(&self) {
        self.shared.generation.send_modify(|generation| *generation = generation.wrapping_add(1));
        if let Some(listener) = &self.shared.listener {
            listener.notify();
        }
    }

    async fn repeat(&self, entry: &Entry) -> Result<Put, InboxError> {
        for _ in 0..MOST_RETRIES {
            if let Some(put) = transaction!(self, |client| operations::repeat(client, entry))? {
                return Ok(put);
            }
            // It was removed in between.
            let again = std::slice::from_ref(entry);
            let stored = transaction!(self, |client| operations::insert(client, again))?;
            if let Some(id) = stored[0] {
                return Ok(Put::Stored(id));
            }
        }
        Err(InboxError::new(InboxErrorKind::Unavailable, "a key comes and goes"))
    }
}

/// A connection that goes back to the pool only if all was well: whatever else happened, a dropped
/// future included, may have left a transaction open or an answer on its way.
struct Session {
    object: Option<Object>,
}

impl Session {
    fn client(&self) -> &Client {
        // It is there until `done` takes the session.
        match &self.object {
            Some(object) => object,
            None => unreachable!("a session is used after its end"),
        }
    }

    fn done(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T, InboxError>>) -> Result<T, InboxError> {
    tokio::time::timeout(timeout, call)
        .await
        .unwrap_or_else(|_| Err(InboxError::new(InboxErrorKind::Timeout, "Postgres did not answer in time")))
}

fn is_of_another(error: &Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE))
}

impl Item for Entry {
    type Key = UniqueKey;
    type Result = Put;

    fn key(&self) -> UniqueKey {
        self.unique_key
    }

    fn bytes(&self) -> usize {
        self.record.len()
    }
}

impl Item for Finish {
    type Key = DeliveryId;
    type Result = bool;

    fn key(&self) -> DeliveryId {
        self.token.id
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl WriteAll<Entry> for PostgresStore {
    fn gather(&self) -> &Gather<Entry> {
        &self.shared.puts
    }

    async fn write_all(&self, entries: Vec<Entry>) -> Result<Vec<Put>, InboxError> {
        crate::observe::inbox_batch(entries.len());
        let stored = if operations::is_ordered(&entries) {
            transaction!(self, |client| operations::insert(client, &entries))?
        } else {
            run!(self, |client| operations::insert(client, &entries))?
        };
        let mut puts = Vec::with_capacity(entries.len());
        for (entry, id) in entries.iter().zip(stored) {
            puts.push(match id {
                Some(id) => Put::Stored(id),
                None => self.repeat(entry).await?,
            });
        }
        self.changed();
        Ok(puts)
    }
}

impl WriteAll<Finish> for PostgresStore {
    fn gather(&self) -> &Gather<Finish> {
        &self.shared.finishes
    }

    async fn write_all(&self, finishes: Vec<Finish>) -> Result<Vec<bool>, InboxError> {
        let counted = transaction!(self, |client| finish::finish_all(client, &finishes))?;
        self.changed();
        Ok(counted)
    }
}

impl InboxStore for PostgresStore {
    fn largest_record(&self) -> usize {
        gather::MOST_WAITING_BYTES
    }

    async fn put(&self, entry: Entry) -> Result<Put, InboxError> {
        let put = gather::write(self, entry)?;
        within(self.shared.timeout, async { put.await.unwrap_or_else(|_| Err(gather::ended())) }).await
    }

    async fn take(&self, take: Take) -> Result<Taken, InboxError> {
        // Read before, so that nothing that is stored meanwhile is missed.
        let generation = *self.shared.generation.borrow();
        let taken = run!(self, |client| operations::take(client, &take))?;
        Ok(Taken { generation, ..taken })
    }

    async fn woken(&self, generation: u64) {
        let mut changes = self.shared.generation.subscribe();
        // Both ends are reasons to look again.
        let _ = tokio::time::timeout(POLL, changes.wait_for(|now| *now != generation)).await;
    }

    async fn extend(&self, tokens: Vec<Token>, lease: Duration) -> Result<Vec<Lease>, InboxError> {
        run!(self, |client| operations::extend(client, &tokens, lease))
    }

    async fn finish(&self, token: Token, outcome: Outcome) -> Result<bool, InboxError> {
        let finish = gather::write(self, Finish { token, outcome })?;
        within(self.shared.timeout, async { finish.await.unwrap_or_else(|_| Err(gather::ended())) }).await
    }

    async fn reap(&self, policy: CrashPolicy) -> Result<Reaped, InboxError> {
        transaction!(self, |client| operations::reap(client, &policy))
    }

    async fn set_paused(&self, scope: Text, paused: bool) -> Result<(), InboxError> {
        run!(self, |client| operations::set_paused(client, &scope, paused))?;
        self.changed();
        Ok(())
    }

    async fn stats(&self, scope: Text) -> Result<Stats, InboxError> {
        run!(self, |client| read::stats(client, &scope))
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listing, InboxError> {
        run!(self, |client| read::list(client, &filter, page))
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<Detail>, InboxError> {
        run!(self, |client| read::get(client, id.0))
    }

    async fn replay(&self, id: DeliveryId, force: bool, now: SystemTime) -> Result<Replay, InboxError> {
        let replay = transaction!(self, |client| operations::replay(client, id.0, force, now))?;
        self.changed();
        Ok(replay)
    }

    async fn replay_dead(&self, filter: Filter, limit: u32, now: SystemTime) -> Result<u32, InboxError> {
        let filter = Conditions::new(&Filter { state: Some(State::Dead), ..filter });
        let replayed = transaction!(self, |client| operations::replay_dead(client, &filter, limit, now))?;
        self.changed();
        Ok(replayed)
    }

    async fn cancel(&self, id: DeliveryId, now: SystemTime) -> Result<bool, InboxError> {
        let cancelled = transaction!(self, |client| operations::cancel(client, id.0, now))?;
        self.changed();
        Ok(cancelled)
    }

    async fn erase(&self, filter: Filter, limit: u32, now: SystemTime) -> Result<Erased, InboxError> {
        let filter = Conditions::new(&filter);
        let erased = transaction!(self, |client| operations::erase(client, &filter, limit, now))?;
        self.changed();
        Ok(erased)
    }

    async fn prune(&self, retention: Retention, limit: u32, now: SystemTime) -> Result<Pruned, InboxError> {
        transaction!(self, |client| operations::prune(client, &retention, limit, now))
    }

    async fn health(&self) -> Result<(), InboxError> {
        // Written, so that a replica that only reads is not healthy.
        run!(self, |client| client.batch_execute("SELECT nextval('webhook_inbox.delivery_id')"))
    }
}

/// Prints nothing of the connection.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("timeout", &self.shared.timeout).finish_non_exhaustive()
    }
}
