//! Does the time of a refusal tell a stranger anything? Welch's t-test over refusals of two kinds,
//! in the manner of dudect (Reparaz, Balasch, Verbauwhede 2017): measured in random order, the
//! slowest left out, |t| above 4.5 taken as a difference.
//!
//! It prints and judges nothing: a loaded machine shows differences that are none, and a short run
//! hides some that are. The gate is `tests/work.rs`, which counts instructions instead.
//!
//!     cargo bench --bench timing --features testing

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::{CdrManager, Head, Secret, Secrets, WebhookLayer, testing};

/// Measurements of each kind.
const SAMPLES: usize = 20_000;
/// The slowest part is left out: interrupts, other programs.
const KEPT: f64 = 0.9;

fn request(path: &str, wrong_at: Option<usize>) -> Request<Full<Bytes>> {
    let plain = Request::post(path).body(Bytes::from_static(b"hello")).unwrap();
    let mut signed = testing::sign(&CdrManager::new("Jefe").unwrap(), plain).unwrap();
    if let Some(at) = wrong_at {
        let mut text = signed.headers()["x-cdr-signature"].as_bytes().to_vec();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        signed.headers_mut().insert("x-cdr-signature", text.try_into().unwrap());
    }
    signed
}

async fn find(head: Head) -> Result<Option<Secret>, Infallible> {
    Ok((head.uri.path() == "/one").then(|| Secret::new("Jefe")))
}

#[allow(clippy::disallowed_methods, reason = "this is what is measured")]
fn measure(what: &str, secrets: impl Into<Secrets>, kinds: [Request<Full<Bytes>>; 2]) {
    let handler =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let service = WebhookLayer::new(CdrManager::new(secrets).unwrap()).layer(handler);
    let mut times = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
    let mut chance = 1_u64;
    while times.iter().any(|times| times.len() < SAMPLES) {
        // Xorshift: which kind is next is not to be foreseen by the processor.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let kind = usize::from(chance & 1 == 1);
        let (service, request) = (service.clone(), kinds[kind].clone());
        let started = Instant::now();
        let response = black_box(service.oneshot(black_box(request)).now_or_never());
        let time = started.elapsed();
        drop(response);
        times[kind].push(time.as_secs_f64() * 1e9);
    }
    let [a, b] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        times.truncate((times.len() as f64 * KEPT) as usize);
        moments(&times)
    });
    let t = (a.mean - b.mean) / (a.variance / a.count + b.variance / b.count).sqrt();
    println!("{what}: {:.0} ns and {:.0} ns, t = {t:.2}", a.mean, b.mean);
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn moments(times: &[f64]) -> Moments {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Moments { count, mean, variance }
}

fn main() {
    let tenants = || Secrets::lookup(find);
    measure("the same twice", "Jefe", [request("/one", Some(0)), request("/one", Some(0))]);
    measure("a wrong first byte and a wrong last one", "Jefe", [request("/one", Some(0)), request("/one", Some(84))]);
    measure("a wrong signature and an unknown tenant", tenants(), [request("/one", Some(0)), request("/two", Some(0))]);
    measure("a wrong signature and a right one", "Jefe", [request("/one", Some(0)), request("/one", None)]);
}
