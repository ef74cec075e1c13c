//! `server.link`: a symbolic link.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::{link, remove};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{
    Action, Change, Diagnostic, EntryKind, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::look;
use crate::path::AbsolutePath;

/// What a `server.link` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Where the link is.
    path: AbsolutePath,
    /// Its text: where it points, absolute or relative to its own directory.
    to: String,
}

/// `server.link`.
pub struct Link;

impl Kind for Link {
    type Spec = LinkSpec;
    const NAME: &'static str = "link";
    const DOC: &'static str = "A symbolic link. What it points to need not exist. A file or directory at its path is not \
        replaced.";

    fn fields() -> Vec<Field> {
        vec![Field::new("/path").immutable()]
    }

    fn identity(spec: &LinkSpec) -> String {
        spec.path.identity()
    }

    fn requires(spec: &LinkSpec) -> Vec<String> {
        // What it points to may come later: a link to nothing is a link.
        spec.path.parents()
    }

    fn check(spec: &LinkSpec) -> Vec<Diagnostic> {
        if spec.to.is_empty() || spec.to.len() > 4095 || spec.to.chars().any(char::is_control) {
            return vec![Diagnostic::error("`to` is empty, too long, or holds a control character").at("/to")];
        }
        Vec::new()
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        look::paths(
            subjects,
            machine,
            |_| false,
            |_, path, entry| match (entry.kind, &entry.link_target) {
                (EntryKind::Symlink, Some(to)) => {
                    Ok(Observation::present(LinkSpec { path, to: to.clone() }, [entry.seen]))
                }
                _ => Err(look::in_the_way(&path, &entry, "a symbolic link")),
            },
        )
    }

    fn steps(change: &Change<LinkSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let path = AbsolutePath::of_identity(&change.identity)
            .ok_or_else(|| Error::plugin(format!("{:?} is no link's identity", change.identity)))?;
        match change.action {
            Action::Delete => propose.add(remove(path.as_str()))?,
            _ => propose.add(link(path.as_str(), &change.wanted()?.to))?,
        }
        Ok(Step::Proposed)
    }
}
