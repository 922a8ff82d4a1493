//! A connection that carries commands.

use std::pin::Pin;

use redis::aio::ConnectionLike;
use redis::{Cmd, RedisResult, Value};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection that many can use at once.
pub(super) trait Wire: Send + Sync {
    fn query(&self, command: Cmd) -> BoxFuture<RedisResult<Value>>;
}

impl<C> Wire for C
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn query(&self, command: Cmd) -> BoxFuture<RedisResult<Value>> {
        let mut connection = self.clone();
        Box::pin(async move { command.query_async(&mut connection).await })
    }
}
