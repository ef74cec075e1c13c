//! How all of it stands in one word: what a monitor asks, which reads an exit code.
//!
//! In doubt it is not well: what was never fetched, never looked at, or not for too long,
//! does not count as converged.

use jiff::{SignedDuration, Timestamp};
use tidelock_model::port::LaneRecord;
use tidelock_model::run::Status;

use super::InForce;
use crate::error::{CliError, Exit};
use crate::output::{Output, count, one_line, time};

/// See the module. From good to bad.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// Every lane is as Git says.
    Converged,
    /// Some are not, and somebody or the loop will see to it.
    Unsettled(Vec<String>),
    /// Something failed, or nobody can tell.
    Failed(Vec<String>),
}

impl Health {
    /// How these sources and lanes stand. A lane that was not looked at within `max_age` has failed.
    pub(super) fn of(
        sources: &[InForce],
        lanes: &[LaneRecord],
        max_age: Option<SignedDuration>,
        now: Timestamp,
    ) -> Self {
        let (mut failed, mut unsettled) = (vec![], vec![]);
        for source in sources {
            let InForce { name, revision, stale, notices, problems, .. } = source;
            unsettled.extend(source.not_asked());
            match (stale, revision) {
                (Some(stale), _) => {
                    failed.push(format!(
                        "source {name} is stale since {}: {}",
                        time(stale.since),
                        one_line(&stale.why)
                    ));
                }
                (None, None) => failed.push(format!("source {name} was never fetched")),
                (None, Some(_)) => {}
            }
            failed.extend(notices.iter().map(|notice| format!("source {name}: {}", one_line(&notice.to_string()))));
            failed
                .extend(problems.iter().map(|problem| format!("source {name}: {}", one_line(&super::placed(problem)))));
        }
        for record in lanes {
            let lane = &record.lane;
            let why = || record.why.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
            let word = super::word(&record.status);
            match record.status {
                Status::Failed | Status::Degraded => failed.push(format!("{lane} is {word}{}", why())),
                Status::Converged => {}
                _ => unsettled.push(format!("{lane} is {word}{}", why())),
            }
            // Nobody looks at what is orphaned.
            let looked_at = record.status != Status::Orphaned;
            if let Some(max_age) = max_age.filter(|_| looked_at)
                && record.seen.is_none_or(|seen| now.duration_since(seen) > max_age)
            {
                let seen = record.seen.map_or("never".to_owned(), |seen| format!("not since {}", time(seen)));
                failed.push(format!("{lane} was looked at {seen}"));
            }
        }
        match (failed.is_empty(), unsettled.is_empty()) {
            (false, _) => Self::Failed(failed),
            (true, false) => Self::Unsettled(unsettled),
            (true, true) => Self::Converged,
        }
    }

    /// The word for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Unsettled(_) => "unsettled",
            Self::Failed(_) => "failed",
        }
    }

    /// What it is about, a sentence each.
    pub(super) fn why(&self) -> &[String] {
        match self {
            Self::Converged => &[],
            Self::Unsettled(why) | Self::Failed(why) => why,
        }
    }

    /// The exit code for `--detailed-exitcode`.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Converged => Exit::Done,
            Self::Unsettled(_) => Exit::Pending,
            Self::Failed(_) => Exit::Error,
        }
    }

    /// One line at the end, for the monitor's own page; `asked` for the exit code.
    pub(super) fn show(&self, out: &Output, asked: bool) -> Result<(), CliError> {
        if !asked {
            return Ok(());
        }
        let text = match self.why() {
            [] => "all of it is as Git says".to_owned(),
            [one] => one.clone(),
            [first, more @ ..] => format!("{first} (and {} more)", count(more.len(), "remark")),
        };
        out.text(&format!("\n{}: {text}\n", self.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::name::{Lane, Name};
    use tidelock_model::revision::Stale;

    fn lane(status: Status, seen: i64) -> LaneRecord {
        let name = |text: &str| Name::new(text).unwrap();
        let lane = Lane { source: name("infra"), stack: name("web"), target: name("t1") };
        LaneRecord { status, seen: Timestamp::from_second(seen).ok(), ..LaneRecord::unknown(lane) }
    }

    #[test]
    fn in_doubt_it_is_not_well() {
        let now = Timestamp::from_second(1_000).unwrap();
        let code = |lanes: &[LaneRecord]| Health::of(&[], lanes, None, now).exit();
        assert_eq!(code(&[lane(Status::Converged, 900)]), Exit::Done);
        for status in [Status::Pending, Status::Drifted, Status::Waiting, Status::Suspended, Status::Orphaned] {
            assert_eq!(code(&[lane(Status::Converged, 900), lane(status, 900)]), Exit::Pending, "{status:?}");
        }
        assert_eq!(code(&[lane(Status::Unknown, 900)]), Exit::Pending);
        for status in [Status::Failed, Status::Degraded] {
            assert_eq!(code(&[lane(Status::Drifted, 900), lane(status, 900)]), Exit::Error, "{status:?}");
        }
        let source =
            |stale: Option<Stale>| InForce { stale, ..super::super::never_fetched(&Name::new("infra").unwrap()) };
        let stale = Stale { since: now, why: "no route to host".into() };
        for (stale, words) in [(None, "never fetched"), (Some(stale), "no route to host")] {
            let health = Health::of(&[source(stale)], &[lane(Status::Converged, 900)], None, now);
            assert_eq!(health.exit(), Exit::Error);
            assert!(health.why()[0].contains(words), "{health:?}");
        }
    }

    #[test]
    fn what_nobody_looked_at_for_long_has_failed() {
        let now = Timestamp::from_second(1_000).unwrap();
        let after = |status, seconds| {
            Health::of(&[], &[lane(status, 900)], Some(SignedDuration::from_secs(seconds)), now).exit()
        };
        assert_eq!(after(Status::Converged, 100), Exit::Done);
        assert_eq!(after(Status::Converged, 99), Exit::Error);
        assert_eq!(after(Status::Orphaned, 1), Exit::Pending, "nobody looks at it");
    }
}
