//! Times as RFC 3339 writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Reads a time with any offset. A leap second is taken for the last moment of the second before
/// it.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [year, month, day] = [number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?];
    let [hour, minute, second] = [number(&time[1..3])?, number(&time[4..6])?, number(&time[7..])?];
    let is_separated = (date[4], date[7], time[3], time[6]) == (b'-', b'-', b':', b':');
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_separated || !is_date || !matches!(time[0], b'T' | b't' | b' ') || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let is_leap = second == 60;
    let (second, nanos) = if is_leap { (59, 999_999_999) } else { (second, nanos) };
    let seconds = days(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second - offset(rest)?;
    // Leap seconds are at the end of a month, in UTC.
    if is_leap && (seconds.rem_euclid(DAY) != DAY - 1 || date_of(seconds.div_euclid(DAY) + 1).2 != 1) {
        return None;
    }
    let whole = Duration::from_secs(seconds.unsigned_abs());
    // Not every system's clock reaches back to the year 0.
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    time?.checked_add(Duration::from_nanos(nanos))
}

/// Writes a time in UTC. Returns `None` before 1970 and after the year 9999, which has four digits.
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub(crate) fn format(time: SystemTime) -> Option<String> {
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
    let ((year, month, day), of_day) = (date_of(seconds / DAY), seconds % DAY);
    if year > 9999 {
        return None;
    }
    let (hour, minute, second) = (of_day / HOUR, of_day % HOUR / MINUTE, of_day % MINUTE);
    let fraction = match since_epoch.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// Returns the nanoseconds behind a point, if there is one, and what follows.
#[inline]
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(fraction) = text.strip_prefix(b".") else { return Some((0, text)) };
    let len = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = fraction.split_at(len);
    let nanos =
        (0..9).fold(0, |nanos, place| nanos * 10 + u64::from(digits.get(place).map_or(0, |digit| digit - b'0')));
    (len > 0).then_some((nanos, rest))
}

/// Returns the seconds by which a place is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match text {
        b"Z" | b"z" => return Some(0),
        [sign, a, b, b':', c, d] => (sign, number(&[*a, *b])?, number(&[*c, *d])?),
        _ => return None,
    };
    let ahead = hour * HOUR + minute * MINUTE;
    match sign {
        _ if hour > 23 || minute > 59 => None,
        b'+' => Some(ahead),
        b'-' => Some(-ahead),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

#[inline]
fn days_in(year: i64, month: i64) -> i64 {
    let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    next - days(year, month, 1)
}

/// The days before the first of March of the year 0, from when years end with the day that may be
/// one more, to 1970.
const DAYS_TO_1970: i64 = 719_468;
/// The days of 400 years, after which the calendar begins anew.
const DAYS_OF_400_YEARS: i64 = 146_097;

/// Returns the days from 1970 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // January and February belong to the year before.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    // From March on, months have 153 days in five.
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_OF_400_YEARS + year * 365 + year / 4 - year / 100 + of_year - DAYS_TO_1970
}

/// Returns year, month and day, so many days after 1970.
#[inline]
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn by_time(text: &str) -> Option<SystemTime> {
        let since_epoch = OffsetDateTime::parse(text, &Rfc3339).ok()? - OffsetDateTime::UNIX_EPOCH;
        let distance = since_epoch.unsigned_abs();
        if since_epoch.is_negative() { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }

    #[test]
    fn every_day_of_the_calendar_is_read_and_written() {
        for day in days(0, 1, 1)..=days(9999, 12, 31) {
            let (year, month, of_month) = date_of(day);
            assert_eq!(days(year, month, of_month), day);
            if day >= 0 && day % 97 == 0 {
                let time = UNIX_EPOCH + Duration::from_secs(day as u64 * 86_400 + 86_399);
                let text = format(time).unwrap();
                assert_eq!((parse(text.as_bytes()), by_time(&text)), (Some(time), Some(time)), "{text}");
            }
        }
        assert_eq!((days(1970, 1, 1), days_in(2000, 2), days_in(1900, 2), days_in(2024, 2)), (0, 29, 28, 29));
    }

    #[test]
    fn leap_seconds_are_where_they_can_be() {
        for (text, is_read) in [
            ("2016-12-31T23:59:60Z", true),
            ("2017-01-01T00:59:60+01:00", true),
            ("2016-12-31T23:59:60.5Z", true),
            ("2016-12-30T23:59:60Z", false),
            ("2016-12-31T22:59:60Z", false),
            ("2016-12-31T23:59:61Z", false),
        ] {
            assert_eq!(parse(text.as_bytes()).is_some(), is_read, "{text}");
            assert_eq!(parse(text.as_bytes()), by_time(text), "{text}");
        }
    }

    proptest! {
        /// The crate `time` reads them alike, but for its separators, which may be any character.
        #[test]
        fn texts_are_read_as_another_implementation_reads_them(
            text in concat!(
                r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]",
                r"(\.[0-9]{0,11})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])?"
            )
        ) {
            prop_assert_eq!(parse(text.as_bytes()), by_time(&text));
        }

        #[test]
        fn nearly_right_texts_are_judged_as_another_implementation_judges_them(
            at in 0_usize..28, other in "[0-9TtZz:.+ -]", keep in 0_usize..30
        ) {
            prop_assume!(at != 10 || "Tt ".contains(&other));
            let mut text = String::from("2024-02-29T23:59:59.123+01:30");
            text.replace_range(at..=at, &other);
            text.truncate(keep);
            prop_assert_eq!(parse(text.as_bytes()), by_time(&text));
        }

        #[test]
        fn what_is_written_is_what_another_implementation_writes(
            seconds in 0_u64..253_402_300_800, nanos in 0_u32..1_000_000_000
        ) {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            prop_assert_eq!(format(time), OffsetDateTime::from(time).format(&Rfc3339).ok());
            prop_assert_eq!(parse(format(time).unwrap().as_bytes()), Some(time));
        }

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse(&bytes);
        }
    }
}
