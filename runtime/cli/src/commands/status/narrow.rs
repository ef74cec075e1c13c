//! Which lanes `status` is asked about. A name that nobody knows is an error: a monitor that
//! watches a mistyped stack would else be told for years that all is well.

use tidelock_model::config::Config;
use tidelock_model::name::Name;
use tidelock_model::port::LaneRecord;
use tidelock_model::run::Status;
use tidelock_reconcile::select::{Pattern, patterns};

use crate::config::toml::nearest;
use crate::error::{CliError, Kind};

/// See the module.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Narrow {
    /// Stacks, by name or glob; all where none is named
    stacks: Vec<String>,
    /// Targets, by name or glob
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
    /// Only lanes that stand so: converged, pending, drifted, waiting, failed, degraded,
    /// suspended, orphaned or unknown
    #[arg(long, value_name = "WORD", value_delimiter = ',', value_parser = status)]
    status: Vec<Status>,
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    source: Option<Name>,
}

/// A status by its word.
fn status(word: &str) -> Result<Status, String> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|_| {
        "it is none of converged, pending, drifted, waiting, failed, degraded, suspended, orphaned, unknown".to_owned()
    })
}

impl Narrow {
    /// Whether anything was asked for.
    pub(super) fn is_any(&self) -> bool {
        self.by_place() || !self.status.is_empty()
    }

    fn by_place(&self) -> bool {
        self.by_lane() || self.source.is_some()
    }

    /// Whether stacks or targets were chosen: what is wrong with others is not asked about.
    pub(super) fn by_lane(&self) -> bool {
        !self.stacks.is_empty() || !self.target.is_empty()
    }

    /// The lanes that are meant.
    ///
    /// # Errors
    /// A name that no lane has, or a pattern that cannot be read.
    pub(super) fn lanes(&self, config: &Config, mut lanes: Vec<LaneRecord>) -> Result<Vec<LaneRecord>, CliError> {
        known("stack", &self.stacks, lanes.iter().map(|record| record.lane.stack.as_str()).collect())?;
        let targets = lanes.iter().map(|record| &record.lane.target).chain(config.targets.keys());
        known("target", &self.target, targets.map(Name::as_str).collect())?;
        let sources = lanes.iter().map(|record| &record.lane.source).chain(config.sources.keys());
        known("source", self.source.as_ref().map(Name::as_str).as_slice(), sources.map(Name::as_str).collect())?;
        let (stacks, targets) = (patterns(&self.stacks)?, patterns(&self.target)?);
        lanes.retain(|record| {
            meant(&stacks, &record.lane.stack)
                && meant(&targets, &record.lane.target)
                && self.source.as_ref().is_none_or(|source| *source == record.lane.source)
                && (self.status.is_empty() || self.status.contains(&record.status))
        });
        Ok(lanes)
    }

    /// Whether the state of a source has to do with what was asked for.
    pub(super) fn concerns(&self, source: &Name, lanes: &[LaneRecord]) -> bool {
        match &self.source {
            Some(wanted) => wanted == source,
            None => !self.by_place() || lanes.iter().any(|record| record.lane.source == *source),
        }
    }
}

fn meant(globs: &[Pattern], name: &Name) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.is_match(name.as_str()))
}

/// Names and patterns must mean something that is there.
fn known<T: AsRef<str>>(what: &str, wanted: &[T], mut known: Vec<&str>) -> Result<(), CliError> {
    known.sort_unstable();
    known.dedup();
    for word in wanted.iter().map(AsRef::as_ref) {
        let glob = tidelock_model::grant::glob(word, false)?;
        if known.iter().any(|name| glob.is_match(name)) {
            continue;
        }
        let error = CliError::new(Kind::Usage, format!("no {what} that was looked at is called {word}"));
        return Err(match nearest(word, &known) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None if known.is_empty() => error.hint("nothing was looked at yet; begin with `tidelock plan`"),
            None => error.hint(format!("known: {}", known.join(", "))),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::name::Lane;

    fn lane(stack: &str, target: &str, status: Status) -> LaneRecord {
        let name = |text: &str| Name::new(text).unwrap();
        let lane = Lane { source: name("infra"), stack: name(stack), target: name(target) };
        LaneRecord { status, ..LaneRecord::unknown(lane) }
    }

    fn narrowed(narrow: &Narrow) -> Result<Vec<String>, CliError> {
        let all = vec![
            lane("web", "eu-1", Status::Converged),
            lane("web", "us-1", Status::Failed),
            lane("db", "eu-1", Status::Drifted),
        ];
        let lanes = narrow.lanes(&Config::default(), all)?;
        Ok(lanes.iter().map(|record| format!("{}@{}", record.lane.stack, record.lane.target)).collect())
    }

    #[test]
    fn every_filter_counts() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let narrow = |stacks: &[&str], target: &[&str], status: &[Status]| Narrow {
            stacks: words(stacks),
            target: words(target),
            status: status.to_vec(),
            source: None,
        };
        assert_eq!(narrowed(&narrow(&[], &[], &[])).unwrap().len(), 3);
        assert_eq!(narrowed(&narrow(&["w*"], &["eu-*"], &[])).unwrap(), ["web@eu-1"]);
        let loose = [Status::Failed, Status::Drifted];
        assert_eq!(narrowed(&narrow(&[], &[], &loose)).unwrap(), ["web@us-1", "db@eu-1"]);
        assert!(narrowed(&narrow(&["db"], &[], &[Status::Failed])).unwrap().is_empty());
        for (stacks, targets) in [(&["wep"][..], &[][..]), (&["x*"], &[]), (&[], &["asia-*"])] {
            let error = narrowed(&narrow(stacks, targets, &[])).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{stacks:?} {targets:?}");
        }
        assert_eq!(narrowed(&narrow(&["wep"], &[], &[])).unwrap_err().hints, ["did you mean web?"]);
    }

    #[test]
    fn a_status_is_one_of_the_words() {
        assert_eq!(status("take-over").ok(), None);
        assert_eq!(status("drifted"), Ok(Status::Drifted));
    }
}
