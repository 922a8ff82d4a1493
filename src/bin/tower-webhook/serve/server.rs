//! The gateway's server: connections that stall are closed, and a shutdown ends in time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// How long a connection may take for the head of a request, the first one and each that follows.
/// Senders write theirs at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of that a connection has even if others wait for its place.
const GRACE: Duration = Duration::from_secs(1);

/// How long requests in flight may take to finish after a signal. Supervisors wait ten seconds or
/// more before they kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Serves until SIGTERM or Ctrl-C, then lets the requests in flight finish. Returns whether they
/// did in time.
pub async fn serve(listener: TcpListener, app: Router) -> bool {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT).keep_alive_timeout(HEAD_TIMEOUT);
    let in_flight = GracefulShutdown::new();
    let crowded = Arc::new(Notify::new());
    let mut end = pin!(terminated());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => break,
        };
        let Ok((stream, _)) = accepted else {
            // Usually no file descriptor is left: connections that stall give theirs back now.
            crowded.notify_waiters();
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let app = app.clone();
        let heard = Arc::new(AtomicBool::new(false));
        let (hears, crowded) = (heard.clone(), crowded.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            hears.store(true, Ordering::Relaxed);
            app.clone().oneshot(request.map(Body::new))
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = in_flight.watch(connection);
        tokio::spawn(async move {
            // The error of one connection is its client's affair.
            tokio::select! {
                _ = connection => {}
                () = silence(&heard, &crowded) => {}
            }
        });
    }
    drop(listener);
    let silent = async {
        loop {
            crowded.notify_waiters();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        finished = tokio::time::timeout(DRAIN_TIMEOUT, in_flight.shutdown()) => finished.is_ok(),
        () = silent => false,
    }
}

/// Ends if no request has been heard in time, or sooner if others need the place.
async fn silence(heard: &AtomicBool, crowded: &Notify) {
    let waits = async {
        tokio::time::sleep(GRACE).await;
        tokio::select! {
            () = tokio::time::sleep(HEAD_TIMEOUT - GRACE) => {}
            () = crowded.notified() => {}
        }
    };
    waits.await;
    if heard.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Waits for SIGTERM or Ctrl-C.
#[cfg(unix)]
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return interrupted().await };
    tokio::select! {
        _ = terminate.recv() => {}
        () = interrupted() => {}
    }
}

#[cfg(not(unix))]
pub async fn terminated() {
    interrupted().await;
}

async fn interrupted() {
    // If no signal can be awaited, the gateway runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
