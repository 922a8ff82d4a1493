//! What the Postgres of the tests needs, and what comes with it.

use std::time::Duration;

use tokio_postgres::NoTls;

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let holding = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), holding).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

pub async fn create_database(url: &str, name: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
}
