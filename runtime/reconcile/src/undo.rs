//! Undo: one resource is kept as it was before its last change, whatever Git says, until
//! Git says something else of it or a person ends it.
//!
//! **Invariant.** It is a wish that stands in for Git's, and nothing else: what comes of it
//! is rendered, looked at, planned, gated, shown and recorded like any other. What was not
//! kept, and what nothing takes back, is refused by name.

mod release;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{EffectBody, PathState, Precondition};
use tidelock_model::error::{Diagnostic, Place, Severity};
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Undo;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::kind::covers;
use tidelock_model::name::{Address, Identity};
use tidelock_model::plan::{Action, Change, Group, Plan};
use tidelock_model::pointer;
use tidelock_model::port::{Filter, Store, Target, Want};
use tidelock_model::resource::OnRemove;
use tidelock_model::run::HistoryLine;

pub use self::release::release;
use crate::counting;
use crate::error::RunError;
use crate::runtime::{PlanOptions, Runtime, Selection};
use crate::why::Meant;

/// The largest content that is kept for undo, in bytes: ample for what people configure, and
/// what is larger is data.
const KEPT: u64 = 1 << 20;

/// Keeps the contents that groups are about to take away. One that cannot be kept is told
/// when somebody asks for it: no apply waits for that.
///
/// What holds a secret, or held one, is not kept: `secret` says which identities do.
pub(crate) async fn keep(
    runtime: &Runtime,
    target: &dyn Target,
    groups: &[&Group],
    secret: &BTreeSet<&Identity>,
) -> Result<(), RunError> {
    let effects = groups.iter().flat_map(|group| &group.effects).map(|planned| &planned.effect);
    for effect in effects.filter(|effect| !secret.contains(&effect.identity)) {
        let before = effect.precondition.as_ref().and_then(Precondition::path);
        let Some((_, PathState::File { digest: Some(digest), .. })) = before else { continue };
        if let EffectBody::PutFile { content, .. } = &effect.body
            && content == digest
        {
            continue;
        }
        match target.replaced(effect, KEPT).await {
            Ok(Some(content)) => runtime.store.put_blob(digest, &content)?,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what an effect takes away is not kept for undo"),
        }
    }
    Ok(())
}

/// What of a lane does not follow Git.
#[derive(Default)]
pub(crate) struct Apart {
    /// What is kept as it was.
    pub(crate) undone: Vec<Identity>,
    /// What is let be. Its stack's claim on it stays: nobody else purges it.
    pub(crate) let_be: Vec<DesiredResource>,
}

/// Lets what is kept as it was stand in for what Git says, takes out what is let be, and gives
/// back what that is. Where Git says something else by now of what is kept, and it is what is in
/// force, that counts; what is let be is let be until it leaves Git.
pub(crate) fn stand_in(runtime: &Runtime, desired: &mut Desired, in_force: bool) -> Result<Apart, RunError> {
    let mut apart = Apart::default();
    let mut undos = runtime.store.undos()?;
    undos.retain(|undo| undo.address.lane() == desired.lane);
    for undo in undos {
        let at = desired.resources.iter().position(|resource| resource.identity == undo.identity);
        if undo.let_be {
            match at {
                Some(at) => release::let_be(runtime, desired, at, &undo, &mut apart)?,
                None if in_force => end(runtime, undo, None)?,
                None => {}
            }
            continue;
        }
        let now = at.map(|at| Digest::of_json(&desired.resources[at].spec));
        if now != undo.desired {
            if in_force {
                end(runtime, undo, None)?;
            }
            continue;
        }
        let address = &undo.address;
        match (&undo.spec, at, &undo.entry) {
            (Some(spec), Some(at), _) => desired.resources[at].spec.clone_from(spec),
            (Some(spec), None, Some(entry)) => desired.resources.push(as_declared(entry, spec)),
            (None, Some(at), _) => drop(desired.resources.remove(at)),
            (_, None, _) => continue,
        }
        desired.warnings.push(said(&undo, &format!("{} is not as Git says", address.resource)));
        apart.undone.push(undo.identity);
    }
    Ok(apart)
}

fn said(undo: &Undo, what: &str) -> Diagnostic {
    let hint = format!("to let it follow Git again: `tidelock {} {} --end`", undo.verb(), undo.address);
    Diagnostic { severity: Severity::Warning, ..Diagnostic::error(format!("{what}: {undo}"), None).hint(hint) }
}

/// A resource that left Git, as the ledger knew it.
pub(crate) fn as_declared(entry: &InventoryEntry, spec: &Value) -> DesiredResource {
    DesiredResource {
        id: entry.address.resource.clone(),
        identity: entry.identity.clone(),
        provides: entry.provides.clone(),
        requires: entry.requires.clone(),
        parts: vec![],
        needs: vec![],
        spec: spec.clone(),
        withheld: entry.withheld.clone(),
        on_remove: entry.on_remove,
        protect: entry.protect,
        ignore: vec![],
        notify: vec![],
        place: Place::file("(undo)"),
    }
}

/// Takes back the last change of a resource: from now on it is kept as it was before. Nothing
/// is done to its target yet; the next apply does that. One that was taken back and not applied yet is
/// given again.
///
/// # Errors
/// It is not one resource that is meant, nothing was done to it, or that cannot be taken back.
pub async fn undo(
    runtime: &Runtime,
    is_meant: Meant<'_>,
    reason: Option<String>,
    who: &str,
) -> Result<(Undo, HistoryLine), RunError> {
    crate::confirm::learned(runtime)?;
    let line = last_change(runtime.store.as_ref(), is_meant)?;
    let address = &line.address;
    if let Some(undo) = runtime.store.undos()?.into_iter().find(|undo| same(undo, address, &line.identity)) {
        // It is so already, and nothing was done for it yet: what is left is the apply.
        if !undo.let_be && undo.run == line.run {
            return Ok((undo, line));
        }
        let verb = undo.verb();
        return Err(no(format!("{undo}"), format!("to let it follow Git again: `tidelock {verb} {address} --end`")));
    }
    if !runtime.config.targets.contains_key(&address.target) {
        return Err(no(format!("the config declares no target {}", address.target), "declare it first".to_owned()));
    }
    let (plan, change) = planned(runtime.store.as_ref(), &line)?;
    can_be_taken_back(&plan, &change)?;
    let selection = Selection {
        source: Some(address.source.clone()),
        stacks: vec![address.stack.to_string()],
        targets: vec![address.target.to_string()],
        want: Want::Configured,
    };
    let rendered = crate::run::render(runtime, &selection).await?;
    let wanted = rendered.iter().flat_map(|lane| &lane.resources).find(|resource| resource.identity == line.identity);
    let earlier = runtime.store.last_entry(&address.target, &line.identity, Some(&line.run))?;
    let spec = match &change {
        Change { action: Action::Create, .. } | Change { before: None, .. } => None,
        change => Some(as_it_was(change, earlier.as_ref(), wanted.map(|resource| &resource.spec))?),
    };
    let entry = runtime.store.last_entry(&address.target, &line.identity, None)?;
    match (&spec, wanted, &entry) {
        (None, None, _) => {
            return Err(no(format!("{address} left Git by itself"), "apply that: it goes".to_owned()));
        }
        (None, Some(_), Some(entry)) if entry.removal() == OnRemove::Release || entry.protect => {
            let why = if entry.protect {
                "it is protected"
            } else {
                "it would only be released, as it holds data or says so"
            };
            return Err(no(
                format!("the creation of {address} is not taken back: {why}"),
                "remove it from Git".to_owned(),
            ));
        }
        (Some(_), None, None) => return Err(lost(&line, "how it was declared")),
        _ => {}
    }
    contents_are_kept(runtime.store.as_ref(), spec.as_ref(), wanted.map(|resource| &resource.spec), &line)?;
    let undo = Undo {
        address: address.clone(),
        identity: line.identity.clone(),
        let_be: false,
        run: line.run.clone(),
        action: line.action,
        spec,
        desired: wanted.map(|resource| Digest::of_json(&resource.spec)),
        entry: entry.filter(|_| wanted.is_none()),
        who: who.to_owned(),
        at: runtime.clock.now(),
        reason,
    };
    // What was agreed to before does not go out again on an old yes once this ends. First: cut short in
    // between, none is left.
    runtime.store.revoke_approvals(&address.source, &address.stack, Some(&address.target))?;
    runtime.store.put_undo(&undo)?;
    // What the others of its stack cannot be without is not taken from under them.
    if let Err(error) = crate::run::plan(runtime, &selection, &PlanOptions::default()).await {
        runtime.store.drop_undo(&undo.address.target, &undo.identity)?;
        return Err(error);
    }
    runtime.emit(None, Some(&address.lane()), &RunEvent::Undone { undo: Box::new(undo.clone()) })?;
    Ok((undo, line))
}

/// Lets a resource follow Git again that was kept as it was, or (`let_be`) let be, by a person's
/// word; `None` where it does.
///
/// # Errors
/// Several are meant, or the store cannot be written.
pub fn redo(runtime: &Runtime, is_meant: Meant<'_>, let_be: bool, who: &str) -> Result<Option<Undo>, RunError> {
    let mut meant: Vec<Undo> = runtime.store.undos()?;
    meant.retain(|undo| undo.let_be == let_be && is_meant(&undo.address, &undo.identity));
    if meant.len() > 1 {
        return Err(several(meant.iter().map(|undo| &undo.address)));
    }
    let Some(undo) = meant.pop() else { return Ok(None) };
    end(runtime, undo.clone(), Some(who))?;
    let why = format!("{} follows Git again, and nobody looked since", undo.address.resource);
    counting::reopened(runtime, &undo.address.lane(), &why)?;
    Ok(Some(undo))
}

fn end(runtime: &Runtime, undo: Undo, who: Option<&str>) -> Result<(), RunError> {
    if runtime.store.drop_undo(&undo.address.target, &undo.identity)? {
        let lane = undo.address.lane();
        let event = RunEvent::UndoEnded { undo: Box::new(undo), who: who.map(str::to_owned) };
        runtime.emit(None, Some(&lane), &event)?;
    }
    Ok(())
}

fn same(undo: &Undo, address: &Address, identity: &Identity) -> bool {
    undo.address.target == address.target && undo.identity == *identity
}

/// The last thing that was done to the one resource that is meant.
fn last_change(store: &dyn Store, is_meant: Meant<'_>) -> Result<HistoryLine, RunError> {
    let mut lines = store.history(&Filter::default())?;
    HistoryLine::standing(&mut lines);
    lines.retain(|line| is_meant(&line.address, &line.identity));
    // A trigger asked something of it, and what was not done needs not be taken back.
    lines.retain(|line| matches!(line.end.as_str(), "done" | "unknown") && line.action != Action::Trigger);
    let mut newest: Vec<HistoryLine> = Vec::new();
    for line in lines {
        // What an address was before it was renamed is not meant by it any more.
        let known = |other: &HistoryLine| {
            other.address == line.address
                || (other.address.target == line.address.target && other.identity == line.identity)
        };
        if !newest.iter().any(known) {
            newest.push(line);
        }
    }
    if newest.len() > 1 {
        return Err(several(newest.iter().map(|line| &line.address)));
    }
    let Some(line) = newest.pop() else {
        return Err(RunError::selection(
            "nothing was ever done to such a resource",
            Some("`tidelock history` lists what was".to_owned()),
        ));
    };
    let address = &line.address;
    if line.end == "unknown" {
        return Err(no(
            format!("it is not known what run {} did to {address}", line.run),
            format!("look, and say `tidelock resolve {address} done|redo`"),
        ));
    }
    match line.action {
        Action::Create | Action::Update | Action::Replace | Action::Delete | Action::TakeOver => Ok(line),
        action => Err(no(
            format!("the last change of {address}, {}, did nothing to its target", tidelock_plan::word(action)),
            "there is nothing to take back".to_owned(),
        )),
    }
}

/// What was planned of it, and done.
fn planned(store: &dyn Store, line: &HistoryLine) -> Result<(Plan, Change), RunError> {
    let run = store.runs(&Filter { run: Some(line.run.clone()), limit: Some(1), ..Filter::default() })?.pop();
    let plan = run.map(|run| store.plan(&tidelock_plan::alone(&run.digest))).transpose()?.flatten();
    let Some(plan) = plan else { return Err(lost(line, "its plan, and with it what was there before,")) };
    let is_it = |change: &&Change| {
        change.address == line.address && change.identity == line.identity && change.action == line.action
    };
    let change = plan.changes.iter().find(is_it).cloned();
    change.map(|change| (plan, change)).ok_or_else(|| lost(line, "what was there before"))
}

/// Whether everything that was done has something that takes it back.
fn can_be_taken_back(plan: &Plan, change: &Change) -> Result<(), RunError> {
    let address = &change.address;
    let effects = plan.groups.iter().filter(|group| Some(group.id) == change.group).flat_map(|group| &group.effects);
    for planned in effects.filter(|planned| planned.effect.identity == change.identity) {
        if matches!(planned.effect.body, EffectBody::Exec { .. }) {
            return Err(no(
                format!("what was done to {address} was a command ({}), and nothing takes that back", planned.summary),
                "write in Git what should be".to_owned(),
            ));
        }
    }
    if let Some(field) = change.unknown.first() {
        return Err(no(
            format!("{address}: {field} could not be seen before the change, so it is not known what it was"),
            "write in Git what should be".to_owned(),
        ));
    }
    Ok(())
}

/// A spec that says what a look found before a change. What no look shows, such as which privileges a grant
/// is to list, is as it was last applied; what is withheld, and did not change, is as Git says.
fn as_it_was(change: &Change, earlier: Option<&InventoryEntry>, wanted: Option<&Value>) -> Result<Value, RunError> {
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut spec: Map<String, Value> = object(earlier.map(|entry| &entry.applied));
    let mut seen = object(change.before.as_ref());
    for field in &change.sensitive {
        let changed = change.fields.iter().any(|other| covers(field, &other.path));
        let key = field.strip_prefix('/').filter(|key| !key.contains(['/', '~']));
        let (Some(key), Some(wanted), false) = (key, wanted, changed) else {
            return Err(no(
                format!("{}: the old value of {field} is withheld, and was not kept", change.address),
                "write in Git what should be".to_owned(),
            ));
        };
        seen.remove(key);
        match wanted.get(key) {
            Some(value) => spec.insert(key.to_owned(), value.clone()),
            None => spec.remove(key),
        };
    }
    spec.extend(seen);
    let mut spec = Value::Object(spec);
    // Of what Git says no more the change tells what it was.
    for field in change.fields.iter().filter(|field| field.after.is_none() && !field.sensitive) {
        field.before.iter().for_each(|before| pointer::set(&mut spec, &field.path, before.clone()));
    }
    Ok(spec)
}

/// Contents are kept apart from the plan, where they are small enough and for a while.
fn contents_are_kept(
    store: &dyn Store,
    spec: Option<&Value>,
    wanted: Option<&Value>,
    line: &HistoryLine,
) -> Result<(), RunError> {
    let mut known = Vec::new();
    wanted.into_iter().for_each(|spec| digests(spec, &mut known));
    let mut needed = Vec::new();
    spec.into_iter().for_each(|spec| digests(spec, &mut needed));
    for digest in needed.iter().filter(|digest| !known.contains(digest)) {
        if store.blob(digest)?.is_none() {
            return Err(lost(line, "the content that was there before"));
        }
    }
    Ok(())
}

/// Every content that a spec names.
fn digests(spec: &Value, out: &mut Vec<Digest>) {
    match spec {
        Value::Object(map) => {
            let digest = map.get("digest").and_then(Value::as_str);
            out.extend(digest.and_then(|text| text.parse::<Digest>().ok()));
            map.values().for_each(|value| digests(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| digests(value, out)),
        _ => {}
    }
}

fn lost(line: &HistoryLine, what: &str) -> RunError {
    no(
        format!("{what} of {} was not kept since run {}, so it cannot be taken back", line.address, line.run),
        format!("kept are contents of up to {} KiB, and for 90 days; write in Git what should be", KEPT >> 10),
    )
}

fn several<'a>(addresses: impl Iterator<Item = &'a Address>) -> RunError {
    let listed: Vec<String> = addresses.map(ToString::to_string).collect();
    RunError::selection("several resources may be meant", Some(format!("say which: {}", listed.join(", "))))
}

fn no(message: String, hint: String) -> RunError {
    RunError::selection(message, Some(hint))
}
