//! HORISEN CDR Manager: notices that a report of call detail records is ready to be fetched.
//!
//! Source: <https://developers.horisen.com/en/webhook-integration>.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use http::uri::Scheme as UriScheme;
use http::{Method, Request, Uri};
use serde::Deserialize;

use crate::config::ConfigError;
use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::Rejection;
use crate::scheme::Scheme;
use crate::secrets::Secrets;
use crate::time::TimeFormat;

/// HORISEN CDR Manager, which signs each notice with HMAC-SHA512 over the raw body, in base64, in
/// `X-CDR-Signature`.
///
/// The key is the "Signature" field of the webhook's configuration in the platform. The notice has
/// no signed time and no id: a copy of it looks genuine for ever, and the token in it ends 24 hours
/// after its creation. Deliveries are told apart by their `callbackURL`.
///
/// ```
/// use tower_webhook::{CdrManager, WebhookLayer};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = WebhookLayer::new(CdrManager::new("the key from the portal")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CdrManager;

impl CdrManager {
    /// Creates the scheme with this key, or with several while they rotate.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no key, an empty one, or more than
    /// [`MAX_SECRETS`](crate::MAX_SECRETS).
    #[allow(clippy::new_ret_no_self, reason = "a short name for a scheme")]
    pub fn new(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
        super::builtin::cdr_manager(secrets)
    }
}

/// A notice that a CDR task has exported a report, or failed to.
///
/// Every member of the document is here; members that are absent or null are `None`, unknown ones
/// are ignored. `Debug` leaves out the address of the report, which holds an access token.
///
/// ```
/// use tower_webhook::cdr_manager::Report;
/// use tower_webhook::Webhook;
///
/// async fn on_report(Webhook(report): Webhook<Report>) {
///     match report.outcome() {
///         Ok(report) => println!("{:?} has {:?} lines", report.file_name, report.number_of_lines),
///         Err(failed) => eprintln!("task {:?}: {failed}", report.task_id),
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Report {
    /// The media type of the report, such as `application/zip`.
    pub content_type: Option<String>,
    /// The method to fetch the report with; the document knows `GET` alone.
    pub http_method: Option<String>,
    /// Where the report is.
    #[serde(rename = "callbackURL")]
    pub callback_url: Option<CallbackUrl>,
    /// When the token in the address ends, as it was written: RFC 3339 in UTC. See
    /// [`valid_until`](Self::valid_until).
    #[serde(rename = "validUntil")]
    pub valid_until_text: Option<String>,
    /// The report's file name, such as `tx00001.zip`.
    pub file_name: Option<String>,
    /// The report's size in bytes.
    pub file_size_in_bytes: Option<u64>,
    /// How many lines the report has.
    pub number_of_lines: Option<u64>,
    /// The number of the CDR task.
    pub task_id: Option<u64>,
    /// The name of the CDR task.
    pub task_name: Option<String>,
    /// Empty or absent on success, otherwise what went wrong. See [`outcome`](Self::outcome).
    pub error: Option<String>,
}

impl Report {
    /// Returns the report if the export succeeded, and otherwise the platform's error message. The
    /// members about the file mean nothing if it failed.
    ///
    /// # Errors
    ///
    /// [`ExportFailed`] where the platform says that the export failed.
    #[inline]
    pub fn outcome(&self) -> Result<&Self, ExportFailed<'_>> {
        match self.error.as_deref() {
            None | Some("") => Ok(self),
            Some(message) => Err(ExportFailed(message)),
        }
    }

    /// Returns when the token in the address ends, or `None` if the notice doesn't say so in RFC
    /// 3339.
    #[must_use]
    #[inline]
    pub fn valid_until(&self) -> Option<SystemTime> {
        TimeFormat::Rfc3339.parse(self.valid_until_text.as_deref()?.as_bytes())
    }

    /// Returns whether the token in the address has ended. False if the notice doesn't say when it
    /// does.
    #[must_use]
    #[inline]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.valid_until().is_some_and(|end| end <= now)
    }

    /// Returns the request that fetches the report, for any HTTP client: over https only, and only
    /// from one of these hosts.
    ///
    /// A host is a name, which stands for port 443, or `name:port`. The address is signed; the list
    /// keeps a stolen key from pointing you at your own network.
    ///
    /// ```
    /// # let report: tower_webhook::cdr_manager::Report =
    /// #     serde_json::from_str(r#"{"httpMethod":"GET","callbackURL":"https://cdr.example.test/r/1?t=2"}"#).unwrap();
    /// let request: http::Request<()> = report.download_request(["cdr.example.test"])?.into();
    /// assert_eq!(request.uri().host(), Some("cdr.example.test"));
    /// # Ok::<_, tower_webhook::cdr_manager::DownloadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Where the export failed, or the method, scheme or host is not acceptable.
    pub fn download_request<H: AsRef<str>>(
        &self,
        hosts: impl IntoIterator<Item = H>,
    ) -> Result<DownloadRequest, DownloadError> {
        if self.outcome().is_err() {
            return Err(DownloadError::ExportFailed);
        }
        if self.http_method.as_deref() != Some(Method::GET.as_str()) {
            return Err(DownloadError::Method);
        }
        let url = self.callback_url.as_ref().ok_or(DownloadError::Address)?;
        let uri: Uri = url.0.parse().map_err(|_| DownloadError::Address)?;
        if uri.scheme() != Some(&UriScheme::HTTPS) {
            return Err(DownloadError::NotHttps);
        }
        let authority = uri.authority().ok_or(DownloadError::Address)?;
        if authority.as_str().contains('@') {
            return Err(DownloadError::Address);
        }
        let port = if authority.as_str().len() > authority.host().len() {
            authority.port_u16().ok_or(DownloadError::Address)?
        } else {
            443
        };
        let listed = hosts.into_iter().any(|listed| {
            let (name, listed_port) = match listed.as_ref().rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
                _ => (listed.as_ref(), Some(443)),
            };
            listed_port == Some(port) && name.eq_ignore_ascii_case(authority.host())
        });
        if !listed {
            return Err(DownloadError::Host);
        }
        Ok(DownloadRequest(uri))
    }
}

impl FromDelivery for Report {
    #[inline]
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        json(delivery.body())
    }
}

/// The address of a report. It holds an access token, so `Debug` prints no part of it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct CallbackUrl(String);

impl CallbackUrl {
    /// Returns the address with its token: keep it out of logs.
    #[must_use]
    #[inline]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallbackUrl {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackUrl(..)")
    }
}

/// A request for a report. It becomes an [`http::Request`] of any body type; until then its token
/// stays out of `Debug`.
#[derive(Clone)]
pub struct DownloadRequest(Uri);

impl<B: Default> From<DownloadRequest> for Request<B> {
    #[inline]
    fn from(request: DownloadRequest) -> Self {
        let mut http = Request::new(B::default());
        *http.uri_mut() = request.0;
        http
    }
}

impl fmt::Debug for DownloadRequest {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DownloadRequest(GET https://{}/..)", self.0.host().unwrap_or_default())
    }
}

/// The platform could not export the report. Displays its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportFailed<'a>(&'a str);

impl fmt::Display for ExportFailed<'_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for ExportFailed<'_> {}

/// Why a report cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no report: see [`Report::outcome`].
    ExportFailed,
    /// The notice asks for another method than the documented `GET`.
    Method,
    /// The address is missing or malformed.
    Address,
    /// The address is not https.
    NotHttps,
    /// The host is not on the list.
    Host,
}

impl fmt::Display for DownloadError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExportFailed => "the export failed, so there is no report",
            Self::Method => "the report is not to be fetched with GET",
            Self::Address => "the address of the report is missing or malformed",
            Self::NotHttps => "the address of the report is not https",
            Self::Host => "the host of the report is not on the list",
        })
    }
}

impl Error for DownloadError {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn report(text: &str) -> Report {
        serde_json::from_str(text).unwrap()
    }

    const DOCUMENTED: &str = r#"{"contentType":"application\/zip","httpMethod":"GET",
        "callbackURL":"https:\/\/cdr.example.test\/report\/abc?token=s3cret","validUntil":"2023-01-10T10:02:27Z",
        "fileName":"tx00001.zip","fileSizeInBytes":18446744073709551615,"numberOfLines":42,"taskId":7,
        "taskName":"hourly","error":""}"#;

    #[test]
    fn the_documented_members_are_read() {
        let report = report(DOCUMENTED);
        assert_eq!(report.content_type.as_deref(), Some("application/zip"));
        assert_eq!(report.file_size_in_bytes, Some(u64::MAX));
        assert_eq!((report.number_of_lines, report.task_id), (Some(42), Some(7)));
        assert_eq!(report.task_name.as_deref(), Some("hourly"));
        assert_eq!(report.file_name.as_deref(), Some("tx00001.zip"));
        let end = UNIX_EPOCH + Duration::from_secs(1_673_344_947);
        assert_eq!(report.valid_until(), Some(end));
        assert!(report.is_expired(end) && !report.is_expired(end - Duration::from_nanos(1)));
        assert!(report.outcome().is_ok());
    }

    #[test]
    fn unknown_and_null_members_are_no_fault() {
        let report = report(r#"{"error":"disk full","callbackURL":null,"validUntil":"","later":[1],"taskId":null}"#);
        assert_eq!(report.outcome().unwrap_err().to_string(), "disk full");
        assert_eq!(report.valid_until(), None);
        assert!(!report.is_expired(SystemTime::UNIX_EPOCH));
        assert_eq!(report.download_request(["x"]).unwrap_err(), DownloadError::ExportFailed);
    }

    #[test]
    fn the_token_is_in_no_debug_text() {
        let report = report(DOCUMENTED);
        let request = report.download_request(["cdr.example.test"]).unwrap();
        assert!(!format!("{report:?} {request:?}").contains("s3cret"));
        let request: Request<()> = request.into();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.uri(), "https://cdr.example.test/report/abc?token=s3cret");
    }

    #[test]
    fn only_https_to_a_listed_host_is_fetched() {
        let attempt = |url: &str, host: &str| {
            let url = Some(CallbackUrl(url.into()));
            let report = Report { callback_url: url, http_method: Some("GET".into()), ..Report::default() };
            report.download_request([host]).map(|_| ())
        };
        let host = "cdr.example.test";
        assert_eq!(attempt("https://cdr.example.test/r", host), Ok(()));
        assert_eq!(attempt("https://CDR.example.test/r", host), Ok(()));
        assert_eq!(attempt("https://cdr.example.test:443/r", host), Ok(()));
        assert_eq!(attempt("https://cdr.example.test:8443/r", "cdr.example.test:8443"), Ok(()));
        assert_eq!(attempt("https://cdr.example.test:8443/r", host), Err(DownloadError::Host));
        assert_eq!(attempt("https://[::1]/r", "[::1]:443"), Ok(()));
        assert_eq!(attempt("https://[::1]/r", host), Err(DownloadError::Host));
        assert_eq!(attempt("http://cdr.example.test/r", host), Err(DownloadError::NotHttps));
        assert_eq!(attempt("https://cdr.example.test.evil.test/r", host), Err(DownloadError::Host));
        assert_eq!(attempt("https://cdr.example.test@evil.test/r", host), Err(DownloadError::Address));
        assert_eq!(attempt("https://cdr.example.test:99999/r", host), Err(DownloadError::Address));
        assert_eq!(attempt("/r", host), Err(DownloadError::NotHttps));
        let post = Report { http_method: Some("DELETE".into()), ..report(DOCUMENTED) };
        assert_eq!(post.download_request([host]).unwrap_err(), DownloadError::Method);
    }
}
