//! What is stored of a delivery, and how its bytes are laid out.
//!
//! # Format
//!
//! A record is read without the database around it, by this version of the crate and by later ones:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the version of the format, 1 |
//! | 1 | the seal: 0 for CRC-32 (IEEE), 1 for HMAC-SHA-256 |
//! | any number of fields | tag (1 byte), length (LEB128, at most 5 bytes), value |
//! | 4 or 32 | the seal over all bytes before it; the CRC is little-endian |
//!
//! | tag | field | value |
//! |---|---|---|
//! | 1 | provider | UTF-8 |
//! | 2 | scope | UTF-8 |
//! | 3 | id | UTF-8 |
//! | 4 | event | UTF-8 |
//! | 5 | what the signature covers | 2 bytes, see [`Record::proven`] |
//! | 6 | index of the key | 2 bytes |
//! | 7 | the sender's timestamp | time |
//! | 8 | method | ASCII |
//! | 9 | URL | UTF-8 |
//! | 10 | a header, once per value | length of the name (LEB128), name, value |
//! | 11 | body | bytes |
//! | 12 | time of arrival | time |
//! | 13 | `traceparent` | UTF-8 |
//! | 14 | `tracestate` | UTF-8 |
//! | 15 | unique key | 32 bytes |
//! | 16 | order key | UTF-8 |
//! | 17 | what identifies the delivery, if that is an id | UTF-8 |
//! | 18 | who parsed the body during the verification (1: SNS, 2: Connect, 3: the claims of a token), and what they need beside it | 1 byte, bytes |
//!
//! Numbers are little-endian. A time is seconds since 1970 (8 bytes) and nanoseconds (4 bytes).
//! Fields that are absent are left out. A field that an older version can do without gets a new
//! tag, and unknown tags are skipped; anything else gets a new version, and older versions leave
//! such records alone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use crate::config::ConfigError;
use crate::text::Text;

/// The version of the format that is written.
pub const RECORD_VERSION: u8 = 1;

/// The longest order key that is stored as it is. Longer ones are replaced by their digest.
pub const MAX_ORDER_KEY: usize = 128;

/// The name of a delivery in a store: of two deliveries with the same one, the second is a
/// repetition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UniqueKey([u8; 32]);

impl UniqueKey {
    /// Creates a key from a digest of everything that makes the delivery what it is.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the half that our stores keep: for two keys by accident the same, 2^64 deliveries
    /// would be needed, and then the body's digest tells them apart.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn short(&self) -> &[u8; 16] {
        // The half of 32 is 16.
        match self.0.first_chunk() {
            Some(short) => short,
            None => unreachable!("a key is shorter than its type"),
        }
    }
}

/// Prints only the start: enough to tell keys apart in a log, too little to find a guessable id by.
impl fmt::Debug for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqueKey({}..)", hex::encode(&self.0[..3]))
    }
}

/// A verified request with what was proven about it.
#[derive(Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) provider: Text,
    /// The inbox that the delivery belongs to, such as an endpoint's path.
    pub(crate) scope: Text,
    pub(crate) id: Option<Text>,
    pub(crate) event: Option<Text>,
    /// What the signature covers, a bit each: 0 the body, 1 the timestamp, 2 the id, 3 the event, 4
    /// the URL. Then what is known of the sender: 5 it never repeats, 6 its bodies are unique,
    /// 7 it acts on answers. 8: the identity is a number.
    pub(crate) proven: u16,
    pub(crate) key_index: u16,
    pub(crate) timestamp: Option<SystemTime>,
    pub(crate) method: Method,
    pub(crate) url: Text,
    /// Only headers on the allow-list, never credentials.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) received_at: SystemTime,
    pub(crate) traceparent: Option<Text>,
    pub(crate) tracestate: Option<Text>,
    pub(crate) unique_key: UniqueKey,
    /// Whether no two bodies have the same key, which then stands for the body's digest.
    pub(crate) key_names_body: bool,
    pub(crate) order_key: Option<Text>,
    /// The id of [`Delivery::identity`](crate::Delivery::identity).
    pub(crate) identity: Option<Text>,
    /// What the payload's types need beside the body.
    pub(crate) parsed: Option<Bytes>,
}

impl Record {
    /// Returns a record of which nothing but the necessary is known.
    pub(crate) fn new(
        provider: Text,
        scope: Text,
        unique_key: UniqueKey,
        body: Bytes,
        received_at: SystemTime,
    ) -> Self {
        Self {
            provider,
            scope,
            id: None,
            event: None,
            proven: 0,
            key_index: 0,
            timestamp: None,
            method: Method::POST,
            url: Text::default(),
            headers: HeaderMap::new(),
            body,
            received_at,
            traceparent: None,
            tracestate: None,
            unique_key,
            key_names_body: false,
            order_key: None,
            identity: None,
            parsed: None,
        }
    }

    /// Sets the key of the deliveries that are handled one after the other.
    pub(crate) fn with_order_key(mut self, key: Text) -> Self {
        self.order_key = Some(shortened(key));
        self
    }

    /// Returns what a store gets.
    pub(crate) fn seal(&self, seal: &Seal) -> Entry {
        let mut body_digest = [0; 8];
        if self.key_names_body {
            body_digest.copy_from_slice(&self.unique_key.0[24..]);
        } else {
            body_digest.copy_from_slice(&Sha256::digest(&self.body)[..8]);
        }
        Entry {
            format: RECORD_VERSION,
            scope: self.scope.clone(),
            provider: self.provider.clone(),
            event: self.event.clone(),
            event_id: self.id.clone(),
            order_key: self.order_key.clone(),
            lane: None,
            unique_key: self.unique_key,
            body_digest: i64::from_le_bytes(body_digest),
            received_at: self.received_at,
            record: self.encode(seal).into(),
        }
    }

    fn encode(&self, seal: &Seal) -> Vec<u8> {
        // Room for the few short fields, so that the body is copied once.
        let mut out = Vec::with_capacity(self.body.len() + 1024);
        out.extend([RECORD_VERSION, seal.kind()]);
        let texts = [
            (tag::PROVIDER, Some(&self.provider)),
            (tag::SCOPE, Some(&self.scope)),
            (tag::ID, self.id.as_ref()),
            (tag::EVENT, self.event.as_ref()),
            (tag::URL, Some(&self.url)),
            (tag::TRACEPARENT, self.traceparent.as_ref()),
            (tag::TRACESTATE, self.tracestate.as_ref()),
            (tag::ORDER_KEY, self.order_key.as_ref()),
            (tag::IDENTITY, self.identity.as_ref()),
        ];
        for (tag, text) in texts {
            if let Some(text) = text {
                field(&mut out, tag, text.as_bytes());
            }
        }
        field(&mut out, tag::PROVEN, &self.proven.to_le_bytes());
        field(&mut out, tag::KEY_INDEX, &self.key_index.to_le_bytes());
        field(&mut out, tag::METHOD, self.method.as_str().as_bytes());
        field(&mut out, tag::UNIQUE_KEY, &self.unique_key.0);
        field(&mut out, tag::RECEIVED_AT, &time_bytes(self.received_at));
        if let Some(timestamp) = self.timestamp {
            field(&mut out, tag::TIMESTAMP, &time_bytes(timestamp));
        }
        if let Some(parsed) = &self.parsed {
            field(&mut out, tag::PARSED, parsed);
        }
        for (name, value) in &self.headers {
            let mut header = Vec::with_capacity(name.as_str().len() + value.len() + 2);
            length(&mut header, name.as_str().len());
            header.extend(name.as_str().as_bytes());
            header.extend(value.as_bytes());
            field(&mut out, tag::HEADER, &header);
        }
        field(&mut out, tag::BODY, &self.body);
        seal.close(&mut out);
        out
    }

    /// Reads a record. The body shares the bytes.
    ///
    /// # Errors
    ///
    /// [`RecordError::Unknown`] for a version that this one does not know, otherwise
    /// [`RecordError::Damaged`].
    pub(crate) fn decode(bytes: &Bytes, seal: &Seal) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&RECORD_VERSION) => {}
            Some(&version) if version > RECORD_VERSION => return Err(RecordError::Unknown(version)),
            _ => return Err(RecordError::Damaged("it has no version")),
        }
        let content = seal.open(bytes)?;
        let mut rest = Reader { bytes: &bytes[..content], at: 2 };
        let mut record = Self::new(
            Text::default(),
            Text::default(),
            UniqueKey([0; 32]),
            Bytes::new(),
            // Replaced below, as the unique key is.
            UNIX_EPOCH,
        );
        let mut seen = 0_u32;
        while let Some((tag, value)) = rest.field()? {
            if tag != tag::HEADER && tag < 32 {
                if seen & 1 << tag != 0 {
                    return Err(RecordError::Damaged("a field is there twice"));
                }
                seen |= 1 << tag;
            }
            match tag {
                tag::PROVIDER => record.provider = text(value)?,
                tag::SCOPE => record.scope = text(value)?,
                tag::ID => record.id = Some(text(value)?),
                tag::EVENT => record.event = Some(text(value)?),
                tag::URL => record.url = text(value)?,
                tag::TRACEPARENT => record.traceparent = Some(text(value)?),
                tag::TRACESTATE => record.tracestate = Some(text(value)?),
                tag::ORDER_KEY => record.order_key = Some(text(value)?),
                tag::IDENTITY => record.identity = Some(text(value)?),
                tag::PROVEN => record.proven = u16::from_le_bytes(exactly(value)?),
                tag::KEY_INDEX => record.key_index = u16::from_le_bytes(exactly(value)?),
                tag::METHOD => record.method = Method::from_bytes(value).map_err(|_| BAD_FIELD)?,
                tag::UNIQUE_KEY => record.unique_key = UniqueKey(exactly(value)?),
                tag::RECEIVED_AT => record.received_at = read_time(value)?,
                tag::TIMESTAMP => record.timestamp = Some(read_time(value)?),
                tag::HEADER => header(value, &mut record.headers)?,
                tag::PARSED => record.parsed = Some(Bytes::copy_from_slice(value)),
                tag::BODY => record.body = bytes.slice_ref(value),
                _ => {}
            }
        }
        let needed =
            [tag::PROVIDER, tag::SCOPE, tag::PROVEN, tag::UNIQUE_KEY, tag::RECEIVED_AT, tag::METHOD, tag::BODY];
        if needed.iter().any(|tag| seen & 1 << tag == 0) {
            return Err(RecordError::Damaged("a field is missing"));
        }
        Ok(record)
    }
}

/// Returns a name that is as different from others as this one, and not long.
pub(super) fn shortened(name: Text) -> Text {
    match name.len() {
        0..=MAX_ORDER_KEY => name,
        _ => hex::encode(Sha256::digest(name.as_bytes())).into(),
    }
}

/// Prints no header, no URL (whose query may hold a token) and no part of the body.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("provider", &self.provider)
            .field("scope", &self.scope)
            .field("event", &self.event)
            .field("unique_key", &self.unique_key)
            .field("received_at", &self.received_at)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// A delivery as a store gets it: a sealed record, and beside it what the store searches and orders
/// by.
///
/// Only the inbox makes one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The version of the record's format.
    pub format: u8,
    /// The inbox that the delivery belongs to.
    pub scope: Text,
    /// The name of the provider that verified it.
    pub provider: Text,
    /// The sender's name for the kind of event.
    pub event: Option<Text>,
    /// The sender's id of the event.
    pub event_id: Option<Text>,
    /// Deliveries of one scope with the same key are handled one after the other, in the order in
    /// which they were stored.
    pub order_key: Option<Text>,
    /// Without an order key: deliveries of one scope in the same lane wait for each other until the
    /// first attempt at one of them is over, so that no more than one of a lane is due. The
    /// oldest goes first.
    pub lane: Option<Text>,
    /// What a repetition is recognised by.
    pub unique_key: UniqueKey,
    /// The first 8 bytes of the body's SHA-256: two deliveries with one unique key and different
    /// digests are in conflict.
    pub body_digest: i64,
    /// When the delivery arrived.
    pub received_at: SystemTime,
    /// The sealed record.
    pub record: Bytes,
}

impl Entry {
    /// Returns what the delivery stands in line by.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn line(&self) -> Option<&Text> {
        self.order_key.as_ref().or(self.lane.as_ref())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("format", &self.format)
            .field("scope", &self.scope)
            .field("provider", &self.provider)
            .field("event", &self.event)
            .field("unique_key", &self.unique_key)
            .field("record", &format_args!("{} bytes", self.record.len()))
            .finish_non_exhaustive()
    }
}

/// Why a stored record cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record has version {0}, which this version of tower-webhook does not know")]
    Unknown(u8),
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

const BAD_FIELD: RecordError = RecordError::Damaged("a field cannot be read");

/// What protects a stored record.
///
/// The checksum finds what a disk or a memory changed by accident. With a key, a record is also
/// protected against anyone who can write to the database: without the key, nothing can be put
/// there that becomes a delivery. The state beside the record, such as the number of attempts, is
/// not covered.
#[derive(Clone, Default)]
pub struct Seal {
    /// The first one seals.
    keys: Arc<[Hmac<Sha256>]>,
}

impl Seal {
    /// Creates a seal that is a checksum.
    #[must_use]
    pub fn checksum() -> Self {
        Self::default()
    }

    /// Creates a seal that is an HMAC-SHA-256. Further keys are those of before: they are read and
    /// no longer written. Records with a checksum alone are then damaged.
    ///
    /// # Errors
    ///
    /// If there is no key, or one of less than 16 bytes.
    pub fn hmac<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Self, ConfigError> {
        const BAD_KEY: &str = "the key of stored records must have at least 16 bytes";
        let keyed = |key: K| match key.as_ref() {
            key if key.len() < MIN_KEY => Err(ConfigError::key(BAD_KEY)),
            key => Hmac::new_from_slice(key).map_err(|_| ConfigError::key(BAD_KEY)),
        };
        let keys: Arc<[_]> = keys.into_iter().map(keyed).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(ConfigError::missing("stored records need a key")) } else { Ok(Self { keys }) }
    }

    fn kind(&self) -> u8 {
        if self.keys.is_empty() { CRC } else { HMAC }
    }

    fn close(&self, bytes: &mut Vec<u8>) {
        match self.keys.first() {
            None => bytes.extend(crc32fast::hash(bytes).to_le_bytes()),
            Some(key) => {
                let mac = key.clone().chain_update(&*bytes).finalize().into_bytes();
                bytes.extend(&mac[..]);
            }
        }
    }

    /// Returns the length of the content before the seal.
    fn open(&self, bytes: &[u8]) -> Result<usize, RecordError> {
        const BROKEN: RecordError = RecordError::Damaged("its seal does not match");
        if bytes.get(1) != Some(&self.kind()) {
            return Err(RecordError::Damaged("it has another kind of seal"));
        }
        if self.keys.is_empty() {
            let (content, crc) = bytes.split_last_chunk::<4>().ok_or(BROKEN)?;
            if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
                return Err(BROKEN);
            }
            return Ok(content.len());
        }
        let (content, mac) = bytes.split_last_chunk::<32>().ok_or(BROKEN)?;
        let matches = |key: &Hmac<Sha256>| key.clone().chain_update(content).verify_slice(mac).is_ok();
        if self.keys.iter().any(matches) { Ok(content.len()) } else { Err(BROKEN) }
    }
}

/// Prints no key.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.keys.is_empty() { "Seal::Checksum" } else { "Seal::Hmac" })
    }
}

/// Shorter keys can be guessed.
const MIN_KEY: usize = 16;

const CRC: u8 = 0;
const HMAC: u8 = 1;

mod tag {
    pub(super) const PROVIDER: u8 = 1;
    pub(super) const SCOPE: u8 = 2;
    pub(super) const ID: u8 = 3;
    pub(super) const EVENT: u8 = 4;
    pub(super) const PROVEN: u8 = 5;
    pub(super) const KEY_INDEX: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const METHOD: u8 = 8;
    pub(super) const URL: u8 = 9;
    pub(super) const HEADER: u8 = 10;
    pub(super) const BODY: u8 = 11;
    pub(super) const RECEIVED_AT: u8 = 12;
    pub(super) const TRACEPARENT: u8 = 13;
    pub(super) const TRACESTATE: u8 = 14;
    pub(super) const UNIQUE_KEY: u8 = 15;
    pub(super) const ORDER_KEY: u8 = 16;
    pub(super) const IDENTITY: u8 = 17;
    pub(super) const PARSED: u8 = 18;
}

fn field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    length(out, value.len());
    out.extend(value);
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Reads fields one after the other; whatever the bytes are, it neither panics nor allocates.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Result<Option<(u8, &'a [u8])>, RecordError> {
        let Some(&tag) = self.bytes.get(self.at) else { return Ok(None) };
        self.at += 1;
        let length = self.length()?;
        let end = self.at.checked_add(length).ok_or(BAD_FIELD)?;
        let value = self.bytes.get(self.at..end).ok_or(BAD_FIELD)?;
        self.at = end;
        Ok(Some((tag, value)))
    }

    fn length(&mut self) -> Result<usize, RecordError> {
        let mut length = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.bytes.get(self.at).ok_or(BAD_FIELD)?;
            self.at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(BAD_FIELD)
    }
}

fn text(value: &[u8]) -> Result<Text, RecordError> {
    String::from_utf8(value.to_vec()).map(Text::from).map_err(|_| BAD_FIELD)
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], RecordError> {
    value.try_into().map_err(|_| BAD_FIELD)
}

fn header(value: &[u8], headers: &mut HeaderMap) -> Result<(), RecordError> {
    let mut reader = Reader { bytes: value, at: 0 };
    let length = reader.length()?;
    let (name, value) = value[reader.at..].split_at_checked(length).ok_or(BAD_FIELD)?;
    let name = HeaderName::from_bytes(name).map_err(|_| BAD_FIELD)?;
    let value = HeaderValue::from_bytes(value).map_err(|_| BAD_FIELD)?;
    headers.try_append(name, value).map(drop).map_err(|_| BAD_FIELD)
}

/// A time before 1970 is none that a sender or a clock means; it is stored as 1970.
fn time_bytes(time: SystemTime) -> [u8; 12] {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&since_epoch.as_secs().to_le_bytes());
    bytes[8..].copy_from_slice(&since_epoch.subsec_nanos().to_le_bytes());
    bytes
}

fn read_time(value: &[u8]) -> Result<SystemTime, RecordError> {
    let (seconds, nanos) = value.split_first_chunk::<8>().ok_or(BAD_FIELD)?;
    let nanos = u32::from_le_bytes(exactly(nanos)?);
    if nanos >= 1_000_000_000 {
        return Err(BAD_FIELD);
    }
    UNIX_EPOCH.checked_add(Duration::new(u64::from_le_bytes(*seconds), nanos)).ok_or(BAD_FIELD)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn texts() -> impl Strategy<Value = Text> {
        ".{0,20}".prop_map(Text::from)
    }

    fn times() -> impl Strategy<Value = SystemTime> {
        (0..1_u64 << 40, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    prop_compose! {
        fn records()(
            texts in (texts(), texts(), texts()),
            options in (option::of(texts()), option::of(texts()), option::of(texts()), option::of(texts())),
            order in option::of("[a-z]{0,300}"),
            numbers in (any::<u16>(), any::<u16>(), any::<[u8; 32]>()),
            times in (times(), option::of(times())),
            headers in vec(("[a-z][a-z-]{0,10}", vec(0x20..0x7f_u8, 0..20)), 0..5),
            method in "[A-Z]{3,7}",
            body in vec(any::<u8>(), 0..300),
            parsed in option::of(vec(any::<u8>(), 0..20)),
        ) -> Record {
            let mut record = Record::new(texts.0, texts.1, UniqueKey(numbers.2), body.into(), times.0);
            record.url = texts.2;
            record.parsed = parsed.map(Bytes::from);
            (record.id, record.event, record.traceparent, record.tracestate) = options;
            (record.proven, record.key_index, record.timestamp) = (numbers.0, numbers.1, times.1);
            record.method = Method::from_bytes(method.as_bytes()).unwrap();
            for (name, value) in headers {
                let name: HeaderName = name.parse().unwrap();
                record.headers.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            match order {
                Some(key) => record.with_order_key(key.into()),
                None => record,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_record_survives_a_round_trip(record in records(), keyed in any::<bool>()) {
            let seal = if keyed { hmac(&["new", "old"]) } else { Seal::checksum() };
            let read = Record::decode(&record.seal(&seal).record, &seal);
            prop_assert_eq!(read, Ok(record));
        }

        #[test]
        fn every_flipped_bit_and_every_cut_is_found(record in records(), keyed in any::<bool>()) {
            let seal = if keyed { hmac(&["key"]) } else { Seal::checksum() };
            let bytes = record.encode(&seal);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(Record::decode(&flipped.into(), &seal).is_err(), "bit {}", bit);
            }
            for length in 0..bytes.len() {
                let cut = Bytes::copy_from_slice(&bytes[..length]);
                prop_assert!(Record::decode(&cut, &seal).is_err(), "{} bytes", length);
            }
        }

        #[test]
        fn any_bytes_with_a_right_seal_are_read_or_refused_without_a_panic(content in vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![RECORD_VERSION, CRC];
            bytes.extend(content);
            Seal::checksum().close(&mut bytes);
            let _ = Record::decode(&bytes.into(), &Seal::checksum());
        }
    }

    fn hmac(keys: &[&str]) -> Seal {
        Seal::hmac(keys.iter().map(|key| key.repeat(8))).unwrap()
    }

    #[test]
    fn a_key_that_is_missing_or_short_is_refused_and_is_no_checksum() {
        assert!(Seal::hmac(Vec::<String>::new()).is_err());
        assert!(Seal::hmac(["sixteen bytes ok", "short"]).is_err());
    }

    fn sample() -> Record {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        let mut record =
            Record::new("stripe".into(), "/hooks".into(), UniqueKey([7; 32]), Bytes::from_static(b"{\"id\":1}"), at);
        record.id = Some("evt_1".into());
        record.event = Some("invoice.paid".into());
        (record.proven, record.key_index) = (0b11, 1);
        record.timestamp = Some(UNIX_EPOCH + Duration::from_secs(1_699_999_999));
        record.url = "/hooks?a=b".into();
        record.headers.append("content-type", HeaderValue::from_static("application/json"));
        record.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        record.with_order_key("cus_1".into())
    }

    /// A record as version 1 wrote it. It stays here for as long as such records may be stored
    /// anywhere.
    const GOLDEN: &str = concat!(
        "0100010673747269706502062f686f6f6b7303056576745f31040c696e766f6963652e70616964090a2f686f6f6b733f",
        "613d620d3730302d30616637363531393136636434336464383434386562323131633830333139632d62376164366237",
        "3136393230333333312d303110056375735f3105020300060201000804504f53540f2007070707070707070707070707",
        "070707070707070707070707070707070707070c0c00f153650000000005000000070cfff0536500000000000000000a",
        "1d0c636f6e74656e742d747970656170706c69636174696f6e2f6a736f6e0b087b226964223a317dc96524cf",
    );

    #[test]
    fn what_the_first_version_wrote_is_still_read() {
        let golden = Bytes::from(hex::decode(GOLDEN).unwrap());
        assert_eq!(Record::decode(&golden, &Seal::checksum()), Ok(sample()));
        assert_eq!(hex::encode(sample().encode(&Seal::checksum())), GOLDEN);
    }

    #[test]
    fn an_unknown_version_is_told_apart_from_damage_and_an_unknown_field_is_skipped() {
        let seal = Seal::checksum();
        let mut next = sample().encode(&seal);
        next[0] = 2;
        assert_eq!(Record::decode(&next.into(), &seal), Err(RecordError::Unknown(2)));
        let mut more = sample().encode(&seal);
        more.truncate(more.len() - 4);
        field(&mut more, 200, b"of a later version");
        seal.close(&mut more);
        assert_eq!(Record::decode(&more.into(), &seal), Ok(sample()));
    }

    #[test]
    fn a_key_rotates_and_neither_a_stranger_nor_a_checksum_passes_for_it() {
        let (old, new) = (hmac(&["old"]), hmac(&["new", "old"]));
        assert!(Record::decode(&sample().seal(&old).record, &new).is_ok());
        for forger in [hmac(&["other"]), Seal::checksum(), hmac(&["new"])] {
            let is_read = Record::decode(&sample().seal(&forger).record, &old).is_ok();
            assert!(!is_read, "{forger:?}");
        }
    }

    #[test]
    fn debug_shows_neither_body_nor_headers_nor_keys() {
        let seal = hmac(&["hunter2"]);
        let record = sample();
        let shown = format!("{record:?} {:?} {seal:?}", record.seal(&seal));
        for hidden in ["\"id\"", "application/json", "a=b", "hunter2", "evt_1", "0707070707"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }

    #[test]
    fn a_long_order_key_becomes_a_short_one_that_is_as_different() {
        let key = |text: &str| sample().with_order_key(text.to_owned().into()).order_key.unwrap();
        let long = "a".repeat(MAX_ORDER_KEY);
        assert_eq!(key(&long), *long);
        assert_eq!(key(&format!("{long}b")).len(), 64);
        assert_ne!(key(&format!("{long}b")), key(&format!("{long}c")));
    }
}
