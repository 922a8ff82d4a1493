//! The memory of a server under two thousand slow senders, measured from outside: the server is a
//! process of its own.
//!
//! Each sender announces 1 MiB, 2 GiB together, and never ends. The budget is 64 MiB. What is
//! shown:
//!
//! - the budget is never exceeded, and the process grows by no more than it and [`SLACK`] beyond
//!   what 2,000 open connections with one byte of each body cost it (that cost is the server's,
//!   hyper's read buffers for the most part);
//! - while the budget is spent, small genuine deliveries pass;
//! - once the senders are gone, nothing is held.

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("test memory ... ignored, memory is measured by /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--server") => linux::server(),
        Some("--senders") => linux::senders(),
        _ if arguments.iter().any(|argument| argument == "--list") => {}
        _ => linux::with_enough_files(),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufRead as _, BufReader};
    use std::net::SocketAddr;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use axum::Router;
    use axum::body::Bytes;
    use axum::routing::{get, post};
    use futures_util::future::join_all;
    use http::Request;
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tower_webhook::{CdrManager, MemoryBudget, WebhookLayer, testing};

    const BUDGET: usize = 64 << 20;
    const SENDERS: usize = 2000;
    const ANNOUNCED: usize = 1 << 20;
    /// One write of a sender, each round.
    const PIECE: usize = 16 << 10;
    const ROUNDS: usize = 16;
    /// What the allocator keeps of what was given back, and what runs besides: half of what the
    /// budget is.
    const SLACK: usize = 32 << 20;
    /// The budget counts as spent where less than this part of it is left.
    const SPENT: usize = BUDGET / 10 * 9;

    /// Runs the senders, and the server under them, with room for the connections.
    pub fn with_enough_files() {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        let hard: usize = files.split_whitespace().nth(4).unwrap().parse().unwrap_or(usize::MAX);
        assert!(hard >= SENDERS + 500, "the hard limit is {hard} open files, and {SENDERS} connections are needed");
        let program = std::env::current_exe().unwrap();
        let script = format!("ulimit -n {} && exec \"$0\" --senders", SENDERS + 500);
        let status = Command::new("sh").arg("-c").arg(script).arg(program).status().unwrap();
        assert!(status.success(), "{status}");
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn provider() -> tower_webhook::Scheme {
        CdrManager::new("Jefe").unwrap()
    }

    /// Serves until its input ends, that is until the test is gone.
    pub fn server() {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
        runtime().block_on(async {
            let budget = MemoryBudget::new(BUDGET);
            let layer = WebhookLayer::new(provider()).with_memory_budget(&budget);
            let layer = layer.with_body_timeout(Duration::from_secs(300));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap());
            let figures = async move || format!("{} {} {}", budget.used(), status("VmRSS"), status("VmHWM"));
            let handler = async |body: Bytes| format!("{}", body.len());
            let app = Router::new().route("/", post(handler).layer(layer)).route("/figures", get(figures));
            axum::serve(listener, app).await.unwrap();
        });
    }

    /// A figure of this process, in bytes.
    fn status(name: &str) -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// A server that ends with its value.
    struct Server {
        process: Child,
        address: SocketAddr,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[derive(Debug)]
    struct Figures {
        used: usize,
        rss: usize,
        /// The highest resident size so far.
        peak: usize,
    }

    impl Server {
        fn start() -> Self {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let command = command.arg("--server").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Self { process, address: line.trim().parse().unwrap() }
        }

        async fn send(&self, request: Request<Full<Bytes>>) -> (u16, String) {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn figures(&self) -> Figures {
            let (_, text) = self.send(Request::get("/figures").body(Full::default()).unwrap()).await;
            let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
            let mut next = || numbers.next().unwrap();
            Figures { used: next(), rss: next(), peak: next() }
        }

        async fn wait_until(&self, reached: impl Fn(&Figures) -> bool) -> Figures {
            let waiting = async {
                loop {
                    let figures = self.figures().await;
                    if reached(&figures) {
                        break figures;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the budget is not what it should be")
        }

        /// A genuine delivery of this many bytes.
        async fn deliver(&self, len: usize) -> u16 {
            let request = Request::post("/").header("host", "x").body(vec![b'g'; len]).unwrap();
            self.send(testing::sign(&provider(), request).unwrap()).await.0
        }
    }

    struct Sender {
        stream: TcpStream,
        refused: bool,
    }

    impl Sender {
        async fn new(address: SocketAddr) -> Self {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // A signature of the right form. That it is wrong is only known at the end, which never comes.
            let signature = "A".repeat(86);
            let head = format!(
                "POST / HTTP/1.1\r\nhost: x\r\nx-cdr-signature: {signature}==\r\ncontent-length: {ANNOUNCED}\r\n\r\nx"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            Self { stream, refused: false }
        }

        async fn send_more(&mut self) {
            let failed = self.stream.write_all(&[b'x'; PIECE]).await.is_err();
            // Nothing is answered before the end but a refusal.
            let mut reply = [0; 64];
            let answered = self.stream.try_read(&mut reply).is_ok();
            if answered && !failed {
                assert!(reply.starts_with(b"HTTP/1.1 503") || reply[0] == 0, "{}", String::from_utf8_lossy(&reply));
            }
            self.refused = failed || answered;
        }
    }

    pub fn senders() {
        runtime().block_on(async {
            let server = Server::start();
            let mut senders = Vec::with_capacity(SENDERS);
            for _ in 0..SENDERS {
                senders.push(Sender::new(server.address).await);
            }
            assert_eq!(server.deliver(500).await, 200);
            let open = server.wait_until(|figures| figures.used >= SENDERS).await;
            println!("{SENDERS} connections with one byte of a body each: {open:?}");
            let (mut refused, mut while_spent, mut most) = (0, 0, 0);
            for _ in 0..ROUNDS {
                join_all(senders.iter_mut().map(Sender::send_more)).await;
                let before = server.figures().await.used;
                for len in [0, 1, 500, 4000] {
                    assert_eq!(server.deliver(len).await, 200, "a delivery of {len} bytes with {before} bytes taken");
                }
                let after = server.figures().await.used;
                most = most.max(before).max(after);
                if before.min(after) >= SPENT {
                    while_spent += 4;
                }
                // Whoever was refused comes again.
                for sender in senders.iter_mut().filter(|sender| sender.refused) {
                    refused += 1;
                    *sender = Sender::new(server.address).await;
                }
            }
            let figures = server.figures().await;
            println!("after {ROUNDS} rounds of {PIECE} bytes: {figures:?}, {most} bytes taken at most");
            println!("{refused} refused, {while_spent} small deliveries passed while nine tenths were taken");
            assert!(most <= BUDGET && refused > 0 && while_spent > 0);
            assert!(figures.peak <= open.rss + BUDGET + SLACK, "{figures:?}");
            drop(senders);
            println!("the senders are gone: {:?}", server.wait_until(|figures| figures.used == 0).await);
        });
    }
}
