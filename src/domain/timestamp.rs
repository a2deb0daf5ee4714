//! Moments in time, as RFC 3339 writes them.

use super::Invalid;
use std::ops::RangeInclusive;

/// From the beginning of the year 1 to the end of 9999, in seconds since 1970.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS: RangeInclusive<i32> = 0..=999_999_999;

/// Days of each month but for leap years.
const MONTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// From the beginning of the year 1 to that of 1970.
const DAYS_TO_1970: i64 = 719_162;
const DAY: i64 = 86_400;

/// A moment, the beginning of 1970 unless told otherwise: earlier ones are less, wherever their
/// clocks stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Since the beginning of 1970, UTC.
    seconds: i64,
    /// Beyond these.
    nanos: u32,
}

impl Timestamp {
    /// Of seconds since the beginning of 1970, UTC, and nanoseconds beyond.
    ///
    /// # Errors
    /// Outside the years 1 to 9999, or not less than a second of nanoseconds.
    pub fn new(field: &str, seconds: i64, nanos: i32) -> Result<Self, Invalid> {
        if !SECONDS.contains(&seconds) || !NANOS.contains(&nanos) {
            let was = format!("{seconds} seconds and {nanos} nanoseconds since 1970");
            let allowed = "0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z are allowed, \
                           as seconds and 0 to 999999999 nanoseconds";
            return Err(Invalid::new(field, was, allowed));
        }
        let nanos = nanos.unsigned_abs();
        Ok(Self { seconds, nanos })
    }

    /// Of a text by RFC 3339 (`2026-11-27T13:18:55.25+01:00`), if it is one: a date, a time and
    /// an offset. What is beyond nanoseconds is cut off; a leap second is the first of the next
    /// minute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (clock, rest) = text.as_bytes().split_at_checked(19)?;
        let (nanos, offset) = fraction(rest)?;
        let &[
            _,
            _,
            _,
            _,
            b'-',
            _,
            _,
            b'-',
            _,
            _,
            b'T' | b't' | b' ',
            _,
            _,
            b':',
            _,
            _,
            b':',
            _,
            _,
        ] = clock
        else {
            return None;
        };
        let at = |from: usize, to: usize| number(&clock[from..to]);
        let days = days(at(0, 4)?, at(5, 7)?, at(8, 10)?)?;
        let time = time(at(11, 13)?, at(14, 16)?)? + at(17, 19).filter(|s| *s <= 60)?;
        let seconds = days * DAY + time - self::offset(offset)?;
        Some(Self { seconds, nanos })
    }
}

/// Digits, as a number.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| 10 * number + i64::from(digit - b'0'))
    })
}

/// Days from the beginning of 1970 to a date, if there is such a date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leap_day = |months: usize| i64::from(is_leap && months >= 2);
    let month = usize::try_from(month).ok()?;
    let length = MONTHS.get(month.checked_sub(1)?)? + leap_day(month) - leap_day(month - 1);
    let years = year - 1;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let months: i64 = MONTHS[..month - 1].iter().sum();
    let before = 365 * years + leap_days + months + leap_day(month - 1) - DAYS_TO_1970;
    (1..=length).contains(&day).then_some(before + day - 1)
}

/// Seconds of hours and minutes, if there is such a time.
fn time(hours: i64, minutes: i64) -> Option<i64> {
    (hours < 24 && minutes < 60).then_some(60 * (60 * hours + minutes))
}

/// Nanoseconds, if any are told, and what comes behind.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else {
        return Some((0, text));
    };
    let end = digits.iter().position(|c| !c.is_ascii_digit());
    let (digits, rest) = digits.split_at(end.filter(|end| *end > 0)?);
    let nine = digits.iter().chain(&[b'0'; 9]).take(9);
    let nanos = nine.fold(0, |nanos, digit| 10 * nanos + u32::from(digit - b'0'));
    Some((nanos, rest))
}

/// Seconds that a clock is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h, hh, b':', m, mm] => {
            let ahead = time(number(&[h, hh])?, number(&[m, mm])?)?;
            Some(if sign == b'-' { -ahead } else { ahead })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> (i64, u32) {
        let time = Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"));
        (time.seconds, time.nanos)
    }

    #[test]
    fn moments_are_those_of_rfc_3339() {
        assert_eq!(at("1970-01-01T00:00:00Z"), (0, 0));
        // The RFC's own examples.
        assert_eq!(at("1985-04-12T23:20:50.52Z"), (482_196_050, 520_000_000));
        assert_eq!(at("1996-12-19T16:39:57-08:00"), at("1996-12-20T00:39:57Z"));
        assert_eq!(at("1990-12-31T23:59:60Z"), at("1991-01-01T00:00:00Z"));
        assert_eq!(
            at("1937-01-01T12:00:27.87+00:20"),
            at("1937-01-01t11:40:27.870z")
        );
        assert_eq!(at("2000-02-29 00:00:00.0000000019-00:00"), (951_782_400, 1));
        assert_eq!(at("0001-01-01T00:00:00Z").0, *SECONDS.start());
        assert_eq!(at("9999-12-31T23:59:59.999999999Z").0, *SECONDS.end());
        assert_eq!(at("0000-12-31T00:00:00Z").0, *SECONDS.start() - DAY);
    }

    #[test]
    fn every_day_is_one_after_the_last() {
        let mut expected = at("1896-01-01T00:00:00Z").0;
        for year in 1896..2104 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let text = format!("{year}-{month:02}-{day:02}T00:00:00Z");
                    let Some(time) = Timestamp::parse(&text) else {
                        let longest = if month == 2 { 28 } else { 30 };
                        assert!(day > longest, "{text}");
                        continue;
                    };
                    assert_eq!(time.seconds, expected, "{text}");
                    expected += DAY;
                }
            }
        }
        assert_eq!(expected, at("2104-01-01T00:00:00Z").0);
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "2026-11-27",
            "2026-11-27T13:18:55",
            "2026-11-27T13:18Z",
            "2026-11-27T13:18:55.Z",
            "2026-11-27T13:18:55.5",
            "2026-11-27T13:18:55+0100",
            "2026-11-27T13:18:55+24:00",
            "2026-11-27T13:18:55ZZ",
            "2026-11-27T24:00:00Z",
            "2026-11-27T13:60:00Z",
            "2026-11-27T13:18:61Z",
            "2026-00-27T13:18:55Z",
            "2026-13-27T13:18:55Z",
            "2026-02-29T13:18:55Z",
            "1900-02-29T13:18:55Z",
            "2026-11-00T13:18:55Z",
            "2026-1é-27T13:18:55Z",
            "+026-11-27T13:18:55Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert!(Timestamp::new("t", *SECONDS.start(), 0).is_ok());
        for (seconds, nanos) in [
            (i64::MAX, 0),
            (*SECONDS.start() - 1, 0),
            (0, -1),
            (0, 1_000_000_000),
        ] {
            let error = Timestamp::new("filter.time_range.gt", seconds, nanos).unwrap_err();
            assert_eq!(error.field, "filter.time_range.gt");
            assert!(error.was.contains(&seconds.to_string()), "{error}");
        }
    }
}
