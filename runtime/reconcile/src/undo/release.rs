//! Release: one resource that Git still asks for stays on its target as it is, is ours no
//! more, and is not looked at until a person ends that or it leaves Git.

use tidelock_model::desired::Desired;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Undo;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Identity};
use tidelock_model::plan::Action;
use tidelock_model::port::Want;

use super::{Apart, no, said, same};
use crate::error::RunError;
use crate::runtime::{Runtime, Selection};

/// Takes a resource out of what a lane should hold. As long as the ledger has it, it is ours:
/// whoever released it did not get that far, and what Git does not want would be deleted.
pub(super) fn let_be(
    runtime: &Runtime,
    desired: &mut Desired,
    at: usize,
    undo: &Undo,
    apart: &mut Apart,
) -> Result<(), RunError> {
    if runtime.store.inventory(&undo.address.target)?.iter().any(|entry| entry.identity == undo.identity) {
        return Ok(());
    }
    let gone = desired.resources.remove(at);
    for other in &mut desired.resources {
        other.needs.retain(|needed| *needed != gone.id);
        other.notify.retain(|notify| notify.to != gone.id);
    }
    desired.warnings.push(said(undo, &format!("{} is let be", gone.id)));
    apart.let_be.push(gone);
    Ok(())
}

/// Lets a resource be that Git still asks for: it stays on its target as it is, is ours no more,
/// and nobody looks at it until a person ends that or it leaves Git.
///
/// # Errors
/// It is not one resource that is meant, it is kept as it was, Git does not ask for it, or the store
/// cannot be written.
pub async fn release(
    runtime: &Runtime,
    entry: &InventoryEntry,
    reason: Option<String>,
    who: &str,
) -> Result<Undo, RunError> {
    let address = &entry.address;
    let kept = |undo: &Undo| !undo.let_be && same(undo, address, &entry.identity);
    if let Some(undo) = runtime.store.undos()?.into_iter().find(kept) {
        // Else it would be forgotten without a word what it was kept as.
        let hint = format!("first let it follow Git again: `tidelock {} {address} --end`", undo.verb());
        return Err(no(format!("{undo}"), hint));
    }
    let selection = Selection {
        source: Some(address.source.clone()),
        stacks: vec![address.stack.to_string()],
        targets: vec![address.target.to_string()],
        want: Want::Configured,
    };
    let rendered = crate::run::render(runtime, &selection).await?;
    if !rendered.iter().flat_map(|lane| &lane.resources).any(|resource| resource.identity == entry.identity) {
        return Err(no(format!("Git does not ask for {address}"), format!("`tidelock forget {address}` lets it be")));
    }
    let undo = Undo {
        address: address.clone(),
        identity: entry.identity.clone(),
        let_be: true,
        run: String::new(),
        action: Action::Release,
        spec: None,
        desired: None,
        entry: None,
        who: who.to_owned(),
        at: runtime.clock.now(),
        reason,
    };
    // Before the ledger's line goes: in between it is ours as it was.
    runtime.store.put_undo(&undo)?;
    let one = |other: &Address, identity: &Identity| other == address && *identity == entry.identity;
    let all = crate::forgettable(runtime, crate::Forget::Resources(&one));
    let forgotten = match all {
        Ok(all) => crate::forget(runtime, &all, who).await,
        Err(error) => Err(error),
    };
    if let Err(error) = forgotten {
        runtime.store.drop_undo(&undo.address.target, &undo.identity)?;
        return Err(error);
    }
    runtime.emit(None, Some(&address.lane()), &RunEvent::Undone { undo: Box::new(undo.clone()) })?;
    Ok(undo)
}
