//! The fourth stage: from what should be and what is to what would be done.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use tidelock_model::error::{Blame, Diagnostic, Fault, Place, Severity};
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::Claim;
use tidelock_model::name::{Identity, Lane, Name, ResourceRef};
use tidelock_model::plan::{Action, Cause, Change, Plan, Preview};
use tidelock_model::port::{Fetched, LaneRecord, StepAnswer, StepRequest, Target};
use tidelock_model::snippet::{self, Hidden};
use tidelock_model::stack;
use tidelock_plan::gate::Policy;
use tidelock_plan::{Draft, LaneInput, LanePart, Ledger, draft, lane_plan};

use super::check::{self, Check};
use super::destroy;
use super::gate;
use super::module;
use super::observe::{Snapshot, observe};
use super::orphans;
use super::render::{self, RenderedLane};
use super::rollout;
use super::source::Lanes;
use super::twins;
use super::way;
use crate::confirm::HeldBack;
use crate::contents::BlobSet;
use crate::error::RunError;
use crate::read::resource::with_snippet;
use crate::runtime::Runtime;
use crate::secrets;
use crate::select::Selected;
use crate::undo;

/// A planned pass: everything that the stages after it need.
pub(super) struct Pass {
    pub(super) plan: Plan,
    pub(super) ledger: Ledger,
    pub(super) blobs: BlobSet,
    pub(super) lanes: Vec<PlannedLane>,
    pub(super) policy: Policy,
}

/// What the gate and the proof need of a lane.
pub(super) struct PlannedLane {
    pub(super) rendered: RenderedLane,
    pub(super) record: Option<LaneRecord>,
    /// Resources that the lane owned before.
    pub(super) owned: usize,
    /// What these were there for beside themselves.
    pub(super) provided: BTreeMap<Identity, Vec<Identity>>,
    /// What is to hold before others go on from here.
    pub(super) checks: Vec<Check>,
}

/// The preview of what holds a secret.
const WITHHELD: &str = "what it holds is made of a secret, and not shown\n";

/// How often a provider may answer `needs-replace` before it is called a loop.
const ROUNDS: usize = 4;

/// Renders, looks and plans each lane. A lane that cannot be planned does not hold up
/// the others: its problems stand in the plan's errors.
pub(super) async fn pass(runtime: &Runtime, fetched: &Fetched, lanes: Lanes) -> Result<Pass, RunError> {
    let mut errors = lanes.errors.clone();
    let mut rendered = Vec::new();
    let mut unheard: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    for selected in &lanes.selected {
        let given = match lanes.destroys {
            true => render::nothing(runtime, fetched, selected).await,
            false => wished(runtime, fetched, &lanes, selected).await,
        };
        match given {
            Ok(lane) => rendered.push(lane),
            Err(error) => {
                unheard.entry(selected.lane.target.clone()).or_default().push(selected.lane.stack.to_string());
                hold(runtime, fetched, selected, error, lanes.selected.len(), &mut errors, &Hidden::new())?;
            }
        }
    }
    // The loop asks this once for each revision, not in each of a thousand passes.
    if !runtime.looping {
        orphans::orphaned(runtime, fetched, &lanes)?;
    }
    let orphans = match lanes.whole && !runtime.looping && in_force(runtime, fetched)? {
        true => orphans::left(runtime, &fetched.revision.source, &lanes)?,
        false => vec![],
    };
    let mut claims = claims(runtime, fetched, &lanes, &rendered, &mut unheard).await?;
    Box::pin(twins::put(runtime, &rendered, &mut claims, &mut unheard)).await?;
    let mut blobs = BlobSet::new(fetched.tree.clone(), runtime.store.clone());
    let mut parts = Vec::new();
    let mut planned = Vec::new();
    for lane in rendered {
        let selected = Selected { lane: lane.desired.lane.clone(), stack: lane.desired.stack.clone() };
        let hidden: Hidden = lane.kinds.values().flat_map(snippet::hidden_by).collect();
        let cause = lanes.pins.has(&selected.lane.stack).then_some(Cause::Rollback);
        match one(runtime, lane, (cause, lanes.destroys), &claims, &unheard).await {
            Ok((part, lane)) => {
                blobs.extend(lane.rendered.blobs.clone());
                parts.push(part);
                planned.push(lane);
            }
            Err(error) => hold(runtime, fetched, &selected, error, lanes.selected.len(), &mut errors, &hidden)?,
        }
    }
    let (mut plan, ledger) = tidelock_plan::plan(&fetched.revision, parts);
    blobs.take_texts(&plan);
    plan.complete &= errors.is_empty();
    plan.errors.extend(errors);
    tidelock_plan::told_once(&mut plan.errors);
    plan.warnings.splice(0..0, lanes.warnings.iter().cloned());
    plan.warnings.extend(orphans);
    crate::holds::shown(runtime, &mut plan)?;
    lanes.pins.shown(&mut plan);
    way::put(runtime, &mut plan, &planned).await?;
    let confirms = |lane: &Lane| {
        let of_lane = planned.iter().find(|one| one.rendered.desired.lane == *lane);
        of_lane.is_some_and(|one| one.rendered.desired.stack.decl.confirm.is_some())
    };
    crate::confirm::shown(runtime, &mut plan, confirms);
    crate::confirm::explained(runtime, &mut plan)?;
    let outlasted: Vec<Diagnostic> = planned.iter().filter_map(|lane| outlasted(lane, &plan)).collect();
    plan.warnings.extend(outlasted);
    let mut policy = gate::policy(runtime, &plan, &planned, &lanes.before)?;
    if lanes.destroys {
        destroy::put(runtime, &lanes, &plan, &mut policy).await?;
    } else {
        rollout::put(runtime, fetched, &lanes.stacks, &lanes.pins, &mut plan, &mut policy)?;
    }
    for (lane, wait) in tidelock_plan::gate::waits(&plan, &policy) {
        // What the gate will say stands in the plan already, for people to read. Whose turn it
        // is says the batch.
        if wait.on.is_none()
            && let Some(part) = plan.lanes.iter_mut().find(|part| part.lane == lane)
            && !part.waits.contains(&wait)
        {
            part.waits.push(wait);
        }
    }
    Ok(Pass { plan, ledger, blobs, lanes: planned, policy })
}

/// Says of a lane that is about to change that a guard over it would not wait for all of its checks.
fn outlasted(lane: &PlannedLane, plan: &Plan) -> Option<Diagnostic> {
    let desired = &lane.rendered.desired;
    let confirm_ms = stack::confirm_ms(desired.stack.decl.confirm.as_deref()?).ok()?;
    let longest = lane.checks.iter().map(Check::within_ms).max().filter(|within| *within >= confirm_ms)?;
    plan.changes_of(&desired.lane).next()?;
    let span = |ms: u64| jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let message = format!(
        "{}: a check may take {:#} to hold, and what nobody confirmed within {:#} goes back before",
        desired.lane,
        span(longest),
        span(confirm_ms)
    );
    let place = Place::file(desired.stack.file());
    let said = Diagnostic::error(message, Some(place))
        .at("/confirm")
        .hint("give `confirm` more time, or the check less `within`");
    Some(Diagnostic { severity: Severity::Warning, ..said })
}

/// What a lane should hold: what Git says, except for what a person keeps as it was.
async fn wished(
    runtime: &Runtime,
    fetched: &Fetched,
    lanes: &Lanes,
    selected: &Selected,
) -> Result<RenderedLane, RunError> {
    let files = lanes.pins.files(&selected.lane.stack, fetched);
    let module = module::of(runtime, files, &selected.stack, lanes.pins.in_force).await?;
    let mut lane = render::lane(runtime, files, module.as_ref(), selected).await?;
    lane.apart = undo::stand_in(runtime, &mut lane.desired, lanes.pins.in_force)?;
    Ok(lane)
}

/// Keeps a lane's error for the plan, or passes it on where it is the only lane or not the lane's. Of the
/// lines that are shown, values of the `hidden` fields are left out.
pub(super) fn hold(
    runtime: &Runtime,
    fetched: &Fetched,
    selected: &Selected,
    mut error: RunError,
    lanes: usize,
    errors: &mut Vec<Diagnostic>,
    hidden: &Hidden,
) -> Result<(), RunError> {
    if let RunError::Rejected(diagnostics) = &mut error {
        // What the planner found has a place, and no line to show yet.
        for diagnostic in diagnostics.iter_mut() {
            with_snippet(diagnostic, fetched.tree.as_ref(), hidden);
        }
        runtime.emit(None, Some(&selected.lane), &RunEvent::Rejected { diagnostics: diagnostics.clone() })?;
    }
    not_looked_at(runtime, fetched, &selected.lane, &error)?;
    match error {
        error if lanes == 1 => Err(error),
        RunError::Rejected(diagnostics) => {
            errors.extend(diagnostics);
            Ok(())
        }
        // What the target says of itself is the same for each of its lanes, and about no file of Git.
        RunError::Fault(fault) if fault.message.starts_with(&format!("target {}: ", selected.lane.target)) => {
            errors.push(Diagnostic { hint: fault.hint, ..Diagnostic::error(fault.message, None) });
            Ok(())
        }
        RunError::Fault(fault) => {
            let place = Place::file(selected.stack.file());
            let message = format!("{}: {}", selected.lane, fault.message);
            errors.push(Diagnostic { hint: fault.hint, ..Diagnostic::error(message, Some(place)) });
            Ok(())
        }
        error => Err(error),
    }
}

/// Whether a revision is the one in force: what another one says is looked at, and decides nothing.
pub(super) fn in_force(runtime: &Runtime, fetched: &Fetched) -> Result<bool, RunError> {
    let known = runtime.store.revision(&fetched.revision.source)?;
    Ok(known.is_some_and(|revision| revision.id == fetched.revision.id))
}

/// Notes that a lane could not be looked at as it is in force: it must not read as it did before. The
/// loop notes that itself, with its next try.
fn not_looked_at(runtime: &Runtime, fetched: &Fetched, lane: &Lane, error: &RunError) -> Result<(), RunError> {
    if runtime.looping || !matches!(error, RunError::Rejected(_) | RunError::Fault(_)) {
        return Ok(());
    }
    if !in_force(runtime, fetched)? {
        return Ok(());
    }
    // One that never could be looked at stands there too: it is in Git, and it is not well.
    let mut record = runtime.store.lane(lane)?.unwrap_or_else(|| LaneRecord::unknown(lane.clone()));
    let status = error.status();
    if record.status != status || record.since.is_none() {
        record.since = Some(runtime.clock.now());
    }
    record.status = status;
    record.why = Some(error.sentence());
    if record.digest.is_none() {
        record.planned = Some(fetched.revision.clone());
    }
    Ok(runtime.store.put_lane(&record)?)
}

/// Claims on the targets of these lanes, of every stack of the revision that names them:
/// what a stack that is not planned now will want is not deleted by one that is.
/// `unheard` gets the stacks that could not be asked.
async fn claims(
    runtime: &Runtime,
    fetched: &Fetched,
    lanes: &Lanes,
    rendered: &[RenderedLane],
    unheard: &mut BTreeMap<Name, Vec<String>>,
) -> Result<BTreeMap<Name, Vec<Claim>>, RunError> {
    let mut own: BTreeMap<Lane, Vec<Claim>> =
        rendered.iter().map(|lane| (lane.desired.lane.clone(), claimed(lane))).collect();
    for other in &lanes.others {
        match wished(runtime, fetched, lanes, other).await {
            Ok(lane) => {
                own.insert(other.lane.clone(), claimed(&lane));
            }
            Err(_) => unheard.entry(other.lane.target.clone()).or_default().push(other.lane.stack.to_string()),
        }
    }
    let source = &fetched.revision.source;
    let in_force = in_force(runtime, fetched)?;
    let mut claims: BTreeMap<Name, Vec<Claim>> = BTreeMap::new();
    for target in lanes.selected.iter().map(|selected| &selected.lane.target) {
        if claims.contains_key(target) {
            continue;
        }
        if !lanes.unread.is_empty() {
            unheard.entry(target.clone()).or_default().extend(lanes.unread.iter().cloned());
        }
        // What a stack claimed that is gone from the revision, it claims no more.
        let gone = |claim: &Claim| claim.source == *source && lanes.unread.is_empty() && !lanes.has(&claim.stack);
        let mut all = runtime.store.claims(target)?;
        all.retain(|claim| !gone(claim));
        claims.insert(target.clone(), all);
    }
    for (lane, own) in own {
        // Only what is in force is written down; a revision that is merely looked at is not.
        let destroyed = lanes.destroys && lanes.selected.iter().any(|selected| selected.lane == lane);
        if in_force && !destroyed {
            let revision = &lanes.pins.files(&lane.stack, fetched).revision.id;
            runtime.store.put_claims(&lane, revision, &own)?;
        }
        let all = claims.entry(lane.target.clone()).or_default();
        all.retain(|claim| !(claim.source == lane.source && claim.stack == lane.stack));
        all.extend(own);
    }
    Ok(claims)
}

fn claimed(rendered: &RenderedLane) -> Vec<Claim> {
    let lane = &rendered.desired.lane;
    let mut claims = BTreeMap::new();
    for resource in rendered.desired.resources.iter().chain(&rendered.apart.let_be) {
        for identity in iter::once(&resource.identity).chain(&resource.parts) {
            // What two resources of a lane make of one identity is refused elsewhere.
            claims.entry(identity).or_insert_with(|| Claim {
                target: lane.target.clone(),
                identity: identity.clone(),
                source: lane.source.clone(),
                stack: lane.stack.clone(),
                resource: resource.id.clone(),
            });
        }
    }
    claims.into_values().collect()
}

#[tracing::instrument(name = "plan", skip_all, fields(lane = %rendered.desired.lane))]
async fn one(
    runtime: &Runtime,
    mut rendered: RenderedLane,
    (cause_hint, destroys): (Option<Cause>, bool),
    claims: &BTreeMap<Name, Vec<Claim>>,
    unheard: &BTreeMap<Name, Vec<String>>,
) -> Result<(LanePart, PlannedLane), RunError> {
    let inventory = runtime.store.inventory(&rendered.desired.lane.target)?;
    if runtime.secrets.is_none() {
        secrets::as_last_written(&mut rendered.desired, &inventory, &mut rendered.blobs);
    }
    let lane = &rendered.desired.lane;
    let selected = Selected { lane: lane.clone(), stack: rendered.desired.stack.clone() };
    // Of what is gone nothing is to hold.
    let checks = if destroys { vec![] } else { check::of_lane(&runtime.config, &selected)? };
    let fingerprint = fingerprint(runtime, &lane.target).await?;
    let record = runtime.store.lane(lane)?;
    let due = runtime.store.due_triggers(lane)?;
    let open_unknown = crate::recover::unknown(runtime, lane)?;
    render::owned_kinds_allowed(runtime, &rendered.desired, &inventory)?;
    let subjects = tidelock_plan::observe::subjects(&rendered.desired, &inventory, &rendered.kinds);
    let mut observed: Snapshot = observe(&rendered.providers, &subjects).await?;
    let target = runtime.targets.target(&lane.target)?;
    secrets::compare(target.as_ref(), &rendered.desired, &rendered.blobs, &mut observed).await;
    runtime.emit(None, Some(lane), &RunEvent::Observed { subjects: subjects.len() })?;

    let input = LaneInput {
        desired: &rendered.desired,
        observed: &observed,
        inventory: &inventory,
        claims: claims.get(&lane.target).map_or(&[][..], Vec::as_slice),
        kinds: &rendered.kinds,
        record: record.as_ref(),
        unheard: unheard.get(&lane.target).map_or(&[][..], Vec::as_slice),
        due: &due,
        open_unknown: &open_unknown,
        fingerprint: &fingerprint,
        plugins: render::plugins(&rendered.providers),
        cause_hint,
        destroys,
        undone: &rendered.apart.undone,
        taken_back: None,
    };
    let whole = planned(&input, &rendered).await?;
    let part = match crate::confirm::held_back(runtime, &whole)? {
        None => whole,
        // What went back is no reason to let the lane drift; where it does not, the whole of it waits for a word.
        Some(held) => Box::pin(beside(&held, &input, &rendered, target.as_ref())).await?.unwrap_or(whole),
    };
    let of_lane = || inventory.iter().filter(|entry| entry.address.lane() == *lane);
    let owned = of_lane().count();
    let providing = of_lane().filter(|entry| !entry.provides.is_empty());
    let provided = providing.map(|entry| (entry.identity.clone(), entry.provides.clone())).collect();
    Ok((part, PlannedLane { rendered, record, owned, provided, checks }))
}

/// Plans a lane of which something went back as it was before that; `None` where it is so.
async fn beside(
    held: &HeldBack,
    input: &LaneInput<'_>,
    rendered: &RenderedLane,
    target: &dyn Target,
) -> Result<Option<LanePart>, RunError> {
    let stood = held.stand_in(&rendered.desired, input.inventory);
    // What is seen of a resource is what its spec speaks of, and that is another one.
    let subjects = tidelock_plan::observe::subjects(&stood, input.inventory, &rendered.kinds);
    let mut observed: Snapshot = observe(&rendered.providers, &subjects).await?;
    secrets::compare(target, &stood, &rendered.blobs, &mut observed).await;
    let input = LaneInput { desired: &stood, observed: &observed, taken_back: Some(&held.why), ..input.clone() };
    let part = planned(&input, rendered).await?;
    // Whom it notified is told of what is there now with the rest, or once Git says something else.
    let mends = |change: &Change| change.is_change() && change.action != Action::Trigger;
    Ok(part.changes.iter().any(mends).then_some(part))
}

/// Plans a lane by what was looked at, and asks its providers for effects.
async fn planned(input: &LaneInput<'_>, rendered: &RenderedLane) -> Result<LanePart, RunError> {
    let mut draft: Draft = draft(input).map_err(RunError::Rejected)?;
    let mut rounds = 0;
    loop {
        let requests = draft.requests();
        let answers = ask(rendered, requests).await?;
        if !draft.answer(answers) {
            break;
        }
        rounds += 1;
        if rounds == ROUNDS {
            let message = format!("{}: a provider asks for a replacement again and again", rendered.desired.lane);
            return Err(Fault::new("invalid", Blame::Plugin, message).into());
        }
    }
    lane_plan(input, draft).map_err(RunError::Rejected)
}

async fn ask(
    rendered: &RenderedLane,
    requests: Vec<(String, StepRequest)>,
) -> Result<Vec<(ResourceRef, StepAnswer)>, RunError> {
    let mut by_plugin: BTreeMap<String, Vec<StepRequest>> = BTreeMap::new();
    for (plugin, request) in requests {
        by_plugin.entry(plugin).or_default().push(request);
    }
    let mut answers = Vec::new();
    for (plugin, requests) in by_plugin {
        let Some(provider) = rendered.providers.get(&plugin) else {
            let message = format!("no plugin {plugin} is installed");
            return Err(Fault::new("not-found", Blame::Target, message).into());
        };
        let given = provider.steps(&requests).await?;
        answers.extend(requests.into_iter().map(|request| request.address.resource).zip(given));
    }
    Ok(answers)
}

/// The target's fingerprint; another one than before stops its plans.
async fn fingerprint(runtime: &Runtime, target: &Name) -> Result<String, RunError> {
    let now = runtime.targets.target(target)?.fingerprint().await?;
    match runtime.store.fingerprint(target)? {
        Some(before) if before != now => Err(Fault::new(
            "target-changed",
            Blame::Target,
            format!("target {target} is another system than before: it was {before}, and is now {now}"),
        )
        .hint(format!("if that is meant: `tidelock target accept {target}`"))
        .into()),
        _ => Ok(now),
    }
}

/// Adds to each effect what it looks like.
pub(super) async fn with_previews(runtime: &Runtime, mut pass: Pass) -> Result<Pass, RunError> {
    let lanes: BTreeSet<Lane> = pass.plan.groups.iter().map(|group| group.lane.clone()).collect();
    let secret: BTreeMap<Lane, BTreeSet<Identity>> = lanes
        .into_iter()
        .map(|lane| {
            let identities = pass.plan.secret_identities(&lane).into_iter().cloned().collect();
            (lane, identities)
        })
        .collect();
    for group in &mut pass.plan.groups {
        let target = runtime.targets.target(&group.lane.target)?;
        let secret = secret.get(&group.lane);
        for effect in &mut group.effects {
            effect.preview = target.preview(&effect.effect, &pass.blobs).await?;
            // Lines of a file, before or after, would be lines of a secret.
            if effect.effect.body.path().is_some() && secret.is_some_and(|it| it.contains(&effect.effect.identity)) {
                effect.preview = Preview { text: WITHHELD.to_owned(), cut: false };
            }
        }
    }
    Ok(pass)
}
