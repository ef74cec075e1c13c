//! Ten thousand resources in one lane are ordinary. The bounds are several times
//! what a slow machine needs, so that they catch a wrong shape, not a busy hour.

use std::time::{Duration, Instant};

use tidelock_model::port::Store;

use crate::support::{Place, at, begin, create, lane, name, settled};

const MANY: u32 = 10_000;

#[test]
fn ten_thousand_lines_are_one_short_write_and_one_short_read() {
    let place = Place::new();
    let store = place.open();
    let lane = lane("infra:web@local");
    let lease = begin(&store, "r1", &lane);
    let intents: Vec<_> = (0..MANY).map(|n| create("r1", &lane, n)).collect();
    let known: Vec<_> = intents.iter().map(|intent| settled(intent, "done")).collect();

    let put = timed("put 10,000 intents", || store.put_intents(&lease, &intents).unwrap());
    let settle = timed("settle them", || store.settle(&lease, at(2), &known).unwrap());
    let read = timed("read 10,000 lines", || {
        assert_eq!(store.inventory(&name("local")).unwrap().len(), MANY as usize);
    });
    let claims: Vec<_> = known
        .iter()
        .map(|settled| &settled.intent.changes[0])
        .map(|change| tidelock_model::inventory::Claim {
            target: lane.target.clone(),
            identity: change.identity.clone(),
            source: lane.source.clone(),
            stack: lane.stack.clone(),
            resource: change.address.resource.clone(),
        })
        .collect();
    timed("put 10,000 claims", || store.put_claims(&lane, "a", &claims).unwrap());
    let again = timed("put them again at another revision", || store.put_claims(&lane, "b", &claims).unwrap());

    assert!(put < Duration::from_secs(5), "{put:?}");
    assert!(settle < Duration::from_secs(5), "{settle:?}");
    assert!(read < Duration::from_secs(1), "{read:?}");
    assert!(again < Duration::from_secs(1), "{again:?}");
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> Duration {
    let since = Instant::now();
    work();
    let took = since.elapsed();
    println!("{what}: {took:?}");
    took
}
