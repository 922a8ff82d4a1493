//! A receiver for every sender, driven by a JSON file:
//!
//!     cargo run --example gateway --all-features -- gateway.json
//!
//!     {"listen": "127.0.0.1:8080", "public_url": "https://hooks.example.test", "endpoints": [
//!       {"path": "/github", "provider": "github", "secrets": ["..."]},
//!       {"path": "/sns", "provider": "aws_sns", "topics": ["arn:..."], "deduplicate": "memory"}]}
//!
//! With `"inbox": "sqlite:webhooks.db"` (or `postgres://..`) each delivery is stored before its
//! sender gets the 2xx; with `"forward": "http://127.0.0.1:3000/hooks"` it is sent there, with an inbox until the target answers 2xx. Further keys:
//! `retry`, `lease_seconds`, `concurrency`, `order`, `order_on_dead`, `forward_secret`,
//! `forward_timeout_seconds`, `forward_signature`, for all endpoints or in one; and `admin` with
//! the operator's `path` and `bearer`.
//!
//! It says on stderr when it listens, and prints each delivery as one line of JSON on stdout.
//! SIGTERM and Ctrl-C let the requests in flight finish. The command `tower-webhook serve` is the
//! same.

#[path = "../src/bin/tower-webhook/serve/mod.rs"]
mod serve;

use std::path::Path;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: gateway <configuration.json>");
        return ExitCode::FAILURE;
    };
    match serve::run(Path::new(&path)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
