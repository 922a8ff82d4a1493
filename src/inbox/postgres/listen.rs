//! Tells other replicas that something was stored, and hears it from them.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// Others are told at most so often: a notification takes a lock that all of the server's share.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// After a connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);

/// A connection of its own, outside of the pool. While it is lost, the store looks by itself.
pub(super) struct Listener {
    task: JoinHandle<()>,
    stored: Arc<Notify>,
}

impl Listener {
    pub(super) fn start(config: Config, generation: watch::Sender<u64>) -> Self {
        let stored = Arc::new(Notify::new());
        let notify = Arc::clone(&stored);
        let task = tokio::spawn(async move {
            loop {
                // However it ends, there is another one.
                let _ = listen(&config, &generation, &notify).await;
                tokio::time::sleep(RECONNECT).await;
            }
        });
        Self { task, stored }
    }

    /// Has others told.
    pub(super) fn notify(&self) {
        self.stored.notify_one();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    config: &Config,
    generation: &watch::Sender<u64>,
    stored: &Notify,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let hear = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message? {
                generation.send_modify(|generation| *generation = generation.wrapping_add(1));
            }
        }
        Ok(())
    };
    let tell = async {
        client.batch_execute("LISTEN webhook_inbox").await?;
        loop {
            stored.notified().await;
            client.batch_execute("NOTIFY webhook_inbox").await?;
            tokio::time::sleep(LEAST_PAUSE).await;
        }
    };
    tokio::select! { ended = hear => ended, ended = tell => ended }
}
