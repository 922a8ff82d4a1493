//! The SQLite store.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::testing::inbox_suite;

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("inbox-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("webhooks.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn sqlite_keeps_the_rules_within_one_process_and_over_two_connections() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    inbox_suite(async || store.clone()).await;
    let folder = Folder::new();
    inbox_suite(async || SqliteStore::open(folder.file()).unwrap()).await;
}
