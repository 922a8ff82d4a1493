//! From when and until when a token holds.

use std::time::{Duration, SystemTime};

use crate::json::Object;
use crate::rejection::Rejection;
use crate::time::{TimeFormat, Tolerance, check_clock, ended};

use super::malformed;

/// How the times in a token are judged. A time that is there is judged always; the rules say which
/// ones have to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeRules {
    /// How far the sender's clock and ours may disagree.
    pub(crate) leeway: Duration,
    /// Whether a token without an end (`exp`) is refused.
    pub(crate) requires_exp: bool,
    /// How far from now a token must have been issued (`iat`), where it must say so.
    pub(crate) issued: Option<Tolerance>,
}

/// The times of a token that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// `iat`
    pub(crate) issued: Option<SystemTime>,
    /// `exp`
    pub(crate) expires: Option<SystemTime>,
}

impl TimeRules {
    /// Judges `exp`, `nbf` and `iat`. Each is a whole number of seconds since 1970 of at most 13
    /// digits; anything else, a text of digits or a null too, is refused.
    pub(crate) fn check(&self, claims: &Object, now: SystemTime) -> Result<Times, Rejection> {
        let [expires, starts, issued] = ["exp", "nbf", "iat"].map(|name| numeric_date(claims, name));
        let (expires, starts, issued) = (expires?, starts?, issued?);
        match expires {
            None if self.requires_exp => return Err(malformed("the token has no exp")),
            Some(end) => {
                check_clock(end, now)?;
                if end.checked_add(self.leeway).is_some_and(|end| end <= now) {
                    return Err(ended("the token's exp", end, now, self.leeway));
                }
            }
            None => {}
        }
        let ahead = Tolerance::past_and_future(Duration::MAX, self.leeway);
        for (name, time) in [("the token's nbf", starts), ("the token's iat", issued)] {
            time.map_or(Ok(()), |time| ahead.check(name, time, now))?;
        }
        if let Some(tolerance) = self.issued {
            tolerance.check("the token's iat", issued.ok_or_else(|| malformed("the token has no iat"))?, now)?;
        }
        Ok(Times { issued, expires })
    }

    /// Returns for how long a token of these times is taken at most.
    pub(crate) fn fresh_for(&self, times: &Times, now: SystemTime) -> Option<Duration> {
        let end = |end: SystemTime| Some(end.duration_since(now).unwrap_or_default().saturating_add(self.leeway));
        self.issued.map(Tolerance::width).or_else(|| times.expires.and_then(end))
    }
}

fn numeric_date(claims: &Object, name: &str) -> Result<Option<SystemTime>, Rejection> {
    let Some(text) = claims.get(name) else { return Ok(None) };
    match TimeFormat::UnixSeconds.parse(text) {
        Some(time) => Ok(Some(time)),
        None => Err(malformed("exp, nbf or iat is no whole number of seconds")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use crate::rejection::Reason;

    use super::*;

    const RULES: TimeRules = TimeRules { leeway: Duration::from_secs(30), requires_exp: true, issued: None };

    fn check(rules: TimeRules, claims: &str) -> Result<(), Reason> {
        let claims = Object::read(&Bytes::copy_from_slice(claims.as_bytes())).unwrap();
        let verdict = rules.check(&claims, UNIX_EPOCH + Duration::from_secs(1_000_000));
        verdict.map(|_| ()).map_err(|rejection| rejection.reason())
    }

    #[test]
    fn the_end_is_required_and_holds_to_the_second() {
        for (claims, verdict) in [
            (r#"{"exp":1000600}"#, Ok(())),
            (r#"{"exp":999971}"#, Ok(())),
            (r#"{"exp":999970}"#, Err(Reason::Stale)),
            (r#"{"exp":0}"#, Err(Reason::Stale)),
            (r#"{"exp":9999999999999}"#, Err(Reason::ClockUnset)),
            ("{}", Err(Reason::MalformedSignature)),
        ] {
            assert_eq!(check(RULES, claims), verdict, "{claims}");
        }
        assert_eq!(check(TimeRules { requires_exp: false, ..RULES }, "{}"), Ok(()));
    }

    #[test]
    fn a_start_or_an_issue_in_the_future_is_too_early() {
        for name in ["nbf", "iat"] {
            for (time, verdict) in [(0, Ok(())), (1_000_030, Ok(())), (1_000_031, Err(Reason::Premature))] {
                assert_eq!(check(RULES, &format!(r#"{{"exp":1000600,"{name}":{time}}}"#)), verdict, "{name} {time}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_claim_and_says_by_how_much() {
        for (claims, text) in [
            (r#"{"exp":999900}"#, "the token's exp is 100 s in the past, and 30 s are allowed"),
            (r#"{"exp":1000600,"nbf":1000100}"#, "the token's nbf is 100 s in the future, and 30 s are allowed"),
            (r#"{"exp":1000600,"iat":1000100}"#, "the token's iat is 100 s in the future, and 30 s are allowed"),
        ] {
            let claims = Object::read(&Bytes::from(claims)).unwrap();
            let rejection = RULES.check(&claims, UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap_err();
            assert!(rejection.to_string().ends_with(text), "{rejection}");
        }
    }

    /// A machine that starts in 1970 would take every token that has expired since.
    #[test]
    fn a_clock_in_1970_judges_no_token() {
        for claims in [r#"{"exp":1800000000}"#, r#"{"exp":9999999999999}"#] {
            let claims = Object::read(&Bytes::from(claims)).unwrap();
            assert_eq!(RULES.check(&claims, UNIX_EPOCH).unwrap_err().reason(), Reason::ClockUnset);
            assert!(RULES.check(&claims, UNIX_EPOCH + Duration::from_secs(1_799_999_999)).is_ok());
        }
    }

    #[test]
    fn an_issue_that_is_required_is_bounded_on_both_sides() {
        let rules =
            TimeRules { issued: Some(Tolerance::within(Duration::from_secs(10))), requires_exp: false, ..RULES };
        for (claims, verdict) in [
            (r#"{"iat":999990}"#, Ok(())),
            (r#"{"iat":999989}"#, Err(Reason::Stale)),
            (r#"{"iat":1000010}"#, Ok(())),
            (r#"{"iat":1000011}"#, Err(Reason::Premature)),
            ("{}", Err(Reason::MalformedSignature)),
        ] {
            assert_eq!(check(rules, claims), verdict, "{claims}");
        }
    }

    #[test]
    fn a_time_is_a_whole_number_and_nothing_else() {
        for time in [
            "null",
            "true",
            "\"1000600\"",
            "1000600.0",
            "1000600.5",
            "1e9",
            "-1",
            "-9223372036854775808",
            "18446744073709551616",
            "10000000000000",
            "[1000600]",
            "{}",
        ] {
            for claims in [format!(r#"{{"exp":{time}}}"#), format!(r#"{{"exp":1000600,"nbf":{time}}}"#)] {
                assert_eq!(check(RULES, &claims), Err(Reason::MalformedSignature), "{claims}");
            }
        }
    }

    #[test]
    fn no_leeway_overflows() {
        let rules = TimeRules { leeway: Duration::MAX, ..RULES };
        assert_eq!(check(rules, r#"{"exp":0,"nbf":9999999999999}"#), Ok(()));
    }
}
