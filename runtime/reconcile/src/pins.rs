//! Pins: stacks that are kept at an older revision, whatever is committed meanwhile.
//!
//! **Invariant.** A pin counts where the revision in force is looked at, which is where a
//! pass comes by without further words; its stack is read, rendered and applied from the
//! pinned revision alone. Where that cannot be had the stack is not planned: the newest
//! revision never stands in for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::error::Diagnostic;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Pin;
use tidelock_model::name::Name;
use tidelock_model::plan::Plan;
use tidelock_model::port::{Fetched, Want};
use tidelock_model::revision::Revision;
use tidelock_model::stack::Stack;

use crate::error::RunError;
use crate::read::{nearest, stack};
use crate::runtime::Runtime;

/// A stack at the revision that it is pinned to.
#[derive(Clone)]
pub(crate) struct Pinned {
    /// The files of the pinned revision.
    pub(crate) fetched: Fetched,
    /// The stack, as it was there.
    pub(crate) stack: Stack,
}

/// The pins that count for a revision that is looked at.
#[derive(Clone, Default)]
pub(crate) struct Pins {
    /// Whether the revision is the one in force, and the pins take its place.
    pub(crate) in_force: bool,
    /// By stack.
    pub(crate) pinned: BTreeMap<Name, Pinned>,
    /// Every pin of the source.
    all: Vec<Pin>,
    /// Stacks whose pinned revision cannot be had, and why.
    pub(crate) lost: Vec<(Name, Diagnostic)>,
}

impl Pins {
    /// Opens what the stacks of a source are pinned to. Git is not asked for a commit that
    /// is here already.
    pub(crate) async fn of(runtime: &Runtime, fetched: &Fetched) -> Result<Self, RunError> {
        let source = &fetched.revision.source;
        let now = runtime.clock.now();
        let mut all = runtime.store.pins()?;
        all.retain(|pin| pin.source == *source && pin.until.is_none_or(|until| now < until));
        let in_force = runtime.store.revision(source)?.is_some_and(|revision| revision.id == fetched.revision.id);
        let mut pins = Self { in_force, all, ..Self::default() };
        if !in_force {
            return Ok(pins);
        }
        for pin in pins.all.clone() {
            match opened(runtime, &pin).await {
                Ok((fetched, stack)) => {
                    pins.pinned.insert(pin.stack.clone(), Pinned { fetched, stack });
                }
                Err(why) => {
                    let message = format!("{} is not planned: {pin}, and that cannot be read: {why}", pin.stack);
                    let hint = format!("to end the pin: `{}`", tidelock_plan::holds::unpin(&pin));
                    pins.lost.push((pin.stack.clone(), Diagnostic::error(message, None).hint(hint)));
                }
            }
        }
        Ok(pins)
    }

    /// Puts the pinned stacks in the place of those of the revision in force, and takes
    /// those away whose pinned revision cannot be had. Gives back the directories of the latter.
    pub(crate) fn put(&self, stacks: &mut Vec<Stack>) -> Vec<String> {
        let lost = |stack: &Stack| self.lost.iter().any(|(name, _)| *name == stack.decl.name);
        let gone = stacks.iter().filter(|stack| lost(stack)).map(|stack| stack.dir.clone()).collect();
        stacks.retain(|stack| !lost(stack) && !self.pinned.contains_key(&stack.decl.name));
        stacks.extend(self.pinned.values().map(|pinned| pinned.stack.clone()));
        stacks.sort_by(|a, b| a.dir.cmp(&b.dir));
        gone
    }

    /// The files that a stack is rendered from.
    pub(crate) fn files<'a>(&'a self, stack: &Name, otherwise: &'a Fetched) -> &'a Fetched {
        self.pinned.get(stack).map_or(otherwise, |pinned| &pinned.fetched)
    }

    /// Whether a stack is rendered from a pinned revision.
    pub(crate) fn has(&self, stack: &Name) -> bool {
        self.pinned.contains_key(stack)
    }

    /// Writes into a plan which of its lanes are pinned. One of another revision than the
    /// one in force says that it waits for the pin's end.
    pub(crate) fn shown(&self, plan: &mut Plan) {
        for part in &mut plan.lanes {
            let Some(pin) = self.all.iter().find(|pin| pin.stack == part.lane.stack) else { continue };
            if self.in_force {
                part.pinned = Some(pin.clone());
            } else if plan.revision.id != pin.revision.id {
                part.waits.push(tidelock_plan::holds::pinned(pin));
            }
        }
    }
}

/// The files of a pin, and its stack there. The commit is verified anew, as one that was
/// in force: a signer that was taken off the list takes the pinned commit along.
async fn opened(runtime: &Runtime, pin: &Pin) -> Result<(Fetched, Stack), RunError> {
    at(runtime, &pin.revision, &pin.stack).await
}

/// The files of a revision that was in force once, and a stack there.
pub(crate) async fn at(runtime: &Runtime, revision: &Revision, stack: &Name) -> Result<(Fetched, Stack), RunError> {
    let source = runtime
        .sources
        .get(&revision.source)
        .ok_or_else(|| RunError::selection(format!("the config declares no source {}", revision.source), None))?;
    let fetched = source.fetch(&Want::Rev(revision.id.clone()), Some(revision)).await?;
    let stack = found(&fetched, stack)?;
    Ok((fetched, stack))
}

fn found(fetched: &Fetched, name: &Name) -> Result<Stack, RunError> {
    let (stacks, errors) = stack::all(fetched.tree.as_ref())?;
    if let Some(stack) = stacks.iter().find(|stack| stack.decl.name == *name) {
        return Ok(stack.clone());
    }
    if !errors.is_empty() {
        return Err(RunError::Rejected(errors));
    }
    let hint = nearest(name.as_str(), stacks.iter().map(|stack| stack.decl.name.as_str()));
    Err(RunError::selection(
        format!("revision {} holds no stack {name}", fetched.revision.short()),
        hint.map(|near| format!("did you mean {near}?")),
    ))
}

/// Looks up the revision that a stack is to go back to: verified, an ancestor of the one in
/// force or that itself, and one that holds the stack.
///
/// # Errors
/// It is none of that, or cannot be had.
pub async fn ancestor(runtime: &Runtime, source: &Name, stack: &Name, rev: &str) -> Result<Revision, RunError> {
    let port = runtime
        .sources
        .get(source)
        .ok_or_else(|| RunError::selection(format!("the config declares no source {source}"), None))?;
    let Some(last) = runtime.store.revision(source)? else {
        return Err(RunError::selection(
            format!("source {source} was never fetched: there is nothing to go back from"),
            Some("begin with `tidelock plan`".to_owned()),
        ));
    };
    let fetched = port.fetch(&Want::Rev(rev.to_owned()), Some(&last)).await?;
    let revision = fetched.revision.clone();
    if !port.descends(&last.id, &revision.id).await? {
        return Err(RunError::selection(
            format!("{} is not in the history of {}, which is in force for {source}", revision.short(), last.short()),
            Some("a rollback goes back to what was there before; anything else is a commit".to_owned()),
        ));
    }
    found(&fetched, stack)?;
    Ok(revision)
}

/// Pins a stack to a revision that [`ancestor`] gave, from now on and `until`, where that
/// is given. An older pin of the stack ends. Who goes back takes back what was agreed to before: it
/// does not go out again on an old yes once the pin ends.
///
/// # Errors
/// The store cannot be written.
pub fn pin(
    runtime: &Runtime,
    stack: &Name,
    revision: Revision,
    until: Option<Timestamp>,
    reason: Option<String>,
    who: &str,
) -> Result<Pin, RunError> {
    let at = runtime.clock.now();
    let source = revision.source.clone();
    let pin = Pin { source, stack: stack.clone(), revision, who: who.to_owned(), at, until, reason };
    let pinned = |known: &Pin| known.source == pin.source && known.stack == pin.stack;
    let before = runtime.store.pins()?.into_iter().find(pinned);
    // First: cut short in between, no old yes is left. The same again, with another end perhaps: what was
    // said since was said of going back.
    if before.is_none_or(|before| before.revision.id != pin.revision.id) {
        runtime.store.revoke_approvals(&pin.source, stack, None)?;
    }
    runtime.store.put_pin(&pin)?;
    runtime.emit(None, None, &RunEvent::Pinned { pin: pin.clone() })?;
    Ok(pin)
}

/// Ends the pin of a stack, and gives it back; `None` where there is none.
///
/// # Errors
/// The store cannot be written.
pub fn unpin(runtime: &Runtime, source: &Name, stack: &Name, who: &str) -> Result<Option<Pin>, RunError> {
    let pin = runtime.store.pins()?.into_iter().find(|pin| pin.source == *source && pin.stack == *stack);
    let Some(pin) = pin else { return Ok(None) };
    if !runtime.store.drop_pin(source, stack)? {
        return Ok(None);
    }
    runtime.emit(None, None, &RunEvent::PinEnded { pin: pin.clone(), who: Some(who.to_owned()) })?;
    Ok(Some(pin))
}

/// Ends what ran out of time, with notice. The first pass that comes by does it.
pub(crate) fn expire(runtime: &Runtime) -> Result<(), RunError> {
    let now = runtime.clock.now();
    for pin in runtime.store.pins()? {
        if pin.until.is_some_and(|until| until <= now) && runtime.store.drop_pin(&pin.source, &pin.stack)? {
            runtime.emit(None, None, &RunEvent::PinEnded { pin, who: None })?;
        }
    }
    Ok(())
}
