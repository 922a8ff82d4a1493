//! A user's database and the inbox, in one process and by one SQLite.

use sqlx::Connection as _;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Inbox, InboxStore as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let store = SqliteStore::open(format!("{folder}/webhooks.db"))?;
    store.health().await?;
    let (inbox, _) = Inbox::new(store).wrap(());
    assert_eq!(inbox.stats().await?.waiting, 0);
    let mut theirs = sqlx::SqliteConnection::connect(&format!("sqlite:{folder}/webhooks.db")).await?;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'delivery'").fetch_one(&mut theirs).await?;
    assert_eq!(tables, 1, "sqlx sees what the inbox made");
    println!("sqlx {tables}");
    Ok(())
}
