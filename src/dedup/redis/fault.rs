//! What goes wrong with Redis, and what it says about the connection.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::config::{ConfigError, ConfigErrorKind};

use super::super::store::StoreError;

/// A failure, in our words. The server's own words are its source, for the operator: they name
/// users and commands, never a password.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    kind: ConfigErrorKind,
    message: &'static str,
    source: Option<RedisError>,
}

impl Fault {
    pub(super) const fn new(kind: ConfigErrorKind, message: &'static str) -> Self {
        Self { kind, message, source: None }
    }

    pub(super) fn with_source(mut self, source: RedisError) -> Self {
        self.source = Some(source);
        self
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        use ConfigErrorKind::{Conflict, Invalid, Key, Missing, Unavailable};

        let (kind, message) = match error.kind() {
            // Its source would repeat the address, with the password in it.
            ErrorKind::InvalidClientConfig => return Self::new(Invalid, "the address of Redis is malformed"),
            ErrorKind::AuthenticationFailed => (Key, "Redis refused the credentials"),
            ErrorKind::MasterNameNotFoundBySentinel => (Unavailable, "the Sentinels know no master of this name"),
            ErrorKind::Server(ServerErrorKind::NoPerm) => (Key, "the Redis user lacks a permission"),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => (Conflict, REPLICA),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => (Conflict, NODE_OF_A_CLUSTER),
            _ if error.is_timeout() => (Unavailable, "Redis did not answer in time"),
            _ if error.is_io_error() => (Unavailable, "Redis could not be reached"),
            _ if error.code() == Some("NOAUTH") => (Missing, "Redis requires credentials, and the address has none"),
            _ => (Unavailable, "Redis refused"),
        };
        Self::new(kind, message).with_source(error)
    }
}

pub(super) const REPLICA: &str = "this Redis is a replica, which takes no writes: connect to its master";
pub(super) const NODE_OF_A_CLUSTER: &str =
    "this Redis is a node of a cluster: connect to it with `RedisStore::connect_cluster`";

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let error = Self::new(fault.message);
        match fault.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        let error = Self::new(fault.kind, fault.message);
        match fault.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Why a connection may no longer lead to a server that takes our commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The server refused the command for what it is or for the state that it is in, or the
    /// connection was lost. Another connection may lead to another server, as it does after a
    /// fail-over behind one address.
    Refused,
    /// There was no answer.
    Silent,
}

impl Doubt {
    /// `None` where the error is about the command alone. Everything else that a server says may be
    /// over once another server stands behind the address, so the list is of what is harmless,
    /// not of what isn't.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Client | ErrorKind::UnexpectedReturnType => None,
            _ if error.code() == Some("WRONGTYPE") => None,
            _ if error.is_timeout() => Some(Self::Silent),
            _ => Some(Self::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn said(answer: &str) -> RedisError {
        redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn whatever_may_be_over_on_another_connection_is_reason_to_make_one() {
        for answer in [
            "READONLY You can't write against a read only replica.",
            "ERR Error running script: -READONLY You can't write against a read only replica.",
            "MOVED 1234 127.0.0.1:7001",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "LOADING Redis is loading the dataset in memory",
            "CLUSTERDOWN The cluster is down",
            "NOPERM User shop has no permissions to run the 'evalsha' command",
            "NOAUTH Authentication required.",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ] {
            assert_eq!(Doubt::of(&said(answer)), Some(Doubt::Refused), "{answer}");
        }
        for lost in [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            assert_eq!(Doubt::of(&io::Error::from(lost).into()), Some(Doubt::Refused));
        }
        assert_eq!(Doubt::of(&io::Error::from(io::ErrorKind::TimedOut).into()), Some(Doubt::Silent));
    }

    #[test]
    fn an_entry_that_is_not_ours_says_nothing_of_the_connection() {
        let answer = said("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert_eq!(Doubt::of(&answer), None);
    }
}
