//! What the page shows: one form for what is stored and for what was recorded.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;

use crate::delivery::Signed;
#[cfg(feature = "inbox")]
use crate::inbox::{DeliveryId, Filter, Inbox, InboxError, Page, Replay, State, StoredDelivery, Summary};
use crate::inspect::recorder::{Exchange, ExchangeState, Recorder};
use crate::text::Text;
use crate::time::TimeFormat;

use super::export::Written;

/// How many stored deliveries one search reads.
#[cfg(feature = "inbox")]
const MOST_READ: usize = 500;

/// Where the deliveries are.
#[derive(Clone)]
pub(super) enum Source {
    Recorder(Recorder),
    /// Inboxes of one store, which numbers their deliveries.
    #[cfg(feature = "inbox")]
    Inboxes(Vec<Inbox<()>>),
}

/// What is listed.
pub(super) struct Query {
    pub(super) state: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) event: Option<String>,
    /// Anything in it: an id, a reason, the payload.
    pub(super) text: Option<String>,
    pub(super) before: Option<i64>,
    pub(super) limit: usize,
}

/// One delivery in the list.
#[derive(Serialize)]
pub(super) struct Row {
    id: i64,
    state: &'static str,
    provider: Option<Text>,
    event: Option<Text>,
    event_id: Option<Text>,
    received_at: Option<String>,
    bytes: u64,
    attempts: u32,
    /// What happened, in one line.
    note: Option<String>,
}

/// A page of the list.
#[derive(Serialize)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// Where the next page starts, if there may be one.
    next: Option<i64>,
}

/// What there is.
#[derive(Serialize)]
pub(super) struct Overview {
    source: &'static str,
    states: Vec<(&'static str, u64)>,
    paused: bool,
}

/// One delivery.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    row: Row,
    method: String,
    url: Text,
    headers: Vec<(String, String)>,
    body_bytes: u64,
    /// How much of the body is here.
    kept_bytes: usize,
    signed: Option<ShownSigned>,
    facts: Vec<(&'static str, String)>,
    reason: Option<String>,
    explanation: Vec<String>,
    past: Vec<Past>,
    curl: Option<String>,
    can_replay: bool,
}

/// What the signature covers.
#[derive(Serialize)]
struct ShownSigned {
    body: bool,
    timestamp: bool,
    id: bool,
    event: bool,
    url: bool,
}

/// An attempt that failed.
#[derive(Serialize)]
struct Past {
    attempt: u32,
    ended_at: Option<String>,
    detail: String,
}

/// The bytes of one delivery.
pub(super) struct Raw {
    /// Whether the body is here to its end.
    pub(super) is_whole: bool,
    provider: Option<Text>,
    method: Method,
    url: Text,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What became of a replay.
pub(super) enum Replayed {
    Done(String),
    NeedsForce,
    Failed(String),
    Unknown,
}

/// The source failed.
pub(super) struct SourceError(pub(super) String);

type Result<T> = std::result::Result<T, SourceError>;

impl Source {
    pub(super) async fn overview(&self) -> Result<Overview> {
        match self {
            Self::Recorder(recorder) => {
                let exchanges = recorder.before(u64::MAX);
                let count = |state| exchanges.iter().filter(|exchange| exchange.state == state).count() as u64;
                let states = ExchangeState::ALL.map(|state| (state.as_str(), count(state))).into();
                Ok(Overview { source: "recorder", states, paused: false })
            }
            #[cfg(feature = "inbox")]
            Self::Inboxes(inboxes) => {
                let (mut states, mut paused) = (State::ALL.map(|state| (state.as_str(), 0)), false);
                for inbox in inboxes {
                    let mut stats = inbox.stats().await?;
                    for (state, (_, count)) in State::ALL.into_iter().zip(&mut states) {
                        *count += *stats.of(state);
                    }
                    paused |= stats.paused;
                }
                Ok(Overview { source: "inbox", states: states.into(), paused })
            }
        }
    }

    pub(super) async fn list(&self, query: &Query) -> Result<Rows> {
        match self {
            Self::Recorder(recorder) => Ok(list_recorded(recorder, query)),
            #[cfg(feature = "inbox")]
            Self::Inboxes(inboxes) => list_all_stored(inboxes, query).await,
        }
    }

    pub(super) async fn show(&self, id: i64) -> Result<Option<Shown>> {
        Ok(match self {
            Self::Recorder(recorder) => {
                let exchange = u64::try_from(id).ok().and_then(|id| recorder.find(id));
                exchange.map(|exchange| show_recorded(&exchange, recorder.can_replay(&exchange)))
            }
            #[cfg(feature = "inbox")]
            Self::Inboxes(inboxes) => find_stored(inboxes, id).await?.map(show_stored),
        })
    }

    pub(super) async fn raw(&self, id: i64) -> Result<Option<Raw>> {
        Ok(match self {
            Self::Recorder(recorder) => u64::try_from(id).ok().and_then(|id| recorder.get(id)).map(Raw::from),
            #[cfg(feature = "inbox")]
            Self::Inboxes(inboxes) => find_stored(inboxes, id).await?.map(Raw::from),
        })
    }

    pub(super) async fn replay(&self, id: i64, force: bool) -> Result<Replayed> {
        Ok(match self {
            Self::Recorder(recorder) => {
                let Ok(id) = u64::try_from(id) else { return Ok(Replayed::Unknown) };
                match recorder.find(id) {
                    None => Replayed::Unknown,
                    Some(exchange) if exchange.state == ExchangeState::Handled && !force => Replayed::NeedsForce,
                    Some(_) => match recorder.replay(id).await {
                        None => Replayed::Failed(
                            "only what was verified and kept whole can be replayed, if something is set up for it"
                                .to_owned(),
                        ),
                        Some(Ok(status)) => Replayed::Done(format!("Replayed: answered {}", status.as_u16())),
                        Some(Err(error)) => Replayed::Failed(error),
                    },
                }
            }
            #[cfg(feature = "inbox")]
            Self::Inboxes(inboxes) => {
                for inbox in inboxes {
                    return Ok(match inbox.replay(DeliveryId(id), force).await? {
                        Replay::Queued => Replayed::Done("It is handled again".to_owned()),
                        Replay::AfterAttempt => {
                            Replayed::Done("It is handled again after the attempt that runs".to_owned())
                        }
                        Replay::AlreadyDone => Replayed::NeedsForce,
                        Replay::Unknown => continue,
                    });
                }
                Replayed::Unknown
            }
        })
    }
}

impl Raw {
    pub(super) fn http(&self) -> Vec<u8> {
        self.written().http()
    }

    fn written(&self) -> Written<'_> {
        Written { method: &self.method, url: &self.url, headers: &self.headers, body: &self.body }
    }

    /// Returns the start of a file's name, of letters that no file system minds.
    pub(super) fn file_name(&self, id: i64) -> String {
        let provider: String = self.provider.as_deref().unwrap_or("delivery").chars().filter(is_harmless).collect();
        format!("{provider}-{id}")
    }
}

fn is_harmless(char: &char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

impl From<Exchange> for Raw {
    fn from(exchange: Exchange) -> Self {
        let is_whole = exchange.body_bytes == exchange.body.len() as u64;
        let Exchange { provider, method, url, headers, body, .. } = exchange;
        Self { is_whole, provider, method, url, headers, body }
    }
}

#[cfg(feature = "inbox")]
impl From<StoredDelivery> for Raw {
    fn from(stored: StoredDelivery) -> Self {
        let StoredDelivery { summary, method, url, headers, body, .. } = stored;
        Self { is_whole: true, provider: Some(summary.provider), method, url, headers, body }
    }
}

#[cfg(feature = "inbox")]
impl From<InboxError> for SourceError {
    fn from(error: InboxError) -> Self {
        crate::observe::inbox_store_failure("inspect", &error);
        Self(error.to_string())
    }
}

fn list_recorded(recorder: &Recorder, query: &Query) -> Rows {
    let is = |wanted: &Option<String>, text: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == text);
    let before = query.before.map_or(u64::MAX, i64::unsigned_abs);
    let exchanges = recorder.before(before);
    let mut found = exchanges.iter().filter(|exchange| {
        is(&query.state, Some(exchange.state.as_str()))
            && is(&query.provider, exchange.provider.as_deref())
            && is(&query.event, exchange.event.as_deref())
            && query.text.as_ref().is_none_or(|text| exchange_holds(exchange, text))
    });
    let rows: Vec<_> = found.by_ref().take(query.limit).map(|exchange| recorded_row(exchange)).collect();
    let next = found.next().and(rows.last().map(|row| row.id));
    Rows { rows, next }
}

fn exchange_holds(exchange: &Exchange, text: &str) -> bool {
    let texts = [
        exchange.provider.as_deref(),
        exchange.event.as_deref(),
        exchange.event_id.as_deref(),
        Some(&*exchange.url),
        exchange.detail.as_deref(),
        exchange.reason.as_ref().map(|reason| reason.as_str()),
    ];
    texts.into_iter().flatten().any(|own| holds(own.as_bytes(), text)) || holds(&exchange.body, text)
}

/// Returns whether the text is in the bytes, in whatever case.
fn holds(bytes: &[u8], text: &str) -> bool {
    let Some((first, rest)) = text.as_bytes().split_first() else { return true };
    // Looking for one byte first takes a fraction of the time.
    let starts = bytes.iter().enumerate().filter(|(_, byte)| byte.eq_ignore_ascii_case(first));
    starts
        .map(|(at, _)| &bytes[at + 1..])
        .any(|after| after.get(..rest.len()).is_some_and(|after| after.eq_ignore_ascii_case(rest)))
}

fn recorded_row(exchange: &Exchange) -> Row {
    let refused = exchange.reason.map(|reason| match &exchange.detail {
        Some(detail) => format!("{reason}: {detail}"),
        None => reason.to_string(),
    });
    let answered = exchange.status.map(|status| format!("answered {}", status.as_u16()));
    Row {
        id: exchange.id.try_into().unwrap_or(i64::MAX),
        state: exchange.state.as_str(),
        provider: exchange.provider.clone(),
        event: exchange.event.clone(),
        event_id: exchange.event_id.clone(),
        received_at: rfc3339(Some(exchange.received_at)),
        bytes: exchange.body_bytes,
        attempts: exchange.attempts,
        note: exchange.explanation.first().cloned().or(refused).or_else(|| exchange.detail.clone()).or(answered),
    }
}

fn show_recorded(exchange: &Exchange, can_replay: bool) -> Shown {
    let mut facts = vec![("Took", format!("{:.1} ms", exchange.took.as_secs_f64() * 1000.0))];
    if let Some(status) = exchange.status {
        facts.push(("Answer", status.to_string()));
    }
    if exchange.signed.is_some() {
        facts.extend(proven(exchange.key_index, exchange.timestamp));
    }
    facts.extend(exchange.replayed.clone().map(|replayed| ("Last replay", replayed)));
    let reason = exchange.reason.map(|reason| match &exchange.detail {
        Some(detail) => format!("{reason}: {detail}"),
        None => reason.to_string(),
    });
    let raw = Raw::from(exchange.clone());
    Shown {
        row: recorded_row(exchange),
        method: exchange.method.to_string(),
        url: exchange.url.clone(),
        headers: shown_headers(&exchange.headers),
        body_bytes: exchange.body_bytes,
        kept_bytes: exchange.body.len(),
        signed: exchange.signed.map(ShownSigned::from),
        facts,
        reason: reason.or_else(|| exchange.detail.clone()),
        explanation: exchange.explanation.clone(),
        past: Vec::new(),
        curl: raw.written().curl().filter(|_| raw.is_whole),
        can_replay,
    }
}

#[cfg(feature = "inbox")]
async fn find_stored(inboxes: &[Inbox<()>], id: i64) -> Result<Option<StoredDelivery>> {
    for inbox in inboxes {
        if let Some(stored) = inbox.get(DeliveryId(id)).await? {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

#[cfg(feature = "inbox")]
async fn list_all_stored(inboxes: &[Inbox<()>], query: &Query) -> Result<Rows> {
    let mut all = Rows { rows: Vec::new(), next: None };
    for inbox in inboxes {
        let Rows { rows, next } = list_stored(inbox, query).await?;
        all.rows.extend(rows);
        all.next = all.next.max(next);
    }
    all.rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    // The next page starts where the first inbox stopped, and has what others found below that.
    all.rows.retain(|row| all.next.is_none_or(|next| row.id >= next));
    if all.rows.len() > query.limit {
        all.rows.truncate(query.limit);
        all.next = all.rows.last().map(|row| row.id);
    }
    Ok(all)
}

#[cfg(feature = "inbox")]
async fn list_stored(inbox: &Inbox<()>, query: &Query) -> Result<Rows> {
    let state = match query.state.as_deref() {
        Some(name) => match State::from_name(name) {
            Some(state) => Some(state),
            None => return Ok(Rows { rows: Vec::new(), next: None }),
        },
        None => None,
    };
    let text = |text: &Option<String>| text.clone().map(Text::from);
    let filter = Filter { state, provider: text(&query.provider), event: text(&query.event), ..Filter::default() };
    let before = query.before.map(DeliveryId);
    let Some(text) = &query.text else {
        let limit = query.limit.try_into().unwrap_or(u32::MAX);
        let listing = inbox.list(filter, Page { before, limit }).await?;
        let rows = listing.deliveries.iter().map(stored_row).collect();
        return Ok(Rows { rows, next: listing.next.map(|next| next.0) });
    };
    // No index knows what is in a payload, so a bounded number of them is read.
    let page = Page { before, limit: MOST_READ.try_into().unwrap_or(u32::MAX) };
    let listing = inbox.list(filter, page).await?;
    let (mut rows, mut next) = (Vec::new(), listing.next.map(|next| next.0));
    for summary in &listing.deliveries {
        let own = [Some(&*summary.provider), summary.event.as_deref(), summary.event_id.as_deref()];
        let failure = summary.last_failure.as_ref().map(|failure| &*failure.detail);
        let mut is_found = own.into_iter().flatten().chain(failure).any(|own| holds(own.as_bytes(), text));
        if !is_found {
            // One that is damaged holds nothing.
            let stored = inbox.get(summary.id).await.ok().flatten();
            is_found = stored.is_some_and(|stored| holds(&stored.body, text) || holds(stored.url.as_bytes(), text));
        }
        if is_found {
            rows.push(stored_row(summary));
        }
        if rows.len() == query.limit {
            next = Some(summary.id.0);
            break;
        }
    }
    Ok(Rows { rows, next })
}

#[cfg(feature = "inbox")]
fn stored_row(summary: &Summary) -> Row {
    // What failed before it succeeded is among the past attempts.
    let last_failure = summary.last_failure.as_ref().filter(|_| summary.state != State::Done);
    let failure = last_failure.map(|failure| match failure.kind.as_str() {
        "handler" | "refused" => failure.detail.clone(),
        kind => format!("{kind}: {}", failure.detail),
    });
    Row {
        id: summary.id.0,
        state: summary.state.as_str(),
        provider: Some(summary.provider.clone()),
        event: summary.event.clone(),
        event_id: summary.event_id.clone(),
        received_at: rfc3339(Some(summary.received_at)),
        bytes: summary.record_bytes,
        attempts: summary.attempts,
        note: failure,
    }
}

#[cfg(feature = "inbox")]
fn show_stored(stored: StoredDelivery) -> Shown {
    let summary = &stored.summary;
    let times = [("Due", summary.due_at), ("Ended", summary.ended_at)];
    let mut facts: Vec<_> = times.into_iter().filter_map(|(name, time)| Some((name, rfc3339(time)?))).collect();
    facts.extend(proven(stored.key_index, stored.timestamp));
    let texts = [("Order key", &summary.order_key), ("Trace", &stored.traceparent)];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?.to_string()))));
    let past = stored.past.iter().map(|attempt| Past {
        attempt: attempt.number,
        ended_at: rfc3339(Some(attempt.ended_at)),
        detail: match &attempt.failure {
            Some(failure) => format!("{}: {}", failure.kind.as_str(), failure.detail),
            None => "succeeded".to_owned(),
        },
    });
    let row = stored_row(summary);
    let (reason, headers, past) = (row.note.clone(), shown_headers(&stored.headers), past.collect());
    let (method, url, signed) = (stored.method.to_string(), stored.url.clone(), Some(stored.signed.into()));
    let raw = Raw::from(stored);
    Shown {
        row,
        method,
        url,
        headers,
        body_bytes: raw.body.len() as u64,
        kept_bytes: raw.body.len(),
        signed,
        facts,
        reason,
        explanation: Vec::new(),
        past,
        curl: raw.written().curl(),
        can_replay: true,
    }
}

fn proven(key_index: usize, timestamp: Option<SystemTime>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(rfc3339(timestamp).map(|time| ("Signed at", time)));
    if key_index > 0 {
        facts.push(("Key", format!("number {} of the list: an older one", key_index + 1)));
    }
    facts
}

fn shown_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

fn rfc3339(time: Option<SystemTime>) -> Option<String> {
    TimeFormat::Rfc3339.format(time?)
}

impl From<Signed> for ShownSigned {
    fn from(signed: Signed) -> Self {
        let Signed { body, timestamp, id, event, url } = signed;
        Self { body, timestamp, id, event, url }
    }
}
