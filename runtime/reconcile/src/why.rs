//! What waits for what, since when: told from the store and the config alone.
//!
//! **Invariant.** Nothing is asked of Git, a plugin, a target or the daemon, and nothing is
//! written: it answers while any of them hangs, and as often as somebody asks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tidelock_model::config::Config;
use tidelock_model::error::Diagnostic;
use tidelock_model::hold::{Hold, Undo};
use tidelock_model::name::{Address, Identity, Lane, Name};
use tidelock_model::plan::{Action, Cause, Wait};
use tidelock_model::port::{Filter, Guards, Holder, LaneRecord, Store};
use tidelock_model::revision::{Revision, SourceNotice, Stale};
use tidelock_model::run::{HistoryLine, Status};

use crate::confirm;
use crate::counting::Counting;
use crate::error::RunError;
use crate::recover::needs_a_person;
use crate::select::{Pattern, patterns};

/// The key of the lease that the daemon of a store has.
pub const DAEMON: &str = "daemon";

/// Whether a resource is meant.
pub type Meant<'a> = &'a dyn Fn(&Address, &Identity) -> bool;

/// What is asked about.
#[derive(Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Names or globs of stacks; empty is all.
    pub stacks: &'a [String],
    /// Names or globs of targets; empty is all.
    pub targets: &'a [String],
    /// Resources; their lanes alone are told of.
    pub resource: Option<Meant<'a>>,
    /// The guards of this system, where somebody looked for them.
    pub guards: Option<&'a Guards>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// When it was given.
    pub at: Timestamp,
    /// The daemon's process, where there is one or its lease was not given back.
    pub daemon: Option<Holder>,
    /// Sources of these lanes that cannot be asked, and since when.
    pub stale: BTreeMap<Name, Stale>,
    /// What is wrong with stacks of the revisions in force, where all of them are asked about: lanes
    /// of theirs may not be known at all.
    pub problems: Vec<Diagnostic>,
    /// The lanes, sorted.
    pub lanes: Vec<LaneWhy>,
}

/// A lane, and what is in its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneWhy {
    /// The lane.
    pub lane: Lane,
    /// Where it stands.
    pub status: Status,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was last looked at.
    pub seen: Option<Timestamp>,
    /// The revision that counts for it: its source's, or the one that its stack is pinned to.
    pub in_force: Option<Revision>,
    /// The last revision that was applied whole.
    pub applied: Option<Revision>,
    /// The last revision that was planned.
    pub planned: Option<Revision>,
    /// What is in the way or going on, what holds up everything first.
    pub reasons: Vec<Wait>,
    /// The resources that were asked about.
    pub resources: Vec<ResourceWhy>,
}

/// A resource that was asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceWhy {
    /// Where.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// Whether it is ours.
    pub owned: bool,
    /// What is planned for it, as far as the last plan says.
    pub planned: Option<PlannedWhy>,
    /// What was last done to it.
    pub last: Option<HistoryLine>,
}

/// What is planned for a resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedWhy {
    /// What is to become of it.
    pub action: Action,
    /// Why.
    pub cause: Option<Cause>,
    /// In a sentence.
    pub reason: Option<String>,
}

/// What the lanes that are asked about wait for.
///
/// # Errors
/// The store cannot be read, or a pattern cannot.
pub fn why(store: &dyn Store, config: &Config, now: Timestamp, asked: Asked<'_>) -> Result<Why, RunError> {
    let known = Known::of(store, config, now)?;
    let (stacks, targets) = (patterns(asked.stacks)?, patterns(asked.targets)?);
    let mut lanes = Vec::new();
    for record in store.lanes()? {
        let lane = &record.lane;
        let meant =
            |globs: &[Pattern], name: &Name| globs.is_empty() || globs.iter().any(|glob| glob.is_match(name.as_str()));
        if !meant(&stacks, &lane.stack) || !meant(&targets, &lane.target) {
            continue;
        }
        let resources = match asked.resource {
            Some(is_meant) => resources(store, &record, is_meant)?,
            None => Vec::new(),
        };
        if asked.resource.is_none() || !resources.is_empty() {
            let mut guarded = record.clone();
            let wait = asked.guards.and_then(|guards| confirm::standing(&mut guarded, guards, now));
            known.counting.judge(&mut guarded);
            let mut told = known.lane(record)?;
            told.reasons.splice(0..0, wait);
            lanes.push(LaneWhy { resources, status: guarded.status, ..told });
        }
    }
    let daemon = known.holders.iter().find(|holder| holder.key == DAEMON).cloned();
    let asked_of = |source: &Name| lanes.iter().any(|told| told.lane.source == *source);
    let stale = known.stale.into_iter().filter(|(source, _)| asked_of(source)).collect();
    let all = asked.stacks.is_empty() && asked.targets.is_empty() && asked.resource.is_none();
    let problems = if all { known.problems } else { vec![] };
    Ok(Why { at: now, daemon, stale, problems, lanes })
}

/// What is read once for all lanes.
struct Known<'a> {
    store: &'a dyn Store,
    config: &'a Config,
    now: Timestamp,
    people: BTreeMap<String, Vec<String>>,
    holders: Vec<Holder>,
    holds: Vec<Hold>,
    undos: Vec<Undo>,
    counting: Counting,
    stale: BTreeMap<Name, Stale>,
    notices: BTreeMap<Name, Vec<SourceNotice>>,
    problems: Vec<Diagnostic>,
}

impl<'a> Known<'a> {
    fn of(store: &'a dyn Store, config: &'a Config, now: Timestamp) -> Result<Self, RunError> {
        let mut known = Self {
            store,
            config,
            now,
            people: config.people.iter().map(|(user, names)| (user.clone(), names.0.clone())).collect(),
            holders: store.holders()?,
            holds: store.holds()?,
            undos: store.undos()?,
            counting: Counting::now(store, config.sources.keys(), now)?.declared(config),
            stale: BTreeMap::new(),
            notices: BTreeMap::new(),
            problems: Vec::new(),
        };
        for source in config.sources.keys() {
            known.problems.extend(crate::problems(store, source)?);
            known.notices.insert(source.clone(), store.trouble(source)?.notices);
            known.stale.extend(store.stale(source)?.map(|stale| (source.clone(), stale)));
        }
        Ok(known)
    }

    fn lane(&self, record: LaneRecord) -> Result<LaneWhy, RunError> {
        let lane = &record.lane;
        let pin = self.counting.pin(lane);
        let mut reasons = Vec::new();
        reasons.extend(self.under_way(lane));
        reasons.extend(self.holds.iter().filter(|hold| hold.holds(lane, self.now)).map(|hold| {
            let wait = tidelock_plan::holds::wait(hold);
            Wait { since: Some(hold.at), ..wait }
        }));
        let going_on = reasons.iter().any(|reason| reason.code == "under-way");
        if !going_on {
            reasons.extend(self.left_open(lane)?);
        }
        reasons.extend(self.failure(&record));
        reasons.extend(self.gone(&record));
        let open = |wait: &Wait| record.status != Status::Converged || !tidelock_plan::gate::holds_up(wait);
        reasons.extend(self.waits(&record)?.into_iter().filter(open));
        reasons.extend(self.counting.behind(&record));
        reasons.extend(pin.map(|pin| Wait { since: Some(pin.at), ..tidelock_plan::holds::pinned(pin) }));
        reasons.extend(self.undos.iter().filter(|undo| undo.address.lane() == *lane).map(|undo| {
            let hint = format!("to let it follow Git again: `tidelock {} {} --end`", undo.verb(), undo.address);
            Wait { since: Some(undo.at), ..Wait::new("undone", undo.to_string()).hint(hint) }
        }));
        reasons.extend(self.stale.get(&lane.source).map(|Stale { since, why }| {
            let message = format!("source {} does not answer, its last revision stays in force: {why}", lane.source);
            Wait { since: Some(*since), ..Wait::new("source-stale", message) }
        }));
        reasons.extend(self.not_followed(&lane.source));
        if reasons.is_empty() && record.status != Status::Converged {
            reasons.push(self.nothing_known(&record));
        }
        Ok(LaneWhy {
            status: record.status,
            since: record.since,
            seen: record.seen,
            in_force: self.counting.revision(&record.lane).cloned(),
            applied: record.applied,
            planned: record.planned,
            reasons,
            resources: Vec::new(),
            lane: record.lane,
        })
    }

    /// A pass over the lane, or one that it must wait for.
    fn under_way(&self, lane: &Lane) -> Option<Wait> {
        let of = |key: String| self.holders.iter().find(|holder| holder.key == key && holder.counts(self.now));
        let told = |holder: &Holder, code: &str, message: String| {
            Wait { since: Some(holder.since), until: Some(holder.until), ..Wait::new(code, message) }
                .hint("its lease ends at that time, unless it is renewed, and at once where its process is gone")
        };
        if let Some(holder) = of(format!("lane:{lane}")) {
            return Some(told(holder, "under-way", format!("a pass is under way: {holder}")));
        }
        let holder = of(format!("target:{}", lane.target))?;
        Some(told(holder, "target-busy", format!("{} is another pass's for now: {holder}", lane.target)))
    }

    /// What a dead process left: begun, and not known how it ended.
    fn left_open(&self, lane: &Lane) -> Result<Vec<Wait>, RunError> {
        let (asks, tells): (Vec<_>, Vec<_>) = self.store.open_intents(lane)?.into_iter().partition(needs_a_person);
        let mut waits = Vec::new();
        for intent in &asks {
            for change in &intent.changes {
                let message = format!("it is not known what run {} did to {}", intent.run, change.address.resource);
                let hint = format!("look, and say `tidelock resolve {} done|redo`", change.address);
                waits.push(Wait::new("in-doubt", message).hint(hint));
            }
        }
        if let Some(first) = tells.first() {
            let message = format!("run {} ended in the middle of something", first.run);
            waits.push(Wait::new("interrupted", message).hint("the next pass looks what came of it"));
        }
        Ok(waits)
    }

    fn failure(&self, record: &LaneRecord) -> Vec<Wait> {
        let mut waits = Vec::new();
        if record.status == Status::Failed {
            let why = record.why.as_deref().unwrap_or("the last run failed");
            let hint = "`tidelock history` and `tidelock events` say more".to_owned();
            waits.push(Wait { since: record.since, ..Wait::new("failed", why).hint(hint) });
        }
        // Something that nobody is asked for is not there yet.
        if record.status == Status::Waiting && record.attempts == 0 && record.waits.is_empty() {
            let why = record.why.as_deref().unwrap_or("something else has to be there first");
            waits.push(Wait { since: record.since, ..Wait::new("awaits", why) });
        }
        if record.status == Status::Waiting && record.attempts > 0 {
            let why = record.why.as_deref().unwrap_or("its target is not ready");
            waits.push(Wait { since: record.since, ..Wait::new("standby", why) });
        }
        if let Some(at) = record.retry_at.filter(|_| record.attempts > 0) {
            let times = if record.attempts == 1 { "once".to_owned() } else { format!("{} times", record.attempts) };
            let next = if self.now < at { "the next try comes by itself" } else { "the next try is due" };
            let message = format!("it failed {times} in a row; {next}");
            waits.push(Wait { since: record.since, until: Some(at), ..Wait::new("backoff", message) });
        }
        waits
    }

    /// What the lane was made of and is no more.
    fn gone(&self, record: &LaneRecord) -> Option<Wait> {
        let Lane { source, target, .. } = &record.lane;
        let (message, end) = if !self.config.targets.contains_key(target) {
            let end = format!("declare it again, or let what is there be: `tidelock forget --target {target}`");
            (format!("the config declares no target {target} any more"), end)
        } else if !self.config.sources.contains_key(source) {
            let end = format!("declare it again, or let what is there be: `tidelock forget {}`", record.lane.stack);
            (format!("the config declares no source {source} any more"), end)
        } else if record.status == Status::Orphaned {
            let why = record.why.clone().unwrap_or_else(|| "its stack left Git".to_owned());
            (why, crate::run::ends(&record.lane))
        } else {
            return None;
        };
        Some(Wait { since: record.since, ..Wait::new("orphaned", message).hint(end) })
    }

    /// What the gate said at the last look, with what people said since.
    fn waits(&self, record: &LaneRecord) -> Result<Vec<Wait>, RunError> {
        let (Some(digest), Some(revision)) = (&record.digest, &record.planned) else {
            return Ok(record.waits.clone());
        };
        let approvals = self.store.approvals(digest)?;
        let key = (&record.lane, digest);
        let waits = tidelock_plan::gate::still(&record.waits, key, revision, &self.people, &approvals, self.now);
        Ok(waits.into_iter().map(|wait| Wait { since: wait.since.or(record.since), ..wait }).collect())
    }

    /// Why what its source names now is not in force.
    fn not_followed(&self, source: &Name) -> Vec<Wait> {
        let notices = self.notices.get(source).map_or(&[][..], Vec::as_slice);
        let wait = |notice: &SourceNotice| {
            let hint = notice.hint(source);
            let wait = Wait::new("source-not-followed", notice.to_string());
            match hint {
                Some(hint) => wait.hint(hint),
                None => wait,
            }
        };
        notices.iter().map(wait).collect()
    }

    /// A lane that is not as it should be, and nothing known is in its way.
    fn nothing_known(&self, record: &LaneRecord) -> Wait {
        let what = record.why.as_deref().map(|why| format!("{why}; ")).unwrap_or_default();
        let daemon = self.holders.iter().any(|holder| holder.key == DAEMON && holder.counts(self.now));
        let next = if daemon { "the next look goes on" } else { "it waits for an apply" };
        let wait = Wait::new("ready", format!("{what}nothing is in its way: {next}"));
        let wait = Wait { since: record.since, ..wait };
        if daemon {
            return wait;
        }
        let apply = format!("tidelock apply {} --target {}", record.lane.stack, record.lane.target);
        wait.hint(format!("no daemon runs: it is `{apply}` that goes on, with your yes (`--yes` without a terminal)"))
    }
}

/// The resources of a lane that are meant: those that it owns, that its last plan is about,
/// and that something was done to.
fn resources(store: &dyn Store, record: &LaneRecord, is_meant: Meant<'_>) -> Result<Vec<ResourceWhy>, RunError> {
    let lane = &record.lane;
    let mut found: BTreeMap<(Address, Identity), ResourceWhy> = BTreeMap::new();
    fn entry<'a>(
        found: &'a mut BTreeMap<(Address, Identity), ResourceWhy>,
        address: &Address,
        identity: &Identity,
    ) -> &'a mut ResourceWhy {
        found.entry((address.clone(), identity.clone())).or_insert_with(|| ResourceWhy {
            address: address.clone(),
            identity: identity.clone(),
            owned: false,
            planned: None,
            last: None,
        })
    }
    for owned in store.inventory(&lane.target)? {
        if owned.address.lane() == *lane && is_meant(&owned.address, &owned.identity) {
            entry(&mut found, &owned.address, &owned.identity).owned = true;
        }
    }
    let filter =
        Filter { stack: Some(lane.stack.to_string()), target: Some(lane.target.to_string()), ..Filter::default() };
    for line in store.history(&filter)? {
        if line.address.source == lane.source && is_meant(&line.address, &line.identity) {
            entry(&mut found, &line.address, &line.identity).last.get_or_insert(line);
        }
    }
    // What is converged by now was planned once and done.
    let digest = record.digest.filter(|_| record.status != Status::Converged);
    let plan = digest.map(|digest| store.plan(&tidelock_plan::alone(&digest))).transpose()?.flatten();
    for change in plan.iter().flat_map(|plan| plan.changes_of(lane)) {
        if is_meant(&change.address, &change.identity) {
            let planned = PlannedWhy { action: change.action, cause: change.cause, reason: change.reason.clone() };
            entry(&mut found, &change.address, &change.identity).planned = Some(planned);
        }
    }
    Ok(found.into_values().collect())
}
