//! Plans that touch the way to Git: what would cut us off from the very place that a mistake is
//! mended from. Such a plan is said to do so, needs commit-confirm, and is confirmed only while
//! the servers still answer.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::check::Probe;
use tidelock_model::effect::Effect;
use tidelock_model::error::{Diagnostic, Fault, Severity};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::{Cut, Plan};

use super::leases::Leases;
use super::plan::PlannedLane;
use crate::error::RunError;
use crate::runtime::Runtime;

/// How long a server may take to answer after such a plan, in ms, and how often it is asked.
const ANSWER: (u64, usize) = (3_000, 3);

/// The servers of sources, by source: host and port.
fn servers(runtime: &Runtime) -> BTreeMap<&Name, (String, u16)> {
    runtime.sources.iter().filter_map(|(name, source)| Some((name, source.server()?))).collect()
}

/// Writes into a plan what of it touches the way to a source, and that it waits for commit-confirm
/// where there is none. Where that cannot be told, the plan says so.
pub(super) async fn put(runtime: &Runtime, plan: &mut Plan, lanes: &[PlannedLane]) -> Result<(), RunError> {
    let servers = servers(runtime);
    for part in &mut plan.lanes {
        let groups = plan.groups.iter().filter(|group| group.lane == part.lane);
        let effects: Vec<Effect> =
            groups.flat_map(|group| &group.effects).map(|planned| planned.effect.clone()).collect();
        if effects.is_empty() || servers.is_empty() {
            continue;
        }
        let target = runtime.targets.target(&part.lane.target)?;
        for (source, (host, port)) in &servers {
            let touched = match target.touched(&effects, host, *port).await {
                Ok(touched) => touched,
                Err(Fault { message, .. }) => {
                    let message =
                        format!("{}: whether this touches the way to {source} cannot be told: {message}", part.lane);
                    plan.warnings.push(Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) });
                    continue;
                }
            };
            let touched = touched.into_iter().filter_map(|place| effects.get(place));
            part.cuts.extend(touched.map(|effect| Cut {
                source: (*source).clone(),
                server: host.clone(),
                effect: effect.body.summary(),
            }));
        }
        let of_stack = lanes.iter().find(|lane| lane.rendered.desired.lane == part.lane);
        let confirms = runtime.confirm_within_ms.is_some()
            || of_stack.is_some_and(|lane| lane.rendered.desired.stack.decl.confirm.is_some());
        if !part.cuts.is_empty() && !confirms {
            part.waits.push(tidelock_plan::cuts_the_way(&part.lane));
        }
    }
    Ok(())
}

/// The sources whose way a plan touches, and whose servers answer before it is performed. One that
/// does not tells nothing by not answering afterwards: Git may be down while a machine starts.
pub(super) async fn answering(runtime: &Runtime, leases: &Leases, plan: &Plan) -> BTreeSet<Name> {
    let mut answering = BTreeSet::new();
    for (source, (host, port)) in servers(runtime) {
        let touched = plan.lanes.iter().flat_map(|part| &part.cuts).any(|cut| cut.source == *source);
        if touched && ask(runtime, leases, &address(&host, port)).await.is_ok() {
            answering.insert(source.clone());
        }
    }
    answering
}

/// Why a plan that touched the way to Git is not confirmed: a server whose way it touched, and that
/// answered before, does not any more.
pub(super) async fn cut_off(
    runtime: &Runtime,
    leases: &Leases,
    plan: &Plan,
    answered: &BTreeSet<Name>,
    lane: &Lane,
) -> Option<String> {
    let part = plan.lanes.iter().find(|part| part.lane == *lane)?;
    for (source, (host, port)) in servers(runtime) {
        if !answered.contains(source) || part.cuts.iter().all(|cut| cut.source != *source) {
            continue;
        }
        let address = address(&host, port);
        if let Err(why) = leases.kept_while(runtime, answers(runtime, source, &address)).await {
            return Some(why);
        }
    }
    None
}

/// Whether the server of a source answers from here, where it has one: a mistake is mended from there.
///
/// # Errors
/// A sentence that says that it does not.
pub(crate) async fn holds(runtime: &Runtime, source: &Name) -> Result<(), String> {
    match servers(runtime).get(source) {
        Some((host, port)) => answers(runtime, source, &address(host, *port)).await,
        None => Ok(()),
    }
}

async fn answers(runtime: &Runtime, source: &Name, address: &str) -> Result<(), String> {
    let mut answer = Ok(());
    for _ in 0..ANSWER.1 {
        answer = runtime.checks.ask(&Probe::Tcp(address.to_owned()), ANSWER.0).await;
        if answer.is_ok() {
            break;
        }
    }
    answer.map_err(|fault| format!("the way to Git is cut: {source} at {address}: {}", fault.message))
}

async fn ask(runtime: &Runtime, leases: &Leases, address: &str) -> Result<(), Fault> {
    leases.kept_while(runtime, runtime.checks.ask(&Probe::Tcp(address.to_owned()), ANSWER.0)).await
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
