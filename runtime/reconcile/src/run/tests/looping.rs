//! The loop over fakes: real passes, a real store in memory, and days in milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Filter, Guard, GuardState, Guarded, Source};
use tidelock_model::run::{PassEnd, Status};
use tokio::task::JoinHandle;

use super::sim::{Remote, Sim, SimClock};
use super::world::{Fleet, Machine, Says, World, everything, name};
use crate::driver::{Driver, DriverOptions, Handle, Signal};
use crate::{Caller, RunError, Runtime};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A repository, a fleet, and a loop that looks after them.
struct Loop {
    world: World,
    sim: Arc<Sim>,
    remote: Arc<Remote>,
    fleet: Arc<Fleet>,
    runtime: Runtime,
    handle: Handle,
    running: JoinHandle<Result<(), RunError>>,
}

impl Loop {
    /// Targets t0, t1, ... with the stack `web` on all of them, and a loop that has begun.
    fn over(targets: usize, policies: &str) -> Self {
        let world = World::new();
        world.write("stack.yaml", &format!("name: web\ntargets: \"t*\"\nrenderer: fake\n{policies}"));
        world.resource("a.json", "a", "/etc/a", "one", "");
        let names: Vec<Name> = (0..targets).map(|n| name(&format!("t{n}"))).collect();
        let machines = names.iter().map(|name| (name.clone(), Arc::new(Machine::default()))).collect();
        let fleet = Arc::new(Fleet { machines, ..Fleet::default() });
        let sim = Sim::new();
        let remote = Remote::of(world.runtime.sources[&name("infra")].clone());
        let source: Arc<dyn Source> = remote.clone();
        let machine = json!({"type": "machine"});
        let runtime = Runtime {
            config: serde_json::from_value::<tidelock_model::config::Config>(json!({
                "sources": {"infra": {"url": "x", "allow": [{"targets": ["*"], "kinds": ["*"]}]}},
                "targets": names.iter().map(|name| (name.to_string(), machine.clone())).collect::<BTreeMap<_, _>>(),
                "accept_new": ["*"],
            }))
            .map(std::sync::Arc::new)
            .unwrap(),
            sources: BTreeMap::from([(name("infra"), source)]),
            plugins: fleet.clone(),
            targets: fleet.clone(),
            clock: Arc::new(SimClock(sim.clone())),
            ..world.runtime.clone()
        };
        let (handle, running) = begun(&runtime);
        Self { world, sim, remote, fleet, runtime, handle, running }
    }

    async fn pass(&self, ms: i64) {
        self.sim.pass(ms).await;
    }

    /// Ends the loop as a kill would, and begins another on the same store.
    fn restart(&mut self) {
        self.running.abort();
        (self.handle, self.running) = begun(&self.runtime);
    }

    async fn drained(self) {
        assert!(self.handle.send(Signal::Drain).await);
        self.running.await.unwrap().unwrap();
    }

    fn machine(&self, target: &str) -> &Machine {
        &self.fleet.machines[&name(target)]
    }

    fn holds(&self, target: &str, path: &str) -> Option<Digest> {
        self.machine(target).paths.lock().unwrap().get(path).copied()
    }

    fn drift(&self, target: &str, content: &str) {
        self.machine(target).paths.lock().unwrap().insert("/etc/a".to_owned(), Digest::of(content.as_bytes()));
    }

    fn status(&self, target: &str) -> Status {
        self.runtime.store.lane(&lane(target)).unwrap().map_or(Status::Unknown, |record| record.status)
    }

    fn events(&self) -> Vec<RunEvent> {
        self.runtime.store.events(&Filter::default()).unwrap().into_iter().map(|stored| stored.event).collect()
    }

    fn count(&self, meant: impl Fn(&RunEvent) -> bool) -> usize {
        self.events().iter().filter(|event| meant(event)).count()
    }
}

fn begun(runtime: &Runtime) -> (Handle, JoinHandle<Result<(), RunError>>) {
    let (driver, handle) = Driver::new(runtime, DriverOptions::default());
    (handle, tokio::spawn(driver.run()))
}

fn lane(target: &str) -> Lane {
    Lane { source: name("infra"), stack: name("web"), target: name(target) }
}

fn one() -> Option<Digest> {
    Some(Digest::of(b"one"))
}

fn two() -> Option<Digest> {
    Some(Digest::of(b"two"))
}

const APPLY: &str = "on_commit: apply\non_drift: apply\n";

/// The same for targets that go their own way.
const EACH: &str = "on_commit: apply\non_drift: apply\nrollout: { first: 100%, max_failures: 100 }\n";

#[tokio::test]
async fn a_commit_reaches_every_lane_by_one_question_to_the_server() {
    let it = Loop::over(20, APPLY);
    it.pass(5 * SECOND).await;
    assert!((0..20).all(|n| it.holds(&format!("t{n}"), "/etc/a") == one()));
    assert_eq!(it.remote.asked.load(Ordering::SeqCst), 1);
    it.world.resource("a.json", "a", "/etc/a", "two", "");
    it.pass(90 * SECOND).await;
    assert!((0..20).all(|n| it.holds(&format!("t{n}"), "/etc/a") == two()));
    let asked = it.remote.asked.load(Ordering::SeqCst);
    assert!((2..=3).contains(&asked), "asked {asked} times in 95 s");
    assert_eq!(it.remote.opened.load(Ordering::SeqCst), 0, "what a poll brought is kept open for all lanes");
    it.drained().await;
}

#[tokio::test]
async fn a_guard_that_is_gone_wakes_its_target_once_and_what_fails_then_waits_its_time() {
    let it = Loop::over(2, APPLY);
    it.pass(MINUTE).await;
    let guard = Guard {
        id: "a-run".into(),
        lane: lane("t1"),
        within_ms: 1,
        until: jiff::Timestamp::UNIX_EPOCH,
        effects: vec![],
        tried: vec![],
        applied: None,
    };
    // The fakes have none of their own, so nobody can stand in for it.
    it.fleet.guards.lock().unwrap().known =
        vec![Guarded { guard, state: GuardState::Gone, why: String::new(), left: Some(vec![]), written_ms: 0 }];
    it.pass(10 * SECOND).await;
    assert_eq!((it.status("t0"), it.status("t1")), (Status::Converged, Status::Failed), "it is woken");
    let before = it.handle.pulse().failed;
    it.pass(HOUR).await;
    let tries = it.handle.pulse().failed - before;
    assert!((5..30).contains(&tries), "tried {tries} times in an hour");
    it.drained().await;
}

#[tokio::test]
async fn what_went_back_by_itself_is_noticed_soon_and_left_alone() {
    let it = Loop::over(1, APPLY);
    it.world.resource("n.json", "n", "/net/n", "text", "");
    it.pass(MINUTE).await;
    it.world.remove("n.json");
    let by_hand = Runtime { confirm_within_ms: Some(600_000), ..it.runtime.clone() };
    crate::apply(&by_hand, &everything(), "ada", Caller::Once(&Says(true)), None).await.unwrap();
    it.pass(MINUTE).await;
    assert_eq!((it.holds("t0", "/net/n"), it.status("t0")), (None, Status::Converged));

    let guard = it.machine("t0").guarded().remove(0).guard;
    assert!(it.machine("t0").goes_back(&guard.id, "nobody confirmed it in time"));
    let now = it.runtime.clock.now().as_millisecond();
    it.machine("t0").guards.lock().unwrap()[0].0.written_ms = now;
    it.pass(15 * SECOND).await;
    let record = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    assert_eq!(record.status, Status::Waiting, "{record:?}");
    assert_eq!(record.waits[0].code, "restored");
    assert_eq!(it.runtime.store.inventory(&name("t0")).unwrap().len(), 2);
    let passed = it.handle.pulse().passed;
    it.pass(HOUR).await;
    assert!(it.handle.pulse().passed > passed, "it is looked at");
    assert_eq!(it.holds("t0", "/net/n"), Some(Digest::of(b"text")));
    assert_eq!(it.count(|event| matches!(event, RunEvent::Guarded { .. })), 1, "it is not tried again");
    assert_eq!(it.count(|event| matches!(event, RunEvent::TakenBack { .. })), 1, "it is told once");
    it.drained().await;
}

#[tokio::test]
async fn a_rollout_stops_at_its_first_target_and_goes_on_once_that_is_mended() {
    let it = Loop::over(20, APPLY);
    it.pass(5 * SECOND).await;
    it.machine("t0").broken.lock().unwrap().insert("/etc/a".to_owned());
    it.world.resource("a.json", "a", "/etc/a", "two", "");
    let before = it.handle.pulse().passed;
    it.pass(2 * MINUTE).await;
    assert!((0..20).all(|n| it.holds(&format!("t{n}"), "/etc/a") == one()));
    assert_eq!((it.status("t0"), it.status("t19")), (Status::Failed, Status::Waiting));
    let passes = it.handle.pulse().passed - before;
    assert!(passes < 100, "those that wait are not woken by each try: {passes} passes");
    it.machine("t0").broken.lock().unwrap().clear();
    let passes = it.handle.pulse().passed;
    it.pass(3 * MINUTE).await;
    assert!((0..20).all(|n| it.holds(&format!("t{n}"), "/etc/a") == two()));
    let passes = it.handle.pulse().passed - passes;
    assert!(passes < 120, "each is woken when its turn comes: {passes} passes");
    it.drained().await;
}

#[tokio::test]
async fn a_day_of_commits_and_drift_is_followed_and_leaves_a_true_record() {
    let it = Loop::over(5, EACH);
    it.pass(MINUTE).await;
    let (mut commits, mut drifts, mut last) = (1, 0, String::new());
    for minute in 0..24 * 60 {
        if minute % 10 == 3 {
            commits += 1;
            last = format!("commit {commits}");
            it.world.resource("a.json", "a", "/etc/a", &last, "");
        }
        if minute % 7 == 5 {
            drifts += 1;
            it.drift(&format!("t{}", drifts % 5), "by hand");
        }
        it.pass(MINUTE).await;
    }
    it.pass(10 * MINUTE).await;
    let wanted = Some(Digest::of(last.as_bytes()));
    assert!((0..5).all(|n| it.holds(&format!("t{n}"), "/etc/a") == wanted));
    assert!((0..5).all(|n| it.status(&format!("t{n}")) == Status::Converged));
    let asked = it.remote.asked.load(Ordering::SeqCst);
    assert!((1_300..=1_600).contains(&asked), "asked {asked} times in a day");
    assert_eq!(it.count(|event| matches!(event, RunEvent::Fetched { .. })), commits, "each commit once");
    assert_eq!(it.count(|event| matches!(event, RunEvent::PassFailed { .. })), 0);
    // Every change is recorded once and ended well, and what merely was looked at not at all.
    let done = it.count(|event| matches!(event, RunEvent::ChangeEnded { end, .. } if end == "done"));
    let changed = it.count(|event| matches!(event, RunEvent::ChangeEnded { .. }));
    assert_eq!(done, changed);
    assert!(
        (5 * commits..=5 * commits + drifts).contains(&done),
        "{done} changes of {commits} commits, {drifts} drifts"
    );
    let history = it.runtime.store.history(&Filter::default()).unwrap();
    assert_eq!(history.len(), done, "history says what events say");
    let events = it.runtime.store.events(&Filter::default()).unwrap();
    assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "no number is left out");
    assert!(events.len() < 12 * done, "{} events of {done} changes", events.len());
    it.drained().await;
}

#[tokio::test]
async fn a_day_of_nothing_leaves_no_trace() {
    let it = Loop::over(3, APPLY);
    it.pass(HOUR).await;
    let before = it.events().len();
    it.pass(24 * HOUR).await;
    assert_eq!(it.events().len(), before, "{:?}", it.events().split_off(before));
    let pulse = it.handle.pulse();
    assert!(pulse.polled > 1_400 && pulse.passed > 3 * 270, "{pulse:?}");
    assert_eq!((pulse.failed, pulse.lanes), (0, 3));
    let asked = it.remote.asked.load(Ordering::SeqCst);
    assert!((1_400..1_600).contains(&asked), "{asked}");
    let seen = it.runtime.store.lane(&lane("t0")).unwrap().unwrap().seen.unwrap();
    let ago = it.runtime.clock.now().as_millisecond() - seen.as_millisecond();
    assert!(ago < 6 * MINUTE, "status says when it was last looked at: {ago} ms ago");
    it.drained().await;
}

#[tokio::test]
async fn drift_is_undone_where_the_stack_says_so() {
    let it = Loop::over(1, APPLY);
    it.pass(MINUTE).await;
    for _ in 0..20 {
        it.drift("t0", "by hand");
        it.pass(6 * MINUTE).await;
        assert_eq!(it.holds("t0", "/etc/a"), one());
    }
    it.drained().await;
}

#[tokio::test]
async fn drift_that_is_only_reported_is_told_once_and_left_alone() {
    let it = Loop::over(1, "on_commit: apply\non_drift: report\n");
    it.pass(MINUTE).await;
    it.drift("t0", "by hand");
    it.pass(7 * MINUTE).await;
    assert_ne!(it.status("t0"), Status::Converged);
    let told = it.events().len();
    it.pass(10 * HOUR).await;
    assert_eq!(it.holds("t0", "/etc/a"), Some(Digest::of(b"by hand")));
    assert_eq!(it.events().len(), told, "{:?}", it.events().split_off(told));
    it.drained().await;
}

#[tokio::test]
async fn passes_and_polls_are_told_with_their_ends_and_not_stored() {
    let it = Loop::over(1, "on_commit: apply\non_drift: report\n");
    it.pass(MINUTE).await;
    it.drift("t0", "by hand");
    it.pass(HOUR).await;
    it.remote.down.store(true, Ordering::SeqCst);
    it.pass(5 * MINUTE).await;
    let told = it.world.events.lock().unwrap().clone();
    let passes: Vec<(PassEnd, usize)> = told
        .iter()
        .filter_map(|event| match event {
            RunEvent::PassEnded { end, drifted, .. } => Some((*end, *drifted)),
            _ => None,
        })
        .collect();
    assert_eq!(passes.len() as u64, it.handle.pulse().passed);
    assert_eq!(passes[0], (PassEnd::Done, 0));
    let waiting: Vec<_> = passes.iter().filter(|(end, _)| *end == PassEnd::Waiting).collect();
    assert!(waiting.len() > 5, "{passes:?}");
    assert_eq!(passes.iter().map(|(_, drifted)| drifted).sum::<usize>(), 1, "found once, seen again: {passes:?}");
    let polls: Vec<bool> = told
        .iter()
        .filter_map(|event| match event {
            RunEvent::Polled { good, .. } => Some(*good),
            _ => None,
        })
        .collect();
    assert_eq!(polls.len() as u64, it.handle.pulse().polled);
    assert!(polls[0] && !polls[polls.len() - 1], "{polls:?}");
    assert_eq!(it.count(RunEvent::is_fleeting), 0);
    it.drained().await;
}

#[tokio::test]
async fn without_git_the_last_revision_stays_in_force_also_after_a_restart() {
    let mut it = Loop::over(2, APPLY);
    it.pass(MINUTE).await;
    it.remote.down.store(true, Ordering::SeqCst);
    it.pass(3 * HOUR).await;
    it.restart();
    it.drift("t1", "by hand");
    it.pass(SECOND).await;
    assert_eq!(it.holds("t1", "/etc/a"), one(), "enforced before and without a fetch");
    it.drift("t0", "by hand");
    it.pass(6 * MINUTE).await;
    assert_eq!(it.holds("t0", "/etc/a"), one());
    assert_eq!(it.count(|event| matches!(event, RunEvent::SourceStale { .. })), 1, "told once, not each poll");
    assert!(it.runtime.store.stale(&name("infra")).unwrap().is_some());

    it.remote.down.store(false, Ordering::SeqCst);
    it.world.resource("a.json", "a", "/etc/a", "two", "");
    it.pass(10 * MINUTE).await;
    assert_eq!(it.holds("t0", "/etc/a"), two());
    assert_eq!(it.count(|event| matches!(event, RunEvent::SourceBack { .. })), 1);
    assert_eq!(it.runtime.store.stale(&name("infra")).unwrap(), None);
    it.drained().await;
}

#[tokio::test]
async fn a_lane_that_hangs_holds_up_no_other_and_is_cut_short() {
    let it = Loop::over(12, EACH);
    it.fleet.hanging.lock().unwrap().extend((0..9).map(|n| name(&format!("t{n}"))));
    // More lanes hang than may be under way at once.
    it.pass(11 * MINUTE).await;
    assert!((9..12).all(|n| it.holds(&format!("t{n}"), "/etc/a") == one()));
    let record = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    assert_eq!((record.status, record.attempts), (Status::Failed, 1));
    assert!(record.why.unwrap().contains("took longer than 600 s"));
    it.fleet.hanging.lock().unwrap().clear();
    it.pass(30 * MINUTE).await;
    assert!((0..12).all(|n| it.holds(&format!("t{n}"), "/etc/a") == one()));
    assert_eq!(it.status("t0"), Status::Converged);
    assert_eq!(it.runtime.store.lane(&lane("t0")).unwrap().unwrap().attempts, 0);
    it.drained().await;
}

#[tokio::test]
async fn a_pass_that_panics_is_a_failure_of_its_lane() {
    let it = Loop::over(2, EACH);
    *it.machine("t0").dies.lock().unwrap() = true;
    it.pass(30 * SECOND).await;
    assert_eq!(it.holds("t1", "/etc/a"), one());
    let record = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    assert!(record.attempts >= 2, "tried again: {record:?}");
    *it.machine("t0").dies.lock().unwrap() = false;
    it.pass(6 * MINUTE).await;
    assert_eq!(it.holds("t0", "/etc/a"), one());
    assert_eq!(it.status("t0"), Status::Converged);
    it.drained().await;
}

#[tokio::test]
async fn failures_back_off_are_told_once_and_outlive_a_restart() {
    let mut it = Loop::over(1, APPLY);
    it.machine("t0").broken.lock().unwrap().insert("/etc/a".to_owned());
    it.pass(HOUR).await;
    let passed = it.handle.pulse().passed;
    assert!((8..=25).contains(&passed), "{passed} passes in an hour");
    assert_eq!(it.count(|event| matches!(event, RunEvent::PassFailed { .. })), 1);
    let before = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    it.restart();
    it.pass(SECOND).await;
    assert_eq!(it.handle.pulse().passed, 0, "it waits as long as it would have: {before:?}");
    it.pass(6 * MINUTE).await;
    let after = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    assert!(after.attempts > before.attempts, "{} then {}", before.attempts, after.attempts);
    it.drained().await;
}

#[tokio::test]
async fn a_lease_of_another_is_waited_for() {
    let it = Loop::over(1, APPLY);
    let lease = it.runtime.store.lease("target:t0", "an apply at a terminal", 3_600_000).unwrap();
    it.pass(MINUTE).await;
    assert_eq!(it.holds("t0", "/etc/a"), None);
    assert_eq!(it.handle.pulse().failed, 0, "that is no failure");
    it.runtime.store.release(&lease).unwrap();
    it.pass(6 * SECOND).await;
    assert_eq!(it.holds("t0", "/etc/a"), one());
    it.drained().await;
}

#[tokio::test]
async fn a_target_that_only_copies_another_is_waited_for() {
    let it = Loop::over(1, APPLY);
    *it.machine("t0").standby.lock().unwrap() = true;
    it.pass(MINUTE).await;
    let record = it.runtime.store.lane(&lane("t0")).unwrap().unwrap();
    assert_eq!(record.status, Status::Waiting, "{record:?}");
    assert!(record.why.unwrap().contains("only copies") && record.retry_at.is_some());
    assert_eq!(it.count(|event| matches!(event, RunEvent::PassFailed { .. })), 0, "that is no failure");
    *it.machine("t0").standby.lock().unwrap() = false;
    it.pass(6 * MINUTE).await;
    assert_eq!((it.holds("t0", "/etc/a"), it.status("t0")), (one(), Status::Converged));
    it.drained().await;
}

#[tokio::test]
async fn signals_wake_and_a_hundred_of_them_wake_once() {
    let it = Loop::over(2, APPLY);
    it.pass(MINUTE).await;
    let passed = it.handle.pulse().passed;
    for _ in 0..100 {
        it.handle.hint(Signal::Look(Scope { target: Some("t1".to_owned()), ..Scope::default() }));
    }
    it.pass(SECOND).await;
    let woken = it.handle.pulse().passed - passed;
    assert!((1..=2).contains(&woken), "{woken} passes for a hundred signals");
    it.world.resource("a.json", "a", "/etc/a", "two", "");
    it.handle.send(Signal::Poll(name("infra"))).await;
    it.pass(SECOND).await;
    assert_eq!(it.holds("t0", "/etc/a"), two());
    it.drained().await;
}

#[tokio::test]
async fn a_commit_that_cannot_be_read_leaves_the_lanes_and_is_told_once() {
    let it = Loop::over(1, APPLY);
    it.pass(MINUTE).await;
    it.world.write("stack.yaml", "name: [\n");
    it.pass(2 * HOUR).await;
    assert_eq!(it.handle.pulse().lanes, 1);
    assert_eq!(it.status("t0"), Status::Failed);
    let rejected = it.count(|event| matches!(event, RunEvent::Rejected { .. }));
    assert!(rejected <= 2, "told {rejected} times");
    let problems = || it.runtime.store.trouble(&name("infra")).unwrap().problems.len();
    assert_eq!(problems(), 1, "whoever asks later is told without Git");
    it.world.write("stack.yaml", &format!("name: web\ntargets: \"t*\"\nrenderer: fake\n{APPLY}"));
    it.world.resource("a.json", "a", "/etc/a", "two", "");
    it.pass(2 * MINUTE).await;
    assert_eq!((it.holds("t0", "/etc/a"), it.status("t0"), problems()), (two(), Status::Converged, 0));
    it.drained().await;
}
