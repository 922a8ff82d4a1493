//! Every sender that the crate knows, with genuine requests and a judge, all of one shape. A sender
//! that is added to the crate's table is here without a change.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::{Builder, Runtime};
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::provider::Provider;
use tower_webhook::provider::{Begin, MaybeReady, Outcome};
use tower_webhook::scheme::header;
use tower_webhook::testing::{self, ManualClock, ScriptedBody, Sign};
use tower_webhook::{AnyOf, CdrManager, Delivery, Identity, Rejection, Scheme, WebhookLayer};

/// When the genuine requests are signed.
pub fn signed_at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// What became of a request.
#[derive(Debug)]
pub enum End {
    Delivered(Delivery, Vec<(String, String)>),
    Refused(Rejection),
    /// An answer by protocol, without the handler.
    Answered,
}

impl End {
    /// What has to be the same however the body is split.
    pub fn summary(&self) -> String {
        match self {
            Self::Delivered(delivery, more) => format!("{delivery:?} {:?} {more:?}", delivery.body()),
            Self::Refused(rejection) => format!("{rejection:?}"),
            Self::Answered => "answered".into(),
        }
    }
}

type Service = BoxCloneSyncService<Request<ScriptedBody>, Response<Full<Bytes>>, Infallible>;
type Whole = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

/// One sender under attack.
pub struct Subject {
    pub name: String,
    /// Requests that its sender would send, all different.
    pub genuine: Vec<Request<Bytes>>,
    /// What it signs with, as text.
    pub secrets: Vec<String>,
    /// What `Debug` prints of the provider, its layer and its service.
    pub printed: String,
    pub clock: ManualClock,
    whole: Whole,
    framed: Service,
}

/// What a delivery says is signed, byte for byte: two requests with the same of it have the same
/// signed content.
#[derive(PartialEq, Eq, Debug)]
pub struct Proven(Vec<(String, Vec<u8>)>);

impl Subject {
    fn new<P>(provider: P, secrets: &[&str], unsigned: impl IntoIterator<Item = Request<Bytes>>) -> Self
    where
        P: Provider + Sign + Debug,
    {
        let sign = |request| provider.sign_at(request, signed_at()).unwrap();
        let genuine = unsigned.into_iter().map(sign).collect();
        Self::observed(provider, secrets, genuine, |_| Vec::new())
    }

    /// `more` is what else is signed, by the provider's own types.
    fn observed<P: Provider + Debug>(
        provider: P,
        secrets: &[&str],
        genuine: Vec<Request<Bytes>>,
        more: impl Fn(&Delivery) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        let name = provider.name().to_string();
        let clock = ManualClock::new(signed_at());
        let mut printed = format!("{provider:?} {provider:#?}");
        for request in &genuine {
            let (head, _) = request.clone().into_parts();
            printed += &format!("{:?}", provider.begin(&head, &clock));
        }
        let layer = WebhookLayer::new(provider).with_clock(clock.clone());
        let more = Arc::new(more);
        let handler = service_fn(move |request: Request<Full<Bytes>>| {
            let more = more.clone();
            async move {
                let delivery = Delivery::from_extensions(request.extensions()).expect("only deliveries come this far");
                let mut response = Response::new(Full::default());
                response.extensions_mut().insert(more(delivery));
                response.extensions_mut().insert(delivery.clone());
                Ok::<_, Infallible>(response)
            }
        });
        printed += &format!("{layer:?} {:?}", layer.layer(()));
        let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let (whole, framed) = (boxed(&layer, handler.clone()), boxed(&layer, handler));
        let subject = Self { name, genuine, secrets, printed, clock, whole, framed };
        for request in &subject.genuine {
            let end = subject.judge(request.clone());
            assert!(matches!(end, End::Delivered(..)), "{}: a genuine request is {end:?}", subject.name);
        }
        subject
    }

    pub fn judge(&self, request: Request<Bytes>) -> End {
        end(&self.reply(request))
    }

    pub fn reply(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        wait(self.whole.clone().oneshot(request.map(Full::new)))
    }

    /// As [`judge`](Self::judge), the body in frames.
    pub fn judge_framed(&self, request: Request<ScriptedBody>) -> End {
        end(&wait(self.framed.clone().oneshot(request)))
    }

    /// What of this delivery the signature proves.
    pub fn proven(&self, request: &Request<Bytes>, delivery: &Delivery, more: &[(String, String)]) -> Proven {
        let signed = delivery.signed();
        let mut parts = Vec::new();
        let mut add = |name: &str, value: &[u8]| parts.push((name.to_owned(), value.to_vec()));
        // The fields of these are signed sorted and in one piece, which is their identity; so the order is
        // not signed.
        let signs_fields = SIGN_FIELDS.contains(&&*self.name) && delivery.identity() == Identity::Content;
        if signed.body && !signs_fields {
            add("body", delivery.body());
        }
        if signed.timestamp {
            add("timestamp", format!("{:?}", delivery.timestamp()).as_bytes());
        }
        if signed.id {
            add("id", delivery.id().unwrap_or_default().as_bytes());
        }
        if signed.event {
            add("event", delivery.event().unwrap_or_default().as_bytes());
        }
        if signed.url {
            add("url", request.uri().to_string().as_bytes());
        }
        // Whoever has a token tells deliveries apart by a body that nobody signed: Microsoft Graph by the
        // ids in it, Connect by what only its body says. Their tokens and claims are compared
        // below.
        let by_token = ["cloudblue_connect", "microsoft_graph"].contains(&&*self.name);
        if let Identity::Id(id) = delivery.identity()
            && (signed.body || !more.is_empty() && !by_token)
        {
            add("identity", id.as_bytes());
        }
        for (name, value) in more {
            add(name, value.as_bytes());
        }
        if self.name == "mercado_pago" {
            add("manifest", mercado_manifest(request).as_bytes());
        }
        // A token proves who sent it and nothing else; what is compared is that the very token came.
        let tokens = TOKEN_HEADERS.iter().filter(|_| self.name != "ringcentral");
        for name in ["authorization", "authentication"].iter().chain(tokens) {
            for value in request.headers().get_all(*name).iter().filter(|_| !signed.body) {
                let text = value.as_bytes();
                let is_scheme = |name: &&&str| {
                    text.get(..name.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(name.as_bytes()))
                };
                let scheme = ["bearer", "basic"].iter().find(is_scheme);
                add("token", scheme.map_or(text, |name| text[name.len()..].trim_ascii_start()));
            }
        }
        // Elsewhere, in a query or a body, it is at least there.
        let everything = format!("{:?} {}", request, request.uri()).replace("%20", " ").replace('+', " ");
        let tokens = self.secrets.iter().filter(|secret| !signed.body && everything.contains(&***secret));
        parts.extend(tokens.map(|secret| ("token".to_owned(), secret.clone().into_bytes())));
        assert!(!parts.is_empty(), "{}: nothing is signed", self.name);
        Proven(parts)
    }
}

/// Senders that sign the fields of a form and not its bytes.
const SIGN_FIELDS: [&str; 2] = ["twilio", "mandrill"];

/// What Mercado Pago signs: the query's `data.id`, in any case, the request's id and the time.
fn mercado_manifest(request: &Request<Bytes>) -> String {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    let query = request.uri().query().unwrap_or_default().split('&');
    let ids: Vec<String> =
        query.filter_map(|pair| pair.strip_prefix("data.id=")).map(str::to_ascii_lowercase).collect();
    let times: Vec<&str> = text("x-signature")
        .iter()
        .flat_map(|list| list.split(','))
        .filter_map(|part| part.trim().strip_prefix("ts="))
        .collect();
    format!("{ids:?} {:?} {times:?}", text("x-request-id"))
}

/// Where senders put a bare token. RingCentral's, without `x-`, is looked for as one elsewhere.
const TOKEN_HEADERS: [&str; 3] = ["x-gitlab-token", "x-telegram-bot-api-secret-token", "x-verification-token"];

fn boxed<P, H, B>(
    layer: &WebhookLayer<P>,
    handler: H,
) -> BoxCloneSyncService<Request<B>, Response<Full<Bytes>>, Infallible>
where
    P: Provider,
    H: tower::Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    H::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = layer.layer(handler);
    BoxCloneSyncService::new(service_fn(move |request: Request<B>| {
        let response = service.clone().oneshot(request);
        async {
            let (head, body) = response.await?.into_parts();
            Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
        }
    }))
}

/// Nothing here waits for anything but this thread.
fn wait(response: impl Future<Output = Result<Response<Full<Bytes>>, Infallible>>) -> Response<Full<Bytes>> {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    }
    let Ok(response) = RUNTIME.with(|runtime| runtime.block_on(response));
    response
}

fn end(response: &Response<Full<Bytes>>) -> End {
    let extensions = response.extensions();
    match (extensions.get::<Delivery>(), extensions.get::<Rejection>()) {
        (Some(delivery), None) => {
            End::Delivered(delivery.clone(), extensions.get::<Vec<(String, String)>>().cloned().unwrap_or_default())
        }
        (None, Some(rejection)) => End::Refused(rejection.clone()),
        _ => End::Answered,
    }
}

/// Requests of common shapes, none of them signed.
fn shapes() -> Vec<Request<Bytes>> {
    let bodies = [
        r#"{"type":"invoice.paid","id":"evt_1","event":{"id":"e1","type":"a.b"},"amount":1700000000,"note":"payload-of-nobodys-business"}"#,
        r#"{"type":"invoice.void","id":"evt_2","event":{"id":"e2","type":"c.d"},"amount":17,"note":"payload-of-nobodys-business"}"#,
        r#"{"event":"x","note":"payload-of-nobodys-business"}"#,
    ];
    let request = |(body, path): (&'static str, &str)| {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.header("x-event-key", "a.b").header("x-request-uuid", "u-1");
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    };
    bodies.into_iter().zip(["/hooks/in?tenant=7", "/hooks/out", "/"]).map(request).collect()
}

/// In every genuine payload, and to be found nowhere else.
pub const PAYLOAD: &str = "payload-of-nobodys-business";

const CDR_SECRET: &str = "the key from the portal of CDR Manager";
const ACME_SECRET: &str = "the secret of acme";

/// A scheme with every part that a template knows.
fn acme() -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("x-acme-signature").prefix("v1=").hex())
        .timestamp(header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
        .id(header("x-acme-delivery"))
        .event(header("x-event-key"))
        .signed("{method} {path} {id}.{timestamp}.{body}")
        .secret(ACME_SECRET)
        .build("acme")
        .unwrap()
}

pub fn all() -> Vec<Subject> {
    let mut subjects = vec![
        Subject::new(CdrManager::new(CDR_SECRET).unwrap(), &[CDR_SECRET], shapes()),
        Subject::new(acme(), &[ACME_SECRET], shapes()),
        Subject::new(migrating(), &[ACME_SECRET, CDR_SECRET], shapes()),
    ];
    #[cfg(feature = "jwt")]
    subjects.push(connect());
    #[cfg(feature = "testing-sns")]
    subjects.push(sns());
    #[cfg(feature = "asymmetric")]
    subjects.extend(senders());
    subjects
}

/// The senders of the table, by the cases of its own test.
#[cfg(feature = "asymmetric")]
fn senders() -> impl Iterator<Item = Subject> {
    use crate::senders::{Bench, Case, cases};
    use tower_webhook::senders;

    let subject = |mut case: Case| {
        let sender = senders::all().find(|sender| sender.name == case.name).unwrap();
        let bench = Bench::new(sender, &case);
        let first = bench.sign(&case);
        let fields = case.signed_fields;
        let of_body = move |delivery: &Delivery| {
            let text = String::from_utf8_lossy(delivery.body());
            fields.iter().map(|name| ((*name).to_owned(), field(&text, name))).collect()
        };
        let scheme = bench.scheme.clone();
        let second = {
            case.request = another(&case.request);
            bench.sign(&case)
        };
        Subject::observed(scheme, &["a secret that everybody knows"], vec![first, second], of_body)
    };
    cases().into_iter().map(subject)
}

/// Another request of the same shape.
#[cfg(feature = "asymmetric")]
fn another(request: &Request<Bytes>) -> Request<Bytes> {
    let text = std::str::from_utf8(request.body()).unwrap();
    let body = match text.chars().next() {
        Some('{') => text.replacen('{', &format!(r#"{{"note":"{PAYLOAD}","more":17,"#), 1),
        Some('[') => text.replacen('{', &format!(r#"{{"note":"{PAYLOAD}","more":17,"#), 1),
        Some(_) => format!("{text}&note={PAYLOAD}"),
        None => String::new(),
    };
    request.clone().map(|_| body.into())
}

/// The values of a member, anywhere in a JSON text, or of a field of a form.
#[cfg(feature = "asymmetric")]
fn field(text: &str, name: &str) -> String {
    use serde_json::Value;

    fn collect(value: &Value, name: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get(name).map(Value::to_string));
                members.values().for_each(|value| collect(value, name, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, name, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    match serde_json::from_str::<Value>(text) {
        // Members of these names elsewhere mean nothing.
        Ok(value) => {
            let place = ["notificationItems", "signature", "value"].iter().find_map(|member| value.get(member));
            collect(place.unwrap_or(&value), name, &mut found);
        }
        // Of Braintree, which signs the text with and without its last line end.
        Err(_) => found.extend(text.split('&').filter_map(|pair| pair.split_once('=')).filter_map(|(field, value)| {
            let value = value.replace("%2b", "%2B").replace("%0a", "%0A").trim_end_matches("%0A").to_owned();
            (field == name && name != "bt_signature").then_some(value)
        })),
    }
    format!("{found:?}")
}

/// All of what Amazon signs of a notification is in the message's own type.
#[cfg(feature = "testing-sns")]
fn sns() -> Subject {
    use tower_webhook::sns::Notification;
    use tower_webhook::testing::FakeSns;
    use tower_webhook::{FromDelivery as _, Sns};

    let fake = FakeSns::new();
    let sns = Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).build().unwrap();
    let payload = |number| format!(r#"{{"number":{number},"note":"{PAYLOAD}"}}"#);
    let notify = |number: u32| fake.notification(payload(number)).at(signed_at());
    let messages = [notify(1), notify(2).subject("usage"), notify(3).subject("usage")];
    let genuine = messages.map(|message| message.post("/hook").map(|_| message.json().into())).to_vec();
    Subject::observed(sns, &[], genuine, |delivery| match Notification::<String>::from_delivery(delivery) {
        Ok(notification) => {
            let published = format!("{:?} {}", notification.subject, notification.message);
            vec![("message".into(), format!("{notification:?} {published}"))]
        }
        Err(_) => vec![("kind".into(), format!("{:?}", delivery.event()))],
    })
}

/// Two senders on one route; requests come from the second.
fn migrating() -> Migrating {
    Migrating(AnyOf::new([acme(), CdrManager::new(CDR_SECRET).unwrap()]).unwrap())
}

/// [`AnyOf`] does not sign; its senders do.
#[derive(Debug)]
struct Migrating(AnyOf<Scheme>);

impl Provider for Migrating {
    type Verification = <AnyOf<Scheme> as Provider>::Verification;

    fn name(&self) -> &tower_webhook::Text {
        self.0.name()
    }

    fn recognizes(&self, head: &http::request::Parts) -> tower_webhook::provider::Recognition {
        self.0.recognizes(head)
    }

    fn begin(
        &self,
        head: &http::request::Parts,
        clock: &dyn tower_webhook::Clock,
    ) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
        self.0.begin(head, clock)
    }

    fn receive(&self, verification: &mut Self::Verification, head: &http::request::Parts, chunk: &[u8]) {
        self.0.receive(verification, head, chunk);
    }

    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &http::request::Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.0.finish(verification, head, body, rest)
    }
}

impl Sign for Migrating {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, testing::SignError> {
        match request.uri().path() {
            "/" => acme().sign_at(request, now),
            _ => CdrManager::new(CDR_SECRET).unwrap().sign_at(request, now),
        }
    }
}

#[cfg(feature = "jwt")]
fn connect() -> Subject {
    use tower_webhook::connect::Trigger;
    use tower_webhook::{Connect, FromDelivery as _};

    let claims = |delivery: &Delivery| {
        let trigger: Trigger = Trigger::from_delivery(delivery).unwrap_or_default();
        let values = [
            ("webhook_id", trigger.webhook_id.clone()),
            ("product_id", trigger.product_id.clone()),
            ("account_id", trigger.account_id.clone()),
            ("api_url", trigger.api_url.clone()),
            ("triggered_at", trigger.triggered_at.as_ref().map(|time| time.as_str().to_owned())),
        ];
        let signed = values.into_iter().filter(|(name, _)| trigger.is_signed(name));
        signed.map(|(name, value)| (name.to_owned(), value.unwrap_or_default())).collect()
    };
    let body = |number: u32| {
        format!(
            r#"{{"webhook_id":"WH-{number}","product_id":"PRD-{number}","triggered_at":"2021-05-27T09:54:03+00:00",
                "api_url":"https://api.connect.test/","data":{{"a":[{number},2.5],"note":"{PAYLOAD}"}}}}"#
        )
    };
    let connect = Connect::new("the JWT secret").unwrap();
    let sign = |request: Request<Bytes>| connect.sign_at(request, signed_at()).unwrap();
    let post = |number| sign(Request::post("/connect").body(body(number).into()).unwrap());
    let get = sign(Request::get("/connect").body(body(3).into()).unwrap());
    Subject::observed(connect.clone(), &["the JWT secret"], vec![post(1), post(2), get], claims)
}
