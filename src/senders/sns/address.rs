//! Where certificates are, and where subscriptions are confirmed.

use std::borrow::Cow;

use http::Uri;
use http::uri::Scheme;

use crate::certificate::{CertificateConfig, Origin};
use crate::config::ConfigError;

use super::arn::TopicArn;

/// An SNS in place of Amazon's, such as LocalStack.
#[derive(Clone)]
pub(super) struct Emulator {
    origin: Origin,
    path_prefix: String,
}

impl Emulator {
    pub(super) fn new(origin: Origin, config: &CertificateConfig) -> Result<Self, ConfigError> {
        let path_prefix = config.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
        let plain = path_prefix.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        if !(plain && path_prefix.starts_with('/') && path_prefix.ends_with('/')) {
            return Err(ConfigError::invalid("the certificates' path prefix does not start and end with /"));
        }
        Ok(Self { origin, path_prefix })
    }
}

/// Returns where the certificate of this topic's message is fetched, if it may be there: on the
/// host of the topic's own region, under a name of exactly one form. The text is compared as a
/// whole, so that nothing else fits in between: no user, no port, no query.
///
/// An emulator may know itself by another name than we do, such as `localstack:4566` inside of its
/// network. So only the path is taken from the message then, and the origin is the configured one.
pub(super) fn certificate_url<'a>(
    url: &'a str,
    topic: TopicArn<'_>,
    emulator: Option<&Emulator>,
) -> Option<Cow<'a, str>> {
    let Some(Emulator { origin, path_prefix }) = emulator else {
        let (host, file) = url.strip_prefix("https://")?.split_once('/')?;
        return (topic.is_host(host) && is_certificate_file(file)).then_some(Cow::Borrowed(url));
    };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (host, path) = rest.split_at(rest.find('/')?);
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    let is_there = is_host && path.strip_prefix(path_prefix).is_some_and(is_certificate_file);
    is_there.then(|| format!("{}://{}{path}", origin.scheme, origin.authority).into())
}

fn is_certificate_file(name: &str) -> bool {
    let id = name.strip_prefix("SimpleNotificationService-").and_then(|rest| rest.strip_suffix(".pem"));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Returns the URL that confirms a subscription, built from what was signed. The URL that was sent
/// is never visited.
pub(super) fn confirmation_url(topic: TopicArn<'_>, token: &str, emulator: Option<&Emulator>) -> Option<Uri> {
    let query = format!("/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    let (scheme, authority) = match emulator {
        None => (Scheme::HTTPS, topic.host().parse().ok()?),
        Some(Emulator { origin, .. }) => (origin.scheme.clone(), origin.authority.clone()),
    };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(query).build().ok()
}

#[cfg(test)]
mod tests {
    use crate::certificate::CertificateRules;

    use super::*;

    const ARN: &str = "arn:aws-cn:sns:cn-north-1:123456789012:MyTopic";

    #[test]
    fn a_certificate_is_at_its_regions_host_and_nowhere_else() {
        let topic = TopicArn::parse(ARN).unwrap();
        let path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
        let good = format!("https://sns.cn-north-1.amazonaws.com.cn{path}");
        assert_eq!(certificate_url(&good, topic, None).as_deref(), Some(&*good));
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
            assert_eq!(certificate_url(&bad, topic, None), None, "{bad}");
        }
    }

    fn emulator(config: CertificateConfig) -> Result<Emulator, ConfigError> {
        let config = config.with_insecure_origin("http://127.0.0.1:4566/");
        Emulator::new(CertificateRules::new(&config)?.origin.unwrap(), &config)
    }

    #[test]
    fn an_emulator_is_asked_at_its_configured_origin_whatever_it_calls_itself() {
        let topic = TopicArn::parse(ARN).unwrap();
        let local = emulator(CertificateConfig::default().with_path_prefix("/_aws/sns/")).unwrap();
        let path = "/_aws/sns/SimpleNotificationService-6c6f63616c737461636b69736e696365.pem";
        for origin in [
            "http://localhost.localstack.cloud:4566",
            "http://localstack:4566",
            "https://[::1]:1",
            "http://127.0.0.1:4566",
        ] {
            let url = certificate_url(&format!("{origin}{path}"), topic, Some(&local)).map(Cow::into_owned);
            assert_eq!(url, Some(format!("http://127.0.0.1:4566{path}")));
        }
        for bad in [
            format!("ftp://localstack:4566{path}"),
            format!("http://user@localstack:4566{path}"),
            format!("http://localstack:4566{path}?x"),
            format!("http://localstack:4566/x{path}"),
            format!("http://localstack:4566\\{path}"),
            "http://localstack:4566/SimpleNotificationService-6c6f63616c737461636b69736e696365.pem".to_owned(),
        ] {
            assert_eq!(certificate_url(&bad, topic, Some(&local)), None, "{bad}");
        }
    }

    #[test]
    fn a_confirmation_goes_to_the_topics_region_or_to_the_emulator() {
        let topic = TopicArn::parse(ARN).unwrap();
        let query = format!("/?Action=ConfirmSubscription&TopicArn={ARN}&Token=0aF");
        let link = confirmation_url(topic, "0aF", None).unwrap();
        assert_eq!(link, *format!("https://sns.cn-north-1.amazonaws.com.cn{query}"));
        let local = emulator(CertificateConfig::default()).unwrap();
        assert_eq!(confirmation_url(topic, "0aF", Some(&local)).unwrap(), *format!("http://127.0.0.1:4566{query}"));
        for prefix in ["", "x", "/x", "x/", "/x?/", "/x y/"] {
            assert!(emulator(CertificateConfig::default().with_path_prefix(prefix)).is_err(), "{prefix}");
        }
    }
}
