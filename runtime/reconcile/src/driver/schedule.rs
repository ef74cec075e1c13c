//! What is due when: sources to ask and lanes to look at. A value without clock or IO.
//!
//! A lane is in it once, whatever woke it and how often: what is woken while it waits is
//! woken already, and what is woken while it is under way goes again once it has ended.
//! Lanes of one target take turns, since they share its lease.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidelock_model::name::{Lane, Name};

use super::pace::{self, Hints, Look};

/// Milliseconds since 1970.
type Ms = i64;

/// Something to begin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Asks a source's server.
    Poll(Name),
    /// One pass over a lane.
    Pass(Lane),
}

/// How a pass ended, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Something was done.
    Well,
    /// There was nothing to do, or nothing without somebody's yes.
    Idle,
    /// A part is left that could not be known before.
    Again,
    /// Somebody else holds a lease.
    Busy,
    /// It failed.
    Failed,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    sources: BTreeMap<Name, Polling>,
    lanes: BTreeMap<Lane, Looking>,
    /// Lanes that wait, by when they are due.
    waiting: BTreeSet<(Ms, Lane)>,
    /// Targets on which a pass is under way.
    busy: BTreeSet<Name>,
    /// Passes under way that count against the bound.
    running: usize,
    /// Passes that may be under way at once.
    bound: usize,
    /// What hints had the looks at all lanes cost.
    hints: Hints,
}

#[derive(Debug)]
struct Polling {
    every: u64,
    due: Ms,
    running: bool,
    again: bool,
    count: u64,
    failures: u32,
}

#[derive(Debug)]
struct Looking {
    every: u64,
    state: State,
    /// It left the schedule while a pass over it was under way.
    gone: bool,
    count: u64,
    /// Failures in a row.
    attempts: u32,
    /// How often in a row a lease was another's.
    busy: u32,
    /// What hints of changes had the looks at it cost.
    hints: Hints,
    /// Whether the last pass may have written: a hint after it may be of that.
    wrote: bool,
}

impl Looking {
    /// Whether a hint shortens the wait. After one failure it does: what changed may have been what
    /// the pass failed for, as where somebody undoes a write before it is looked at. What fails
    /// again waits its time, or a chatty neighbour would have it tried all the time.
    fn heeds_hints(&self) -> bool {
        self.attempts <= 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `hinted`: it is due so soon for a hint alone.
    Waiting { due: Ms, hinted: bool },
    /// `hinted`: a hint began it. `touched`: something that it owns may have changed since it looked.
    Running { since: Ms, hinted: bool, again: bool, touched: bool, overdue: bool },
}

impl Schedule {
    /// An empty schedule in which at most so many passes are under way at once.
    pub(super) fn new(bound: usize) -> Self {
        Self { bound: bound.max(1), ..Self::default() }
    }

    /// The sources that there are, with how often each is asked, in ms. New ones are due now.
    pub(super) fn set_sources(&mut self, sources: &BTreeMap<Name, u64>, now: Timestamp) {
        self.sources.retain(|name, _| sources.contains_key(name));
        for (name, every) in sources {
            let now = now.as_millisecond();
            let new = || Polling { every: *every, due: now, running: false, again: false, count: 0, failures: 0 };
            let polling = self.sources.entry(name.clone()).or_insert_with(new);
            polling.every = *every;
            polling.due = polling.due.min(after(now, *every));
        }
        let known: BTreeSet<Name> = sources.keys().cloned().collect();
        self.keep_lanes(|lane| known.contains(&lane.source));
    }

    /// The lanes that a source has, with how often each is looked at, in ms. New ones are
    /// due now; what left is not looked at any more.
    pub(super) fn set_lanes(&mut self, source: &Name, lanes: &BTreeMap<Lane, u64>, now: Timestamp) {
        self.keep_lanes(|lane| lane.source != *source || lanes.contains_key(lane));
        for (lane, every) in lanes {
            if let Some(looking) = self.lanes.get_mut(lane) {
                looking.every = *every;
                looking.gone = false;
                continue;
            }
            let due = now.as_millisecond();
            let looking = Looking {
                every: *every,
                state: State::Waiting { due, hinted: false },
                gone: false,
                count: 0,
                attempts: 0,
                busy: 0,
                hints: Hints::default(),
                wrote: false,
            };
            self.lanes.insert(lane.clone(), looking);
            self.waiting.insert((due, lane.clone()));
        }
    }

    fn keep_lanes(&mut self, stays: impl Fn(&Lane) -> bool) {
        let waiting = &mut self.waiting;
        self.lanes.retain(|lane, looking| match looking.state {
            _ if stays(lane) => true,
            State::Waiting { due, .. } => {
                waiting.remove(&(due, lane.clone()));
                false
            }
            State::Running { .. } => {
                looking.gone = true;
                true
            }
        });
    }

    /// What is known of a lane's failures from before this process: it waits as long.
    pub(super) fn recall(&mut self, lane: &Lane, attempts: u32, retry_at: Option<Timestamp>) {
        let Some(looking) = self.lanes.get_mut(lane) else { return };
        looking.attempts = attempts;
        if let Some(at) = retry_at {
            self.put_off(lane, at.as_millisecond());
        }
    }

    /// Asks a source as soon as possible. Whether it is known.
    pub(super) fn wake_source(&mut self, name: &Name, now: Timestamp) -> bool {
        let Some(polling) = self.sources.get_mut(name) else { return false };
        if polling.running {
            polling.again = true;
        } else {
            polling.due = polling.due.min(now.as_millisecond());
        }
        true
    }

    /// Looks at lanes as soon as possible. How many there are.
    pub(super) fn wake_lanes(&mut self, meant: impl Fn(&Lane) -> bool, now: Timestamp) -> usize {
        let now = now.as_millisecond();
        let mut woken = 0;
        for (lane, looking) in self.lanes.iter_mut().filter(|(lane, looking)| !looking.gone && meant(lane)) {
            woken += 1;
            match &mut looking.state {
                State::Running { again, .. } => *again = true,
                State::Waiting { due, hinted } if *due > now => {
                    self.waiting.remove(&(*due, lane.clone()));
                    self.waiting.insert((now, lane.clone()));
                    (*due, *hinted) = (now, false);
                }
                State::Waiting { .. } => {}
            }
        }
        woken
    }

    /// Something that a lane owns may have changed: it is looked at soon, or again once it has
    /// ended, unless it failed twice in a row. Whether the lane is known.
    pub(super) fn touch(&mut self, lane: &Lane, now: Timestamp) -> bool {
        let Some(looking) = self.lanes.get_mut(lane).filter(|looking| !looking.gone) else { return false };
        let due = match &mut looking.state {
            State::Waiting { due, .. } => *due,
            State::Running { touched, .. } => {
                *touched = true;
                return true;
            }
        };
        let at = hinted_at(looking.hints, self.hints, now.as_millisecond());
        if looking.heeds_hints() && at < due {
            self.waiting.remove(&(due, lane.clone()));
            self.waiting.insert((at, lane.clone()));
            looking.state = State::Waiting { due: at, hinted: true };
        }
        true
    }

    /// What is to be begun now, and counts as begun.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Job> {
        let now = now.as_millisecond();
        let due = self.sources.iter_mut().find(|(_, polling)| !polling.running && polling.due <= now);
        if let Some((name, polling)) = due {
            polling.running = true;
            return Some(Job::Poll(name.clone()));
        }
        if self.running >= self.bound {
            return None;
        }
        let ready = self.waiting.iter().take_while(|(due, _)| *due <= now);
        let (due, lane) = ready.into_iter().find(|(_, lane)| !self.busy.contains(&lane.target))?.clone();
        self.waiting.remove(&(due, lane.clone()));
        self.busy.insert(lane.target.clone());
        self.running += 1;
        if let Some(looking) = self.lanes.get_mut(&lane) {
            let hinted = matches!(looking.state, State::Waiting { hinted: true, .. });
            looking.state = State::Running { since: now, hinted, again: false, touched: false, overdue: false };
            looking.count += 1;
        }
        Some(Job::Pass(lane))
    }

    /// A source was asked.
    pub(super) fn polled(&mut self, name: &Name, good: bool, now: Timestamp) {
        let Some(polling) = self.sources.get_mut(name) else { return };
        polling.running = false;
        polling.count += 1;
        polling.failures = if good { 0 } else { polling.failures.saturating_add(1) };
        let now = now.as_millisecond();
        // A server that does not answer is asked as often as one that does, never more often.
        let wait = pace::jittered(polling.every, name.as_str(), polling.count);
        let wait = if good { wait } else { wait.max(pace::after_failure(polling.failures, name.as_str())) };
        polling.due = if std::mem::take(&mut polling.again) { now } else { after(now, wait) };
    }

    /// A pass over a lane ended. When it is due again; `None` where it left meanwhile.
    pub(super) fn ended(&mut self, lane: &Lane, how: Ended, now: Timestamp) -> Option<Timestamp> {
        let looking = self.lanes.get_mut(lane)?;
        let State::Running { since, hinted, again, touched, overdue } = looking.state else { return None };
        self.busy.remove(&lane.target);
        self.running -= usize::from(!overdue);
        if looking.gone {
            self.lanes.remove(lane);
            return None;
        }
        let now = now.as_millisecond();
        let who = lane.to_string();
        looking.attempts = match how {
            Ended::Failed => looking.attempts.saturating_add(1),
            Ended::Busy => looking.attempts,
            Ended::Well | Ended::Idle | Ended::Again => 0,
        };
        looking.busy = if how == Ended::Busy { looking.busy.saturating_add(1) } else { 0 };
        let wait = match how {
            _ if again => 0,
            Ended::Well | Ended::Idle => pace::jittered(looking.every, &who, looking.count),
            Ended::Again => 1_000,
            Ended::Busy => pace::after_busy(looking.busy, &who),
            Ended::Failed => pace::after_failure(looking.attempts, &who),
        };
        let idle = matches!(how, Ended::Idle | Ended::Busy);
        let took = now.saturating_sub(since).max(0);
        if hinted {
            let look = match (idle, looking.wrote) {
                (false, _) => Look::Useful,
                (true, false) => Look::Idle,
                (true, true) => Look::Echo,
            };
            looking.hints.pay(pace::OF_A_LANE, look, took, now);
            self.hints.pay(pace::OF_ALL, look, took, now);
        }
        looking.hints.rest(took, now);
        looking.wrote = !idle || how == Ended::Busy && looking.wrote;
        let (mut due, mut hinted) = (after(now, wait), false);
        if touched && looking.heeds_hints() {
            let at = hinted_at(looking.hints, self.hints, now);
            if at < due {
                (due, hinted) = (at, true);
            }
        }
        looking.state = State::Waiting { due, hinted };
        self.waiting.insert((due, lane.clone()));
        Timestamp::from_millisecond(due).ok()
    }

    /// Failures in a row of a lane.
    pub(super) fn attempts(&self, lane: &Lane) -> u32 {
        self.lanes.get(lane).map_or(0, |looking| looking.attempts)
    }

    /// Passes that have been under way for longer than `limit` ms, each named once. From
    /// then on they do not count against the bound: a pass that hangs holds up its own lane.
    pub(super) fn overdue(&mut self, limit: u64, now: Timestamp) -> Vec<Lane> {
        let now = now.as_millisecond();
        let mut late = Vec::new();
        for (lane, looking) in &mut self.lanes {
            if let State::Running { since, overdue, .. } = &mut looking.state
                && !*overdue
                && now >= after(*since, limit)
            {
                *overdue = true;
                self.running -= 1;
                late.push(lane.clone());
            }
        }
        late
    }

    /// When something is due next; now, where something waits for a pass to end.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let sources = self.sources.values().filter(|polling| !polling.running).map(|polling| polling.due);
        let free = self.running < self.bound;
        let lane = self.waiting.iter().find(|(_, lane)| free && !self.busy.contains(&lane.target)).map(|(due, _)| *due);
        Timestamp::from_millisecond(sources.chain(lane).min()?).ok()
    }

    /// Lanes, and passes under way.
    pub(super) fn counts(&self) -> (usize, usize) {
        let running = |looking: &&Looking| matches!(looking.state, State::Running { .. });
        (self.lanes.len(), self.lanes.values().filter(running).count())
    }

    /// Looks at a lane at this time at the latest: what it waits for has ended by then.
    pub(super) fn no_later(&mut self, lane: &Lane, until: Timestamp, now: Timestamp) {
        // An end that lies behind and is waited for all the same makes no busy loop.
        let until = until.as_millisecond().max(after(now.as_millisecond(), pace::SHORTEST_MS));
        self.set_due(lane, |due| due.min(until));
    }

    fn put_off(&mut self, lane: &Lane, until: Ms) {
        self.set_due(lane, |due| due.max(until));
    }

    fn set_due(&mut self, lane: &Lane, to: impl Fn(Ms) -> Ms) {
        let Some(looking) = self.lanes.get_mut(lane) else { return };
        if let State::Waiting { due, .. } = &mut looking.state {
            self.waiting.remove(&(*due, lane.clone()));
            *due = to(*due);
            self.waiting.insert((*due, lane.clone()));
        }
    }
}

/// When a hint may have a lane looked at, as far as it and all of them have used up theirs.
fn hinted_at(lane: Hints, all: Hints, now: Ms) -> Ms {
    // Others' looks are not rested from, only paid for.
    lane.next(pace::OF_A_LANE, now).max(all.paid(pace::OF_ALL, now))
}

fn after(now: Ms, wait: u64) -> Ms {
    now.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
