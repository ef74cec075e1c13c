//! Modules that stacks take from another revision of their source: `from: { path, rev }`.
//!
//! **Invariant.** What a stack is rendered from moves by a commit to the stack alone. A tag
//! that stands for another commit than when it was last used is an error until a person
//! accepts it; a commit has to be in the history of the revision that names it. Both are
//! verified like any revision. What was used once is read again without a server.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelock_model::desired::ModuleAt;
use tidelock_model::error::Diagnostic;
use tidelock_model::name::Name;
use tidelock_model::port::{Fetched, KnownModule, Source, SourceError, TreeEntry, Want};
use tidelock_model::revision::{Revision, Signature, SourceNotice};
use tidelock_model::snippet::Hidden;
use tidelock_model::stack::{Fixed, Stack};

use crate::error::RunError;
use crate::read::nearest;
use crate::read::resource::with_snippet;
use crate::read::stack::place;
use crate::runtime::Runtime;

/// A stack's module at its own revision.
pub(super) struct Module {
    /// Its files.
    pub(super) fetched: Fetched,
    /// What a plan shows of it.
    pub(super) at: ModuleAt,
}

/// Opens the module of a stack that lies at another revision than `files`, which the stack
/// was read from. With `keep` it is remembered what the name stood for.
///
/// # Errors
/// [`RunError::Rejected`] with the place in `stack.yaml`; the store cannot be read.
pub(super) async fn of(
    runtime: &Runtime,
    files: &Fetched,
    stack: &Stack,
    keep: bool,
) -> Result<Option<Module>, RunError> {
    let Some(rev) = stack.module_rev() else {
        there(files, stack)?;
        return Ok(None);
    };
    let wrong = |why: Wrong| why.at("/from/rev", stack, files);
    let source = &files.revision.source;
    let port = runtime.sources.get(source).ok_or_else(|| wrong(Wrong::new(format!("there is no source {source}"))))?;
    let fixed = Fixed::parse(rev).map_err(|message| wrong(Wrong::new(message)))?;
    let known = runtime.store.modules(source, false)?.into_iter().find(|known| known.rev == fixed.as_str());
    let fetched = match &known {
        Some(known) => remembered(port, known, rev, source).await,
        None => found(runtime, port, files, &fixed, rev).await?,
    };
    let fetched = fetched.map_err(wrong)?;
    let path = stack.module();
    let there = fetched.tree.entry(&path).map_err(|error| wrong(error.into()))?;
    if !path.is_empty() && !there.is_some_and(|entry| entry.is_dir()) {
        let message = format!("{rev} ({}) holds no directory /{path}", fetched.revision.short());
        return Err(wrong(Wrong::new(message)));
    }
    if keep && known.is_none() {
        let known = KnownModule { rev: fixed.as_str().to_owned(), revision: fetched.revision.clone(), moved: None };
        runtime.store.put_module(source, &known)?;
    }
    let at = ModuleAt { path, rev: rev.to_owned(), revision: fetched.revision.clone() };
    Ok(Some(Module { fetched, at }))
}

/// A module that is a folder of the revision has to be one: a mistyped path would else be a stack
/// without resources.
fn there(files: &Fetched, stack: &Stack) -> Result<(), RunError> {
    let path = stack.module();
    if stack.decl.from.is_none() || path.is_empty() {
        return Ok(());
    }
    let found = files.tree.entry(&path)?;
    if found.as_ref().is_some_and(TreeEntry::is_dir) {
        return Ok(());
    }
    let name = &stack.decl.name;
    let message = match found {
        Some(_) => format!("stack {name} is rendered from /{path}, which is a file"),
        None => format!("stack {name} is rendered from /{path}, and there is no such folder"),
    };
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", &path));
    let beside = files.tree.list(parent)?.unwrap_or_default();
    let folders = beside.iter().filter(|entry| entry.is_dir()).map(|entry| entry.name.as_str());
    let near = nearest(last, folders).map(|near| match parent {
        "" => format!("did you mean /{near}?"),
        parent => format!("did you mean /{parent}/{near}?"),
    });
    let usual = || "`from` is a path from the stack's folder, or with a slash first from the source's root".to_owned();
    Err(Wrong { message, hint: Some(near.unwrap_or_else(usual)) }.at("/from", stack, files))
}

/// Why a module cannot be had.
struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(message: String) -> Self {
        Self { message, hint: None }
    }

    fn hint(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// As the problem of a field of `stack.yaml`.
    fn at(self, field: &str, stack: &Stack, files: &Fetched) -> RunError {
        let problem = Diagnostic::error(self.message, Some(place(stack))).at(field);
        let mut problem = Diagnostic { hint: self.hint, ..problem };
        with_snippet(&mut problem, files.tree.as_ref(), &Hidden::new());
        RunError::Rejected(vec![problem])
    }
}

impl From<SourceError> for Wrong {
    fn from(SourceError { message, hint, .. }: SourceError) -> Self {
        Self { message, hint }
    }
}

/// What was used before, for which no server is asked.
async fn remembered(port: &Arc<dyn Source>, known: &KnownModule, rev: &str, source: &Name) -> Result<Fetched, Wrong> {
    if let Some(moved) = &known.moved {
        let message = format!(
            "tag {rev} stands for {} now, and stood for {} when it was last used",
            moved.get(..12).unwrap_or(moved),
            known.revision.short()
        );
        let hint = format!(
            "a tag that moves is no promotion: name another one; or, if that is meant: `tidelock source accept {source} --tag {rev}`"
        );
        return Err(Wrong::new(message).hint(hint));
    }
    Ok(port.fetch(&Want::Rev(known.revision.id.clone()), Some(&known.revision)).await?)
}

/// Looks up what was not used before. The outer error is the store's.
async fn found(
    runtime: &Runtime,
    port: &Arc<dyn Source>,
    files: &Fetched,
    fixed: &Fixed,
    rev: &str,
) -> Result<Result<Fetched, Wrong>, RunError> {
    let last = runtime.store.revision(&files.revision.source)?;
    Ok(looked_up(port, files, fixed, rev, last.as_ref()).await)
}

async fn looked_up(
    port: &Arc<dyn Source>,
    files: &Fetched,
    fixed: &Fixed,
    rev: &str,
    last: Option<&Revision>,
) -> Result<Fetched, Wrong> {
    let source = &files.revision.source;
    let id = match fixed {
        Fixed::Commit(id) => {
            // Of a work tree, what it was made from.
            let tip = match &files.revision.signature {
                Signature::Worktree => port.fetch(&Want::Rev("HEAD".to_owned()), None).await?.revision.id,
                _ => files.revision.id.clone(),
            };
            if !port.descends(&tip, id).await? {
                let message =
                    format!("{} is not in the history of {}", id.get(..12).unwrap_or(id), files.revision.short());
                let hint = "a module is read from a commit that was in force, or from a tag of the source";
                return Err(Wrong::new(message).hint(hint.to_owned()));
            }
            id.clone()
        }
        Fixed::Tag(tag) => {
            let tags = [tag.clone()];
            // Brought along with what the config names, and kept with it.
            let asked = port.fetch_with(&Want::Configured, last, &tags).await;
            match (port.tag(tag).await?, asked) {
                (Some(id), _) => id,
                (None, Err(error)) => return Err(error.into()),
                (None, Ok(_)) => {
                    let hint = "a branch would move by itself: tag the commit, or name it by all 40 digits";
                    return Err(Wrong::new(format!("source {source} has no tag {rev}")).hint(hint.to_owned()));
                }
            }
        }
    };
    Ok(port.fetch(&Want::Rev(id), None).await?)
}

/// The tags to ask a source for in the same question as for what the config names.
pub(super) fn tags(runtime: &Runtime, source: &Name) -> Result<Vec<String>, RunError> {
    let mut used = runtime.store.modules(source, true)?;
    used.retain(is_tag);
    Ok(used.into_iter().map(|known| known.rev).collect())
}

/// Compares what the tags stand for that stacks name with what they stood for, after a fetch
/// that brought them. Told each time, as long as it is so.
pub(super) async fn moved(runtime: &Runtime, source: &Name, port: &dyn Source) -> Result<Vec<SourceNotice>, RunError> {
    let mut notices = Vec::new();
    for known in runtime.store.modules(source, true)?.into_iter().filter(is_tag) {
        let Some(now) = port.tag(&known.rev).await? else { continue };
        let moved = (now != known.revision.id).then_some(now);
        if let Some(to) = &moved {
            let (tag, from) = (known.rev.clone(), known.revision.id.clone());
            notices.push(SourceNotice::TagMoved { tag, from, to: to.clone() });
        }
        if moved != known.moved {
            runtime.store.put_module(source, &KnownModule { moved, ..known })?;
        }
    }
    Ok(notices)
}

fn is_tag(known: &KnownModule) -> bool {
    known.rev.starts_with("refs/tags/")
}

/// Notes which revisions the stacks of the revision in force take their modules from.
pub(super) fn mark_used(runtime: &Runtime, source: &Name, stacks: &[Stack]) -> Result<(), RunError> {
    let revs: BTreeSet<String> = stacks
        .iter()
        .filter_map(|stack| Fixed::parse(stack.module_rev()?).ok())
        .map(|fixed| fixed.as_str().to_owned())
        .collect();
    if revs.is_empty() && runtime.store.modules(source, true)?.is_empty() {
        return Ok(());
    }
    Ok(runtime.store.use_modules(source, &revs.into_iter().collect::<Vec<_>>())?)
}
