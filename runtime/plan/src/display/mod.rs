//! A plan as a person likes to read it: what destroys first, what waits last.
//!
//! Text of targets and guests was tamed where it came in; it is tamed again here,
//! since this is the last stop before a terminal. Says nothing that the plan does not.

mod change;
mod remark;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::desired::ModuleAt;
use tidelock_model::digest::canonical;
use tidelock_model::effect::EffectBody;
use tidelock_model::hold::Pin;
use tidelock_model::inventory::Ownership;
use tidelock_model::name::{Address, Lane, Name};
use tidelock_model::plan::{Action, Change, Plan, PlannedEffect, Wait};
use tidelock_model::run::Approval;

use value::plain;

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colour.
    pub color: bool,
    /// Columns of the terminal; long values are cut to fit.
    pub width: usize,
    /// Everything: whole diffs, every target by name, the effects too.
    pub full: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100, full: false }
    }
}

/// The colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Red,
    Green,
    Yellow,
    Cyan,
    Bold,
    Dim,
}

impl Style {
    pub(crate) fn paint(&self, ink: Ink, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Red => "31",
            Ink::Green => "32",
            Ink::Yellow => "33",
            Ink::Cyan => "36",
            Ink::Bold => "1",
            Ink::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a plan.
#[must_use]
pub fn text(plan: &Plan, style: &Style) -> String {
    let mut out = header(plan, style);
    let mut sections: Vec<String> = Vec::new();
    let names = Names::of(plan);
    let effects = effects_of(plan);
    let stacks: BTreeSet<&Name> = plan.changes.iter().map(|change| &change.address.stack).collect();
    for stack in &stacks {
        let mut section = String::new();
        if stacks.len() > 1 {
            section.push_str(&format!("{}\n", style.paint(Ink::Bold, stack.as_str())));
        }
        let changes = plan.changes.iter().filter(|change| change.address.stack == **stack);
        for alike in merged(changes, &effects) {
            section.push_str(&change::lines(&alike, &names, style));
        }
        sections.push(section);
    }
    sections.push(remark::section("error", Ink::Red, &plan.errors, style));
    sections.push(remark::section("warning", Ink::Yellow, &plan.warnings, style));
    sections.push(rollouts(plan, style));
    sections.push(cuts(plan, style));
    sections.push(approved(plan, style));
    sections.push(waits(plan, style));
    sections.push(conclusion(plan, style));
    sections.retain(|section| !section.is_empty());
    out.push('\n');
    out.push_str(&sections.join("\n"));
    out
}

/// Changes that differ in their target alone, and their effects.
pub(crate) struct Alike<'a> {
    pub(crate) change: &'a Change,
    pub(crate) effects: Vec<&'a PlannedEffect>,
    pub(crate) targets: Vec<&'a Name>,
}

type Effects<'a> = BTreeMap<(u32, String), Vec<&'a PlannedEffect>>;

/// Effects by group and by what they serve: one pass, whatever the number of changes.
fn effects_of(plan: &Plan) -> Effects<'_> {
    let mut out: Effects<'_> = BTreeMap::new();
    for group in &plan.groups {
        for planned in &group.effects {
            let serves = serves(planned.effect.identity.as_str(), &planned.effect.resource.to_string());
            out.entry((group.id, serves)).or_default().push(planned);
        }
    }
    out
}

fn serves(identity: &str, resource: &str) -> String {
    format!("{identity}\n{resource}")
}

/// Equal changes on many targets as one; what destroys first, else as planned.
fn merged<'a>(changes: impl Iterator<Item = &'a Change>, effects: &Effects<'a>) -> Vec<Alike<'a>> {
    let mut out: Vec<Alike<'a>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for change in changes {
        let key = serves(change.identity.as_str(), &change.address.resource.to_string());
        let own = change.group.and_then(|group| effects.get(&(group, key))).cloned().unwrap_or_default();
        let at = *known.entry(likeness(change, &own)).or_insert(out.len());
        match out.get_mut(at) {
            Some(alike) => alike.targets.push(&change.target),
            None => out.push(Alike { change, effects: own, targets: vec![&change.target] }),
        }
    }
    out.sort_by_key(|alike| rank(alike.change));
    out
}

fn rank(change: &Change) -> u8 {
    match change.action {
        Action::Delete | Action::Replace => 0,
        Action::TakeOver => 1,
        _ if change.destructive => 1,
        Action::Deferred => 3,
        _ => 2,
    }
}

/// All that is shown of a change but its target.
fn likeness(change: &Change, effects: &[&PlannedEffect]) -> String {
    let mut out = format!(
        "{}\n{}\n{:?}\n{:?}\n{:?}\n{:?}\n",
        change.address.resource, change.identity, change.action, change.cause, change.unknown, change.reason
    );
    for field in &change.fields {
        for side in [&field.before, &field.after] {
            out.push_str(&side.as_ref().map(canonical).unwrap_or_default());
            out.push('\n');
        }
        out.push_str(&field.path);
        out.push('\n');
    }
    for planned in effects {
        out.push_str(&planned.summary);
        out.push_str(&planned.preview.text);
        out.push('\n');
    }
    out
}

/// Which parts of an address must be said in this plan.
pub(crate) struct Names {
    targets: bool,
}

impl Names {
    fn of(plan: &Plan) -> Self {
        Self { targets: plan.lanes.iter().map(|lane| &lane.lane.target).collect::<BTreeSet<_>>().len() > 1 }
    }

    /// An address in its shortest form that is still clear here. The stack stands in
    /// the section's heading.
    pub(crate) fn short(&self, address: &Address, targets: &[&Name], style: &Style) -> String {
        let shown = if style.full { targets.len() } else { 3 };
        let mut names: Vec<String> = targets.iter().take(shown).map(ToString::to_string).collect();
        let more = targets.len().saturating_sub(names.len());
        if more > 0 {
            names.push(format!("{more} more"));
        }
        match targets {
            [one] if self.targets => format!("{}@{one}", address.resource),
            [_] | [] => address.resource.to_string(),
            many => format!("{} on {} targets ({})", address.resource, many.len(), names.join(", ")),
        }
    }
}

fn header(plan: &Plan, style: &Style) -> String {
    let targets: BTreeSet<&Name> = plan.lanes.iter().map(|lane| &lane.lane.target).collect();
    let stacks: Vec<&str> = plan.stacks.iter().map(Name::as_str).collect();
    let on = match targets.iter().collect::<Vec<_>>().as_slice() {
        [one] => format!("on {one}"),
        many => format!("on {} targets", many.len()),
    };
    if plan.lanes.is_empty() && !plan.errors.is_empty() {
        let subject = style.paint(Ink::Dim, &format!("({})", plain(&plan.revision.subject, 72)));
        let what = style.paint(Ink::Bold, "Nothing could be planned");
        return format!("{what} at {} {subject}\n", plan.revision.short());
    }
    // Where all of it is pinned to one revision, that is what is planned.
    let mut meant = plan.lanes.iter().map(|part| part.pinned.as_ref().map_or(&plan.revision, |pin| &pin.revision));
    let first = meant.next().unwrap_or(&plan.revision);
    let revision = if meant.all(|other| other.id == first.id) { first } else { &plan.revision };
    let mut out = format!(
        "{} {} {} at {} {}\n",
        style.paint(Ink::Bold, "Plan for"),
        if stacks.is_empty() { "no stack".to_owned() } else { stacks.join(", ") },
        on,
        revision.short(),
        style.paint(Ink::Dim, &format!("({})", plain(&revision.subject, 72))),
    );
    let pins: BTreeMap<&Name, &Pin> =
        plan.lanes.iter().filter_map(|part| Some((&part.lane.stack, part.pinned.as_ref()?))).collect();
    for pin in pins.into_values() {
        out.push_str(&format!("{} {}\n", style.paint(Ink::Yellow, "pinned:"), plain(&pin.to_string(), 1_000)));
        let end = format!("to end it: `{}`", crate::holds::unpin(pin));
        out.push_str(&format!("  {}\n", style.paint(Ink::Dim, &plain(&end, 1_000))));
    }
    let modules: BTreeMap<&Name, &ModuleAt> =
        plan.lanes.iter().filter_map(|part| Some((&part.lane.stack, part.module.as_ref()?))).collect();
    for (stack, ModuleAt { path, rev, revision }) in modules {
        let at = if revision.id == *rev { String::new() } else { format!(", {}", revision.short()) };
        let subject = style.paint(Ink::Dim, &format!("({})", plain(&revision.subject, 72)));
        out.push_str(&format!("module of {stack}: /{} at {}{at} {subject}\n", plain(path, 200), plain(rev, 200)));
    }
    out
}

/// In which batches a change reaches the targets of a stack, where it is not all at once.
fn rollouts(plan: &Plan, style: &Style) -> String {
    let mut batches: BTreeMap<&Name, BTreeMap<usize, Vec<&Name>>> = BTreeMap::new();
    for part in &plan.lanes {
        if let Some(batch) = part.batch {
            batches.entry(&part.lane.stack).or_default().entry(batch).or_default().push(&part.lane.target);
        }
    }
    batches.retain(|_, batches| batches.len() > 1);
    let mut out = String::new();
    for (stack, batches) in batches {
        let steps: Vec<String> = batches
            .values()
            .map(|targets| match targets.as_slice() {
                [one] => one.to_string(),
                many => format!("{} targets", many.len()),
            })
            .collect();
        let steps = steps.join(", then ");
        out.push_str(&format!("{} of {stack}: {steps}\n", style.paint(Ink::Cyan, "rollout")));
    }
    out
}

/// What may cut the way to Git.
fn cuts(plan: &Plan, style: &Style) -> String {
    let mut out = String::new();
    for part in &plan.lanes {
        for cut in &part.cuts {
            let lane = if plan.lanes.len() > 1 { format!("{}: ", part.lane) } else { String::new() };
            let line = format!("may cut the way to Git: {lane}{}", plain(&cut.to_string(), 1_000));
            out.push_str(&format!("{}\n", style.paint(Ink::Red, &line)));
        }
    }
    out
}

/// Who said yes to it beforehand; the same person's yes to several lanes once.
fn approved(plan: &Plan, style: &Style) -> String {
    let mut words: Vec<(&Approval, usize)> = Vec::new();
    for word in plan.lanes.iter().flat_map(|part| &part.approved) {
        match words.iter_mut().find(|(known, _)| known.who == word.who && known.comment == word.comment) {
            Some((_, lanes)) => *lanes += 1,
            None => words.push((word, 1)),
        }
    }
    let mut out = String::new();
    for (word, lanes) in words {
        let comment = word.comment.as_ref().map(|said| format!(" ({})", plain(said, 1_000))).unwrap_or_default();
        let of = match lanes {
            1 if plan.lanes.len() > 1 => format!("{}: ", word.lane),
            _ => String::new(),
        };
        let more = if lanes > 1 { format!(", {lanes} lanes") } else { String::new() };
        let (who, at) = (plain(&word.who, 200), word.at.strftime("%Y-%m-%d %H:%M:%SZ"));
        out.push_str(&format!("{} {of}by {who} at {at}{more}{comment}\n", style.paint(Ink::Green, "approved:")));
    }
    out
}

/// Why lanes wait; the same reason of several lanes once.
fn waits(plan: &Plan, style: &Style) -> String {
    // A sentence that names its lane is the same of another that names its own.
    let reason = |lane: &Lane, wait: &Wait| {
        (wait.code.clone(), wait.message.replace(&lane.to_string(), "\0"), wait.hint.clone())
    };
    let mut seen: BTreeMap<(String, String, Option<String>), usize> = BTreeMap::new();
    let mut order = Vec::new();
    for (lane, wait) in plan.lanes.iter().flat_map(|part| part.waits.iter().map(|wait| (&part.lane, wait))) {
        let count = seen.entry(reason(lane, wait)).or_insert(0);
        *count += 1;
        if *count == 1 {
            order.push((lane, wait));
        }
    }
    order
        .into_iter()
        .map(|(lane, wait)| {
            let message = match seen.get(&reason(lane, wait)) {
                Some(count) if *count > 1 && wait.message.contains(&lane.to_string()) => {
                    let more =
                        if *count == 2 { "one more lane".to_owned() } else { format!("{} more lanes", count - 1) };
                    format!("{} (and {more})", plain(&wait.message, 1_000))
                }
                Some(count) if *count > 1 => format!("{} ({count} lanes)", plain(&wait.message, 1_000)),
                // Of several lanes only one waits for this: which, unless the sentence says so.
                _ if plan.lanes.len() > 1 && !wait.message.contains(&lane.to_string()) => {
                    format!("{lane}: {}", plain(&wait.message, 1_000))
                }
                _ => plain(&wait.message, 1_000),
            };
            let mut out = format!("{} {message}\n", style.paint(Ink::Yellow, "waits:"));
            if let Some(hint) = &wait.hint {
                out.push_str(&format!("  {}\n", style.paint(Ink::Dim, &plain(hint, 1_000))));
            }
            out
        })
        .collect()
}

fn conclusion(plan: &Plan, style: &Style) -> String {
    let unchanged = plan.summary.unchanged;
    let words = [
        (Action::Create, "to create"),
        (Action::Update, "to update"),
        (Action::Replace, "to replace"),
        (Action::Delete, "to delete"),
        (Action::TakeOver, "to take over"),
        (Action::Adopt, "to adopt"),
        (Action::Move, "to move"),
        (Action::Release, "to release"),
        (Action::Trigger, "to trigger"),
        (Action::Deferred, "not known yet"),
    ];
    // What is renamed is made under its new identity, and nobody would call that made.
    let effects = effects_of(plan);
    let renamed = plan.changes.iter().filter(|change| {
        let key = serves(change.identity.as_str(), &change.address.resource.to_string());
        let own = change.group.and_then(|group| effects.get(&(group, key)));
        own.is_some_and(|own| change::renamed_from(change, own).is_some())
    });
    let renamed = renamed.count();
    let count = |action: &Action| {
        let all = plan.summary.actions.get(crate::word(*action)).copied().unwrap_or_default();
        if *action == Action::Create { all.saturating_sub(renamed) } else { all }
    };
    let mut counted: Vec<String> = words
        .iter()
        .map(|(action, words)| (count(action), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    if renamed > 0 {
        counted.push(format!("{renamed} to rename"));
    }
    let mut out = if counted.is_empty() {
        let are = if unchanged == 1 { "1 resource is".to_owned() } else { format!("{unchanged} resources are") };
        let what = if plan.complete { "No changes" } else { "No changes are known" };
        format!("{}; {are} as Git says.\n", style.paint(Ink::Bold, what))
    } else {
        format!("{} {}; {unchanged} unchanged.\n", style.paint(Ink::Bold, "Plan:"), counted.join(", "))
    };
    if !counted.is_empty() && plan.summary.effects == 0 && plan.complete {
        out.push_str("Nothing is done to a target: what is there is put on record, or taken from it.\n");
    }
    for target in in_pieces(plan) {
        out.push_str(&format!(
            "Statements on {target} are performed one by one: what was done before one fails stays, and the next pass goes \
             on from there.\n"
        ));
    }
    if plan.ownership == Ownership::Unknown {
        out.push_str("The store has not known this target before: nothing is deleted.\n");
    }
    if !plan.complete {
        out.push_str("This plan is not complete: see above for what could not be planned.\n");
    }
    out
}

/// Targets with several statements that their servers cannot take as one.
fn in_pieces(plan: &Plan) -> Vec<&Name> {
    let mut counts: BTreeMap<&Name, usize> = BTreeMap::new();
    for group in &plan.groups {
        let alone = |planned: &&PlannedEffect| matches!(&planned.effect.body, EffectBody::Sql(statement) if !statement.dialect.transactional());
        *counts.entry(&group.lane.target).or_default() += group.effects.iter().filter(alone).count();
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(target, _)| target).collect()
}

#[cfg(test)]
mod tests;
