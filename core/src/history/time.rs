//! Wall-clock time as a value. Cores read no clock: the shell gives one pair of readings when a call starts,
//! and every later time is that pair plus what the monotonic clock has moved since.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Prints as RFC 3339.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// For `#[serde(serialize_with)]`: the text people read, where the log keeps the number.
    ///
    /// # Errors
    /// Whatever the serializer returns.
    pub fn as_rfc3339<S: Serializer>(
        time: &Option<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }
}

impl UnixMillis {
    /// For `#[serde(deserialize_with)]`: reads what [`UnixMillis::as_rfc3339`] wrote.
    ///
    /// # Errors
    /// Anything but `YYYY-MM-DDTHH:MM:SS.mmmZ` or null.
    pub fn from_rfc3339<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Self>, D::Error> {
        let Some(text) = Option::<String>::deserialize(source)? else {
            return Ok(None);
        };
        let time = Self::parse(&text);
        time.map(Some)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not YYYY-MM-DDTHH:MM:SS.mmmZ")))
    }

    fn parse(text: &str) -> Option<Self> {
        let template = "0000-00-00T00:00:00.000Z";
        let alike = |(a, b): (u8, u8)| {
            if b == b'0' {
                a.is_ascii_digit()
            } else {
                a == b
            }
        };
        if text.len() != template.len() || !text.bytes().zip(template.bytes()).all(alike) {
            return None;
        }
        let number = |at: std::ops::Range<usize>| text[at].parse::<u64>().ok();
        let (month, day) = (number(5..7)?, number(8..10)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let days = days_since_epoch(number(0..4)?, month, day)?;
        let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        Some(Self((days * 86_400 + seconds) * 1000 + number(20..23)?))
    }
}

/// The inverse of [`civil`]; `None` before 1970.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years begin in
/// March here, so that the leap day is the last one and every month's start is a linear formula.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097; // 400 years
    let days = days + 719_468; // from 0000-03-01
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Turns monotonic instants into wall-clock time.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    origin: Instant,
    unix: UnixMillis,
}

impl WallClock {
    /// `unix` was the wall-clock time at `origin`; the shell reads both at the same moment.
    pub const fn new(origin: Instant, unix: UnixMillis) -> Self {
        Self { origin, unix }
    }

    /// Wall-clock time at `now`; instants before the origin give the origin's.
    pub fn at(&self, now: Instant) -> UnixMillis {
        let since = now.saturating_duration_since(self.origin).as_millis();
        UnixMillis(
            self.unix
                .0
                .saturating_add(u64::try_from(since).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::t0;

    #[test]
    fn what_was_printed_is_read_back() {
        for millis in [0, 1, 951_782_400_000, 1_700_000_000_123, 4_102_444_799_999] {
            let time = UnixMillis(millis);
            assert_eq!(UnixMillis::parse(&time.to_string()), Some(time), "{time}");
        }
        for wrong in [
            "",
            "2023-11-14",
            "2023-13-14T22:13:20.123Z",
            "1969-12-31T23:59:59.999Z",
            "x",
        ] {
            assert_eq!(UnixMillis::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_print_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_704_067_199_001, "2023-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(UnixMillis(millis).to_string(), text);
        }
    }

    #[test]
    fn an_absurd_time_prints_without_panicking() {
        assert!(UnixMillis(u64::MAX).to_string().ends_with('Z'));
    }

    #[test]
    fn the_wall_clock_moves_with_the_monotonic_one() {
        let origin = t0();
        let clock = WallClock::new(origin, UnixMillis(1000));
        assert_eq!(
            clock.at(origin + Duration::from_millis(250)),
            UnixMillis(1250)
        );
        let later = WallClock::new(origin + Duration::from_secs(1), UnixMillis(1000));
        assert_eq!(later.at(origin), UnixMillis(1000));
    }
}
