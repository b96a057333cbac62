//! The calendar, for naming results.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "results are dated by the real clock"
)]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `YYYYMMDD` in UTC.
pub fn date(unix_millis: u64) -> String {
    let (year, month, day) = civil(unix_millis / 86_400_000);
    format!("{year:04}{month:02}{day:02}")
}

/// `YYYY-MM-DDThh:mm:ssZ`.
pub fn timestamp(unix_millis: u64) -> String {
    let (year, month, day) = civil(unix_millis / 86_400_000);
    let second = unix_millis / 1000 % 86_400;
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-
/// compatible low-level date algorithms": years start in March, so that the leap
/// day is the last of its year).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400_000), "20000229");
        assert_eq!(timestamp(1_735_689_599_999), "2024-12-31T23:59:59Z");
        assert_eq!(date(1_735_689_600_000), "20250101");
    }
}
