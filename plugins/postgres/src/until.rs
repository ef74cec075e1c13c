//! Points in time, for `valid_until`: read as people write them, spelled as one.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::from_text;

/// How the server is asked to spell one. The same as [`Until`] spells it.
pub(crate) const SPELLED: &str = r#"'YYYY-MM-DD"T"HH24:MI:SS"Z"'"#;

/// For ever.
pub(crate) const INFINITY: &str = "infinity";

/// `infinity`, a date, or a date and time, in UTC unless it says otherwise: `2030-01-31`,
/// `2030-01-31 12:00`, `2030-01-31T12:00:00+02:00`. Always in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Until(String);

impl Until {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[expect(clippy::needless_pass_by_value, reason = "the form that `from_text` takes")]
    fn parse(text: String) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case(INFINITY) {
            return Ok(Self(INFINITY.to_owned()));
        }
        let text = text.trim();
        let civil = || -> Option<Timestamp> {
            let at: civil::DateTime = text.parse().ok()?;
            TimeZone::UTC.to_timestamp(at).ok()
        };
        let at = text.parse::<Timestamp>().ok().or_else(civil).ok_or_else(|| {
            format!("{text:?} is no point in time; write `infinity`, `2030-01-31` or `2030-01-31T12:00:00Z`")
        })?;
        if at.subsec_nanosecond() != 0 {
            return Err(format!("{text:?} has fractions of a second, which would not come back"));
        }
        Ok(Self(at.to_string()))
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_one_spelling() {
        let spelled = |text: &str| Until::parse(text.to_owned()).map(|until| until.0);
        for same in ["2030-01-31T12:00:00Z", "2030-01-31 12:00:00Z", "2030-01-31T13:00+01:00", "2030-01-31 12:00"] {
            assert_eq!(spelled(same).as_deref(), Ok("2030-01-31T12:00:00Z"), "{same}");
        }
        assert_eq!(spelled("2030-01-31").as_deref(), Ok("2030-01-31T00:00:00Z"));
        assert_eq!(spelled("Infinity").as_deref(), Ok("infinity"));
        for bad in ["", "tomorrow", "2030-02-31", "2030-01-31T12:00:00.5Z"] {
            assert!(spelled(bad).is_err(), "{bad}");
        }
    }
}
