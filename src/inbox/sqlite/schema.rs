//! The file: its tables, how a connection is opened, and where it must not lie.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Marks the file as ours (`PRAGMA application_id`): the letters `whib`.
const APPLICATION_ID: i32 = 0x7768_6962;

/// The version of the tables (`PRAGMA user_version`). Once released, later versions only add, so
/// that an older process can go on beside a newer one: new columns have defaults, and nothing is
/// renamed or removed.
const SCHEMA_VERSION: i32 = 4;

/// How long a connection waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Bodies of a few KiB fill pages of this size well; in those of SQLite's default, 4 KiB, they
/// leave up to the half empty.
pub(super) const PAGE_BYTES: u32 = 16 * 1024;

/// What the write-ahead log needed beyond so much is given back once it starts over, which it does
/// at half of that unless much comes at once.
pub(super) const KEPT_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Pages that a connection keeps in memory, in KiB. Together with the reader's it bounds what the
/// store takes.
const CACHE_KIB: i64 = 8 * 1024;

/// What is moved to another page is overwritten where it was, so that nothing of it is left once it
/// is erased.
pub(super) const LEAVE_NO_COPIES: &str = "PRAGMA secure_delete = FAST";

/// Times are milliseconds since 1970, except for `gone_at`, which is seconds.
const SCHEMA: &str = "
-- What is known of a delivery and changes while it is handled.
CREATE TABLE delivery (
    -- Never used twice, which fencing rests on.
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    provider TEXT NOT NULL,
    event TEXT,
    event_id TEXT,
    -- The start of the unique key.
    key BLOB NOT NULL,
    order_key TEXT,
    -- The order key, while the delivery has a place in its line.
    line TEXT,
    -- The version of the record's format.
    format INTEGER NOT NULL,
    -- waiting, in_flight, done, dead or cancelled.
    state TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- Only while it waits and is not behind another one.
    due_at INTEGER,
    ended_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    -- How often it was taken in its whole life.
    fence INTEGER NOT NULL DEFAULT 0,
    -- Goes up while its attempt is alive.
    beat INTEGER NOT NULL DEFAULT 0,
    lease_ms INTEGER NOT NULL DEFAULT 0,
    -- What an operator wants to happen after the attempt that is running: replay or cancel.
    after TEXT,
    failure TEXT,
    failure_detail TEXT
);
-- The deliveries themselves, apart from what changes, so that a change does not write them again.
CREATE TABLE record (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
-- What a repetition is recognised by; it outlives the delivery. The keys of the newest deliveries, behind the one that
-- `indexed` names, come later, many at once.
CREATE TABLE unique_key (
    key BLOB PRIMARY KEY,
    -- The start of the body's digest.
    body INTEGER NOT NULL,
    -- NULL once the delivery was removed; then its last state, unless it was done, and when.
    delivery INTEGER,
    state TEXT,
    gone_at INTEGER
) WITHOUT ROWID;
CREATE TABLE paused (scope TEXT PRIMARY KEY) WITHOUT ROWID;
-- Beside the counts, under the scope x'', the number of the last delivery that was ever stored: whatever stores writes both.
CREATE TABLE count (scope TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (scope, state)) WITHOUT ROWID;

CREATE INDEX fresh ON delivery (scope, format, due_at) WHERE due_at IS NOT NULL AND attempts = 0;
CREATE INDEX retry ON delivery (scope, format, due_at) WHERE due_at IS NOT NULL AND attempts > 0;
CREATE INDEX line ON delivery (scope, line, id) WHERE line IS NOT NULL;
CREATE INDEX in_flight ON delivery (id) WHERE state = 'in_flight';
CREATE INDEX ended ON delivery (state, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX ended_by_id ON delivery (state, id) WHERE ended_at IS NOT NULL;

CREATE TRIGGER count_out AFTER DELETE ON delivery BEGIN
    UPDATE count SET n = n - 1 WHERE scope = old.scope AND state = old.state;
END;
CREATE TRIGGER count_move AFTER UPDATE OF state ON delivery WHEN old.state <> new.state BEGIN
    UPDATE count SET n = n - 1 WHERE scope = old.scope AND state = old.state;
    INSERT INTO count VALUES (new.scope, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
";

/// What version 2 added: a line for each of the last failed attempts.
const VERSION_2: &str = "ALTER TABLE delivery ADD COLUMN past TEXT";

/// What version 3 added: the start of the body's digest, as the keys of the newest deliveries are
/// not in `unique_key` yet, and up to which delivery they are. What is stored is no longer counted
/// one by one.
const VERSION_3: &str = "
ALTER TABLE delivery ADD COLUMN body INTEGER;
CREATE TABLE indexed (up_to INTEGER NOT NULL);
INSERT INTO indexed SELECT coalesce(max(id), 0) FROM delivery;
DROP TRIGGER IF EXISTS count_in;
";

/// What version 4 added: the number of the last delivery, where SQLite's own table of them would be
/// one more page in each commit.
const VERSION_4: &str = "INSERT INTO count SELECT x'', 'last_id', coalesce(max(id), 0) FROM delivery";
/// In files that were created before, a delivery that is gone may have had the last number.
const LAST_ID_BEFORE_4: &str = "
UPDATE count SET n = max(n, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'delivery'), 0)) WHERE scope = x'';
";

/// Why a file cannot be used, beside what SQLite says.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("SQLite cannot open the file")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the file belongs to another application")]
    Foreign,
    #[error("the file is on {0}, where no write survives or no lock holds")]
    FileSystem(String),
    #[error("SQLite does not keep {0}")]
    Setting(&'static str),
}

/// Opens the writing connection, and creates the tables in a file that is new.
pub(super) fn open_writer(path: &Path) -> Result<Connection, FileError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    let application_id: i32 = connection.query_row("PRAGMA application_id", (), |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if application_id != APPLICATION_ID && (application_id != 0 || tables != 0) {
        return Err(FileError::Foreign);
    }
    // Both have to be set before the first table. Pages that a backlog left are given back bit by bit.
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL"))?;
    let journal: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if journal != "wal" {
        return Err(FileError::Setting("journal_mode = WAL"));
    }
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {KEPT_LOG_BYTES}; \
         PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; \
         {LEAVE_NO_COPIES}"
    ))?;
    let synchronous: i32 = connection.query_row("PRAGMA synchronous", (), |row| row.get(0))?;
    if synchronous < 2 {
        return Err(FileError::Setting("synchronous = FULL"));
    }
    let version: i32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version < SCHEMA_VERSION {
        create(&connection)?;
    }
    Ok(connection)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been faster.
    let version: i32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version < SCHEMA_VERSION {
        if version == 0 {
            connection.execute_batch(SCHEMA)?;
        }
        if version < 2 {
            connection.execute_batch(VERSION_2)?;
        }
        if version < 3 {
            connection.execute_batch(VERSION_3)?;
        }
        connection.execute_batch(VERSION_4)?;
        if version > 0 {
            connection.execute_batch(LAST_ID_BEFORE_4)?;
        }
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
        ))?;
    }
    connection.execute_batch("COMMIT")
}

/// Opens a connection for looking.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF")?;
    Ok(connection)
}

/// Refuses file systems that lose everything with the machine, and those over a network, whose
/// locks SQLite cannot rely on.
pub(super) fn check_file_system(path: &Path) -> Result<(), FileError> {
    const REFUSED: [&str; 11] =
        ["tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"];
    // Only Linux has this list; elsewhere there is nothing to go by.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    match file_system(&mounts, &folder) {
        Some(kind) if REFUSED.contains(&kind) => Err(FileError::FileSystem(kind.to_owned())),
        _ => Ok(()),
    }
}

/// Returns the kind of file system that a folder is on: that of the longest mount point; of equal
/// ones the last.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let of_line = |line: &'a str| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        folder.starts_with(&point).then(|| (point.len(), source.split(' ').next().unwrap_or_default()))
    };
    mounts.lines().filter_map(of_line).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount_point() {
        let mounts = "1 1 0:1 / / rw shared:1 - ext4 /dev/vda rw\n\
                      2 1 0:2 / /tmp rw - tmpfs tmpfs rw\n\
                      3 1 0:3 / /tmp/a\\040b rw - nfs4 host:/x rw\n";
        for (folder, kind) in [("/var/lib", "ext4"), ("/tmp", "tmpfs"), ("/tmpx", "ext4"), ("/tmp/a b/c", "nfs4")] {
            assert_eq!(file_system(mounts, Path::new(folder)), Some(kind), "{folder}");
        }
    }
}
