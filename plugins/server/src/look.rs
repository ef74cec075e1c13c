//! Looking at many paths with as few reads as there are sorts of question.

use tidelock_sdk::{Entry, EntryKind, Error, Looked, Machine, Observation, Subject};

use crate::path::AbsolutePath;

/// Looks at the path of each subject, digesting the contents of those for which `digest`
/// says so: two reads at most, however many subjects. `present` tells what is there.
pub(crate) fn paths(
    subjects: &[Subject],
    machine: &Machine<'_>,
    digest: impl Fn(&Subject) -> bool,
    mut present: impl FnMut(&Subject, AbsolutePath, Entry) -> Result<Observation, Error>,
) -> Result<Vec<Observation>, Error> {
    let paths: Vec<Option<AbsolutePath>> =
        subjects.iter().map(|subject| AbsolutePath::of_identity(&subject.identity)).collect();
    let mut looked: Vec<Option<Looked>> = Vec::new();
    looked.resize_with(subjects.len(), || None);
    for digested in [false, true] {
        let asked: Vec<usize> =
            (0..subjects.len()).filter(|at| paths[*at].is_some() && digest(&subjects[*at]) == digested).collect();
        let question: Vec<String> =
            asked.iter().filter_map(|at| paths[*at].as_ref().map(ToString::to_string)).collect();
        let answers = if digested { machine.digest(&question)? } else { machine.stat(&question)? };
        for (at, answer) in asked.into_iter().zip(answers) {
            looked[at] = Some(answer);
        }
    }
    let each = subjects.iter().zip(paths).zip(looked).map(|((subject, path), looked)| match (path, looked) {
        (Some(path), Some(Looked::Found(entry))) => present(subject, path, entry).unwrap_or_else(Observation::Failed),
        (_, Some(Looked::Absent(seen))) => Observation::absent([seen]),
        (_, Some(Looked::Failed(error))) => Observation::Failed(error),
        _ => Observation::Failed(Error::plugin(format!("{:?} is no identity of a path", subject.identity))),
    });
    Ok(each.collect())
}

/// What stands at a path is of another sort than the resource. It is never replaced:
/// that would lose what Tidelock knows nothing of.
pub(crate) fn in_the_way(path: &AbsolutePath, entry: &Entry, wanted: &str) -> Error {
    let what = match entry.kind {
        EntryKind::File => "a file".to_owned(),
        EntryKind::Directory => "a directory".to_owned(),
        EntryKind::Symlink => format!("a symbolic link to {}", entry.link_target.as_deref().unwrap_or("somewhere")),
        EntryKind::Other => "a device, socket or pipe".to_owned(),
    };
    let message = format!("{path} is {what}, and {wanted} is wanted there; remove it by hand, or name another path");
    Error::target("invalid", message).at("/path")
}
