//! How much work a stranger can cause, counted in instructions by valgrind: not timed, so the same
//! on every machine.
//!
//! - Four times the input is at most about four times the work.
//! - An unknown tenant costs what a wrong signature costs, and so does a wrong signature, wherever
//!   it is wrong.
//!
//! The program runs itself under callgrind, which writes one count before each call of
//! [`mark_of_work`].

use std::convert::Infallible;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::provider::Provider;
use tower_webhook::testing::{ScriptedBody, Sign, Step};
use tower_webhook::{CdrManager, Head, Secret, Secrets, WebhookLayer};

/// The most that four times the input may cost: four times, and a little for what is rounded up.
const FOUR_TIMES: f64 = 4.4;
/// How far apart two refusals may be that a stranger must not tell apart.
const SAME: f64 = 0.01;

/// As long as most keys are, and as the one that is tried for an unknown tenant.
const SECRET: &str = "a key of thirty-two bytes, as is";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--counted") => cases().iter().for_each(Case::run),
        Some("--list") => {}
        _ => compare(),
    }
}

/// Work that is counted: the sizes of linear work, or refusals that have to cost the same.
struct Case {
    name: &'static str,
    is_linear: bool,
    work: [Box<dyn Fn()>; 2],
}

#[inline(never)]
fn mark_of_work(case: &str) {
    std::hint::black_box(case);
}

impl Case {
    fn linear(name: &'static str, work: impl Fn(usize) -> Box<dyn Fn()>, n: usize) -> Self {
        Self { name, is_linear: true, work: [work(n), work(4 * n)] }
    }

    fn same(name: &'static str, one: Box<dyn Fn()>, other: Box<dyn Fn()>) -> Self {
        Self { name, is_linear: false, work: [one, other] }
    }

    /// Twice each: what is made on first use is made before the counting.
    fn run(&self) {
        for work in &self.work {
            work();
            mark_of_work(self.name);
            work();
            mark_of_work(self.name);
        }
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Judges a request, and sees that its status is this.
fn judge<P: Provider, B>(provider: P, status: u16, request: impl Fn() -> Request<B> + 'static) -> Box<dyn Fn()>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handler =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let service = WebhookLayer::new(provider).with_clock(now).without_body_timeout().layer(handler);
    Box::new(move || {
        let mut future = Box::pin(service.clone().oneshot(request()));
        // After many frames the layer lets others run, and comes again.
        let mut polls = std::iter::repeat_with(|| future.as_mut().now_or_never()).take(100);
        let response = polls.find_map(|response| response).expect("it waits").unwrap();
        assert_eq!(response.status().as_u16(), status);
    })
}

fn signed<P: Sign>(provider: &P, body: Vec<u8>) -> Request<Bytes> {
    provider.sign_at(Request::post("/one").body(body.into()).unwrap(), now()).unwrap()
}

fn cdr() -> tower_webhook::Scheme {
    CdrManager::new(SECRET).unwrap()
}

async fn find(head: Head) -> Result<Option<Secret>, Infallible> {
    Ok((head.uri.path() == "/one").then(|| Secret::new(SECRET)))
}

fn cases() -> Vec<Case> {
    let wrong = |at: usize| {
        let mut request = signed(&cdr(), b"hello".to_vec());
        let value = request.headers_mut().get_mut("x-cdr-signature").unwrap();
        let mut text = value.as_bytes().to_vec();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        *value = text.try_into().unwrap();
        request
    };
    let at = move |path: &'static str, position| {
        let mut request = wrong(position);
        *request.uri_mut() = path.parse().unwrap();
        move || request.clone().map(Full::new)
    };
    let tenants = || CdrManager::new(Secrets::lookup(find)).unwrap();
    let cases = vec![
        Case::linear(
            "a body in one frame",
            |n| {
                let request = signed(&cdr(), vec![b'x'; n]);
                judge(cdr(), 200, move || request.clone().map(Full::new))
            },
            100_000,
        ),
        Case::linear(
            "a body in frames of one byte",
            |n| {
                let request = signed(&cdr(), vec![b'x'; n]);
                judge(cdr(), 200, move || {
                    let frame = |at| Step::Data(Bytes::from_static(&[b'x'; 1]).slice(at..));
                    request.clone().map(|body| ScriptedBody::new(body.iter().map(|_| frame(0))))
                })
            },
            2000,
        ),
        Case::linear(
            "a signature that is too long",
            |n| {
                let value = "A".repeat(n);
                judge(cdr(), if n > 4096 { 400 } else { 401 }, move || {
                    Request::post("/").header("x-cdr-signature", &value).body(Full::<Bytes>::default()).unwrap()
                })
            },
            4000,
        ),
        Case::same(
            "a wrong signature and an unknown tenant",
            judge(tenants(), 401, at("/one", 0)),
            judge(tenants(), 401, at("/two", 0)),
        ),
        Case::same(
            "a wrong first byte and a wrong last one",
            judge(cdr(), 401, at("/", 0)),
            judge(cdr(), 401, at("/", 84)),
        ),
    ];
    #[cfg(feature = "jwt")]
    let cases = cases.into_iter().chain(connect()).collect();
    cases
}

#[cfg(feature = "jwt")]
fn connect() -> Vec<Case> {
    use tower_webhook::Connect;

    let provider = || Connect::new(SECRET).unwrap();
    let tenants = || Connect::new(Secrets::lookup(find)).unwrap();
    // The token is short; the body has everything else.
    let with_body = move |body: String, status| {
        let mut request = signed(&provider(), br#"{"webhook_id":"WH-1"}"#.to_vec());
        *request.body_mut() = body.into();
        judge(provider(), status, move || request.clone().map(Full::new))
    };
    let of_claims = move |claim: String| {
        let request = signed(&provider(), format!(r#"{{"data":{claim}}}"#).into_bytes());
        judge(provider(), 200, move || request.clone().map(Full::new))
    };
    let token = |secret: &str, path: &'static str| {
        let mut request = signed(&Connect::new(secret).unwrap(), br#"{"webhook_id":"WH-1"}"#.to_vec());
        *request.uri_mut() = path.parse().unwrap();
        move || request.clone().map(Full::new)
    };
    vec![
        Case::linear(
            "a body of many members",
            move |n| {
                let members: Vec<_> = (0..n).map(|at| format!(r#""m{at:08}":{at}"#)).collect();
                with_body(format!("{{{}}}", members.join(",")), 200)
            },
            1000,
        ),
        Case::linear(
            "a body of one long escaped text",
            move |n| with_body(format!(r#"{{"a":"{}"}}"#, r"\u0061".repeat(n)), 200),
            10_000,
        ),
        Case::linear("a body of brackets", move |n| with_body("[".repeat(n), 400), 50_000),
        Case::linear("claims of many numbers", move |n| of_claims(format!("[{}1]", "1,".repeat(n))), 500),
        Case::linear("a claim of many digits", move |n| of_claims("1".repeat(n)), 1000),
        Case::linear(
            "claims nested deeply, over and over",
            move |n| of_claims(format!("[{}1]", format!("{}{},", "[".repeat(60), "]".repeat(60)).repeat(n))),
            10,
        ),
        Case::linear(
            "a token that is none",
            move |n| {
                let value = format!("Bearer {}", ".a".repeat(n));
                judge(provider(), 401, move || {
                    Request::get("/").header("authorization", &value).body(Full::<Bytes>::default()).unwrap()
                })
            },
            2000,
        ),
        Case::same(
            "a token of another key and an unknown tenant",
            judge(tenants(), 401, token("other", "/one")),
            judge(tenants(), 401, token("other", "/two")),
        ),
    ]
}

/// The counts, in their order: every second one is of what ran between two marks.
fn counts() -> Vec<f64> {
    let folder = std::env::temp_dir().join(format!("tower-webhook-work-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*mark_of_work*", "--combine-dumps=no"])
        .arg(format!("--callgrind-out-file={}/out", folder.display()))
        .arg(std::env::current_exe().unwrap())
        .arg("--counted")
        .output()
        .expect("valgrind counts the instructions; scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count = |number: usize| {
        let text = std::fs::read_to_string(folder.join(format!("out.{number}"))).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let counts = (1..=4 * cases().len()).skip(1).step_by(2).map(count).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    counts
}

fn compare() {
    let mut failed = Vec::new();
    for (case, count) in cases().iter().zip(counts().chunks(2)) {
        let ratio = count[1] / count[0];
        println!("{}: {} and {} instructions, {ratio:.4} times", case.name, count[0], count[1]);
        let passes = if case.is_linear { ratio < FOUR_TIMES } else { (ratio - 1.0).abs() < SAME };
        if !passes {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "too much, or too different: {failed:?}");
}
