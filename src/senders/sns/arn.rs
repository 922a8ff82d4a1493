//! The names of topics, and the hosts of their regions.

use std::fmt;

/// The longest name of a topic.
const MAX_NAME_LEN: usize = 256;
/// The longest name of a region accepted; the longest that exists has 15 characters.
const MAX_REGION_LEN: usize = 32;

/// A partition of AWS: a group of regions, and the domain that their hosts end in.
struct Partition {
    name: &'static str,
    domain: &'static str,
    signer: Signer,
}

/// The name under which a partition's messages are signed.
enum Signer {
    /// `sns.<domain>` in the regions listed first, `sns-signing.<region>.<domain>` in those listed
    /// second, and either in one that isn't listed yet.
    ByRegion(&'static [&'static str], &'static [&'static str]),
    /// `sns-<region>.<domain>`.
    PerRegion,
    /// `sns-signing.<region>.<domain>`.
    Signing,
    /// One name for all.
    Fixed(&'static str),
}

/// The regions of the partition `aws` that were launched before there were opt-in regions.
const SHARED: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The opt-in regions of the partition `aws`.
const OPT_IN: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
];

/// Source: `SnsHostProvider` of the AWS SDK for Java, version 2.
const PARTITIONS: &[Partition] = &[
    Partition { name: "aws", domain: "amazonaws.com", signer: Signer::ByRegion(SHARED, OPT_IN) },
    Partition { name: "aws-cn", domain: "amazonaws.com.cn", signer: Signer::PerRegion },
    Partition { name: "aws-us-gov", domain: "amazonaws.com", signer: Signer::Fixed("sns-us-gov-west-1.amazonaws.com") },
    Partition { name: "aws-iso", domain: "c2s.ic.gov", signer: Signer::PerRegion },
    Partition { name: "aws-iso-b", domain: "sc2s.sgov.gov", signer: Signer::PerRegion },
    Partition { name: "aws-iso-f", domain: "csp.hci.ic.gov", signer: Signer::Signing },
    Partition { name: "aws-iso-e", domain: "cloud.adc-e.uk", signer: Signer::Signing },
    Partition { name: "aws-eusc", domain: "amazonaws.eu", signer: Signer::Signing },
];

/// The parts of a topic's name, `arn:<partition>:sns:<region>:<account>:<name>`.
#[derive(Clone, Copy)]
pub(super) struct TopicArn<'a> {
    text: &'a str,
    partition: &'static Partition,
    region: &'a str,
    account: &'a str,
}

impl<'a> TopicArn<'a> {
    /// Parses the full name of a topic. Returns `None` unless each part is in its own alphabet.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut part = || parts.next();
        let ("arn", partition, "sns", region, account, name) = (part()?, part()?, part()?, part()?, part()?, part()?)
        else {
            return None;
        };
        if part().is_some() {
            return None;
        }
        let partition = PARTITIONS.iter().find(|known| known.name == partition)?;
        let fits = is_region(region) && partition.may_hold(region) && is_account(account) && is_name(name);
        fits.then_some(Self { text, partition, region, account })
    }

    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }

    pub(super) fn account(&self) -> &'a str {
        self.account
    }

    /// Returns the host of the topic's region, for certificates and confirmations.
    pub(super) fn host(&self) -> String {
        format!("sns.{}.{}", self.region, self.partition.domain)
    }

    /// Returns the names of which the certificate that signs the region's messages has one.
    pub(super) fn signers(&self) -> Vec<String> {
        let (region, domain) = (self.region, self.partition.domain);
        let (shared, signing) = (format!("sns.{domain}"), format!("sns-signing.{region}.{domain}"));
        match self.partition.signer {
            Signer::ByRegion(known, _) if known.contains(&region) => vec![shared],
            Signer::ByRegion(_, opt_in) if opt_in.contains(&region) => vec![signing],
            Signer::ByRegion(..) => vec![shared, signing],
            Signer::PerRegion => vec![format!("sns-{region}.{domain}")],
            Signer::Signing => vec![signing],
            Signer::Fixed(name) => vec![name.into()],
        }
    }

    /// Returns whether `host` is [`host`](Self::host), without building it.
    pub(super) fn is_host(&self, host: &str) -> bool {
        let rest = host.strip_prefix("sns.").and_then(|rest| rest.strip_prefix(self.region));
        rest.and_then(|rest| rest.strip_prefix('.')) == Some(self.partition.domain)
    }
}

impl Partition {
    /// Returns whether a region's prefix fits the partition. A region of one partition under the
    /// name of another would mean another host and another signer.
    fn may_hold(&self, region: &str) -> bool {
        let starts_with = |prefix: &str| region.starts_with(prefix);
        match self.name {
            "aws-cn" => starts_with("cn-"),
            "aws-us-gov" => starts_with("us-gov-"),
            "aws-iso" => starts_with("us-iso-"),
            "aws-iso-b" => starts_with("us-isob-"),
            "aws-iso-f" => starts_with("us-isof-"),
            "aws-iso-e" => starts_with("eu-isoe-"),
            "aws-eusc" => starts_with("eusc-"),
            _ => !["cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"].iter().any(|prefix| starts_with(prefix)),
        }
    }
}

/// Returns whether this is lower-case words and a number, such as `us-west-2` or `eusc-de-east-1`.
/// This excludes names that would make a host of another service under the same domain, such as
/// `s3-us-west-2`.
fn is_region(region: &str) -> bool {
    let Some((words, number)) = region.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    region.len() <= MAX_REGION_LEN
        && words.contains('-')
        && words.split('-').all(is_word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    !stem.is_empty()
        && name.len() <= MAX_NAME_LEN
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl fmt::Display for TopicArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arn: &str) -> Option<(String, String)> {
        let topic = TopicArn::parse(arn)?;
        assert!(topic.is_host(&topic.host()));
        assert!(!topic.is_host(&topic.host().replace("sns.", "sns.x")));
        assert!(!topic.is_host(&format!("{}.", topic.host())));
        Some((topic.host(), topic.signers().join(" or ")))
    }

    #[test]
    fn every_partition_has_its_hosts_and_signers() {
        for (partition, region, host, signer) in [
            ("aws", "us-west-2", "sns.us-west-2.amazonaws.com", "sns.amazonaws.com"),
            ("aws", "me-south-1", "sns.me-south-1.amazonaws.com", "sns-signing.me-south-1.amazonaws.com"),
            (
                "aws",
                "xx-new-9",
                "sns.xx-new-9.amazonaws.com",
                "sns.amazonaws.com or sns-signing.xx-new-9.amazonaws.com",
            ),
            ("aws-cn", "cn-north-1", "sns.cn-north-1.amazonaws.com.cn", "sns-cn-north-1.amazonaws.com.cn"),
            ("aws-us-gov", "us-gov-east-1", "sns.us-gov-east-1.amazonaws.com", "sns-us-gov-west-1.amazonaws.com"),
            ("aws-iso", "us-iso-east-1", "sns.us-iso-east-1.c2s.ic.gov", "sns-us-iso-east-1.c2s.ic.gov"),
            ("aws-iso-b", "us-isob-east-1", "sns.us-isob-east-1.sc2s.sgov.gov", "sns-us-isob-east-1.sc2s.sgov.gov"),
            (
                "aws-iso-f",
                "us-isof-south-1",
                "sns.us-isof-south-1.csp.hci.ic.gov",
                "sns-signing.us-isof-south-1.csp.hci.ic.gov",
            ),
            (
                "aws-iso-e",
                "eu-isoe-west-1",
                "sns.eu-isoe-west-1.cloud.adc-e.uk",
                "sns-signing.eu-isoe-west-1.cloud.adc-e.uk",
            ),
            (
                "aws-eusc",
                "eusc-de-east-1",
                "sns.eusc-de-east-1.amazonaws.eu",
                "sns-signing.eusc-de-east-1.amazonaws.eu",
            ),
        ] {
            let arn = format!("arn:{partition}:sns:{region}:123456789012:MyTopic.fifo");
            assert_eq!(names(&arn), Some((host.into(), signer.into())), "{arn}");
        }
    }

    #[test]
    fn what_is_not_the_full_name_of_a_topic_is_none() {
        for bad in [
            "",
            "MyTopic",
            "arn:aws:sns:us-west-2:123456789012",
            "arn:aws:sns:us-west-2:123456789012:",
            "arn:aws:sns:us-west-2:123456789012:MyTopic:4bcd",
            "arn:aws:sqs:us-west-2:123456789012:MyTopic",
            "arn:aws:sns:s3-us-west-2:123456789012:MyTopic",
            "arn:aws:sns:us-west:123456789012:MyTopic",
            "arn:aws:sns:US-WEST-2:123456789012:MyTopic",
            "arn:aws:sns:us-west-2.evil:123456789012:MyTopic",
            "arn:aws:sns:us-west-2:12345678901:MyTopic",
            "arn:aws:sns:us-west-2:123456789012:My Topic",
            "arn:aws:sns:us-west-2:123456789012:My\nTopic",
            "arn:aws:sns:cn-north-1:123456789012:MyTopic",
            "arn:aws-cn:sns:us-west-2:123456789012:MyTopic",
            "arn:aws-us-gov:sns:us-west-2:123456789012:MyTopic",
            "arn:awsx:sns:us-west-2:123456789012:MyTopic",
        ] {
            assert!(names(bad).is_none(), "{bad:?}");
        }
    }
}
