//! What a person has to say yes to before anything is planned: that a source's history
//! was rewritten on purpose, that a tag was moved, and that another system stands under a
//! target's name.

use tidelock_model::event::RunEvent;
use tidelock_model::name::Name;
use tidelock_model::port::{KnownModule, Want};
use tidelock_model::revision::{Revision, SourceNotice};
use tidelock_model::stack::Fixed;

use crate::error::RunError;
use crate::runtime::Runtime;
use crate::trouble;

/// A source whose tip does not descend from the revision in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The revision in force.
    pub from: Revision,
    /// The verified tip.
    pub to: Revision,
}

/// A tag that stands for another commit than when a stack's module was last read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTag {
    /// The tag's full name.
    pub tag: String,
    /// What it stood for.
    pub from: Revision,
    /// What it stands for, verified.
    pub to: Revision,
}

/// Another system under a target's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The target.
    pub target: Name,
    /// The fingerprint that is known.
    pub from: String,
    /// The one that is there now.
    pub to: String,
    /// Resources that the store knows there.
    pub owned: usize,
}

/// Looks whether a source waits for a yes; `None` where it does not. The new tip is
/// verified like any other.
///
/// # Errors
/// There is no such source, or its tip cannot be had or is not trusted.
pub async fn rewritten(runtime: &Runtime, name: &Name) -> Result<Option<Rewritten>, RunError> {
    let source = runtime.sources.get(name).ok_or_else(|| unknown("source", name, runtime.sources.keys()))?;
    let Some(from) = runtime.store.revision(name)? else { return Ok(None) };
    let waits = match source.fetch(&Want::Configured, Some(&from)).await {
        Ok(fetched) => fetched.notices.iter().any(|notice| matches!(notice, SourceNotice::Rewritten { .. })),
        Err(error) if error.code == "rewritten" => true,
        Err(error) => return Err(error.into()),
    };
    if !waits {
        return Ok(None);
    }
    let to = source.fetch(&Want::Configured, None).await?.revision;
    Ok(Some(Rewritten { from, to }))
}

/// Puts the new tip in force.
///
/// # Errors
/// The store cannot be written.
pub fn accept_source(runtime: &Runtime, change: &Rewritten, who: &str) -> Result<(), RunError> {
    let Rewritten { from, to } = change;
    runtime.store.put_revision(to)?;
    trouble::accepted(runtime, &to.source, |notice| matches!(notice, SourceNotice::Rewritten { .. }))?;
    let what = format!("source {}", to.source);
    let event = RunEvent::Accepted { what, from: from.id.clone(), to: to.id.clone(), who: who.to_owned() };
    Ok(runtime.emit(None, None, &event)?)
}

/// Looks whether a tag waits for a yes; `None` where it stands for what it did, or where no
/// stack ever took its module from it.
///
/// # Errors
/// There is no such source, or what the tag stands for cannot be had or is not trusted.
pub async fn moved_tag(runtime: &Runtime, name: &Name, tag: &str) -> Result<Option<MovedTag>, RunError> {
    let source = runtime.sources.get(name).ok_or_else(|| unknown("source", name, runtime.sources.keys()))?;
    let fixed = Fixed::parse(tag).map_err(|message| RunError::selection(message, None))?;
    let known = runtime.store.modules(name, false)?.into_iter().find(|known| known.rev == fixed.as_str());
    let Some(known) = known else { return Ok(None) };
    let last = runtime.store.revision(name)?;
    source.fetch_with(&Want::Configured, last.as_ref(), std::slice::from_ref(&known.rev)).await?;
    let Some(id) = source.tag(&known.rev).await?.filter(|id| *id != known.revision.id) else { return Ok(None) };
    let to = source.fetch(&Want::Rev(id), None).await?.revision;
    Ok(Some(MovedTag { tag: known.rev, from: known.revision, to }))
}

/// Takes what the tag stands for now.
///
/// # Errors
/// The store cannot be written.
pub fn accept_tag(runtime: &Runtime, change: &MovedTag, who: &str) -> Result<(), RunError> {
    let MovedTag { tag, from, to } = change;
    let known = KnownModule { rev: tag.clone(), revision: to.clone(), moved: None };
    runtime.store.put_module(&to.source, &known)?;
    let is = |notice: &SourceNotice| matches!(notice, SourceNotice::TagMoved { tag: moved, .. } if moved == tag);
    trouble::accepted(runtime, &to.source, is)?;
    let what = format!("{tag} of source {}", to.source);
    let event = RunEvent::Accepted { what, from: from.id.clone(), to: to.id.clone(), who: who.to_owned() };
    Ok(runtime.emit(None, None, &event)?)
}

/// Looks whether a target waits for a yes; `None` where it does not.
///
/// # Errors
/// There is no such target, or it cannot be read.
pub async fn replaced(runtime: &Runtime, name: &Name) -> Result<Option<Replaced>, RunError> {
    if !runtime.config.targets.contains_key(name) {
        return Err(unknown("target", name, runtime.config.targets.keys()));
    }
    let to = runtime.targets.target(name)?.fingerprint().await?;
    let Some(from) = runtime.store.fingerprint(name)?.filter(|from| *from != to) else { return Ok(None) };
    let owned = runtime.store.inventory(name)?.len();
    Ok(Some(Replaced { target: name.clone(), from, to, owned }))
}

/// Takes the system that is there now for the target. What the store knows stays: each
/// resource is looked at there before anything is planned.
///
/// # Errors
/// The store cannot be written.
pub fn accept_target(runtime: &Runtime, change: &Replaced, who: &str) -> Result<(), RunError> {
    let Replaced { target, from, to, .. } = change;
    runtime.store.put_fingerprint(target, to)?;
    let what = format!("target {target}");
    let event = RunEvent::Accepted { what, from: from.clone(), to: to.clone(), who: who.to_owned() };
    Ok(runtime.emit(None, None, &event)?)
}

fn unknown<'a>(what: &str, name: &Name, known: impl Iterator<Item = &'a Name> + Clone) -> RunError {
    let hint = match crate::read::nearest(name.as_str(), known.clone().map(Name::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("declared: {}", known.map(Name::as_str).collect::<Vec<_>>().join(", ")),
    };
    RunError::selection(format!("the config declares no {what} {name}"), Some(hint))
}
