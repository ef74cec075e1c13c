use super::*;

const BOUND: usize = 2;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn lane(stack: &str, target: &str) -> Lane {
    Lane { source: name("infra"), stack: name(stack), target: name(target) }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn schedule(lanes: &[(&str, &str)]) -> Schedule {
    let mut schedule = Schedule::new(BOUND);
    let lanes = lanes.iter().map(|(stack, target)| (lane(stack, target), 300_000)).collect();
    schedule.set_lanes(&name("infra"), &lanes, at(0));
    schedule
}

fn begun(schedule: &mut Schedule, now: i64) -> Vec<Job> {
    std::iter::from_fn(|| schedule.begin(at(now))).collect()
}

#[test]
fn hundreds_of_polls_keep_their_pace_over_days() {
    let mut schedule = Schedule::new(BOUND);
    schedule.set_sources(&BTreeMap::from([(name("infra"), 60_000)]), at(0));
    let (mut now, mut polls) = (0, 0);
    while now < 3 * 86_400_000 {
        assert_eq!(begun(&mut schedule, now), [Job::Poll(name("infra"))]);
        assert_eq!(schedule.begin(at(now)), None, "it is under way");
        schedule.polled(&name("infra"), true, at(now));
        let next = schedule.next().unwrap().as_millisecond();
        assert!((54_000..=66_000).contains(&(next - now)));
        (now, polls) = (next, polls + 1);
    }
    assert!((4_200..4_450).contains(&polls), "{polls} polls in three days");
}

#[test]
fn a_server_that_does_not_answer_is_asked_less_often_and_then_as_before() {
    let mut schedule = Schedule::new(BOUND);
    schedule.set_sources(&BTreeMap::from([(name("infra"), 1_000)]), at(0));
    let mut now = 0;
    for _ in 0..20 {
        begun(&mut schedule, now);
        schedule.polled(&name("infra"), false, at(now));
        now = schedule.next().unwrap().as_millisecond();
    }
    begun(&mut schedule, now);
    schedule.polled(&name("infra"), false, at(now));
    assert!(schedule.next().unwrap().as_millisecond() - now > 200_000);
    assert!(schedule.wake_source(&name("infra"), at(now)), "a hint is believed all the same");
    begun(&mut schedule, now);
    schedule.polled(&name("infra"), true, at(now));
    assert!(schedule.next().unwrap().as_millisecond() - now < 2_000);
}

#[test]
fn passes_are_bounded_and_lanes_of_a_target_take_turns() {
    let mut schedule = schedule(&[("web", "a"), ("db", "a"), ("web", "b"), ("web", "c")]);
    let first = begun(&mut schedule, 0);
    assert_eq!(first, [Job::Pass(lane("db", "a")), Job::Pass(lane("web", "b"))], "not two on a, not three at all");
    schedule.ended(&lane("web", "b"), Ended::Well, at(10));
    assert_eq!(begun(&mut schedule, 10), [Job::Pass(lane("web", "c"))]);
    schedule.ended(&lane("db", "a"), Ended::Well, at(20));
    assert_eq!(begun(&mut schedule, 20), [Job::Pass(lane("web", "a"))]);
}

#[test]
fn a_lane_that_is_woken_a_hundred_times_goes_once_more() {
    let mut schedule = schedule(&[("web", "a")]);
    begun(&mut schedule, 0);
    for now in 1..100 {
        assert_eq!(schedule.wake_lanes(|_| true, at(now)), 1);
        assert_eq!(begun(&mut schedule, now), [], "one pass per lane");
    }
    schedule.ended(&lane("web", "a"), Ended::Well, at(100));
    for now in 100..200 {
        schedule.wake_lanes(|_| true, at(now));
    }
    assert_eq!(begun(&mut schedule, 200), [Job::Pass(lane("web", "a"))]);
    let next = schedule.ended(&lane("web", "a"), Ended::Well, at(300)).unwrap().as_millisecond();
    assert!((270_000..=331_000).contains(&next), "{next}");
}

#[test]
fn failures_back_off_and_a_wake_does_not_wait_for_them() {
    let mut schedule = schedule(&[("web", "a"), ("web", "b")]);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        begun(&mut schedule, now);
        schedule.ended(&lane("web", "b"), Ended::Well, at(now));
        let next = schedule.ended(&lane("web", "a"), Ended::Failed, at(now)).unwrap().as_millisecond();
        waits.push(next - now);
        now = next;
    }
    assert!(waits[0] < 6_000 && waits[7] > 250_000, "{waits:?}");
    assert_eq!(schedule.attempts(&lane("web", "a")), 8);
    begun(&mut schedule, now);
    schedule.ended(&lane("web", "a"), Ended::Failed, at(now));
    schedule.wake_lanes(|lane| lane.target == name("a"), at(now));
    assert_eq!(begun(&mut schedule, now), [Job::Pass(lane("web", "a"))]);
    schedule.ended(&lane("web", "a"), Ended::Well, at(now));
    assert_eq!(schedule.attempts(&lane("web", "a")), 0);
}

#[test]
fn what_failed_before_a_restart_waits_as_long() {
    let mut schedule = schedule(&[("web", "a")]);
    schedule.recall(&lane("web", "a"), 4, Some(at(40_000)));
    assert_eq!(begun(&mut schedule, 39_999), []);
    assert_eq!(schedule.next(), Some(at(40_000)));
    assert_eq!(begun(&mut schedule, 40_000), [Job::Pass(lane("web", "a"))]);
    schedule.ended(&lane("web", "a"), Ended::Failed, at(40_000));
    assert_eq!(schedule.attempts(&lane("web", "a")), 5);
}

#[test]
fn a_lease_of_another_is_tried_again_soon_and_is_no_failure() {
    let mut schedule = schedule(&[("web", "a")]);
    begun(&mut schedule, 0);
    let next = schedule.ended(&lane("web", "a"), Ended::Busy, at(0)).unwrap().as_millisecond();
    assert!(next < 1_000, "{next}");
    assert_eq!(schedule.attempts(&lane("web", "a")), 0);
}

#[test]
fn a_pass_that_hangs_does_not_count_against_the_bound() {
    let mut schedule = schedule(&[("web", "a"), ("web", "b"), ("web", "c"), ("web", "d"), ("web", "e")]);
    assert_eq!(begun(&mut schedule, 0).len(), BOUND);
    assert_eq!(schedule.overdue(600_000, at(599_999)), []);
    assert_eq!(schedule.overdue(600_000, at(600_000)).len(), BOUND);
    assert_eq!(schedule.overdue(600_000, at(700_000)), [], "named once");
    assert_eq!(begun(&mut schedule, 700_000).len(), BOUND);
    // They end at last, and nothing is counted twice.
    for target in ["a", "b", "c", "d"] {
        schedule.ended(&lane("web", target), Ended::Failed, at(700_001));
    }
    assert_eq!(begun(&mut schedule, 700_001), [Job::Pass(lane("web", "e"))]);
}

#[test]
fn what_leaves_is_looked_at_no_more_and_ends_what_it_began() {
    let mut schedule = schedule(&[("web", "a"), ("web", "b"), ("web", "c")]);
    begun(&mut schedule, 0);
    schedule.set_lanes(&name("infra"), &BTreeMap::from([(lane("web", "b"), 300_000)]), at(1));
    assert_eq!(begun(&mut schedule, 1), [], "c left before it began");
    assert_eq!(schedule.ended(&lane("web", "a"), Ended::Well, at(2)), None);
    assert!(schedule.ended(&lane("web", "b"), Ended::Well, at(2)).is_some());
    assert_eq!(schedule.counts(), (1, 0));
}

#[test]
fn a_lane_that_comes_back_while_it_ends_stays() {
    let mut schedule = schedule(&[("web", "a")]);
    begun(&mut schedule, 0);
    schedule.set_lanes(&name("infra"), &BTreeMap::new(), at(1));
    schedule.set_lanes(&name("infra"), &BTreeMap::from([(lane("web", "a"), 300_000)]), at(2));
    assert!(schedule.ended(&lane("web", "a"), Ended::Well, at(3)).is_some());
}

/// A day of a thousand lanes, with wakes, failures and leases of others at every turn:
/// nothing is lost, doubled or starved.
#[test]
fn no_lane_starves_in_a_day() {
    let lanes: BTreeMap<Lane, u64> = (0..1_000).map(|n| (lane("web", &format!("t{n:04}")), 300_000)).collect();
    let mut schedule = Schedule::new(8);
    schedule.set_lanes(&name("infra"), &lanes, at(0));
    let mut seen: BTreeMap<Lane, u32> = BTreeMap::new();
    let mut now = 0;
    let mut turn = 0_u32;
    while now < 86_400_000 {
        let jobs = begun(&mut schedule, now);
        assert!(jobs.len() <= 8);
        for job in jobs {
            let Job::Pass(lane) = job else { panic!("{job:?}") };
            turn += 1;
            *seen.entry(lane.clone()).or_default() += 1;
            let how = [Ended::Well, Ended::Well, Ended::Well, Ended::Busy, Ended::Failed][turn as usize % 5];
            schedule.ended(&lane, how, at(now));
        }
        assert_eq!(schedule.counts(), (1_000, 0));
        now = schedule.next().unwrap().as_millisecond().max(now + 1);
    }
    assert_eq!(seen.len(), 1_000);
    let (least, most) = (seen.values().min().unwrap(), seen.values().max().unwrap());
    assert!(*least > 250 && *most < 3 * least, "{least} to {most} passes");
}

#[test]
fn a_lane_is_looked_at_when_what_it_waits_for_ends_by_itself() {
    let mut schedule = schedule(&[("web", "a")]);
    let mut wait = |until: i64| {
        let now = schedule.next().unwrap().as_millisecond();
        assert_eq!(begun(&mut schedule, now), [Job::Pass(lane("web", "a"))]);
        schedule.ended(&lane("web", "a"), Ended::Well, at(now));
        schedule.no_later(&lane("web", "a"), at(now + until), at(now));
        schedule.next().unwrap().as_millisecond() - now
    };
    assert_eq!(wait(60_000), 60_000);
    assert!((270_000..=330_000).contains(&wait(86_400_000)), "the usual pace, where that is sooner");
    assert_eq!(wait(-5), 100, "one that lies behind makes no busy loop");
}

/// Begins what is due, lets it take so many ms, and ends it. When it began.
fn looked(schedule: &mut Schedule, now: &mut i64, how: Ended, took: i64) -> i64 {
    *now = schedule.next().unwrap().as_millisecond().max(*now);
    let began = *now;
    let Some(Job::Pass(lane)) = schedule.begin(at(*now)) else { panic!("nothing is due") };
    *now += took;
    schedule.ended(&lane, how, at(*now));
    began
}

#[test]
fn each_of_many_changes_by_hand_is_looked_at_soon() {
    let mut schedule = schedule(&[("net", "router")]);
    let mut now = 0;
    looked(&mut schedule, &mut now, Ended::Idle, 100);
    for _ in 0..60 {
        now += 300;
        let changed = now;
        assert!(schedule.touch(&lane("net", "router"), at(now)));
        let began = looked(&mut schedule, &mut now, Ended::Well, 150);
        assert!(began - changed <= 150, "{} ms", began - changed);
        // It hears its own writes, and looks once more.
        schedule.touch(&lane("net", "router"), at(now));
        looked(&mut schedule, &mut now, Ended::Idle, 60);
    }
    assert!(schedule.next().unwrap().as_millisecond() > now + 200_000, "and then all is quiet");
}

#[test]
fn what_is_hinted_at_while_it_is_looked_at_is_looked_at_again() {
    let mut schedule = schedule(&[("net", "router")]);
    begun(&mut schedule, 0);
    schedule.touch(&lane("net", "router"), at(10));
    schedule.ended(&lane("net", "router"), Ended::Well, at(100));
    assert_eq!(schedule.next(), Some(at(200)), "rested as long as it took");
}

#[test]
fn a_change_that_a_pass_failed_for_is_looked_at_soon_and_once() {
    let mut schedule = schedule(&[("net", "router")]);
    let router = lane("net", "router");
    begun(&mut schedule, 0);
    schedule.touch(&router, at(10));
    schedule.ended(&router, Ended::Failed, at(100));
    assert_eq!(schedule.next(), Some(at(200)), "somebody undid what it wrote");
    begun(&mut schedule, 200);
    schedule.touch(&router, at(210));
    schedule.ended(&router, Ended::Failed, at(300));
    schedule.touch(&router, at(310));
    assert!(schedule.next().unwrap().as_millisecond() > 9_000, "and again: it waits its time");
}

#[test]
fn a_chatty_neighbour_of_many_lanes_takes_half_a_processor() {
    let lanes: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
    let names: Vec<(&str, &str)> = lanes.iter().map(|target| ("net", target.as_str())).collect();
    let mut schedule = schedule(&names);
    let (mut now, mut busy) = (0, 0);
    while now < 3_600_000 {
        for target in &lanes {
            schedule.touch(&lane("net", target), at(now));
        }
        match schedule.next() {
            Some(due) if due.as_millisecond() <= now => {
                looked(&mut schedule, &mut now, Ended::Idle, 100);
                busy += 100;
            }
            _ => now += 10,
        }
    }
    // Looks of the timer come on top: fifty each five minutes.
    assert!(busy < 3_600_000 / 4 + 60_000 + 60_000 + 50 * 12 * 100, "{busy} ms of an hour");
}
