//! Why a lane waits, in words: one function per reason.
//!
//! A wait is data for `why` and for programs: its code is stable, its sentence is for
//! people, its hint says what ends it.

use jiff::Timestamp;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Lane, Name};
use tidelock_model::plan::{People, Wait};
use tidelock_model::run::Approval;

use crate::gate::Rule;
use crate::rollout::Standing;

/// The codes of waits that do not hold up the rest of the lane.
const ASIDE: [&str; 5] = ["protected", "in-doubt", "unheard", "still-needed", TAKEN_BACK];

/// The codes of waits that end neither with time nor with anybody's yes.
const REFUSED: [&str; 2] = ["empty-render", "protected-destroy"];

/// The code of a wait behind somebody's no.
pub(crate) const REJECTED: &str = "rejected";

/// The code of a wait for people whom the operator's rules name.
pub(crate) const APPROVALS: &str = "approvals";

/// The code of a wait of what may cut the way to Git, and has no way back.
pub(crate) const CUTS: &str = "cuts-the-way";

/// The code of a wait of what a guard took back, while the rest of its lane goes on.
const TAKEN_BACK: &str = "taken-back";

/// Whether Git or the operator has to change something before the lane can go on.
#[must_use]
pub fn refuses(wait: &Wait) -> bool {
    REFUSED.contains(&wait.code.as_str())
}

/// Whether the operator's rules ask for people: no caller's yes is enough.
#[must_use]
pub fn asks_for_people(wait: &Wait) -> bool {
    wait.code == APPROVALS
}

/// Whether an approval that is given beforehand ends a wait, or helps to.
#[must_use]
pub fn awaits_approval(wait: &Wait) -> bool {
    wait.approvable || asks_for_people(wait)
}

/// Whether a wait holds up the whole lane.
#[must_use]
pub fn holds_up(wait: &Wait) -> bool {
    !ASIDE.contains(&wait.code.as_str())
}

fn wait(code: &str, message: String, hint: impl Into<Option<String>>, approvable: bool) -> Wait {
    Wait { hint: hint.into(), approvable, ..Wait::new(code, message) }
}

/// Something of the lane may cut the way to Git, and there is no way back.
#[must_use]
pub fn cuts_the_way(lane: &Lane) -> Wait {
    let hint = "`confirm: 30s` in its stack.yaml, or `tidelock apply --confirm-within 60s`";
    let message = format!("{lane} may cut the way to Git, and nothing would take it back");
    wait(CUTS, message, hint.to_owned(), false)
}

/// Whether something of a lane is left as it stands since a guard took it back.
#[must_use]
pub fn leaves_what_went_back(waits: &[Wait]) -> bool {
    waits.iter().any(|wait| wait.code == TAKEN_BACK)
}

pub(crate) fn taken_back(lane: &Lane, why: &str) -> Wait {
    let hint = "change it in Git, or apply it by hand";
    let message = format!("{} took a change back, which is not tried again: {why}", lane.target);
    wait(TAKEN_BACK, message, hint.to_owned(), false)
}

pub(crate) fn empty_render(lane: &Lane, owned: usize) -> Wait {
    let message = format!(
        "{lane} rendered to nothing while {owned} of its resources exist; that is never taken for \"delete them all\""
    );
    let hint = "mend the stack's files or values";
    wait("empty-render", message, hint.to_owned(), false)
}

pub(crate) fn destroys(lane: &Lane, owned: usize) -> Wait {
    let resources = if owned == 1 { "1 resource".to_owned() } else { format!("{owned} resources") };
    let message = format!("it takes a person's yes to destroy {lane}, which owns {resources}");
    let hint =
        format!("read the plan, then say yes to it (`tidelock destroy {} --yes` without a terminal)", lane.stack);
    wait("destroy", message, hint, true)
}

pub(crate) fn protected_destroy(address: &Address) -> Wait {
    let message = format!("{} is protected, so its stack is not destroyed", address.resource);
    let hint = format!(
        "to lift it, set `protect: false` in a commit and apply that; or let it stay: `tidelock forget {address}`"
    );
    wait("protected-destroy", message, hint, false)
}

pub(crate) fn protected(address: &Address) -> Wait {
    let message = format!("{} is protected and is not deleted, though it is no longer in Git", address.resource);
    let hint = "to lift it, bring it back with `protect: false`, apply that, and remove it then";
    wait("protected", message, hint.to_owned(), false)
}

pub(crate) fn protected_replace(address: &Address) -> Wait {
    let message = format!("{} is protected and is not replaced", address.resource);
    let hint = "to lift it, set `protect: false` without any other change to it, apply that, and change it then";
    wait("protected", message, hint.to_owned(), false)
}

pub(crate) fn unheard(address: &Address, stacks: &[String]) -> Wait {
    let message = format!(
        "{} left Git and is not deleted yet: it may belong to {} by now, which could not be rendered",
        address.resource,
        stacks.join(", ")
    );
    wait("unheard", message, "mend that stack; it is named with its error".to_owned(), false)
}

pub(crate) fn still_needed(entry: &InventoryEntry, why: &str) -> Wait {
    let message = format!("{} ({}): {why}; it goes once nothing does", entry.address.resource, entry.identity);
    let hint = "remove that too, declare what else it can stand on, or bring this one back";
    wait("still-needed", message, hint.to_owned(), false)
}

pub(crate) fn in_doubt(address: &Address) -> Wait {
    let message = format!("it is not known what an earlier run did to {}", address.resource);
    wait("in-doubt", message, format!("look, and say `tidelock resolve {address} done|redo`"), false)
}

const YES: &str = "read the plan, then apply it with your yes (`tidelock apply`, or `--yes` without a terminal)";

pub(crate) fn first_contact(lane: &Lane) -> Wait {
    wait("first-contact", format!("{lane} was never applied from this store"), YES.to_owned(), true)
}

pub(crate) fn plugin_changed(name: &str, was: &str, is: &str) -> Wait {
    let message = format!("plugin {name} is not the one that was used here last ({was}, now {is})");
    wait("plugin-changed", message, format!("{YES}, or accept it for all lanes: `tidelock plugin accept {name}`"), true)
}

pub(crate) fn take_over(resources: usize, allowed: usize) -> Wait {
    let of = if resources == 1 { "1 resource was".to_owned() } else { format!("{resources} resources were") };
    let message = format!("{of} there before Tidelock and would be changed; the budget is {allowed}");
    wait("take-over", message, YES.to_owned(), true)
}

pub(crate) fn budget_destroy(effects: usize, allowed: usize) -> Wait {
    let message = format!("{} destroy something; the budget is {allowed}", effects_of(effects));
    wait("budget-destroy", message, format!("{YES}, or raise `budget.destroy`"), true)
}

pub(crate) fn window(rule: &Rule, now: Timestamp) -> Wait {
    let windows: Vec<String> = rule.windows.iter().map(ToString::to_string).collect();
    let message = format!("{} lets effects be performed only in the window {}", rule.name, windows.join(" or "));
    let next = rule.windows.iter().filter_map(|window| Some((window.opens(now)?, window))).min_by_key(|(at, _)| *at);
    let hint = next.map(|(at, window)| format!("it opens next on {}", window.clock(at)));
    Wait { until: next.map(|(at, _)| at), ..wait("window", message, hint, false) }
}

/// `said` names who approved already, `discounted` whose word does not count, and why.
pub(crate) fn approvals(rule: &Rule, said: &[&str], discounted: &[String]) -> Wait {
    let of = if rule.approvers.is_empty() { String::new() } else { format!(" of {}", rule.approvers.join(", ")) };
    let people = if rule.approvals == 1 { "1 person".to_owned() } else { format!("{} people", rule.approvals) };
    let mut message = format!("{} asks for the approval of {people}{of}", rule.name);
    if !said.is_empty() {
        message.push_str(&format!("; so far: {}", said.join(", ")));
    }
    if !discounted.is_empty() {
        message.push_str(&format!("; not counted: {}", discounted.join(", ")));
    }
    let hint = "they say `tidelock approve`; whoever wrote the commit is not counted";
    let people = People {
        rule: rule.name.clone(),
        wanted: rule.approvals,
        of: rule.approvers.clone(),
        said: said.iter().map(ToString::to_string).collect(),
    };
    Wait { people: Some(people), ..wait(APPROVALS, message, hint.to_owned(), false) }
}

pub(crate) fn moved(from: &Lane) -> Wait {
    let message = format!("resources move here from {from} and change on the way");
    wait("moved-between-stacks", message, YES.to_owned(), true)
}

pub(crate) fn held_by_the_other_side(lane: &Lane, from: &Lane) -> Wait {
    let message = format!("resources move to {lane} from {from}, which is held up itself");
    wait("move-held", message, format!("it goes on together with {from}"), false)
}

pub(crate) fn rejected(no: &Approval) -> Wait {
    let said = no.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
    let message = format!("{} said no to this very plan{said}", no.who);
    let hint =
        format!("it stays so until {} says yes with `tidelock approve`, or until something else is planned", no.who);
    wait(REJECTED, message, hint, false)
}

/// The code of what a stack wants reported and not applied: it waits for nobody.
pub const REPORTS: &str = "reports";

pub(crate) fn asks(on: &str, says: &str) -> Wait {
    let code = if says == "report" { REPORTS } else { on };
    wait(code, format!("the stack says `{}: {says}`", on.replace('-', "_")), YES.to_owned(), true)
}

/// Says that the commit would have loosened this, and from when that counts.
pub(crate) fn loosening(wait: Wait, loosened: bool) -> Wait {
    if !loosened {
        return wait;
    }
    let message = format!(
        "{}; this commit loosens that, which counts from the next commit on, whatever that one changes",
        wait.message
    );
    Wait { message, ..wait }
}

/// The code of a wait for other lanes of the stack.
const ROLLOUT: &str = "rollout";

pub(crate) fn rollout_batch(on: &Lane, batch: usize, batches: usize) -> Wait {
    let message = format!(
        "batch {batch} of {batches} of the rollout begins once {}@{} is as Git says, and checked",
        on.stack, on.target
    );
    let hint = format!("{} leaves that target out", suspend(&on.target));
    Wait { on: Some(on.clone()), ..wait(ROLLOUT, message, hint, false) }
}

pub(crate) fn rollout_stopped(on: &Lane, why: &str, failed: usize) -> Wait {
    let more = if failed > 1 { format!(" and {} more", failed - 1) } else { String::new() };
    let message = format!("the rollout stopped: {}@{}{more} failed: {why}", on.stack, on.target);
    let hint = format!("mend it in Git or on the target; {} leaves that target out", suspend(&on.target));
    Wait { on: Some(on.clone()), ..wait(ROLLOUT, message, hint, false) }
}

pub(crate) fn needs(stack: &Name, on: &Lane, standing: &Standing) -> Wait {
    let stands = match standing {
        Standing::Failed(why) => format!("failed: {why}"),
        Standing::LeftOut => "is suspended".to_owned(),
        Standing::There | Standing::Pending => "is not there yet".to_owned(),
    };
    let message = format!("it needs {stack}, and {}@{} {stands}", on.stack, on.target);
    let hint = format!("`tidelock status {}` says more", on.stack);
    Wait { on: Some(on.clone()), ..wait("needs", message, hint, false) }
}

fn suspend(target: &Name) -> String {
    format!("`tidelock suspend --target {target}`")
}

fn effects_of(n: usize) -> String {
    if n == 1 { "1 effect would".to_owned() } else { format!("{n} effects would") }
}
