//! No secret, signature or payload in anything that is printed, logged, counted or answered; and
//! none left in memory.

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use metrics_util::debugging::DebuggingRecorder;
use tower_webhook::scheme::header;
use tower_webhook::{AnyOf, CdrManager, KeyFormat, Scheme, Secret, Secrets, WebhookLayer};

use super::chance::Chance;
use super::subjects::{self, PAYLOAD, Subject};
use super::wire::{WAYS, Wire};

/// What was written, by any number of writers.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A secret in the spellings that somebody might print it in.
fn spellings(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let bytes = format!("{:?}", secret.as_bytes());
    vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret),
        bytes.trim_matches(['[', ']']).to_owned(),
    ]
}

/// The parts of a genuine request that prove it: what is long enough to be a digest or a token.
fn proofs(subject: &Subject) -> impl Iterator<Item = String> {
    let values = subject.genuine.iter().flat_map(|request| request.headers().values());
    let texts = values.filter_map(|value| value.to_str().ok());
    // The topic of an SNS message is a part of the configuration too.
    texts.filter(|text| text.len() >= 40 && !text.starts_with("arn:")).map(str::to_owned)
}

/// Everything that is said while genuine and tampered requests are judged.
fn said(subject: &Subject, seed: u64) -> String {
    let (logs, recorder) = (Written::default(), DebuggingRecorder::new());
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Where there is one subscriber alone, tracing asks whichever thread comes to an event first
    // whether anyone listens, and the threads of other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let snapshotter = recorder.snapshotter();
    let mut text = subject.printed.clone();
    let mut chance = Chance::new(seed);
    let mut judge = |request: Request<Bytes>| {
        let reply: Response<_> = subject.reply(request.clone());
        // The reply as a client sees it: the handler's own echoes nothing.
        writeln!(text, "{} {:?} {:?}", reply.status(), reply.headers(), reply.body()).unwrap();
        match subject.judge(request) {
            subjects::End::Delivered(delivery, _) => write!(text, "{delivery:?}"),
            subjects::End::Refused(rejection) => {
                let mut source = std::error::Error::source(&rejection);
                while let Some(cause) = source {
                    write!(text, "{cause} {cause:?}").unwrap();
                    source = cause.source();
                }
                write!(text, "{rejection} {rejection:?}")
            }
            subjects::End::Answered => Ok(()),
        }
        .unwrap();
    };
    metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, || {
            for request in &subject.genuine {
                judge(request.clone());
                for _ in 0..150 {
                    let mut wire = Wire::new(request);
                    let (_, tamper) = chance.pick(WAYS);
                    tamper(&mut wire, &Wire::new(chance.pick(&subject.genuine)), &mut chance);
                    wire.request().into_iter().for_each(&mut judge);
                }
            }
        });
    });
    let logged = logs.text();
    assert!(logged.contains("webhook rejected"), "{}: nothing is logged", subject.name);
    let counted = format!("{:?}", snapshotter.snapshot().into_vec());
    assert!(counted.contains("webhook_requests_total"), "nothing is counted");
    text + &logged + &counted
}

#[test]
fn no_secret_signature_or_payload_is_printed_logged_counted_or_answered() {
    for (seed, subject) in (1000..).zip(subjects::all()) {
        let said = said(&subject, seed);
        assert!(said.len() > 10_000, "{}: only {} bytes are said", subject.name, said.len());
        for secret in subject.secrets.iter().flat_map(|secret| spellings(secret)) {
            assert!(!said.contains(&secret), "{}: the secret is disclosed as {secret}", subject.name);
        }
        assert!(!said.contains(PAYLOAD), "{}: a payload is disclosed", subject.name);
        for proof in proofs(&subject) {
            assert!(!said.contains(&proof), "{}: {proof} is disclosed", subject.name);
        }
    }
}

const SECRET: &str = "hunter2 hunter2 hunter2 hunter2!";

fn debug(of: impl Debug) -> String {
    format!("{of:?} {of:#?}")
}

#[test]
fn nothing_that_holds_a_secret_or_fails_to_be_one_prints_it() {
    let acme = || Scheme::hmac_sha256().signature(header("x-signature").hex()).secret(SECRET);
    let lookup = Secrets::lookup(async |_| Ok::<_, io::Error>([Secret::new(SECRET)]));
    let cdr = CdrManager::new(SECRET).unwrap();
    let mut said = vec![
        debug(Secret::new(SECRET)),
        debug(Secret::from_bytes(SECRET)),
        debug(Secret::from_hex(&hex::encode(SECRET))),
        debug(Secrets::new([SECRET, SECRET])),
        debug(&lookup),
        debug(CdrManager::new(lookup)),
        debug(acme()),
        debug(acme().build("acme")),
        debug(AnyOf::new([acme().build("acme").unwrap(), cdr.clone()]).unwrap()),
        debug(WebhookLayer::new(cdr.clone())),
        // What is no secret is not quoted either.
        debug(Secret::from_hex(SECRET)),
        debug(Secret::from_base64(SECRET)),
        debug(CdrManager::new(Secrets::new([SECRET; 9]))),
    ];
    for format in [KeyFormat::Hex, KeyFormat::Base64, KeyFormat::StandardWebhooks] {
        let error = acme().with_key_format(format).build("acme").unwrap_err();
        said.push(format!("{error} {error:?}"));
    }
    #[cfg(feature = "jwt")]
    said.push(debug(tower_webhook::Connect::new(SECRET).unwrap()));
    for (said, spelling) in said.iter().flat_map(|said| spellings(SECRET).into_iter().map(move |it| (said, it))) {
        assert!(!said.contains(&spelling) && !said.contains("hunter2"), "{said}");
    }
}

/// An HMAC is two hash states, of which the types say so themselves.
#[test]
fn secrets_and_keys_that_a_mac_has_absorbed_are_wiped_by_their_types() {
    fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
    is_wiped::<zeroize::Zeroizing<Vec<u8>>>();
    is_wiped::<zeroize::Zeroizing<String>>();
    is_wiped::<sha1::Sha1>();
    is_wiped::<sha2::Sha256>();
    is_wiped::<sha2::Sha512>();
}
