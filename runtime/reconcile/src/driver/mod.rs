//! When to run: the loop behind `tidelock run`.
//!
//! Timers, signals and commands take one way: a [`Signal`] wakes what the schedule
//! holds, and the same pass runs that a timer would have started later. A signal carries
//! nothing that a pass would read: it says *when*, never *what*. So a signal that is lost,
//! doubled or forged costs at most a pass that finds nothing to do.
//!
//! One turn of [`Driver::run`]: begin what is due, then wait for the first of a signal,
//! the end of something that was begun, and the next time that something is due. Polls and
//! passes run as tasks of their own. What hangs or panics there holds up its own lane and
//! nothing else; the turn itself does no more than bookkeeping, and says after each one
//! that it is alive ([`Pulse`]), so that whoever watches notices when it is not.
//!
//! **Invariants.** One poll per source at a time and one pass per lane, whatever woke them.
//! A source's server is asked once per poll, however many lanes it has: passes use the
//! revision in force. A pass that has begun to write is never cut short.

mod behind;
mod pace;
mod pass;
mod poll;
mod revisions;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{GuardState, Guarded};
use tidelock_model::run::{PassEnd, Status};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use self::behind::Behind;
use self::pass::Passed;
use self::poll::{Polled, Told};
use self::schedule::{Ended, Job, Schedule};
use crate::confirm;
use crate::error::RunError;
use crate::interrupt::Interrupt;
use crate::runtime::Runtime;

/// The longest that a turn waits, in ms: how often the loop says that it is alive.
const BEAT_MS: u64 = 5_000;

/// How often what was merely seen is written down, in ms.
const FLUSH_MS: u64 = 10_000;

/// How often the store is tidied, in ms.
const TIDY_MS: u64 = 3_600_000;

/// Signals that wait to be taken. Beyond that a sender waits, or drops what is only a hint.
const SIGNALS: usize = 256;

/// What wakes the loop.
#[derive(Clone)]
pub enum Signal {
    /// Asks a source's server now.
    Poll(Name),
    /// Looks at lanes now.
    Look(Scope),
    /// Something that a lane owns may have changed: looks at it soon, but not all the time.
    Touched(Lane),
    /// From now on runs on this: the config was read anew.
    Reload(Box<Runtime>),
    /// Begins nothing more, and ends once what is under way has ended.
    Drain,
}

/// Lanes that are worked on at once, where the config does not say.
pub(crate) const LANES_AT_ONCE: usize = 8;

/// How the loop runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverOptions {
    /// Passes that may be under way at once.
    pub lanes_at_once: usize,
    /// How long a pass may take before it writes, in ms. One that hangs is cut short then;
    /// one that has begun to write is let be, and no longer counts against the bound.
    pub deadline_ms: u64,
    /// The process, for the record.
    pub pid: u32,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self { lanes_at_once: LANES_AT_ONCE, deadline_ms: 600_000, pid: 0 }
    }
}

/// What the loop says of itself after each turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// When the turn was.
    pub at: Timestamp,
    /// Lanes that it looks after.
    pub lanes: usize,
    /// Passes under way.
    pub passes: usize,
    /// Passes that ended since it began, well or not.
    pub passed: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// Polls that ended since it began.
    pub polled: u64,
    /// Whether it begins nothing more.
    pub draining: bool,
}

/// A hand on a running loop. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    signals: mpsc::Sender<Signal>,
    pulse: watch::Receiver<Pulse>,
}

impl Handle {
    /// Sends a signal; waits where many wait already. Whether the loop is there.
    pub async fn send(&self, signal: Signal) -> bool {
        self.signals.send(signal).await.is_ok()
    }

    /// Sends what is only a hint: dropped where many wait already.
    pub fn hint(&self, signal: Signal) -> bool {
        self.signals.try_send(signal).is_ok()
    }

    /// What the loop last said of itself.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.borrow().clone()
    }

    /// Waits for the next turn; `None` once the loop has ended.
    pub async fn beat(&mut self) -> Option<Pulse> {
        self.pulse.changed().await.ok()?;
        Some(self.pulse.borrow_and_update().clone())
    }
}

/// The loop.
pub struct Driver {
    runtime: Runtime,
    options: DriverOptions,
    schedule: Schedule,
    signals: mpsc::Receiver<Signal>,
    tasks: JoinSet<Came>,
    running: HashMap<Id, Under>,
    /// Sources whose lanes are known, with what their last poll told.
    known: BTreeMap<Name, Told>,
    listed: BTreeSet<Name>,
    behind: Behind,
    /// Lanes that were seen to be as they should, and not written down yet.
    seen: Vec<Lane>,
    flush_at: Timestamp,
    tidy_at: Timestamp,
    guards_at: Timestamp,
    /// Guards that are known to be gone, by their ids.
    gone: BTreeSet<String>,
    /// Guards of which it is known that they took something back, by their ids.
    back: BTreeSet<String>,
    /// Whether nothing more is begun.
    draining: bool,
    pulse: watch::Sender<Pulse>,
}

/// What is under way.
struct Under {
    job: Job,
    began: Timestamp,
    abort: AbortHandle,
    interrupt: Interrupt,
    /// Passes that had ended when it began.
    after: u64,
}

/// What a task came to.
enum Came {
    Polled(Polled),
    Passed(Passed),
}

impl Driver {
    /// A loop over a runtime, and a hand on it. Nothing runs yet.
    #[must_use]
    pub fn new(runtime: &Runtime, options: DriverOptions) -> (Self, Handle) {
        let (sender, signals) = mpsc::channel(SIGNALS);
        let now = runtime.clock.now();
        let nothing = Pulse { at: now, lanes: 0, passes: 0, passed: 0, failed: 0, polled: 0, draining: false };
        let (pulse, heard) = watch::channel(nothing);
        let driver = Self {
            runtime: looping(runtime),
            options,
            schedule: Schedule::new(options.lanes_at_once),
            signals,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            known: BTreeMap::new(),
            listed: BTreeSet::new(),
            behind: Behind::default(),
            seen: Vec::new(),
            flush_at: now,
            tidy_at: now,
            guards_at: now,
            gone: BTreeSet::new(),
            back: BTreeSet::new(),
            draining: false,
            pulse,
        };
        (driver, Handle { signals: sender, pulse: heard })
    }

    /// Runs until it is drained, or nobody has a hand on it any more.
    ///
    /// # Errors
    /// The store cannot be written at the start. Later trouble is a lane's own, and is
    /// recorded, logged and tried again.
    pub async fn run(mut self) -> Result<(), RunError> {
        self.runtime.emit(None, None, &RunEvent::LoopBegan { pid: self.options.pid })?;
        self.take_up().await?;
        loop {
            let now = self.runtime.clock.now();
            self.turn(now);
            if self.draining && self.running.is_empty() {
                break;
            }
            let sleep = self.runtime.clock.sleep(self.rest(now));
            tokio::select! {
                biased;
                signal = self.signals.recv(), if !self.draining => {
                    self.take(signal.unwrap_or(Signal::Drain));
                }
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = sleep => {}
            }
        }
        self.flush(self.runtime.clock.now());
        self.runtime.emit(None, None, &RunEvent::LoopEnded { pid: self.options.pid })?;
        Ok(())
    }

    /// Goes on where the last process ended: the revisions in force are enforced before
    /// and without a server, and what failed waits as long as it would have.
    async fn take_up(&mut self) -> Result<(), RunError> {
        let now = self.runtime.clock.now();
        self.set_sources(now);
        let sources: Vec<Name> = self.runtime.sources.keys().cloned().collect();
        for source in sources {
            match poll::recalled(&self.runtime, &source).await {
                Ok(Some(lanes)) => self.set_lanes(&source, &lanes, now),
                Ok(None) => {}
                Err(error) => tracing::warn!(%source, %error, "the revision in force cannot be read; a poll mends it"),
            }
        }
        for record in self.runtime.store.lanes()? {
            if record.attempts > 0 {
                self.schedule.recall(&record.lane, record.attempts, record.retry_at);
            }
        }
        Ok(())
    }

    /// Begins what is due, and looks after what is under way.
    fn turn(&mut self, now: Timestamp) {
        let draining = self.draining;
        for lane in self.schedule.overdue(self.options.deadline_ms, now) {
            self.overdue(&lane);
        }
        while !draining && let Some(job) = self.schedule.begin(now) {
            self.begin(job);
        }
        if self.flush_at <= now {
            self.flush(now);
        }
        if !draining && self.guards_at <= now {
            self.guards(now);
        }
        if !draining && self.tidy_at <= now {
            self.tidy(now);
        }
        let (lanes, passes) = self.schedule.counts();
        self.pulse.send_modify(|pulse| {
            (pulse.at, pulse.lanes, pulse.passes, pulse.draining) = (now, lanes, passes, draining);
        });
    }

    /// How long the next turn may wait, in ms.
    fn rest(&self, now: Timestamp) -> u64 {
        let next = if self.draining { None } else { self.schedule.next() };
        let ms = next.map_or(i64::MAX, |next| next.as_millisecond() - now.as_millisecond());
        u64::try_from(ms).unwrap_or(0).min(BEAT_MS)
    }

    fn begin(&mut self, job: Job) {
        let runtime = self.runtime.clone();
        let interrupt = Interrupt::default();
        let abort = match &job {
            Job::Poll(source) => {
                let (source, told) = (source.clone(), self.known.get(source).cloned().unwrap_or_default());
                let all = !self.listed.contains(&source);
                self.tasks.spawn(async move { Came::Polled(poll::poll(&runtime, &source, all, told).await) })
            }
            Job::Pass(lane) => {
                let lane = lane.clone();
                let runtime = Runtime { interrupt: interrupt.clone(), ..runtime };
                self.tasks.spawn(async move { Came::Passed(pass::pass(&runtime, &lane).await) })
            }
        };
        let began = self.runtime.clock.now();
        let after = self.behind.passes();
        self.running.insert(abort.id(), Under { job, began, abort, interrupt, after });
    }

    /// Takes a signal: it wakes what the schedule holds, and nothing else.
    fn take(&mut self, signal: Signal) {
        let now = self.runtime.clock.now();
        match signal {
            Signal::Poll(source) => {
                if !self.schedule.wake_source(&source, now) {
                    tracing::warn!(%source, "asked to poll a source that the config does not declare");
                }
            }
            Signal::Look(scope) => {
                let woken = self.schedule.wake_lanes(|lane| scope.covers(lane), now);
                tracing::debug!(woken, "lanes woken");
                // A word on a whole stack, such as a pin, may bring it other lanes.
                if let Some(source) = scope.source.filter(|_| scope.target.is_none()) {
                    self.listed.remove(&source);
                    self.schedule.wake_source(&source, now);
                }
            }
            Signal::Touched(lane) => {
                if !self.schedule.touch(&lane, now)
                    && let Some(watch) = &self.runtime.watch
                {
                    // Nobody looks at it any more.
                    watch.watch(&lane, &[]);
                }
            }
            Signal::Reload(runtime) => self.reload(&runtime, now),
            Signal::Drain => {
                self.draining = true;
                for under in self.running.values() {
                    if under.interrupt.cut() {
                        under.abort.abort();
                    } else {
                        let _soon = under.interrupt.ask();
                    }
                }
            }
        }
    }

    /// Goes on with another config. Passes under way end on the old one.
    fn reload(&mut self, runtime: &Runtime, now: Timestamp) {
        self.runtime = looping(runtime);
        self.listed.clear();
        self.set_sources(now);
        // Other targets, labels or lists of what is allowed: the lanes are listed anew.
        let sources: Vec<Name> = self.runtime.sources.keys().cloned().collect();
        self.known.retain(|source, _| sources.contains(source));
        for source in &sources {
            self.schedule.wake_source(source, now);
        }
        self.schedule.wake_lanes(|_| true, now);
        self.say(None, &RunEvent::ConfigRead);
    }

    fn ended(&mut self, ended: Result<(Id, Came), JoinError>) {
        let now = self.runtime.clock.now();
        let (id, came) = match ended {
            Ok((id, came)) => (id, Ok(came)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(under) = self.running.remove(&id) else { return };
        // A clock that was set back in between makes it 0.
        let ms = u64::try_from(now.as_millisecond() - under.began.as_millisecond()).unwrap_or(0);
        match (under.job, came) {
            (Job::Poll(source), Ok(Came::Polled(polled))) => self.polled(&source, polled, ms, now),
            (Job::Pass(lane), Ok(Came::Passed(passed))) => self.passed(&lane, &passed, (under.after, ms), now),
            (Job::Poll(source), came) => {
                let why = came.err().map(|error| error.to_string()).unwrap_or_default();
                tracing::error!(%source, why, "the poll broke off");
                self.schedule.polled(&source, false, now);
                self.say(None, &RunEvent::Polled { source, good: false, ms });
            }
            (Job::Pass(lane), came) => {
                let why = match came.err() {
                    Some(error) if error.is_cancelled() => {
                        format!("the pass took longer than {} s and was cut short", self.options.deadline_ms / 1_000)
                    }
                    _ => "the pass broke off by a fault of ours; the log has more".to_owned(),
                };
                self.passed(&lane, &Passed::failed(why), (under.after, ms), now);
            }
        }
    }

    fn polled(&mut self, source: &Name, polled: Polled, ms: u64, now: Timestamp) {
        self.say(None, &RunEvent::Polled { source: source.clone(), good: polled.good, ms });
        self.pulse.send_modify(|pulse| pulse.polled += 1);
        self.schedule.polled(source, polled.good, now);
        self.known.insert(source.clone(), polled.told);
        if let Some(lanes) = &polled.lanes {
            self.set_lanes(source, lanes, now);
        }
        if polled.new {
            self.schedule.wake_lanes(|lane| lane.source == *source, now);
        }
    }

    /// A pass ended that began after so many others, and took so many ms.
    fn passed(&mut self, lane: &Lane, passed: &Passed, (after, ms): (u64, u64), now: Timestamp) {
        self.say(Some(lane), &RunEvent::PassEnded { end: passed.end, drifted: passed.drifted, ms });
        // What was cut off because the loop ends has not failed: the next process goes on with it.
        let failed = passed.how == Ended::Failed && !self.draining;
        let had_failed = self.schedule.attempts(lane) > 0;
        let due = self.schedule.ended(lane, passed.how, now);
        if let Some(until) = passed.until {
            self.schedule.no_later(lane, until, now);
        }
        // What fails again and again wakes nobody again.
        let moved = !passed.quiet && passed.how != Ended::Busy && !(failed && had_failed);
        let woken = self.behind.ended(lane, passed.on.as_ref(), moved, after);
        if !woken.is_empty() {
            self.schedule.wake_lanes(|lane| woken.contains(lane), now);
        }
        self.pulse.send_modify(|pulse| {
            pulse.passed += 1;
            pulse.failed += u64::from(failed);
        });
        let kept = if failed {
            let why = passed.why.as_deref().unwrap_or("it failed");
            tracing::warn!(%lane, why, "the pass failed");
            let status = if passed.end == PassEnd::Waiting { Status::Waiting } else { Status::Failed };
            pass::keep_failure(&self.runtime, lane, why, status, self.schedule.attempts(lane), due)
        } else if had_failed && passed.how != Ended::Busy {
            pass::forget_failures(&self.runtime, lane)
        } else {
            Ok(())
        };
        if let Err(error) = kept {
            tracing::warn!(%lane, %error, "not recorded");
        }
        if passed.quiet {
            self.seen.push(lane.clone());
        }
    }

    /// A pass takes too long: one that only looks is cut short, one that writes is let be.
    fn overdue(&mut self, lane: &Lane) {
        let job = Job::Pass(lane.clone());
        let Some(under) = self.running.values().find(|under| under.job == job) else { return };
        if under.interrupt.cut() {
            under.abort.abort();
        } else {
            tracing::warn!(%lane, "the pass takes long; it has begun to write and is let be");
        }
    }

    fn set_sources(&mut self, now: Timestamp) {
        let sources = self.runtime.sources.keys().map(|name| {
            let poll = self.runtime.config.sources.get(name).and_then(|decl| decl.poll.as_deref());
            (name.clone(), pace::poll_every(poll))
        });
        self.schedule.set_sources(&sources.collect(), now);
    }

    fn set_lanes(&mut self, source: &Name, lanes: &BTreeSet<Lane>, now: Timestamp) {
        let lanes = lanes.iter().map(|lane| {
            let every = self.runtime.config.targets.get(&lane.target).and_then(|decl| decl.drift_every.as_deref());
            (lane.clone(), pace::look_every(every))
        });
        self.schedule.set_lanes(source, &lanes.collect(), now);
        self.listed.insert(source.clone());
    }

    /// Writes down what was merely seen, in one write for all.
    fn flush(&mut self, now: Timestamp) {
        self.flush_at = later(now, FLUSH_MS);
        let seen = std::mem::take(&mut self.seen);
        if !seen.is_empty()
            && let Err(error) = self.runtime.store.put_seen(&seen, now)
        {
            tracing::warn!(%error, "not recorded");
        }
    }

    fn tidy(&mut self, now: Timestamp) {
        // The rest in a moment: between two parts others get to the file.
        let wait = match self.runtime.store.tidy(now) {
            Ok(true) => BEAT_MS,
            Ok(false) => TIDY_MS,
            Err(error) => {
                tracing::warn!(%error, "the store was not tidied");
                TIDY_MS
            }
        };
        self.tidy_at = later(now, wait);
    }

    /// Wakes the lanes of targets whose guard is gone: their passes take back what it watched over.
    /// Once for each guard: a pass that cannot is tried again as after any other failure. And those
    /// that went back by themselves: nobody has looked at them since.
    fn guards(&mut self, now: Timestamp) {
        self.guards_at = later(now, BEAT_MS);
        if let Err(error) = self.guards_ended(now) {
            tracing::warn!(%error, "guards cannot be looked for");
        }
    }

    fn guards_ended(&mut self, now: Timestamp) -> Result<(), RunError> {
        let (mut gone, mut back) = (BTreeSet::new(), BTreeSet::new());
        for Guarded { guard, state, .. } in self.runtime.targets.guards()?.known {
            match state {
                GuardState::Armed => {}
                GuardState::Gone => {
                    if !self.gone.contains(&guard.id) {
                        self.schedule.wake_lanes(|lane| lane.target == guard.lane.target, now);
                    }
                    gone.insert(guard.id);
                }
                GuardState::Restored => {
                    back.insert(guard.id);
                }
            }
        }
        self.gone = gone;
        if back.iter().any(|id| !self.back.contains(id)) {
            let news = confirm::tell(&self.runtime)?;
            self.schedule.wake_lanes(|lane| news.contains(lane), now);
        }
        self.back = back;
        Ok(())
    }

    fn say(&self, lane: Option<&Lane>, event: &RunEvent) {
        if let Err(error) = self.runtime.emit(None, lane, event) {
            tracing::warn!(%error, "an event was not stored");
        }
    }
}

/// A runtime as the loop uses it: revisions are kept open and shared.
fn looping(runtime: &Runtime) -> Runtime {
    Runtime { sources: revisions::sharing(&runtime.sources), looping: true, ..runtime.clone() }
}

fn later(now: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(now.as_millisecond().saturating_add(ms)).unwrap_or(Timestamp::MAX)
}
