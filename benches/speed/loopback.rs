//! Requests a second over loopback: two real servers, the client's connections to one and the other
//! working in turns.

use std::future::{Future, IntoFuture as _};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::make::Shared;
use tower::{Layer as _, ServiceExt};

use crate::paired::now;
use crate::{apps, by_hand};

/// Requests on all connections together before it is the other server's turn.
const REQUESTS_A_TURN: usize = 800;

pub struct Rates {
    /// The median of ours / bare.
    pub median: f64,
    pub quartiles: (f64, f64),
    /// The medians of requests a second.
    pub requests: (f64, f64),
    /// What the server's processor takes for one of our requests beyond a bare one and the MAC of
    /// its body, in microseconds.
    pub cpu: f64,
    pub cpu_quartiles: (f64, f64),
    /// What it takes for one in all, ours and bare.
    pub cpu_in_all: (f64, f64),
}

/// A server of one of the apps.
pub type Serve = fn(TcpListener) -> Serving;

/// The run of a server.
pub type Serving = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

pub fn outside(listener: TcpListener) -> Serving {
    let service = apps::layer().layer(apps::behind());
    let service = ServiceExt::<Request<Body>>::map_response(service, |response| response.map(Body::new));
    Box::pin(axum::serve(listener, Shared::new(service)).into_future())
}

pub fn on_route(listener: TcpListener) -> Serving {
    Box::pin(axum::serve(listener, apps::on_route()).into_future())
}

pub fn by_hand_on_route(listener: TcpListener) -> Serving {
    Box::pin(axum::serve(listener, by_hand::on_route()).into_future())
}

fn bare(listener: TcpListener) -> Serving {
    Box::pin(axum::serve(listener, apps::bare()).into_future())
}

/// Compares an app with the bare handler for about this long, over so many connections. Clients and
/// servers share the machine.
pub fn compare(app: Serve, connections: usize, budget: Duration) -> Rates {
    let servers = runtime("bench-server");
    let clients = runtime("bench-client");
    let [ours, bare] = [app, bare].map(|app| servers.block_on(serve(app)));
    let (body, mac) = (apps::body(1 << 10), apps::bare_mac());
    let timed_mac = || {
        let start = now();
        for _ in 0..REQUESTS_A_TURN {
            black_box(mac(black_box(&body)));
        }
        start.elapsed().as_secs_f64() * 1e6 / REQUESTS_A_TURN as f64
    };
    clients.block_on(async {
        let mut ours = connect(ours, connections).await;
        let mut bare = connect(bare, connections).await;
        let mut rounds = Vec::new();
        let end = now() + budget;
        while rounds.len() < 9 || now() < end {
            let (a, b);
            (ours, a) = turn(ours).await;
            (bare, b) = turn(bare).await;
            rounds.push([a.rate, b.rate, a.cpu, b.cpu, a.cpu - b.cpu - timed_mac()]);
        }
        // The first round opens the way for the others.
        rounds.remove(0);
        let sorted = |of: &dyn Fn(&[f64; 5]) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let middle = |values: &[f64], part: usize| values[(values.len() - 1) * part / 4];
        let median = |column: usize| middle(&sorted(&|round| round[column]), 2);
        let (ratios, cpu) = (sorted(&|round| round[0] / round[1]), sorted(&|round| round[4]));
        Rates {
            median: middle(&ratios, 2),
            quartiles: (middle(&ratios, 1), middle(&ratios, 3)),
            requests: (median(0), median(1)),
            cpu: middle(&cpu, 2),
            cpu_quartiles: (middle(&cpu, 1), middle(&cpu, 3)),
            cpu_in_all: (median(2), median(3)),
        }
    })
}

fn runtime(name: &'static str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

/// The processor's time of the server's threads, in microseconds. Only Linux tells.
fn server_cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|thread| thread.path());
    let servers = threads
        .filter(|thread| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "bench-server"));
    let nanos = servers.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e3
}

async fn serve(app: Serve) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { app(listener).await.unwrap() });
    address
}

async fn connect(address: SocketAddr, count: usize) -> Vec<SendRequest<Full<Bytes>>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        connections.push(sender);
    }
    connections
}

struct Turn {
    /// Requests a second.
    rate: f64,
    /// Microseconds of the server's processor for each.
    cpu: f64,
}

/// So many requests on each connection, and what that came to.
async fn turn(connections: Vec<SendRequest<Full<Bytes>>>) -> (Vec<SendRequest<Full<Bytes>>>, Turn) {
    let request = apps::signed(apps::body(1 << 10));
    let each = REQUESTS_A_TURN / connections.len();
    let requests = each * connections.len();
    let (start, cpu) = (now(), server_cpu());
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let request = request.clone();
        tasks.spawn(async move {
            for _ in 0..each {
                connection.ready().await.unwrap();
                let request: Request<Full<Bytes>> = request();
                let response = connection.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.unwrap();
            }
            connection
        });
    }
    let connections = tasks.join_all().await;
    let requests = requests as f64;
    (connections, Turn { rate: requests / start.elapsed().as_secs_f64(), cpu: (server_cpu() - cpu) / requests })
}
