//! The topic allow-list.

use std::collections::BTreeSet;

use crate::config::ConfigError;

use super::arn::{TopicArn, is_account};

/// The topics whose messages are accepted. Anyone can subscribe any endpoint to a topic of theirs,
/// and Amazon signs that.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    arns: BTreeSet<Box<str>>,
    accounts: BTreeSet<Box<str>>,
    any: bool,
}

impl Topics {
    pub(super) fn add_topic(&mut self, arn: String) {
        self.arns.insert(arn.into());
    }

    pub(super) fn add_account(&mut self, account: String) {
        self.accounts.insert(account.into());
    }

    pub(super) fn allow_any(&mut self) {
        self.any = true;
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(bad) = self.arns.iter().find(|arn| TopicArn::parse(arn).is_none()) {
            return Err(ConfigError::invalid(format!("{bad:?} is not the full name (ARN) of an SNS topic")));
        }
        if let Some(bad) = self.accounts.iter().find(|account| !is_account(account)) {
            return Err(ConfigError::invalid(format!("{bad:?} is not an AWS account: 12 digits")));
        }
        if !self.any && self.arns.is_empty() && self.accounts.is_empty() {
            return Err(ConfigError::missing(
                "no topic or account is allowed: anyone can subscribe this endpoint to a topic of theirs, and Amazon signs that",
            ));
        }
        Ok(())
    }

    pub(super) fn allow(&self, topic: TopicArn<'_>) -> bool {
        self.any || self.arns.contains(topic.as_str()) || self.accounts.contains(topic.account())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_or_its_account_has_to_be_listed() {
        let ours = "arn:aws:sns:us-west-2:123456789012:MyTopic";
        let allow = |topics: &Topics, arn| topics.allow(TopicArn::parse(arn).unwrap());
        let mut topics = Topics::default();
        assert!(topics.check().is_err());
        topics.add_topic(ours.into());
        assert!(topics.check().is_ok());
        assert!(allow(&topics, ours));
        for foreign in [
            "arn:aws:sns:us-west-2:123456789012:MyTopic2",
            "arn:aws:sns:us-west-1:123456789012:MyTopic",
            "arn:aws:sns:us-west-2:223456789012:MyTopic",
        ] {
            assert!(!allow(&topics, foreign), "{foreign}");
        }
        topics.add_account("223456789012".into());
        assert!(allow(&topics, "arn:aws:sns:us-west-2:223456789012:MyTopic"));
        topics.add_account("123".into());
        assert!(topics.check().is_err());
    }
}
