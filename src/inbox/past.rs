//! Past attempts as our stores keep them: a line for each, with number, milliseconds since 1970,
//! and the kind and detail of its failure or [`DONE`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::store::{Failure, FailureKind, MOST_PAST_ATTEMPTS, PastAttempt};

/// Stands in the place of a failure.
pub(super) const DONE: &str = "done";

/// Adds an attempt, which failed or succeeded.
pub(super) fn add(past: Option<&str>, number: u32, ended_at: SystemTime, failure: Option<&Failure>) -> String {
    let millis = ended_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ending = match failure {
        // Lines are what separates attempts, and Postgres stores no NUL.
        Some(failure) => format!("{} {}", failure.kind.as_str(), failure.detail.replace(['\n', '\r', '\0'], " ")),
        None => DONE.to_owned(),
    };
    let line = format!("{number} {millis} {ending}");
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
        let failure = match parts.next()? {
            DONE => None,
            kind => Some(Failure { kind: FailureKind::from_name(kind)?, detail: parts.next()?.to_owned() }),
        };
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
        let add = |past: Option<String>, n, failure: Option<&Failure>| Some(add(past.as_deref(), n, at(n), failure));
        let past = (1..=12).fold(None, |past, n| add(past, n, Some(&failure(n))));
        let attempts = read(past.as_deref());
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), Vec::from_iter(3..=12));
        let last = attempts[9].failure.as_ref().unwrap();
        assert_eq!((attempts[9].ended_at, &*last.detail), (at(12), "answered 12 and more"));
        let attempts = read(add(past, 13, None).as_deref());
        assert_eq!((attempts.len(), attempts[9].number, &attempts[9].failure), (10, 13, &None));
        assert_eq!(read(Some("1 2 handler x\nwhat is this\n3 4 unheard y")).len(), 1);
        assert!(read(None).is_empty());
    }
}
