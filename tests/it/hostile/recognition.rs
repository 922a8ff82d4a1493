//! What tells a sender's requests: said once by each sender, so that few are asked on a route of
//! several.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request};
use tower_webhook::provider::{Begin, Behavior, MaybeReady, Outcome, Provider, Recognition, RecognizedBy};
use tower_webhook::{AnyOf, AnyProvider, Clock, Rejection, Text, senders};

use super::chance::Chance;
use crate::senders::{Bench, NOW, cases, sample_config};

/// A provider that doesn't say what tells its requests, so that it is asked about each.
struct Asked(AnyProvider);

impl Provider for Asked {
    type Verification = <AnyProvider as Provider>::Verification;

    fn name(&self) -> &Text {
        self.0.name()
    }

    fn behavior(&self) -> &Behavior {
        self.0.behavior()
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.0.recognizes(head)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.0.recognizes_body(head, body)
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
        self.0.begin(head, clock)
    }

    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.0.finish(verification, head, body, rest)
    }
}

/// Every built-in sender, the kinds that are none of them, and a few as they are combined.
fn providers() -> Vec<AnyProvider> {
    let built = |name| senders::by_name(name, sample_config(name)).unwrap();
    let mut all: Vec<_> = senders::all().map(|sender| AnyProvider::new(built(sender.name))).collect();
    all.push(AnyProvider::new(built("slack").or(built("stripe"))));
    all.push(AnyProvider::new(AnyOf::new([built("github"), built("twilio")]).unwrap()));
    #[cfg(feature = "jwt")]
    all.push(AnyProvider::new(tower_webhook::Connect::new("the JWT secret").unwrap()));
    #[cfg(feature = "testing-sns")]
    {
        let fake = tower_webhook::testing::FakeSns::new();
        let sns = tower_webhook::Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).build().unwrap();
        all.push(AnyProvider::new(sns));
    }
    all
}

/// What becomes of a request, with all that is told of it.
fn decided<P: Provider>(of: &AnyOf<P>, request: &Request<Bytes>) -> String {
    let (head, body) = request.clone().into_parts();
    let clock = || UNIX_EPOCH + Duration::from_secs(NOW);
    let told = |rejection: Rejection| format!("{} by {:?}: {rejection}", rejection.status(), rejection.provider());
    let recognized = of.recognizes(&head);
    let decided = match of.begin(&head, &clock) {
        Ok(MaybeReady::Ready(Begin::Verify(mut verification))) => {
            match of.finish(&mut verification, &head, &body, &body) {
                Ok(MaybeReady::Ready(outcome)) => format!("{outcome:?}"),
                Ok(MaybeReady::Pending(_)) => "waits for a key".to_owned(),
                Err(rejection) => told(rejection),
            }
        }
        Ok(MaybeReady::Ready(Begin::Answer(answer))) => format!("{answer:?}"),
        Ok(_) => "waits for a secret".to_owned(),
        Err(rejection) => told(rejection),
    };
    format!("{recognized:?}, {decided}")
}

fn text(chance: &mut Chance, of: &[&'static str]) -> &'static str {
    of[chance.below(of.len())]
}

/// A head of some of these headers, mostly with junk in them.
fn request(chance: &mut Chance, names: &[HeaderName]) -> Request<Bytes> {
    let values = ["", "junk", "Bearer abc", "Basic dTpw", "t=1,v1=00", "v0=00", "sha256=00", "application/json"];
    let forms = ["application/x-www-form-urlencoded", " Application/X-WWW-Form-urlencoded ; charset=utf-8"];
    let targets = ["/", "/?token=a&hub.mode=subscribe", "/?challenge=a", "/?validationToken=a&crc_token=b"];
    let methods = [Method::POST, Method::POST, Method::POST, Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS];
    let mut request =
        Request::new(Bytes::from_static(text(chance, &["{}", "", "a=b", r#"{"challenge":"a"}"#]).as_bytes()));
    *request.method_mut() = chance.pick(&methods).clone();
    *request.uri_mut() = chance.pick(&targets).parse().unwrap();
    let headers = request.headers_mut();
    for _ in 0..*chance.pick(&[0, 1, 1, 1, 2, 3, 30]) {
        headers.append(chance.pick(names).clone(), HeaderValue::from_static(text(chance, &values)));
    }
    match chance.below(4) {
        0 => headers.insert("content-type", HeaderValue::from_static(text(chance, &forms))),
        1 => headers.insert("content-type", HeaderValue::from_static(text(chance, &values))),
        _ => None,
    };
    request
}

/// The requests of every sender, and heads made by chance.
fn requests(names: &[HeaderName]) -> Vec<Request<Bytes>> {
    let signed = cases().into_iter().map(|case| {
        let sender = senders::all().find(|sender| sender.name == case.name).unwrap();
        Bench::new(sender, &case).sign(&case)
    });
    let mut chance = Chance::new(17);
    let mut requests: Vec<_> = signed.collect();
    requests.extend((0..1000).map(|_| request(&mut chance, names)));
    requests
}

/// The headers that any of these are recognized by, and some others.
fn names(providers: &[AnyProvider]) -> Vec<HeaderName> {
    let marks = providers.iter().flat_map(|provider| provider.recognized_by().unwrap_or_default());
    let headers = marks.filter_map(|mark| if let RecognizedBy::Header(name) = mark { Some(name) } else { None });
    let others = ["host", "accept", "content-length", "x-signature-2", "x-docusign-signature-1"];
    headers.chain(others.map(HeaderName::from_static)).collect()
}

#[test]
fn what_has_no_mark_of_a_sender_is_not_recognized_by_it() {
    let providers = providers();
    let (mut said, mut recognized) = (0, 0);
    let requests = requests(&names(&providers));
    for provider in &providers {
        let Some(marks) = provider.recognized_by() else { continue };
        said += 1;
        for request in &requests {
            let (head, _) = request.clone().into_parts();
            let is_form = || {
                let value = head.headers.get("content-type").map(|value| value.as_bytes().to_ascii_lowercase());
                value.is_some_and(|value| value.trim_ascii().starts_with(b"application/x-www-form-urlencoded"))
            };
            let is_there = marks.iter().any(|mark| match mark {
                RecognizedBy::Header(name) => head.headers.contains_key(name),
                _ => is_form(),
            });
            let is_recognized = provider.recognizes(&head) != Recognition::No;
            assert!(is_there || !is_recognized, "{provider:?} recognizes {head:?}");
            recognized += u32::from(is_recognized);
        }
    }
    assert!(said > 90 && recognized > 1000, "{said} say it, {recognized} were recognized");
}

#[test]
fn several_senders_decide_the_same_whether_or_not_they_say_what_tells_their_requests() {
    let all: Vec<_> = providers().into_iter().map(Arc::new).collect();
    let same = |some: &[usize], requests: &[Request<Bytes>]| {
        let chosen = || some.iter().map(|index| AnyProvider::clone(&all[*index]));
        let (marked, asked) = (AnyOf::new(chosen()).unwrap(), AnyOf::new(chosen().map(Asked)).unwrap());
        for request in requests {
            assert_eq!(decided(&marked, request), decided(&asked, request), "{some:?} {request:?}");
        }
    };
    let requests = requests(&names(&providers()));
    let (every, mut chance) = ((0..all.len()).collect::<Vec<_>>(), Chance::new(18));
    assert!(every.len() > 64);
    same(&every, &requests);
    for _ in 0..100 {
        let some: Vec<_> = (0..=chance.below(6)).map(|_| *chance.pick(&every)).collect();
        let headers = names(&some.iter().map(|index| AnyProvider::clone(&all[*index])).collect::<Vec<_>>());
        let few: Vec<_> = (0..100).map(|_| request(&mut chance, &headers)).collect();
        same(&some, &few);
        let of_others: Vec<_> = (0..20).map(|_| chance.pick(&requests).clone()).collect();
        same(&some, &of_others);
    }
}
