//! Windows of time in which something may be applied, such as
//! `Mon-Fri 22:00-04:00 Europe/Berlin`.
//!
//! Time zones come with the binary, so that a window means the same on each machine and
//! nothing is read to tell whether it is open.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};

/// How a window is written, for hints.
pub const EXAMPLE: &str = "Sun 02:00-04:00 Europe/Berlin";

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// Days, a stretch of wall-clock time that begins on them, and a time zone.
///
/// A stretch that ends at or before its beginning ends on the next day. Where clocks
/// are put forward over its beginning or end, that is an hour later; where they are put
/// back, it begins at the first and ends at the first of the two hours.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    text: String,
    /// By number of the day, from Monday.
    days: [bool; 7],
    from: Time,
    /// `None` is the end of the day.
    to: Option<Time>,
    zone: TimeZone,
}

impl Window {
    /// Reads `DAYS FROM-TO ZONE`: days are `Sun`, `Sat,Sun`, `Mon-Fri` or `daily`, times
    /// `02:00`, the zone a name of the IANA database.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [days, times, zone] = words[..] else {
            return Err(format!("{text:?} is not a window: days, times and a time zone, as in {EXAMPLE:?}"));
        };
        let (from, to) =
            times.split_once('-').ok_or_else(|| format!("{times:?} is not from when to when, such as 02:00-04:00"))?;
        let from = time(from)?;
        let to = if to == "24:00" { None } else { Some(time(to)?) };
        let zone = TimeZoneDatabase::bundled()
            .get(zone)
            .map_err(|_| format!("{zone:?} is no time zone that is known, such as Europe/Berlin or UTC"))?;
        Ok(Self { text: words.join(" "), days: self::days(days)?, from, to, zone })
    }

    /// Whether it is open at an instant: its beginning counts, its end does not.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        // One that began yesterday may still be open.
        [-1, 0].into_iter().filter_map(|day| self.on(at, day)).any(|(from, to)| from <= at && at < to)
    }

    /// When it opens next, after an instant.
    #[must_use]
    pub fn opens(&self, after: Timestamp) -> Option<Timestamp> {
        // Two weeks: a window of one day may be lost where clocks are put forward over it.
        (0..15)
            .filter_map(|day| self.on(after, day))
            .filter(|(from, to)| from < to && *from > after)
            .map(|of| of.0)
            .min()
    }

    /// An instant on the window's own clock, to the minute.
    #[must_use]
    pub fn clock(&self, at: Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// From when to when it is open, so many days after the one that an instant is in.
    fn on(&self, at: Timestamp, days: i32) -> Option<(Timestamp, Timestamp)> {
        let day = at.to_zoned_datetime(self.zone.clone()).date().checked_add(days.days()).ok()?;
        if !self.days[usize::try_from(day.weekday().to_monday_zero_offset()).ok()?] {
            return None;
        }
        let ends = match self.to {
            Some(to) if to > self.from => day.to_datetime(to),
            Some(to) => day.tomorrow().ok()?.to_datetime(to),
            None => day.tomorrow().ok()?.to_datetime(Time::midnight()),
        };
        let instant = |clock| Some(self.zone.to_ambiguous_zoned_datetime(clock).compatible().ok()?.timestamp());
        Some((instant(day.to_datetime(self.from))?, instant(ends)?))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn days(text: &str) -> Result<[bool; 7], String> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let mut out = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (weekday(first)?, weekday(last)?);
        loop {
            out[usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()] = true;
            if day == last {
                break;
            }
            day = day.next();
        }
    }
    Ok(out)
}

fn weekday(text: &str) -> Result<Weekday, String> {
    let known = DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, day)| *day).ok_or_else(|| {
        let names: Vec<&str> = DAYS.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is no day: {} or daily", names.join(", "))
    })
}

fn time(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?} is no time of the day, such as 02:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let two = |digits: &str| -> Result<i8, String> {
        let fine = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| fine).ok_or_else(wrong)
    };
    Time::new(two(hour)?, two(minute)?, 0, 0).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(window: &str, at: &str) -> bool {
        Window::parse(window).unwrap().is_open(at.parse().unwrap())
    }

    #[test]
    fn its_beginning_counts_and_its_end_does_not() {
        // 2026-11-29 is a Sunday.
        let window = "Sun 02:00-04:00 UTC";
        assert!(!open(window, "2026-11-29T01:59:59Z"));
        assert!(open(window, "2026-11-29T02:00:00Z"));
        assert!(open(window, "2026-11-29T03:59:59Z"));
        assert!(!open(window, "2026-11-29T04:00:00Z"));
        assert!(!open(window, "2026-11-30T03:00:00Z"));
    }

    #[test]
    fn days_are_lists_and_ranges_also_over_the_end_of_the_week() {
        let on = |days: &str| -> Vec<usize> {
            let days = super::days(days).unwrap();
            (0..7).filter(|day| days[*day]).collect()
        };
        assert_eq!(on("Mon-Fri"), [0, 1, 2, 3, 4]);
        assert_eq!(on("sat,SUN"), [5, 6]);
        assert_eq!(on("Fri-Mon"), [0, 4, 5, 6]);
        assert_eq!(on("Tue,Thu-Fri"), [1, 3, 4]);
        assert_eq!(on("daily"), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn one_over_midnight_belongs_to_the_day_that_it_begins_on() {
        let window = "Fri 22:00-04:00 UTC";
        assert!(open(window, "2026-11-27T23:00:00Z"));
        assert!(open(window, "2026-11-28T03:59:00Z"), "the night to Saturday");
        assert!(!open(window, "2026-11-27T03:00:00Z"), "the night to Friday");
        assert!(open("Sat 00:00-24:00 UTC", "2026-11-28T23:59:59Z"));
        assert!(!open("Sat 00:00-24:00 UTC", "2026-11-29T00:00:00Z"));
        assert!(open("daily 00:00-00:00 UTC", "2026-11-29T00:00:00Z"), "the whole day");
    }

    #[test]
    fn clocks_of_the_zone_count_and_change_with_the_season() {
        let window = "daily 02:00-04:00 Europe/Berlin";
        assert!(open(window, "2026-01-10T01:30:00Z"), "02:30 in winter");
        assert!(!open(window, "2026-07-10T02:30:00Z"), "04:30 in summer");
        assert!(open(window, "2026-07-10T00:30:00Z"), "02:30 in summer");
        // 2026-03-29 02:00 becomes 03:00: there is one hour of it.
        assert!(!open(window, "2026-03-29T00:59:59Z"));
        assert!(open(window, "2026-03-29T01:00:00Z"));
        assert!(!open(window, "2026-03-29T02:00:00Z"));
        // 2026-10-25 03:00 becomes 02:00: three hours of it.
        assert!(open(window, "2026-10-25T00:00:00Z"));
        assert!(open(window, "2026-10-25T02:59:59Z"));
        assert!(!open(window, "2026-10-25T03:00:00Z"));
    }

    #[test]
    fn it_tells_when_it_opens_next_and_passes_over_what_clocks_take_away() {
        let opens = |window: &str, after: &str| {
            let window = Window::parse(window).unwrap();
            window.clock(window.opens(after.parse().unwrap()).unwrap())
        };
        assert_eq!(opens("Sun 02:00-04:00 Europe/Berlin", "2026-11-26T03:00:00Z"), "Sun 2026-11-29 02:00 CET");
        assert_eq!(opens("Sun 02:00-04:00 Europe/Berlin", "2026-11-29T02:00:00Z"), "Sun 2026-12-06 02:00 CET");
        assert_eq!(opens("Sun 02:00-03:00 Europe/Berlin", "2026-03-28T00:00:00Z"), "Sun 2026-04-05 02:00 CEST");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |text: &str| Window::parse(text).unwrap_err();
        assert!(wrong("Sun 02:00-04:00").contains("is not a window"));
        assert!(wrong("Sunday 02:00-04:00 UTC").contains("\"Sunday\" is no day"));
        assert!(wrong("Sun 02:00 UTC").contains("from when to when"));
        for time in ["2:00-04:00", "25:00-26:00", "02:60-04:00", "24:00-04:00", "02-04", "+2:00-04:00"] {
            assert!(wrong(&format!("Sun {time} UTC")).contains("is no time of the day"), "{time}");
        }
        assert!(wrong("Sun 02:00-04:00 Europe/Berlim").contains("is no time zone"));
    }
}
