//! `server.file`: a file with a content.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidelock_sdk::effect::{Attributes, put_file, remove, set_attributes};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{
    Action, Change, Content, Diagnostic, Entry, EntryKind, Error, Field, Kind, Machine, Observation, Proposals, Step,
    Subject,
};

use crate::attributes::{self, Mode, Wanted};
use crate::look;
use crate::path::AbsolutePath;

/// What a `server.file` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Where it is.
    path: AbsolutePath,
    /// What it holds: text, `{ $file: path }`, `{ $template: path }`, `{ $secret: name }`,
    /// `{ base64: text }` or `{ $parts: [...] }` of these.
    content: Content,
    /// Permission bits in quotes, such as "0644". Left alone where absent.
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
    /// Keeps what was there, under the file's name and this suffix, such as ".orig".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    /// A command that must end with 0 before the file is put in place; `%s` stands for
    /// the staged file. Files with equal commands are staged together, it runs once, and
    /// then all are put in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validate: Option<Vec<String>>,
}

/// `server.file`.
pub struct File;

impl Kind for File {
    type Spec = FileSpec;
    const NAME: &'static str = "file";
    const DOC: &'static str = "A file with a content. It is written beside its place, given its mode and owner, and \
        renamed: nobody ever sees half of it. A symbolic link at its path is replaced by the file; a directory or \
        device is not.";

    fn fields() -> Vec<Field> {
        vec![
            Field::new("/path").immutable(),
            Field::new("/content").content(),
            Field::new("/parents").how(),
            Field::new("/backup").how(),
            Field::new("/validate").how(),
        ]
    }

    fn identity(spec: &FileSpec) -> String {
        spec.path.identity()
    }

    fn requires(spec: &FileSpec) -> Vec<String> {
        spec.path.parents()
    }

    fn check(spec: &FileSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if spec.backup.as_deref().is_some_and(|suffix| suffix.is_empty() || suffix.contains(['/', '\0'])) {
            remarks.push(
                Diagnostic::error("the backup's suffix is empty or holds a slash")
                    .at("/backup")
                    .hint("such as \".orig\""),
            );
        }
        if let Some(argv) = &spec.validate {
            if !argv.first().is_some_and(|program| program.starts_with('/')) {
                let remark = Diagnostic::error("the first word of `validate` is not an absolute path of a program");
                remarks.push(remark.at("/validate").hint("such as [\"/usr/sbin/nginx\", \"-t\", \"-c\", \"%s\"]"));
            } else if !argv.iter().any(|word| word.contains("%s")) {
                let remark =
                    Diagnostic::warning("`validate` does not name the staged file, so it looks at the old one");
                remarks.push(remark.at("/validate").hint("put %s where the file's path belongs"));
            }
        }
        remarks
    }

    fn normalise(mut spec: FileSpec, machine: &Machine<'_>) -> Result<FileSpec, Error> {
        attributes::normalise(&mut spec.owner, &mut spec.group, machine)?;
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        look::paths(
            subjects,
            machine,
            |subject| subject.manages("/content"),
            |subject, path, entry| present(subject, &path, entry),
        )
    }

    fn steps(change: &Change<FileSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if change.action == Action::Delete {
            let path =
                AbsolutePath::of_identity(&change.identity).ok_or_else(|| Error::plugin("not a file's identity"))?;
            propose.add(remove(path.as_str()))?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        // Attributes of a link cannot be set: it gives way to a file with all of the spec.
        let instead_of_link = change.observed.as_ref().is_some_and(|observed| observed.get(LINK_TEXT).is_some());
        let all = change.makes() || instead_of_link;
        let wanted = Wanted { mode: spec.mode, owner: spec.owner.as_ref(), group: spec.group.as_ref() };
        let attributes = if instead_of_link { wanted.all() } else { wanted.changed(change) };
        if all || change.differs("/content") {
            let mut effect = put_file(spec.path.as_str(), &spec.content)
                .attributes(attributes)
                .parents(spec.parents)
                .backup(spec.backup.clone())
                .validate(spec.validate.clone());
            if let Some(argv) = &spec.validate {
                effect = effect.together(format!("validate:{}", json!(argv)));
            }
            propose.add(effect)?;
        } else if attributes != Attributes::default() {
            propose.add(set_attributes(spec.path.as_str()).attributes(attributes))?;
        }
        Ok(Step::Proposed)
    }
}

/// In what is observed: the text of a symbolic link that stands in the file's place.
const LINK_TEXT: &str = "symlink";

fn present(subject: &Subject, path: &AbsolutePath, entry: Entry) -> Result<Observation, Error> {
    let mut observed = Map::new();
    match entry.kind {
        EntryKind::File => {
            if subject.manages("/content") {
                let digest = entry.digest.as_ref().ok_or_else(|| Error::plugin(format!("no digest of {path}")))?;
                observed.insert("content".into(), json!({ "digest": digest, "size": entry.size }));
            }
            attributes::observe(subject, &entry, &mut observed);
        }
        // The link has neither content nor mode of its own, so all managed fields differ.
        EntryKind::Symlink => {
            observed.insert(LINK_TEXT.into(), json!(entry.link_target.clone().unwrap_or_default()));
        }
        EntryKind::Directory | EntryKind::Other => return Err(look::in_the_way(path, &entry, "a file")),
    }
    observed.insert("path".into(), json!(path));
    Ok(Observation::present(Value::Object(observed), [entry.seen]))
}
