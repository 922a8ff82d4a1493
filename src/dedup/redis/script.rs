//! The store's two scripts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

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
        Call { script: self, key, arguments, set: None }
    }
}

/// Whether the server knows `SET` with `NX` and `GET` together, as Redis does since version 7. It
/// is taken to until it says that it doesn't.
#[derive(Clone)]
pub(super) struct KnowsSet(Arc<AtomicBool>);

impl Default for KnowsSet {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

/// One call of a script.
pub(super) struct Call {
    script: &'static Script,
    key: String,
    arguments: Vec<String>,
    set: Option<KnowsSet>,
}

impl Call {
    /// Puts the value by a single `SET` where the key is free, as it nearly always is. That takes
    /// the server a third of the time of the script, which is left with what the owner has put
    /// already.
    pub(super) fn by_set(mut self, knows: &KnowsSet) -> Self {
        self.set = Some(knows.clone());
        self
    }

    /// Returns what stands in the way of the value, or nil; `None` if the script has to decide.
    async fn set(&self, wire: &dyn Wire) -> RedisResult<Option<Value>> {
        let Some(KnowsSet(knows)) = self.set.as_ref().filter(|set| set.0.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let [own, value, millis] = &self.arguments[..] else { return Ok(None) };
        let mut command = redis::cmd("SET");
        command.arg(&self.key).arg(value).arg("NX").arg("GET").arg("PX").arg(millis);
        match wire.query(command).await {
            Ok(Value::BulkString(held)) if held == own.as_bytes() => Ok(None),
            Ok(held) => Ok(Some(held)),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) => {
                knows.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Names the script by its hash, and sends its text only to a server that doesn't know it yet:
    /// one that was started or promoted since. `SCRIPT LOAD` would need all masters of a
    /// cluster.
    pub(super) async fn run(&self, wire: &dyn Wire) -> RedisResult<Value> {
        if let Some(held) = self.set(wire).await? {
            return Ok(held);
        }
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
