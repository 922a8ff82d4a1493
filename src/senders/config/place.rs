//! Where in a request something is, as data.

use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::scheme::{self, SignatureSpec, Source, TimestampSpec};

/// A place, and how what is there is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Place {
    header: Option<String>,
    numbered_headers: Option<String>,
    query: Option<String>,
    form: Option<String>,
    json: Option<String>,
    bearer: bool,
    basic: bool,
    path_segment: bool,
    #[cfg(feature = "jwt")]
    body: bool,
    prefix: Option<String>,
    list: Option<String>,
    encoding: Option<Written>,
    behind: Option<char>,
    format: Option<Format>,
    tolerance_seconds: Option<u64>,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written {
    Hex,
    HexAnyCase,
    Base64,
    Base64url,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    UnixSeconds,
    UnixMillis,
    Rfc3339,
}

impl From<Written> for Encoding {
    #[inline]
    fn from(written: Written) -> Self {
        match written {
            Written::Hex => Self::Hex,
            Written::HexAnyCase => Self::HexAnyCase,
            Written::Base64 => Self::Base64,
            Written::Base64url => Self::Base64Url,
        }
    }
}

impl Place {
    /// The place of an id, an event or a token.
    #[inline]
    pub(super) fn source(self) -> Result<Source, ConfigError> {
        self.only(false, false)?;
        self.place()
    }

    #[inline]
    pub(super) fn signature(self) -> Result<SignatureSpec, ConfigError> {
        self.only(true, false)?;
        let missing = || ConfigError::missing("`encoding` is missing: hex, base64 or base64url");
        let encoding = self.encoding.ok_or_else(missing)?.into();
        let behind = self.behind;
        let signature = self.place()?.encoded(encoding);
        Ok(match behind {
            Some(separator) => signature.behind(separator),
            None => signature,
        })
    }

    #[inline]
    pub(super) fn timestamp(self) -> Result<TimestampSpec, ConfigError> {
        self.only(false, true)?;
        let (format, tolerance) = (self.format, self.tolerance_seconds);
        let place = self.place()?;
        let timestamp = match format {
            Some(Format::UnixSeconds) => place.unix_seconds(),
            Some(Format::UnixMillis) => place.unix_millis(),
            Some(Format::Rfc3339) => place.rfc3339(),
            None => return Err(ConfigError::missing("`format` is missing: unix_seconds, unix_millis or rfc3339")),
        };
        Ok(match tolerance {
            Some(seconds) => timestamp.within(Duration::from_secs(seconds)),
            None => timestamp,
        })
    }

    /// Refuses what only signatures or only timestamps have.
    #[inline]
    fn only(&self, encoded: bool, timed: bool) -> Result<(), ConfigError> {
        let misplaced = [
            ("encoding", self.encoding.is_some() && !encoded),
            ("behind", self.behind.is_some() && !encoded),
            ("format", self.format.is_some() && !timed),
            ("tolerance_seconds", self.tolerance_seconds.is_some() && !timed),
        ];
        match misplaced.iter().find(|(_, misplaced)| *misplaced) {
            Some((key, _)) => Err(ConfigError::conflict(format!("`{key}` means nothing here")).with_setting(key)),
            None => Ok(()),
        }
    }

    #[inline]
    fn place(self) -> Result<Source, ConfigError> {
        let places = [
            ("header", self.header.map(scheme::header)),
            ("numbered_headers", self.numbered_headers.map(scheme::numbered_headers)),
            ("query", self.query.map(scheme::query)),
            ("form", self.form.map(scheme::form)),
            ("json", self.json.map(scheme::json)),
            ("bearer", self.bearer.then(scheme::bearer)),
            ("basic", self.basic.then(scheme::basic)),
            ("path_segment", self.path_segment.then(scheme::path_segment)),
            #[cfg(feature = "jwt")]
            ("body", self.body.then(scheme::body)),
        ];
        let mut places = places.into_iter().filter_map(|(key, place)| Some((key, place?)));
        let Some((key, mut place)) = places.next() else {
            return Err(ConfigError::missing("there is no place: one of header, query, form or json is needed"));
        };
        if let Some((other, _)) = places.next() {
            return Err(ConfigError::conflict(format!("`{key}` and `{other}` are two places")).with_setting(other));
        }
        place.check().map_err(|error| error.with_setting(key))?;
        if let Some(prefix) = self.prefix {
            place = place.prefix(prefix);
        }
        if let Some(separators) = self.list {
            if !(1..=2).contains(&separators.len()) {
                let message = "a list has one separator, or two if it is a list of lists";
                return Err(ConfigError::invalid(message).with_setting("list"));
            }
            place = separators.chars().fold(place, Source::list);
            place.check().map_err(|error| error.with_setting("list"))?;
        }
        Ok(place)
    }
}
