//! What all statements share: the client, columns, errors.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, GenericClient, Row};

use super::super::store::{InboxError, InboxErrorKind, State};

type Result<T> = std::result::Result<T, Error>;

/// A client or a transaction.
pub(super) trait Db: GenericClient + Sync {}
impl<C: GenericClient + Sync> Db for C {}

pub(super) fn state(row: &Row, column: usize) -> Result<State> {
    let name: &str = row.try_get(column)?;
    // Only a row that was changed by hand has another one; it is then nobody's turn.
    Ok(State::from_name(name).unwrap_or(State::Cancelled))
}

pub(super) fn number(row: &Row, column: usize) -> Result<u32> {
    Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or_default())
}

pub(super) fn failed(error: Error) -> InboxError {
    let (kind, message) = match error.code() {
        Some(&SqlState::DISK_FULL | &SqlState::OUT_OF_MEMORY) => (InboxErrorKind::Full, "Postgres has no room"),
        Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => {
            (InboxErrorKind::Corrupt, "Postgres has damaged data")
        }
        Some(_) => (InboxErrorKind::Unavailable, "Postgres refused"),
        None => (InboxErrorKind::Unavailable, "the connection to Postgres failed"),
    };
    InboxError::new(kind, message).with_source(error)
}
