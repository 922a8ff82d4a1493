//! The sender: connections that are kept alive, with one request at a time on each.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower_webhook::{senders, testing};

use crate::{now, quantile};

/// Of GitHub, which signs the body alone: so one signature serves for all requests, and each still
/// has an id of its own.
pub const SECRET: &str = "the secret of the benchmark";
pub const PATH: &str = "/webhooks/github";
pub const BODY_LEN: usize = 2048;

/// Connections to one server.
pub struct Sender {
    connections: Vec<Connection>,
}

/// What became of a turn.
pub struct Turn {
    /// The ids of the requests that were answered with a 2xx.
    pub accepted: Vec<u64>,
    /// Requests a second.
    pub rate: f64,
    /// Seconds for a request.
    pub p50: f64,
    pub p99: f64,
}

impl Sender {
    pub async fn connect(address: SocketAddr, connections: usize) -> Self {
        let request = signed_request();
        let id_at = request.windows(ID_MARK.len()).position(|part| part == ID_MARK.as_bytes()).unwrap();
        let mut sender = Self { connections: Vec::new() };
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            sender.connections.push(Connection { stream, request: request.clone(), id_at, response: Vec::new() });
        }
        sender
    }

    /// Sends for so long. A connection that fails takes no further part, and if `may_fail` is not
    /// set, that is an error.
    pub async fn turn(&mut self, length: Duration, may_fail: bool) -> Turn {
        let start = now();
        let mut tasks = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            tasks.spawn(async move {
                let mut accepted = Vec::new();
                while start.elapsed() < length {
                    let sent = now();
                    match connection.send().await {
                        Ok(id) => accepted.push((id, sent.elapsed().as_secs_f64())),
                        Err(_) if may_fail => return (None, accepted),
                        Err(error) => panic!("a request failed: {error}"),
                    }
                }
                (Some(connection), accepted)
            });
        }
        let mut all = Vec::new();
        for (connection, mut accepted) in tasks.join_all().await {
            self.connections.extend(connection);
            all.append(&mut accepted);
        }
        let rate = all.len() as f64 / start.elapsed().as_secs_f64();
        let mut times: Vec<f64> = all.iter().map(|(_, time)| *time).collect();
        Turn {
            accepted: all.into_iter().map(|(id, _)| id).collect(),
            rate,
            p50: quantile(&mut times, 0.5),
            p99: quantile(&mut times, 0.99),
        }
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    id_at: usize,
    response: Vec<u8>,
}

impl Connection {
    /// Sends the request with an id that no other one has, and waits for its 2xx.
    async fn send(&mut self) -> io::Result<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.request[self.id_at..][..ID_MARK.len()].copy_from_slice(format!("{id:016x}").as_bytes());
        self.stream.write_all(&self.request).await?;
        let (status, _) = read_response(&mut self.stream, &mut self.response).await?;
        if status / 100 == 2 { Ok(id) } else { Err(io::Error::other(format!("answered {status}"))) }
    }
}

/// Stands where the id goes: 16 digits.
const ID_MARK: &str = "################";

fn signed_request() -> Vec<u8> {
    let start = r#"{"ref":"refs/heads/main","commits":[{"message":""#;
    let end = r#""}]}"#;
    let body = format!("{start}{}{end}", "x".repeat(BODY_LEN - start.len() - end.len()));
    let request = Request::post(PATH)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/044aadd")
        .header("x-github-event", "push")
        .header("x-github-delivery", ID_MARK)
        .header("content-length", body.len())
        .body(Bytes::from(body.clone()))
        .unwrap();
    let (head, _) = testing::sign(&senders::github(SECRET).unwrap(), request).unwrap().into_parts();
    let mut bytes = format!("POST {PATH} HTTP/1.1\r\n").into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.as_bytes());
    bytes
}

/// Reads one response and returns its status and where its body starts.
async fn read_response(stream: &mut TcpStream, response: &mut Vec<u8>) -> io::Result<(u16, usize)> {
    response.clear();
    loop {
        if stream.read_buf(response).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = response.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = str::from_utf8(&response[..head]).map_err(io::Error::other)?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if response.len() >= head + 4 + length {
            return Ok((status, head + 4));
        }
    }
}

/// Makes a request without a body and returns the body of the response.
pub async fn call(address: SocketAddr, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").as_bytes())
        .await?;
    let mut response = Vec::new();
    let (status, body) = read_response(&mut stream, &mut response).await?;
    let body = String::from_utf8_lossy(&response[body..]).into_owned();
    if status / 100 == 2 { Ok(body) } else { Err(io::Error::other(format!("answered {status}: {body}"))) }
}
