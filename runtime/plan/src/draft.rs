//! The draft of a lane's plan: every change, before its effects are known.
//!
//! The loop asks providers what the draft wants to know and hands the answers back.
//! The draft itself calls nobody, so that planning stays a pure function of its input
//! and of these answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidelock_model::error::{Diagnostic, NOT_OURS, Severity};
use tidelock_model::inventory::Ownership;
use tidelock_model::name::{Address, Lane, ResourceRef};
use tidelock_model::network::ObjectName;
use tidelock_model::plan::{Action, Cause, Wait};
use tidelock_model::port::{StepAnswer, StepRequest};
use tidelock_model::run::Trigger;

use crate::check::mistakes;
use crate::edges::{Before, item_edges, order};
use crate::input::{Index, LaneInput};
use crate::item::{Asked, Item, Origin};
use crate::strays::{Spoken, listed_by};
use crate::{prune, report, wanted};

/// Changes of one lane, some of them not yet with effects.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(crate) lane: Lane,
    pub(crate) items: Vec<Item>,
    /// Edges between items; triggers have none until the plan is made.
    pub(crate) before: Before,
    pub(crate) order: Vec<usize>,
    pub(crate) triggers: BTreeMap<(ResourceRef, String), Notified>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) ownership: Ownership,
    pub(crate) revision_cause: Cause,
}

/// A trigger: where it stands among the items, and what it rests on.
#[derive(Debug, Clone)]
pub(crate) struct Notified {
    /// The trigger's item.
    pub(crate) item: usize,
    /// The item of the resource that is asked.
    pub(crate) target: usize,
    /// Left due by an earlier run.
    pub(crate) due: bool,
}

/// Compares what should be with what was seen, and says what is to be asked.
///
/// # Errors
/// Mistakes that only Git can mend: names that do not exist, the same thing declared
/// or claimed twice, circles. All of them, each with its place.
pub fn draft(input: &LaneInput<'_>) -> Result<Draft, Vec<Diagnostic>> {
    let index = Index::new(input);
    let mistakes = mistakes(&index);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let own_kinds = index.own().map(|entry| &entry.address.resource.kind);
    let spoken =
        input.desired.kinds().chain(own_kinds).any(|kind| listed_by(index.info(kind))).then(|| Spoken::new(&index));
    let notified: BTreeSet<&ResourceRef> = input
        .desired
        .resources
        .iter()
        .flat_map(|resource| resource.notify.iter().map(|notify| &notify.to))
        .chain(input.due.iter().map(|trigger| &trigger.to.resource))
        .collect();

    let mut out = Draft {
        lane: index.lane.clone(),
        items: Vec::new(),
        before: Vec::new(),
        order: Vec::new(),
        triggers: BTreeMap::new(),
        waits: Vec::new(),
        errors: Vec::new(),
        warnings: input.desired.warnings.clone(),
        ownership: prune::ownership(&index),
        revision_cause: input.cause_hint.unwrap_or(Cause::Revision),
    };
    let pruned = prune::plan(&index, spoken.as_ref());
    out.waits.extend(pruned.waits);
    out.errors.extend(pruned.errors);
    out.warnings.extend(pruned.warnings);
    out.items.extend(pruned.items);
    for resource in &input.desired.resources {
        let planned = wanted::plan(&index, resource, spoken.as_ref(), notified.contains(&resource.id));
        out.errors.extend(planned.errors);
        out.warnings.extend(planned.warnings);
        out.items.extend(planned.released);
        out.items.push(planned.item);
        let spoken_for = std::iter::once(&resource.identity).chain(&resource.parts);
        if let Some(rival) = spoken_for.filter_map(|identity| index.rivals.get(identity)).next() {
            // An error is what the other stack gets; this one owns it and goes on.
            let (by, to) = (format!("{}:{}", rival.source, rival.stack), &rival.target);
            let message = match index.twin(rival) {
                // Each may own it, from a time when it was not known: then both go on.
                true => format!(
                    "{} is also claimed by {by} on {to}, which is the same system as {}; where both own it, each undoes \
                     what the other does",
                    resource.id, index.lane.target
                ),
                false => format!("{} is also claimed by {by}, which is refused it", resource.id),
            };
            let warning = Diagnostic::error(message, Some(resource.place.clone()));
            out.warnings.push(Diagnostic { severity: Severity::Warning, ..warning });
        }
    }
    out.items.sort_by(|a, b| (&a.address, &a.identity, a.action).cmp(&(&b.address, &b.identity, b.action)));
    out.waits.extend(input.taken_back.map(|why| report::taken_back(&out.lane, why)));
    for item in &out.items {
        if index.doubtful.contains(&item.identity) {
            out.waits.push(report::in_doubt(&item.address));
        }
    }
    out.refuse_protected_replaces();
    out.before = item_edges(&index, &out.items);
    out.order = order(&out.before);
    out.add_due(input.due);
    out.put_off_dependants();
    Ok(out)
}

impl Draft {
    /// What to ask the providers now: the plugin's name and the question.
    #[must_use]
    pub fn requests(&self) -> Vec<(String, StepRequest)> {
        self.items
            .iter()
            .filter(|item| item.asked == Asked::Wants)
            .map(|item| (item.address.resource.kind.plugin().to_owned(), item.request()))
            .collect()
    }

    /// Takes answers, each under its resource. Where a resource was asked about more
    /// than once, its answers are taken in the order of the questions.
    ///
    /// Returns whether there is more to ask: what turned out to need a replace, and
    /// whom the changes notify.
    pub fn answer(&mut self, answers: Vec<(ResourceRef, StepAnswer)>) -> bool {
        let mut waiting: BTreeMap<ResourceRef, VecDeque<usize>> = BTreeMap::new();
        for (i, item) in self.items.iter().enumerate().filter(|(_, item)| item.asked == Asked::Wants) {
            waiting.entry(item.address.resource.clone()).or_default().push_back(i);
        }
        let mut more = false;
        for (resource, answer) in answers {
            if let Some(i) = waiting.get_mut(&resource).and_then(VecDeque::pop_front) {
                more |= self.take(i, answer);
            }
        }
        self.refuse_protected_replaces();
        self.put_off_dependants();
        more | self.notify()
    }

    /// Takes one answer; true where it has to be asked again.
    fn take(&mut self, i: usize, answer: StepAnswer) -> bool {
        let item = &mut self.items[i];
        item.asked = Asked::Answered;
        match answer {
            StepAnswer::Effects(effects) => {
                let idle = effects.is_empty() && !item.fields.is_empty() && item.action != Action::Trigger;
                if idle {
                    let message = format!(
                        "{} differs, but its plugin proposes nothing; it will differ again",
                        item.address.resource
                    );
                    let warning = Diagnostic::error(message, item.place.clone());
                    self.warnings.push(Diagnostic { severity: Severity::Warning, ..warning });
                }
                // Of a network nothing goes by another's effect: where there is none, it stays.
                let stays = || item.observed.is_some() && item.identity.as_str().parse::<ObjectName>().is_ok();
                if effects.is_empty() && item.ask == Action::Delete && stays() {
                    item.action = Action::Release;
                    let why = item.reason.take().unwrap_or_else(|| "it left".to_owned());
                    item.reason = Some(format!("{why}, and was not made by it: it stays as it is"));
                }
                item.effects = effects;
                false
            }
            StepAnswer::NeedsReplace(fields) if matches!(item.ask, Action::Update | Action::TakeOver) => {
                let why = format!("{} cannot change in place", fields.join(", "));
                // A stranger that must be replaced is still a stranger: the yes to a
                // take-over is what is needed.
                if item.action == Action::Update {
                    item.action = Action::Replace;
                    item.reason = Some(why);
                } else {
                    item.reason = Some(format!("it was there before and differs; {why}"));
                }
                item.ask = Action::Replace;
                item.asked = Asked::Wants;
                true
            }
            StepAnswer::NeedsReplace(fields) => {
                let why = format!("its plugin asks for a replace ({}) where none is possible", fields.join(", "));
                self.refuse(i, &why, None);
                false
            }
            StepAnswer::Waits { on, why } => {
                item.await_for(&on, &why);
                false
            }
            // What somebody else made under its name since is not this stack's to remove.
            StepAnswer::Refused(fault) if fault.code == NOT_OURS && item.ask == Action::Delete => {
                item.action = Action::Release;
                let why = item.reason.take().unwrap_or_else(|| "it left".to_owned());
                item.reason = Some(format!("{why}, and {}", fault.message));
                false
            }
            StepAnswer::Refused(fault) => {
                self.refuse(i, &fault.message, fault.hint.as_deref());
                false
            }
        }
    }

    pub(crate) fn refuse(&mut self, i: usize, why: &str, hint: Option<&str>) {
        let item = &mut self.items[i];
        let diagnostic = Diagnostic::error(format!("{}: {why}", item.address.resource), item.place.clone());
        self.errors.push(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
        item.defer(why.to_owned());
    }

    fn refuse_protected_replaces(&mut self) {
        for item in &mut self.items {
            let replaces = item.action == Action::Replace || item.ask == Action::Replace;
            if item.protected && replaces && item.action != Action::Deferred {
                self.waits.push(report::protected_replace(&item.address));
                item.defer("it is protected and would have to be replaced".to_owned());
            }
        }
    }

    /// What depends on something that is put off is put off too. What needs no change
    /// stays as it is, but passes the delay on.
    pub(crate) fn put_off_dependants(&mut self) {
        let mut root: Vec<Option<usize>> = vec![None; self.items.len()];
        for i in self.order.iter().copied() {
            if self.items[i].action == Action::Deferred {
                root[i] = Some(i);
                continue;
            }
            let Some(cause) = self.before[i].iter().find_map(|other| root[*other]) else { continue };
            root[i] = Some(cause);
            if self.items[i].action != Action::None {
                let why = format!("waits for {}, which {}", self.items[cause].address.resource, self.state_of(cause));
                let awaits = self.items[cause].awaits.clone();
                self.items[i].defer(why);
                self.items[i].awaits = awaits;
            }
        }
    }

    fn state_of(&self, i: usize) -> &'static str {
        match self.items[i].reason.as_deref() {
            Some(reason) if reason.contains("looked at") => "could not be looked at",
            _ => "is put off",
        }
    }

    // ---- triggers -----------------------------------------------------------

    fn add_due(&mut self, due: &[Trigger]) {
        for trigger in due {
            if let Some(target) = self.wanted(&trigger.to.resource) {
                let notified = self.trigger(target, &trigger.ask, self.revision_cause);
                let reason = format!("still due: {} asked for it", trigger.from);
                let item = &mut self.items[notified];
                if item.action != Action::Deferred {
                    item.reason = Some(reason);
                }
                if let Some(notified) = self.triggers.get_mut(&(trigger.to.resource.clone(), trigger.ask.clone())) {
                    notified.due = true;
                }
            } else {
                let message =
                    format!("{} asked {} to {}, but that is gone", trigger.from, trigger.to.resource, trigger.ask);
                self.warnings.push(Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) });
            }
        }
    }

    /// Adds triggers for what will change; true where one of them is new.
    fn notify(&mut self) -> bool {
        let mut new = Vec::new();
        for item in self.items.iter().filter(|item| item.origin == Origin::Wanted) {
            let replaced = item.asked == Asked::Wants && item.ask == Action::Replace;
            if item.has_effects() || replaced {
                for notify in &item.notify {
                    new.push((notify.to.clone(), notify.ask.clone(), item.cause, item.address.resource.clone()));
                }
            }
        }
        let mut more = false;
        for (to, ask, cause, from) in new {
            if self.triggers.contains_key(&(to.clone(), ask.clone())) {
                continue;
            }
            let Some(target) = self.wanted(&to) else { continue };
            let i = self.trigger(target, &ask, cause.unwrap_or(self.revision_cause));
            let item = &mut self.items[i];
            if item.action == Action::Trigger {
                item.reason = Some(format!("{from} changes"));
                more = true;
            }
        }
        more
    }

    /// The item of a wanted resource. Items before the triggers are sorted by address.
    fn wanted(&self, resource: &ResourceRef) -> Option<usize> {
        let sorted = &self.items[..self.before.len()];
        let address = Address::new(&self.lane, resource.clone());
        let from = sorted.partition_point(|item| item.address < address);
        sorted[from..]
            .iter()
            .take_while(|item| item.address == address)
            .position(|item| item.origin == Origin::Wanted)
            .map(|at| from + at)
    }

    fn trigger(&mut self, target: usize, ask: &str, cause: Cause) -> usize {
        let key = (self.items[target].address.resource.clone(), ask.to_owned());
        if let Some(notified) = self.triggers.get(&key) {
            return notified.item;
        }
        let of = &self.items[target];
        let mut item = Item::new(Origin::Notified, of.address.clone(), of.identity.clone(), Action::Trigger);
        item.ask_for(Action::Trigger);
        item.cause = Some(cause);
        item.trigger = Some(ask.to_owned());
        item.desired.clone_from(&of.desired);
        item.observed.clone_from(&of.observed);
        item.last.clone_from(&of.last);
        item.handle.clone_from(&of.handle);
        item.seen.clone_from(&of.seen);
        item.sensitive.clone_from(&of.sensitive);
        item.place.clone_from(&of.place);
        item.entry.clone_from(&of.entry);
        if of.action == Action::Deferred {
            item.defer(format!("{ask} waits for {}, which {}", of.address.resource, self.state_of(target)));
            item.awaits.clone_from(&of.awaits);
        }
        self.items.push(item);
        let at = self.items.len() - 1;
        self.triggers.insert(key, Notified { item: at, target, due: false });
        at
    }
}
