//! `server.directory`: a directory, and on request nothing in it but what is managed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidelock_sdk::effect::{Attributes, make_directory, remove, set_attributes};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{
    Action, Change, Diagnostic, Entry, EntryKind, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::attributes::{self, Mode, Wanted};
use crate::path::AbsolutePath;
use crate::{look, strays};

/// What a `server.directory` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectorySpec {
    /// Where it is.
    path: AbsolutePath,
    /// Permission bits in quotes, such as "0755". Left alone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// User name or number. Left alone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Group name or number. Left alone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Whether missing parent directories are made, with mode 0755.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    parents: bool,
    /// Whether everything below it that no stack manages is removed. Each file shows in
    /// the plan and counts in the `destroy` budget.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    purge: bool,
    /// What is to be found there unmanaged: nothing, where `purge` says so. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    strays: Option<Vec<String>>,
}

/// `server.directory`.
pub struct Directory;

impl Kind for Directory {
    type Spec = DirectorySpec;
    const NAME: &'static str = "directory";
    const DOC: &'static str = "A directory. With `purge`, what lies in it and is managed by no stack is removed. When it \
        leaves Git it is removed if it is empty.";

    fn fields() -> Vec<Field> {
        vec![
            Field::new("/path").immutable(),
            Field::new("/parents").how(),
            Field::new("/purge").how(),
            Field::new("/strays").strays(),
        ]
    }

    fn identity(spec: &DirectorySpec) -> String {
        spec.path.identity()
    }

    fn requires(spec: &DirectorySpec) -> Vec<String> {
        spec.path.parents()
    }

    fn check(spec: &DirectorySpec) -> Vec<Diagnostic> {
        if spec.strays.as_ref().is_some_and(|strays| !strays.is_empty() || !spec.purge) {
            let remark = Diagnostic::error("`strays` is what is found on the target; it cannot be declared");
            return vec![remark.at("/strays").hint("write `purge: true` to have unmanaged files removed")];
        }
        Vec::new()
    }

    fn normalise(mut spec: DirectorySpec, machine: &Machine<'_>) -> Result<DirectorySpec, Error> {
        attributes::normalise(&mut spec.owner, &mut spec.group, machine)?;
        spec.strays = spec.purge.then(Vec::new);
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        look::paths(subjects, machine, |_| false, |subject, path, entry| present(subject, &path, entry, machine))
    }

    fn steps(change: &Change<DirectorySpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let path = AbsolutePath::of_identity(&change.identity)
            .ok_or_else(|| Error::plugin(format!("{:?} is no directory's identity", change.identity)))?;
        let observed = change.observed.as_ref().and_then(|observed| observed.get("strays"));
        let found: Vec<String> = observed
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if change.action == Action::Delete {
            // Never with all below it: what others own there must make it fail.
            if change.last_applied().is_some_and(|last| last.purge) {
                strays::remove_all(&path, &found, machine, propose)?;
            }
            propose.add(remove(path.as_str()))?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        let wanted = Wanted { mode: spec.mode, owner: spec.owner.as_ref(), group: spec.group.as_ref() };
        let attributes = wanted.changed(change);
        if change.makes() {
            propose.add(make_directory(path.as_str()).attributes(attributes).parents(spec.parents))?;
            return Ok(Step::Proposed);
        }
        if attributes != Attributes::default() {
            propose.add(set_attributes(path.as_str()).attributes(attributes))?;
        }
        if spec.purge && change.differs("/strays") {
            strays::remove_all(&path, &found, machine, propose)?;
        }
        Ok(Step::Proposed)
    }
}

fn present(subject: &Subject, path: &AbsolutePath, entry: Entry, machine: &Machine<'_>) -> Result<Observation, Error> {
    if entry.kind != EntryKind::Directory {
        return Err(look::in_the_way(path, &entry, "a directory"));
    }
    let mut observed = Map::new();
    observed.insert("path".into(), json!(path));
    attributes::observe(subject, &entry, &mut observed);
    let mut seen = vec![entry.seen];
    if subject.manages("/strays") {
        let below = strays::below(path, machine)?;
        observed.insert("strays".into(), json!(below.identities));
        seen.extend(below.seen);
    }
    Ok(Observation::present(Value::Object(observed), seen))
}
