use tidelock_model::error::{Blame, Diagnostic};
use tidelock_model::name::{Address, ResourceRef};
use tidelock_model::plan::Action;
use tidelock_model::port::{Guard, GuardState, Guarded, LaneRecord};
use tidelock_model::revision::{Revision, Signature, SourceNotice, Trouble};
use tidelock_model::run::Status;
use tidelock_store::SqliteStore;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn lane(stack: &str) -> Lane {
    Lane { source: name("infra"), stack: name(stack), target: name("local") }
}

/// The value of a series, by its whole name with labels.
fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

fn unwatched() -> Result<Guards, Fault> {
    Ok(Guards::default())
}

fn counted() -> (Metrics, SqliteStore) {
    let metrics = Metrics::new("1.2.3");
    metrics.expect_sources(&[name("infra")]);
    let store = SqliteStore::in_memory().unwrap();
    (metrics, store)
}

#[test]
fn counters_follow_the_events_of_the_loop() {
    let (metrics, store) = counted();
    let tell = |event: RunEvent| metrics.event(None, Some(&lane("web")), &event);
    tell(RunEvent::PassEnded { end: PassEnd::Done, drifted: 2, ms: 40 });
    tell(RunEvent::PassEnded { end: PassEnd::Unchanged, drifted: 0, ms: 3 });
    tell(RunEvent::PassEnded { end: PassEnd::Unchanged, drifted: 0, ms: 900_000 });
    tell(RunEvent::Polled { source: name("infra"), good: true, ms: 1 });
    tell(RunEvent::Polled { source: name("infra"), good: false, ms: 1 });
    let resource: ResourceRef = "server.file/a".parse().unwrap();
    let address = Address { source: name("infra"), stack: name("web"), resource, target: name("local") };
    for end in ["done", "something a later version says"] {
        let (address, action) = (address.clone(), Action::TakeOver);
        tell(RunEvent::ChangeEnded { address, action, end: end.to_owned(), why: None });
    }
    let text = metrics.write(&store, &unwatched, &[], Format::Text).unwrap();
    for (series, wanted) in [
        (r#"tidelock_build_info{version="1.2.3"}"#, "1"),
        (r#"tidelock_passes_total{outcome="unchanged"}"#, "2"),
        (r#"tidelock_passes_total{outcome="done"}"#, "1"),
        (r#"tidelock_passes_total{outcome="failed"}"#, "0"),
        (r#"tidelock_pass_duration_seconds_bucket{le="0.005"}"#, "1"),
        (r#"tidelock_pass_duration_seconds_bucket{le="0.05"}"#, "2"),
        (r#"tidelock_pass_duration_seconds_bucket{le="300"}"#, "2"),
        (r#"tidelock_pass_duration_seconds_bucket{le="+Inf"}"#, "3"),
        ("tidelock_pass_duration_seconds_count", "3"),
        ("tidelock_drift_found_total", "2"),
        (r#"tidelock_source_fetches_total{source="infra",result="ok"}"#, "1"),
        (r#"tidelock_source_fetches_total{source="infra",result="failed"}"#, "1"),
        (r#"tidelock_changes_total{action="take-over",outcome="done"}"#, "1"),
        (r#"tidelock_changes_total{action="take-over",outcome="unknown"}"#, "1"),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series}\n{text}");
    }
    let fetched = value(&text, r#"tidelock_source_last_fetch_timestamp_seconds{source="infra"}"#).unwrap();
    assert!((fetched.parse::<i64>().unwrap() - Timestamp::now().as_second()).abs() < 60);
    assert!(!text.contains("later version") && !text.contains("server.file"), "{text}");
}

#[test]
fn a_source_that_never_answered_counts_from_nothing_and_has_no_last_time() {
    let (metrics, store) = counted();
    let text = metrics.write(&store, &unwatched, &[], Format::Text).unwrap();
    assert_eq!(value(&text, r#"tidelock_source_fetches_total{source="infra",result="failed"}"#), Some("0"));
    assert!(!text.contains("tidelock_source_last_fetch_timestamp_seconds{"), "{text}");
}

#[test]
fn each_lane_has_one_series_and_each_status_a_count() {
    let (metrics, store) = counted();
    for n in 0..1_000 {
        let status = if n % 10 == 0 { Status::Drifted } else { Status::Converged };
        store.put_lane(&LaneRecord { status, ..LaneRecord::unknown(lane(&format!("s{n}"))) }).unwrap();
    }
    let text = metrics.write(&store, &unwatched, &[], Format::Text).unwrap();
    let series = text.lines().filter(|line| line.starts_with("tidelock_lane_status{")).count();
    assert_eq!(series, 1_000);
    let one = r#"tidelock_lane_status{source="infra",stack="s10",target="local",status="drifted"}"#;
    assert_eq!(value(&text, one), Some("1"));
    assert_eq!(value(&text, r#"tidelock_lanes{status="drifted"}"#), Some("100"));
    assert_eq!(value(&text, r#"tidelock_lanes{status="converged"}"#), Some("900"));
    assert_eq!(value(&text, r#"tidelock_lanes{status="failed"}"#), Some("0"));
}

#[test]
fn what_a_guard_stands_over_waits_and_what_it_took_back_is_pending() {
    let (metrics, store) = counted();
    for stack in ["waits", "went-back", "well"] {
        store.put_lane(&LaneRecord { status: Status::Converged, ..LaneRecord::unknown(lane(stack)) }).unwrap();
    }
    let guarded = |stack: &str, state| {
        let (effects, tried, until) = (vec![], vec![], Timestamp::MAX);
        let guard =
            Guard { id: stack.to_owned(), lane: lane(stack), within_ms: 60_000, until, effects, tried, applied: None };
        Guarded { guard, state, why: "nobody confirmed it".to_owned(), left: Some(vec![]), written_ms: 0 }
    };
    let known = vec![guarded("waits", GuardState::Armed), guarded("went-back", GuardState::Restored)];
    let watch = move || Ok(Guards { known: known.clone(), ..Guards::default() });
    let text = metrics.write(&store, &watch, &[], Format::Text).unwrap();
    for (stack, status) in [("waits", "waiting"), ("went-back", "pending"), ("well", "converged")] {
        let series =
            format!(r#"tidelock_lane_status{{source="infra",stack="{stack}",target="local",status="{status}"}}"#);
        assert_eq!(value(&text, &series), Some("1"), "{text}");
    }
    assert_eq!(value(&text, r#"tidelock_lanes{status="converged"}"#), Some("1"));
    let blind =
        || -> Result<Guards, Fault> { Err(Fault::new("io", Blame::Target, "the folder of guards cannot be read")) };
    let metrics = Metrics::new("1.2.3");
    assert!(matches!(metrics.write(&store, &blind, &[], Format::Text), Err(Unread::Guards(_))));
}

#[test]
fn what_is_wrong_with_a_source_is_a_figure() {
    let (metrics, store) = counted();
    let trouble = Trouble {
        notices: vec![SourceNotice::Rewritten { from: "a".into(), to: "b".into() }],
        read: Some("a".into()),
        problems: vec![Diagnostic::error("no such kind", None); 2],
    };
    let at = |id: &str| Revision {
        source: name("infra"),
        id: id.into(),
        wanted: "main".into(),
        author: String::new(),
        committer: String::new(),
        at: Timestamp::UNIX_EPOCH,
        subject: String::new(),
        signature: Signature::NotAsked,
    };
    store.put_trouble(&name("infra"), &trouble).unwrap();
    store.put_revision(&at("a")).unwrap();
    let planned = LaneRecord { planned: Some(at("a")), ..LaneRecord::unknown(lane("seen")) };
    store.put_lane(&LaneRecord { status: Status::Converged, ..planned }).unwrap();
    store.put_lane(&LaneRecord { status: Status::Converged, ..LaneRecord::unknown(lane("behind")) }).unwrap();
    let text = metrics.write(&store, &unwatched, &[name("infra"), name("apps")], Format::Text).unwrap();
    assert_eq!(value(&text, r#"tidelock_source_problems{source="infra"}"#), Some("3"), "{text}");
    assert_eq!(value(&text, r#"tidelock_source_problems{source="apps"}"#), Some("0"));
    assert_eq!(value(&text, r#"tidelock_lanes{status="converged"}"#), Some("1"));
    assert_eq!(value(&text, r#"tidelock_lanes{status="pending"}"#), Some("1"), "another revision counts by now");
    // What was wrong with the stacks of another revision is not known of this one.
    let (metrics, _) = counted();
    store.put_revision(&at("b")).unwrap();
    let text = metrics.write(&store, &unwatched, &[name("infra")], Format::Text).unwrap();
    assert_eq!(value(&text, r#"tidelock_source_problems{source="infra"}"#), Some("1"));
}

#[test]
fn a_name_cannot_break_out_of_its_label() {
    let (metrics, store) = counted();
    let odd = "a\"}\\{b";
    store.put_lane(&LaneRecord::unknown(lane(odd))).unwrap();
    let text = metrics.write(&store, &unwatched, &[], Format::Text).unwrap();
    assert!(text.contains(r#"stack="a\"}\\{b""#), "{text}");
}

#[test]
fn both_forms_are_written_and_the_usual_one_is_what_nobody_asks_for() {
    let header = |text| HeaderValue::from_static(text);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    assert_eq!(Format::wanted(Some(&header(prometheus))), Format::Open);
    assert_eq!(Format::wanted(Some(&header("*/*"))), Format::Text);
    assert_eq!(Format::wanted(None), Format::Text);
    let (metrics, store) = counted();
    assert!(metrics.write(&store, &unwatched, &[], Format::Open).unwrap().ends_with("# EOF\n"));
    let text = metrics.write(&store, &unwatched, &[], Format::Text).unwrap();
    assert!(!text.contains("# EOF"));
    assert!(
        text.contains("# TYPE process_cpu_seconds_total counter") && text.contains("\nprocess_open_fds "),
        "{text}"
    );
}
