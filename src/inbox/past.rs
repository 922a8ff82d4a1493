//! Failed attempts as our stores keep them: a line for each, with number, milliseconds since 1970,
//! kind and detail.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::store::{Failure, FailureKind, MOST_PAST_ATTEMPTS, PastAttempt};

/// Adds an attempt.
pub(super) fn add(past: Option<&str>, number: u32, ended_at: SystemTime, failure: &Failure) -> String {
    let millis = ended_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    // Lines are what separates attempts, and Postgres stores no NUL.
    let detail = failure.detail.replace(['\n', '\r', '\0'], " ");
    let line = format!("{number} {millis} {} {detail}", failure.kind.as_str());
    let mut lines: Vec<&str> = past.unwrap_or_default().lines().collect();
    lines.push(&line);
    lines[lines.len().saturating_sub(MOST_PAST_ATTEMPTS)..].join("\n")
}

/// Reads attempts, the oldest first. A line that a newer version wrote in another way is left out.
pub(super) fn read(past: Option<&str>) -> Vec<PastAttempt> {
    let attempt = |line: &str| {
        let mut parts = line.splitn(4, ' ');
        let number = parts.next()?.parse().ok()?;
        let ended_at = UNIX_EPOCH.checked_add(Duration::from_millis(parts.next()?.parse().ok()?))?;
        let kind = FailureKind::from_name(parts.next()?)?;
        let failure = Failure { kind, detail: parts.next()?.to_owned() };
        Some(PastAttempt { number, ended_at, failure })
    };
    past.unwrap_or_default().lines().filter_map(attempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempts_are_kept_and_read_as_they_were() {
        let failure = |n: u32| Failure { kind: FailureKind::Handler, detail: format!("answered {n}\nand more") };
        let at = |n: u32| UNIX_EPOCH + Duration::from_secs(n.into());
        let past = (1..=12).fold(None, |past: Option<String>, n| Some(add(past.as_deref(), n, at(n), &failure(n))));
        let attempts = read(past.as_deref());
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), Vec::from_iter(3..=12));
        assert_eq!((attempts[9].ended_at, &*attempts[9].failure.detail), (at(12), "answered 12 and more"));
        assert_eq!(read(Some("1 2 handler x\nwhat is this\n3 4 unheard y")).len(), 1);
        assert!(read(None).is_empty());
    }
}
