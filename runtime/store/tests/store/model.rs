//! Random histories against a model of a few lines: what the ledger and the due
//! triggers should be after any sequence of intents and outcomes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidelock_model::plan::Action;
use tidelock_model::port::{Settled, Store};
use tidelock_model::run::{Intent, Trigger};
use tidelock_store::SqliteStore;

use crate::support::{address, apply, at, begin, change, create, effect, entry, lane, name, trigger};

const ACTIONS: [Action; 6] =
    [Action::Create, Action::Update, Action::Delete, Action::Move, Action::Release, Action::Trigger];
const OUTCOMES: [&str; 4] = ["done", "failed", "unknown", "not-begun"];

/// One change of a group: which of a few identities and names, what, whether it asks
/// something, and what becomes of it.
#[derive(Debug, Clone)]
struct Step {
    identity: usize,
    name: usize,
    action: Action,
    asks: Option<usize>,
    outcome: &'static str,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (0..4_usize, 0..3_usize, 0..6_usize, prop::option::of(0..2_usize), 0..4_usize).prop_map(
        |(identity, name, action, asks, outcome)| Step {
            identity,
            name,
            action: ACTIONS[action],
            asks,
            outcome: OUTCOMES[outcome],
        },
    );
    // In a group an identity and a name occur once, as in a plan.
    let group = prop::collection::vec(step, 1..4).prop_map(|mut group| {
        let mut seen = BTreeSet::new();
        group.retain(|step| seen.insert(("identity", step.identity)) && seen.insert(("name", step.name)));
        group
    });
    prop::collection::vec(group, 1..12)
}

/// What the model remembers: the ledger by identity, and each asked trigger with the
/// group that asked.
#[derive(Default)]
struct Model {
    ledger: BTreeMap<String, String>,
    asked: Vec<(usize, Trigger)>,
}

impl Model {
    fn settle(&mut self, group: usize, intent: &Intent, steps: &[Step]) {
        for (change, step) in intent.changes.iter().zip(steps) {
            let to = &change.address;
            match (step.outcome, change.action) {
                ("done", Action::Trigger) => self.asked.retain(|(by, asked)| asked.to != *to || *by > group),
                ("done", Action::Delete | Action::Release) => {
                    self.ledger.remove(change.identity.as_str());
                    self.asked.retain(|(_, asked)| asked.to != *to);
                }
                ("done", _) => {
                    self.ledger.insert(change.identity.to_string(), to.to_string());
                }
                ("not-begun", _) => self.asked.retain(|(by, asked)| *by != group || asked.from != to.resource),
                _ => {}
            }
        }
    }

    fn due(&self) -> Vec<Trigger> {
        let due: BTreeSet<Trigger> = self.asked.iter().map(|(_, trigger)| trigger.clone()).collect();
        due.into_iter().collect()
    }
}

fn intent_of(group: usize, steps: &[Step]) -> Intent {
    let at = |step: &Step| address(&format!("infra:web:server.file/n{}@local", step.name));
    let mut intent =
        Intent { run: "r1".into(), group: group as u32, changes: vec![], effects: vec![], triggers: vec![] };
    for step in steps {
        let identity = format!("path:/{}", step.identity);
        let ends = matches!(step.action, Action::Delete | Action::Release | Action::Trigger);
        let line = (!ends).then(|| entry(&at(step), &identity, "r1"));
        intent.changes.push(change(&at(step), &identity, step.action, line));
        intent.effects.push(effect(&at(step), &identity));
        if let Some(to) = step.asks {
            let to = address(&format!("infra:web:server.file/n{to}@local"));
            intent.triggers.push(trigger(&to, &at(step).resource.to_string()));
        }
    }
    intent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_what_was_done(groups in steps(), together in any::<bool>()) {
        let store = SqliteStore::in_memory().unwrap();
        let lane = lane("infra:web@local");
        let lease = begin(&store, "r1", &lane);
        let mut model = Model::default();
        let intents: Vec<Intent> = groups.iter().enumerate().map(|(n, steps)| intent_of(n, steps)).collect();
        // All intents first, or each just before its outcome.
        if together {
            store.put_intents(&lease, &intents).unwrap();
            for (n, intent) in intents.iter().enumerate() {
                model.asked.extend(intent.triggers.iter().map(|trigger| (n, trigger.clone())));
            }
        }
        for (n, (intent, steps)) in intents.iter().zip(&groups).enumerate() {
            if !together {
                store.put_intents(&lease, std::slice::from_ref(intent)).unwrap();
                model.asked.extend(intent.triggers.iter().map(|trigger| (n, trigger.clone())));
            }
            let changes = steps.iter().map(|step| (step.outcome.to_owned(), None)).collect();
            store.settle(&lease, at(2), &[Settled { intent: intent.clone(), changes }]).unwrap();
            model.settle(n, intent, steps);

            let ledger: BTreeMap<String, String> = store
                .inventory(&name("local"))
                .unwrap()
                .into_iter()
                .map(|entry| (entry.identity.to_string(), entry.address.to_string()))
                .collect();
            prop_assert_eq!(&ledger, &model.ledger);
            prop_assert_eq!(store.due_triggers(&lane).unwrap(), model.due());
        }
        let changes: usize = groups.iter().map(Vec::len).sum();
        prop_assert_eq!(store.history(&tidelock_model::port::Filter::default()).unwrap().len(), changes);
        prop_assert!(store.open_intents(&lane).unwrap().is_empty());
        store.check().unwrap();
    }

    /// A digest covers numbers too: one that comes back a bit different is a stale plan.
    #[test]
    fn numbers_survive_to_the_last_bit(numbers in prop::collection::vec(any::<f64>(), 1..50)) {
        let store = SqliteStore::in_memory().unwrap();
        let lane = lane("infra:web@local");
        let lease = begin(&store, "r1", &lane);
        let mut intent = create("r1", &lane, 1);
        let written = intent.changes[0].entry.as_mut().unwrap();
        written.applied = serde_json::json!({ "numbers": numbers });
        let written = written.clone();
        apply(&store, &lease, &[intent], "done");
        prop_assert_eq!(store.inventory(&name("local")).unwrap(), [written]);
    }
}
