//! What must hold of every plan, tried on random systems.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use tidelock_model::inventory::Origin;
use tidelock_model::name::Identity;
use tidelock_model::plan::{Action, Plan};
use tidelock_model::resource::{Notify, OnRemove};

use super::example::{Example, path};

/// What is said of one path: by Git, by the target, by the ledger and by others.
#[derive(Debug, Clone)]
struct Facts {
    wanted: Option<(u8, u8)>,
    there: Option<u8>,
    owned: Option<(bool, u8, u8, u8)>,
    claimed: bool,
    edges: Vec<u8>,
    old_edges: Vec<u8>,
    notifies: Option<u8>,
    together: bool,
}

fn facts() -> impl Strategy<Value = Facts> {
    (
        prop::option::weighted(0.6, (0..20u8, 0..3u8)),
        prop::option::weighted(0.6, 0..3u8),
        prop::option::weighted(0.5, (prop::bool::weighted(0.8), 0..20u8, 0..3u8, 0..6u8)),
        prop::bool::weighted(0.1),
        prop::collection::vec(0..16u8, 0..3),
        prop::collection::vec(0..16u8, 0..3),
        prop::option::weighted(0.2, 0..16u8),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(wanted, there, owned, claimed, edges, old_edges, notifies, together)| Facts {
            wanted,
            there,
            owned,
            claimed,
            edges,
            old_edges,
            notifies,
            together,
        })
}

fn system() -> impl Strategy<Value = Example> {
    prop::collection::vec(facts(), 1..16).prop_map(|all| build(&all))
}

fn at(i: usize) -> String {
    format!("/p{i:02}")
}

fn mode(n: u8) -> String {
    format!("060{n}")
}

fn build(all: &[Facts]) -> Example {
    let mut example = Example::new();
    let mut names = BTreeSet::new();
    let mut wanted: BTreeMap<usize, String> = BTreeMap::new();
    for (i, facts) in all.iter().enumerate() {
        let at = at(i);
        if let Some(mode_there) = facts.there {
            example.there(&at, &mode(mode_there));
        }
        if let Some((ours, old_name, old_mode, flags)) = facts.owned {
            let entry = example.owned_by(
                if ours { "web" } else { "db" },
                &format!("server.file/n{old_name}"),
                &at,
                &mode(old_mode),
            );
            entry.protect = flags == 1;
            entry.on_remove = (flags == 2).then_some(OnRemove::Release);
            entry.origin = if flags == 3 { Origin::TookOver } else { Origin::Created };
            entry.requires = facts.old_edges.iter().map(|n| path(&super::properties::at(usize::from(*n)))).collect();
        }
        if facts.claimed {
            example.claim("db", "server.file/theirs", &at);
        }
        let Some((new_name, new_mode)) = facts.wanted else { continue };
        // A second claimant is refused: tried by a test of its own.
        let theirs = facts.claimed && !facts.owned.is_some_and(|owned| owned.0);
        if theirs || !names.insert(new_name) {
            continue;
        }
        let mut spec = json!({"path": at, "mode": mode(new_mode)});
        if facts.together && facts.edges.is_empty() {
            spec["together"] = json!("group");
        }
        let id = format!("server.file/n{new_name}");
        let earlier: Vec<_> = facts.edges.iter().filter(|n| usize::from(**n) < i).copied().collect();
        let resource = example.want(&id, &spec);
        for n in earlier {
            match wanted.get(&usize::from(n)) {
                // `needs` and `requires` in turn; both must order.
                Some(other) if n % 2 == 0 => resource.needs.push(other.parse().unwrap()),
                _ => resource.requires.push(path(&super::properties::at(usize::from(n)))),
            }
        }
        wanted.insert(i, id);
    }
    example.want("server.service/s", &json!({"path": "/service"}));
    for (i, id) in &wanted {
        if all[*i].notifies.is_some() {
            let resource = example.resources.iter_mut().find(|resource| resource.id.to_string() == *id).unwrap();
            resource.notify.push(Notify { to: "server.service/s".parse().unwrap(), ask: "reload".to_owned() });
        }
    }
    example
}

/// Every group that comes before a group, directly or not.
fn ancestors(plan: &Plan) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut out: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for group in &plan.groups {
        let mut all: BTreeSet<u32> = group.after.iter().copied().collect();
        for before in &group.after {
            assert!(*before < group.id, "groups stand in their order");
            all.extend(&out[before]);
        }
        out.insert(group.id, all);
    }
    out
}

fn group_of(plan: &Plan, identity: &Identity, trigger: bool) -> Option<u32> {
    plan.changes
        .iter()
        .find(|change| change.identity == *identity && (change.action == Action::Trigger) == trigger)
        .and_then(|change| change.group)
}

/// Moves the elements of a list about, the same way for the same seed.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed | 1;
    for i in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let j = usize::try_from(state >> 33).unwrap() % (i + 1);
        list.swap(i, j);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_respects_edges(example in system()) {
        let (plan, _) = example.plan();
        let before = ancestors(&plan);
        for resource in &example.resources {
            let Some(own) = group_of(&plan, &resource.identity, false) else { continue };
            let needs = resource.needs.iter().filter_map(|need| {
                example.resources.iter().find(|other| other.id == *need).map(|other| &other.identity)
            });
            for needed in needs.chain(&resource.requires) {
                let wanted = example.resources.iter().any(|other| other.identity == *needed);
                if let Some(other) = group_of(&plan, needed, false).filter(|other| wanted && *other != own) {
                    prop_assert!(before[&own].contains(&other), "{} before {}", needed, resource.identity);
                }
            }
            for notify in &resource.notify {
                let to = example.resources.iter().find(|other| other.id == notify.to).unwrap();
                let trigger = group_of(&plan, &to.identity, true).expect("whom a change notifies is triggered");
                prop_assert!(before[&trigger].contains(&own));
            }
        }
    }

    #[test]
    fn what_is_deleted_is_ours_alone(example in system()) {
        let (plan, _) = example.plan();
        let deleted: Vec<&Identity> = plan
            .changes
            .iter()
            .filter(|change| change.action == Action::Delete)
            .map(|change| &change.identity)
            .collect();
        for identity in deleted {
            prop_assert!(!example.claims.iter().any(|claim| claim.identity == *identity), "claimed");
            prop_assert!(!example.resources.iter().any(|resource| resource.identity == *identity), "wanted");
            let entry = example.inventory.iter().find(|entry| entry.identity == *identity).expect("known");
            prop_assert!(entry.address.lane() == example.lane && !entry.protect);
            prop_assert_eq!(entry.removal(), OnRemove::Delete);
        }
        for group in &plan.groups {
            for effect in &group.effects {
                prop_assert!(
                    plan.changes.iter().any(|change| {
                        change.identity == effect.effect.identity && change.group == Some(group.id)
                    }),
                    "an effect without a change"
                );
            }
        }
    }

    #[test]
    fn the_second_plan_is_empty(mut example in system()) {
        let (plan, ledger) = example.plan();
        example.apply(&plan, &ledger);
        let (again, _) = example.plan();
        prop_assert!(!again.has_changes(), "{:#?}", again.changes);
    }

    #[test]
    fn the_order_of_inputs_does_not_matter(example in system(), seed in any::<u64>()) {
        let (plan, ledger) = example.plan();
        let mut other = example.clone();
        shuffle(&mut other.resources, seed);
        shuffle(&mut other.inventory, seed);
        shuffle(&mut other.claims, seed);
        let (same, same_ledger) = other.plan();
        prop_assert_eq!(serde_json::to_string(&plan).unwrap(), serde_json::to_string(&same).unwrap());
        prop_assert_eq!(ledger, same_ledger);
    }

    #[test]
    fn digests_cover_what_is_done_and_no_prose(example in system()) {
        let (plan, _) = example.plan();
        let mut prose = example.clone();
        prose.revision.id = "ffffffffffff".to_owned();
        prose.revision.subject = "Other words".to_owned();
        for resource in &mut prose.resources {
            resource.place.line += 100;
        }
        prose.hint = Some(tidelock_model::plan::Cause::Rollback);
        prop_assert_eq!(&prose.plan().0.digest, &plan.digest);

        let mut other = example.clone();
        other.resources[0].spec["mode"] = json!("0777");
        prop_assert_ne!(&other.plan().0.digest, &plan.digest);
        let mut other = example.clone();
        other.digest = "another plugin";
        prop_assert_ne!(&other.plan().0.digest, &plan.digest);
        if let Some(change) = plan.changes.iter().find(|change| change.action == Action::Create) {
            let mut other = example;
            other.there(change.identity.path().unwrap(), "0777");
            prop_assert_ne!(&other.plan().0.digest, &plan.digest);
        }
    }
}
