//! Where certificates are and where subscriptions are confirmed.

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::config::ConfigError;

use super::arn::TopicArn;

/// An emulator or a stand-in in place of the SNS of Amazon: where it is, and what its certificate is checked for.
///
/// **This replaces the anchor of trust**: whoever answers at this address decides which messages are genuine, so it is for
/// tests and for emulators on the own machine. Certificates are taken from there and confirmations go there; every other
/// rule stays.
///
/// ```
/// use tower_webhook::sns::LocalSns;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// // LocalStack.
/// let local = LocalSns::new("http://127.0.0.1:4566")?.path_prefix("/_aws/sns/");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalSns {
    scheme: Scheme,
    authority: Authority,
    path_prefix: String,
    name: Option<String>,
    check_validity: bool,
}

impl LocalSns {
    /// The SNS at this origin: `http` or `https`, host and port, nothing else.
    ///
    /// # Errors
    ///
    /// Where it is not an origin.
    pub fn new(origin: &str) -> Result<Self, ConfigError> {
        let fault = || ConfigError::invalid("the local SNS is not an origin such as http://127.0.0.1:4566");
        let uri: Uri = origin.parse().map_err(|_| fault())?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS).ok_or_else(fault)?;
        let authority = parts.authority.filter(|it| !it.as_str().contains('@')).ok_or_else(fault)?;
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        bare.then_some(Self { scheme, authority, path_prefix: "/".into(), name: None, check_validity: true })
            .ok_or_else(fault)
    }

    /// What stands before `SimpleNotificationService-` in the path of its certificates. `/` unless it is set.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path_prefix = prefix.into();
        self
    }

    /// The name that its certificates bear. Unless it is set, the name is not checked.
    #[must_use]
    pub fn certificate_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes certificates outside their time of validity.
    #[must_use]
    pub fn insecure_ignore_validity(mut self) -> Self {
        self.check_validity = false;
        self
    }

    #[cfg(feature = "client")]
    pub(super) fn is_plain_http(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn checks_validity(&self) -> bool {
        self.check_validity
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let prefix = self.path_prefix.as_str();
        let plain = prefix.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        match prefix.starts_with('/') && prefix.ends_with('/') && plain {
            true => Ok(()),
            false => Err(ConfigError::invalid("the local SNS's path prefix does not start and end with /")),
        }
    }
}

/// Whether certificates of this topic's messages are there: at the host of the topic's own region, under a name of exactly
/// one form. The text is compared as a whole, so nothing else fits between: no user, no port, no query.
pub(super) fn is_certificate_url(url: &str, topic: TopicArn<'_>, local: Option<&LocalSns>) -> bool {
    let path = match local {
        None => url
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(host, path)| topic.is_host(host).then_some(path)),
        Some(local) => [local.scheme.as_str(), "://", local.authority.as_str(), &local.path_prefix]
            .into_iter()
            .try_fold(url, |rest, part| rest.strip_prefix(part)),
    };
    let id = path.and_then(|path| path.strip_prefix("SimpleNotificationService-")?.strip_suffix(".pem"));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// The address that confirms a subscription, rebuilt from what was signed and never the one that was sent.
pub(super) fn confirmation_url(topic: TopicArn<'_>, token: &str, local: Option<&LocalSns>) -> Option<Uri> {
    let query = format!("/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    let (scheme, authority) = match local {
        None => (Scheme::HTTPS, topic.host().parse().ok()?),
        Some(local) => (local.scheme.clone(), local.authority.clone()),
    };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(query).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws-cn:sns:cn-north-1:123456789012:MyTopic";

    #[test]
    fn a_certificate_is_at_its_regions_host_and_nowhere_else() {
        let topic = TopicArn::parse(ARN).unwrap();
        let path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
        let good = format!("https://sns.cn-north-1.amazonaws.com.cn{path}");
        assert!(is_certificate_url(&good, topic, None));
        for bad in [
            format!("https://sns.cn-north-1.amazonaws.com{path}"),
            format!("https://sns.cn-north-1.amazonaws.com.cn\\{path}"),
            format!("https://sns.cn-north-1.amazonaws.com.cn{path}#"),
            format!("https://sns.cn-north-1.amazonaws.com.cn{path}?"),
            format!("https://sns.cn-north-1.amazonaws.com.cn{path}\n"),
            format!("//sns.cn-north-1.amazonaws.com.cn{path}"),
            path.to_owned(),
            format!("{good}{}", "0".repeat(200)),
        ] {
            assert!(!is_certificate_url(&bad, topic, None), "{bad}");
        }
    }

    #[test]
    fn a_confirmation_goes_to_the_topics_region_or_to_the_local_sns() {
        let topic = TopicArn::parse(ARN).unwrap();
        let query = format!("/?Action=ConfirmSubscription&TopicArn={ARN}&Token=0aF");
        let link = confirmation_url(topic, "0aF", None).unwrap();
        assert_eq!(link, *format!("https://sns.cn-north-1.amazonaws.com.cn{query}"));
        let local = LocalSns::new("http://127.0.0.1:4566/").unwrap();
        assert_eq!(confirmation_url(topic, "0aF", Some(&local)).unwrap(), *format!("http://127.0.0.1:4566{query}"));
        for prefix in ["", "x", "/x", "x/", "/x?/", "/x y/"] {
            assert!(LocalSns::new("http://a").unwrap().path_prefix(prefix).check().is_err(), "{prefix}");
        }
    }
}
