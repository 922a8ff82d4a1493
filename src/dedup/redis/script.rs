//! The store's two scripts.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use sha1::{Digest as _, Sha1};

use super::wire::Wire;

/// Puts a value under the key if it is free or holds the owner's claim, and otherwise returns what
/// it holds. It claims, renews and commits.
pub(super) static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false",
    )
});

/// Removes the owner's claim.
pub(super) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// A script on one key, so that a cluster runs it on the node that has the key.
pub(super) struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, hash: hex::encode(Sha1::digest(source)) }
    }

    pub(super) fn call(&'static self, key: String, arguments: Vec<String>) -> Call {
        Call { script: self, key, arguments }
    }
}

/// One call of a script.
pub(super) struct Call {
    script: &'static Script,
    key: String,
    arguments: Vec<String>,
}

impl Call {
    /// Names the script by its hash, and sends its text only to a server that doesn't know it yet:
    /// one that was started or promoted since. `SCRIPT LOAD` would need all masters of a
    /// cluster.
    pub(super) async fn run(&self, wire: &dyn Wire) -> RedisResult<Value> {
        let result = wire.query(self.command("EVALSHA", &self.script.hash)).await;
        match result {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                wire.query(self.command("EVAL", self.script.source)).await
            }
            result => result,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(&self.key).arg(&self.arguments);
        command
    }
}
