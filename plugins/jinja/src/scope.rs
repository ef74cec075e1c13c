//! What templates see, asked for when it is used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value;
use minijinja::value::{Enumerator, Object, Serde};
use tidelock_sdk::Inputs;
use tidelock_sdk::spec::escape;

/// Names that stand for more than a value of the same name.
pub(crate) const OWN: [&str; 2] = ["target", "values"];

/// The variables: `values`, `target`, and each top-level key of the values.
#[derive(Debug)]
pub(crate) struct Scope {
    values: Arc<Values>,
    target: Value,
}

impl Scope {
    pub(crate) fn of(inputs: Inputs) -> Value {
        let values = Arc::new(Values { asked: Asked(inputs.clone()), known: Mutex::default() });
        Value::from_object(Self { values, target: Value::from_object(Target(Asked(inputs))) })
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "values" => Some(Value::from_dyn_object(Arc::clone(&self.values))),
            "target" => Some(self.target.clone()),
            name => self.values.named(name),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&OWN)
    }
}

/// The inputs, which say nothing of themselves in debug output: showing them would read them.
#[derive(Clone)]
struct Asked(Inputs);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("...")
    }
}

/// The merged values: one question per top-level key that is used, or one for all of
/// them where a template walks over `values` itself.
#[derive(Debug)]
struct Values {
    asked: Asked,
    known: Mutex<BTreeMap<String, Option<Value>>>,
}

impl Values {
    fn named(&self, name: &str) -> Option<Value> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name.to_owned()).or_insert_with(|| self.ask(name)).clone()
    }

    fn ask(&self, name: &str) -> Option<Value> {
        self.asked.0.value(&format!("/{}", escape(name))).map(|value| Value::from(Serde(value)))
    }
}

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.named(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let all = self.asked.0.value("").unwrap_or_default();
        let keys = all.as_object().into_iter().flat_map(|values| values.keys());
        Enumerator::Values(keys.map(|key| Value::from(key.as_str())).collect())
    }
}

/// `target`.
#[derive(Debug)]
struct Target(Asked);

impl Object for Target {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "name" => Some(Value::from(self.0.0.target())),
            "labels" => Some(Value::from_object(Labels(self.0.clone()))),
            "facts" => Some(Value::from_object(Facts(self.0.clone()))),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["name", "labels", "facts"])
    }
}

/// `target.labels`: by name only, so that each use is one recorded question.
#[derive(Debug)]
struct Labels(Asked);

impl Object for Labels {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.0.label(key.as_str()?).map(Value::from)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// `target.facts`: by name only, as labels.
#[derive(Debug)]
struct Facts(Asked);

impl Object for Facts {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.0.fact(key.as_str()?).map(|fact| Value::from(Serde(fact)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
