//! Batches, checks and needs by hand, as their users meet them: a plan says what goes when,
//! one yes is for all of it, and a failure stops the rest.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tidelock_tests::fleet::{TARGETS, change, fleet, with};

#[test]
fn a_plan_says_what_goes_when_and_one_yes_is_for_all_of_it() {
    let site = fleet("rollout: { first: 1, then: 3 }\n", "");
    site.apply();
    change(&site, "two\n");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan
        .says("on 8 targets (t1, t2, t3, 5 more)")
        .says("rollout of web: t1, then 3 targets, then 3 targets, then t8");
    site.tidelock(["plan", "--save", "plan.json"]).run().ok();
    site.tidelock(["apply", "--plan", "plan.json"]).run().ok().says("8 changes done");
    assert_eq!(with(&site, "two\n").len(), TARGETS);
    site.converged();
}

#[test]
fn the_first_failure_stops_the_rest_and_a_commit_mends_it() {
    let site = fleet("rollout: { first: 1, then: 3 }\n", "");
    site.apply();
    // On t2 a directory stands where the file should be.
    std::fs::remove_file(site.world().path("t2/srv/a")).unwrap();
    site.world().write("t2/srv/a/in/the/way", "");
    change(&site, "two\n");
    let stopped = site.tidelock(["apply", "--yes"]).run().exit(4);
    let _ = stopped
        .says("6 lanes of web: the rollout stopped: web@t2 failed: server.file/a: could not be looked at")
        .says("`tidelock suspend --target t2` leaves that target out");
    assert_eq!(with(&site, "two\n"), ["t1"]);

    site.tidelock(["suspend", "--target", "t2", "--reason", "broken"]).run().ok();
    // What cannot be looked at stays an error, and is in nobody's way.
    let _ = site.tidelock(["apply", "--yes"]).run().exit(4).says("t2: ").says("broken");
    assert_eq!(with(&site, "two\n").len(), TARGETS - 1);
}

#[test]
fn a_port_that_takes_no_connection_stops_it_until_it_does() {
    // Below the ports that are given out by chance: nobody takes it while it is shut.
    let mut ports = 20_000..30_000;
    let listener = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).expect("a free port");
    let port = listener.local_addr().unwrap().port();
    let allow = format!("checks = {{ tcp = [\"127.0.0.1:{port}\"] }}");
    let site = fleet(&format!("checks: [{{ tcp: '127.0.0.1:{port}', within: 1s }}]\n"), &allow);
    site.apply();
    drop(listener);
    change(&site, "two\n");
    let stopped = site.tidelock(["apply", "--yes"]).run().exit(4);
    let _ = stopped.says(&format!("check failed infra:web@t1: check tcp 127.0.0.1:{port}: ")).says("refused");
    assert_eq!(with(&site, "two\n"), ["t1"]);
    let status = site.tidelock(["status", "--target", "t1"]).run().ok();
    let _ = status.says("failed");

    let _up = TcpListener::bind(("127.0.0.1", port)).unwrap();
    site.tidelock(["apply", "--yes"]).run().ok().says("7 changes done");
    assert_eq!(with(&site, "two\n").len(), TARGETS);
}

/// A server that answers each request with the status that stands here, and its port.
fn server(status: &Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let status = Arc::clone(status);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            // Whoever asks may have gone away: that is an answer too.
            let _read = stream.read(&mut request);
            let _written = write!(stream, "HTTP/1.1 {} So\r\ncontent-length: 0\r\n\r\n", status.load(Ordering::SeqCst));
        }
    });
    port
}

#[test]
fn a_url_that_answers_otherwise_stops_it_until_it_answers_well() {
    let status = Arc::new(AtomicU16::new(200));
    let port = server(&status);
    let allow = format!("checks = {{ http = [\"http://127.0.0.1:{port}/t*\"] }}");
    let check = format!("checks: [{{ http: 'http://127.0.0.1:{port}/{{target}}', within: 1s }}]\n");
    let site = fleet(&check, &allow);
    site.apply();
    status.store(503, Ordering::SeqCst);
    change(&site, "two\n");
    let stopped = site.tidelock(["apply", "--yes"]).run().exit(4);
    let _ = stopped.says(&format!("check http http://127.0.0.1:{port}/t1: it answers 503"));
    assert_eq!(with(&site, "two\n"), ["t1"]);
    status.store(204, Ordering::SeqCst);
    site.apply();
    assert_eq!(with(&site, "two\n").len(), TARGETS);
}

#[test]
fn a_check_that_the_operator_does_not_list_is_not_asked_and_nothing_is_planned() {
    let site = fleet("checks: [{ tcp: '127.0.0.1:22' }]\n", "");
    let refused = site.tidelock(["plan"]).run().exit(1);
    let _ = refused
        .says("Nothing could be planned at")
        .says("error: web/stack.yaml: checks/0: this operator allows no check of tcp 127.0.0.1:22 (8 lanes)")
        .says("checks = { tcp = [\"127.0.0.1:22\"] }");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(1);
    assert_eq!(with(&site, "one\n"), Vec::<String>::new());
}

#[test]
fn a_stack_goes_after_what_it_needs_and_one_that_needs_itself_is_named() {
    let site = fleet("needs: [db]\n", "");
    site.repo().write("db/stack.yaml", "name: db\ntargets: [t1]\non_commit: apply\n");
    site.file("db", "b", "b\n");
    site.repo().commit("The database");
    // What db needs is not there: the rest is not begun either, on no target.
    std::fs::remove_dir_all(site.world().path("t1/srv")).unwrap();
    let waits = site.tidelock(["apply", "--yes"]).run();
    let _ = waits.says("8 lanes of web: it needs db, and db@t1 failed: server.file/b: cannot write /srv/b");
    assert_eq!(with(&site, "one\n"), Vec::<String>::new());
    std::fs::create_dir(site.world().path("t1/srv")).unwrap();
    site.tidelock(["apply", "--yes"]).run().ok();
    assert_eq!(with(&site, "one\n").len(), TARGETS);

    site.repo().edit("db/stack.yaml", "targets", "needs: [web]\ntargets").commit("In a circle");
    let circle = site.tidelock(["plan"]).run().exit(1);
    let _ = circle.says("stack db needs itself: db needs web needs db").says("db/stack.yaml");
}
