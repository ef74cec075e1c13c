//! The first stage: a revision in force, and the lanes that it has.

use std::sync::Arc;

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::event::RunEvent;
use tidelock_model::name::Name;
use tidelock_model::port::{Fetched, Source, Want};

use crate::error::RunError;
use crate::read::stack;
use crate::runtime::{Runtime, Selection};
use crate::select::{self, Selected};

/// The lanes of a pass, and what was wrong with stacks that are not among them.
pub(super) struct Lanes {
    pub(super) selected: Vec<Selected>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) errors: Vec<Diagnostic>,
}

/// Fetches the source that the selection means and puts its revision in force.
pub(super) async fn fetch(runtime: &Runtime, selection: &Selection) -> Result<Fetched, RunError> {
    let (name, source) = chosen(runtime, selection)?;
    let last = runtime.store.revision(&name)?;
    let fetched = source.fetch(&selection.want, last.as_ref()).await?;
    for notice in &fetched.notices {
        runtime.emit(None, None, &RunEvent::SourceNotice { notice: notice.clone() })?;
    }
    let revision = &fetched.revision;
    // A revision that a caller asked for is looked at; only the configured one comes into force.
    if selection.want == Want::Configured && last.as_ref() != Some(revision) {
        runtime.store.put_revision(revision)?;
        let (revision, subject, author) = (revision.id.clone(), revision.subject.clone(), revision.author.clone());
        runtime.emit(None, None, &RunEvent::Fetched { revision, subject, author })?;
    }
    tracing::info!(source = %name, revision = %fetched.revision.short(), "fetched");
    Ok(fetched)
}

fn chosen(runtime: &Runtime, selection: &Selection) -> Result<(Name, Arc<dyn Source>), RunError> {
    let names = || runtime.sources.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
    match &selection.source {
        Some(name) => match runtime.sources.get(name) {
            Some(source) => Ok((name.clone(), source.clone())),
            None => {
                Err(RunError::selection(format!("there is no source {name}"), Some(format!("declared: {}", names()))))
            }
        },
        None => match runtime.sources.len() {
            0 => Err(RunError::selection(
                "the config declares no source",
                Some("add one:\n\n[sources.infra]\nurl = \"https://git.example.com/infra.git\"".to_owned()),
            )),
            1 => Ok(runtime.sources.iter().next().map(|(name, source)| (name.clone(), source.clone())).expect("one")),
            _ => Err(RunError::selection(
                "the config declares several sources",
                Some(format!("say which with --source: {}", names())),
            )),
        },
    }
}

/// Reads the stacks of a revision and chooses the lanes that are meant.
pub(super) fn lanes(runtime: &Runtime, selection: &Selection, fetched: &Fetched) -> Result<Lanes, RunError> {
    let (stacks, mut errors) = stack::all(fetched.tree.as_ref())?;
    let by_name = !selection.stacks.is_empty();
    let (selected, mut warnings) = match select::lanes(
        &runtime.config,
        &fetched.revision.source,
        &stacks,
        &selection.stacks,
        &selection.targets,
    ) {
        Ok(chosen) => chosen,
        // The stack that was named may be the one that cannot be read.
        Err(RunError::Selection { .. }) if !errors.is_empty() => return Err(RunError::Rejected(errors)),
        Err(error) => return Err(error),
    };
    if by_name {
        warnings.extend(errors.drain(..).map(|error| Diagnostic { severity: Severity::Warning, ..error }));
    }
    if selected.is_empty() && !errors.is_empty() {
        return Err(RunError::Rejected(errors));
    }
    if stacks.is_empty() {
        return Err(RunError::selection(
            format!("revision {} holds no stack", fetched.revision.short()),
            Some("a stack is a directory with a stack.yaml; `tidelock init` makes an example".to_owned()),
        ));
    }
    Ok(Lanes { selected, warnings, errors })
}
