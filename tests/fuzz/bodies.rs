//! What must hold for whatever others make us read: no panic, no answer that
//! contradicts itself, and errors that a person can act on.
//!
//! Each function takes any bytes and says whether they were accepted. The libFuzzer
//! targets beside this file call them, and so does `tests/tests/fuzz_bodies.rs` with
//! proptest, which is part of the ordinary tests. Nothing here knows which it is.

use std::collections::BTreeMap;

use serde_json::Value;
use tidelock_model::digest::{Digest, canonical};
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::plan::Plan;
use tidelock_model::port::{SourceError, Tree, TreeEntry};
use tidelock_model::resource::{RenderedDoc, ResourceDecl};
use tidelock_model::snippet::Hidden;
use tidelock_model::stack::StackDecl;
use tidelock_reconcile::read;
use tidelock_source::allowed_signers as signers;

/// Takes any bytes, and says whether they were accepted.
pub type Body = fn(&[u8]) -> bool;

/// Every target with its body.
pub const ALL: [(&str, Body); 5] = [
    ("stack", stack),
    ("resource", resource),
    ("values", values),
    ("plan", plan),
    ("allowed_signers", allowed_signers),
];

/// `stack.yaml`.
pub fn stack(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match read::stack::parse(text, "envs/prod") {
        Ok(stack) => {
            let again: StackDecl = serde_json::from_value(serde_json::to_value(&stack.decl).unwrap()).unwrap();
            assert_eq!(again, stack.decl, "a stack survives its own JSON");
            assert_eq!(stack.dir, "envs/prod");
            let module = stack.module();
            let inside = |part: &str| !matches!(part, "" | "." | "..");
            assert!(module.is_empty() || module.split('/').all(inside), "{module:?} leaves the source");
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                helpful(problem, "envs/prod/stack.yaml", text);
            }
            false
        }
    }
}

/// A resource, as a renderer hands it over: JSON, here from YAML or as it is.
pub fn resource(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let file = "web/motd.yaml";
    let mut accepted = false;
    let from_yaml = match read::yaml::value(text, file) {
        Ok(value) => Some(value.to_string()),
        Err(problem) => {
            helpful(&problem, file, text);
            None
        }
    };
    let tree = Files(BTreeMap::from([(file.to_owned(), input.to_vec())]));
    for document in from_yaml.into_iter().chain([text.to_owned()]) {
        let doc = RenderedDoc { document, place: Place { file: file.to_owned(), line: 1, column: 1 } };
        match read::resource::parse(&doc) {
            Ok(resource) => {
                accepted = true;
                let decl = &resource.decl;
                let again: ResourceDecl = serde_json::from_value(serde_json::to_value(decl).unwrap()).unwrap();
                assert_eq!(&again, decl, "a resource survives its own JSON");
                assert_eq!(decl.id().to_string().parse(), Ok(decl.id()), "its name can be typed");
                assert!(decl.spec.is_object());
                assert!(decl.ignore.iter().all(|pointer| pointer.starts_with('/')));
                let twice = read::resource::all(&[doc.clone(), doc]).unwrap_err();
                assert!(twice[0].message.contains("declared twice"), "{}", twice[0].message);
            }
            Err(problem) => {
                helpful(&problem, file, text);
                for mut problem in read::resource::all(&[doc]).unwrap_err() {
                    read::resource::with_snippet(&mut problem, &tree, &Hidden::new());
                    helpful(&problem, file, text);
                }
            }
        }
    }
    accepted
}

/// Layers of values, one below the other, parted by lines of `---`.
pub fn values(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let texts: Vec<&str> = text.splitn(3, "\n---\n").collect();
    let files = texts.iter().enumerate().map(|(n, text)| (format!("{n}.yaml"), text.as_bytes().to_vec()));
    let tree = Files(files.collect());
    let stack = "name: web\ntargets: [web-1]\nvalues: [0.yaml, '1.yaml?', '{target}.yaml?', '2.yaml?']\n";
    let stack = read::stack::parse(stack, "").expect("a plain stack");
    let layers = match read::values::layers(&tree, &stack, "web-1") {
        Ok(layers) => layers,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                assert!(!problem.message.is_empty());
                assert!(problem.place.as_ref().is_some_and(|place| place.file.ends_with(".yaml")));
            }
            return false;
        }
    };
    let parsed: Vec<Value> = texts
        .iter()
        .map(|text| read::yaml::value(text, "again").expect("it was read a moment ago"))
        .filter(|value| !value.is_null())
        .collect();
    assert_eq!(layers.files.len(), texts.len());
    for (n, layer) in parsed.iter().enumerate() {
        // Nothing of the last layer is lost, and what it says nothing about stays.
        let last = n + 1 == parsed.len();
        visit(layer, &mut String::new(), &mut |pointer, value| {
            let merged = layers.values.pointer(pointer);
            if last && !value.is_object() {
                assert_eq!(merged, Some(value), "{pointer} of the last layer");
            }
            assert!(merged.is_some() || n + 1 < parsed.len(), "{pointer} is gone");
        });
        let mut again = layers.values.clone();
        if last {
            read::values::merge(&mut again, layer.clone());
            assert_eq!(again, layers.values, "the last layer once more changes nothing");
        }
    }
    let mut itself = layers.values.clone();
    read::values::merge(&mut itself, layers.values.clone());
    assert_eq!(itself, layers.values, "merged with itself it is itself");
    for (pointer, file) in &layers.set_by {
        assert!(layers.files.contains(file), "{pointer} was set by {file}, which was not read");
    }
    true
}

/// The JSON of a plan: from a file that anybody may have written.
pub fn plan(input: &[u8]) -> bool {
    if let Ok(value) = serde_json::from_slice::<Value>(input) {
        let text = canonical(&value);
        let again: Value = serde_json::from_str(&text).expect("canonical JSON is JSON");
        assert_eq!(canonical(&again), text, "canonical JSON is its own canonical form");
        assert_eq!(Digest::of_json(&again), Digest::of_json(&value));
    }
    let Ok(plan) = serde_json::from_slice::<Plan>(input) else { return false };
    let text = serde_json::to_string(&plan).expect("a plan can be written");
    let again: Plan = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again, plan, "a plan survives being saved");
    assert_eq!(serde_json::to_string(&again).expect("again"), text, "equal plans have equal bytes");
    for group in &plan.groups {
        for planned in &group.effects {
            assert!(!planned.effect.body.summary().is_empty());
            assert!(!planned.effect.body.word().is_empty());
        }
    }
    let _ = (plan.has_changes(), plan.has_effects());
    for lane in &plan.lanes {
        assert!(plan.changes_of(&lane.lane).all(|change| change.target == lane.lane.target));
    }
    true
}

/// OpenSSH's `allowed_signers`.
pub fn allowed_signers(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match signers::parse(text, "allowed_signers") {
        Ok(signers) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).count();
            assert!(signers.len() <= lines, "more keys than lines");
            #[expect(clippy::len_zero, reason = "the two are compared with each other")]
            let none = signers.len() == 0;
            assert_eq!(signers.is_empty(), none);
            // Who is listed does not depend on what else stands there, and a line that
            // cannot be read is never passed over.
            let twice = signers::parse(&format!("{text}\n# a remark\n\n{text}\n"), "allowed_signers");
            assert_eq!(twice.expect("each half was read").len(), 2 * signers.len());
            let spoilt = signers::parse(&format!("{text}\nann@example.com\n"), "allowed_signers");
            assert!(spoilt.is_err(), "a line without a key was passed over");
            true
        }
        Err(error) => {
            assert_eq!(error.code, "invalid");
            assert!(error.message.starts_with("allowed_signers"), "{}", error.message);
            assert!(!error.retryable, "another try reads the same file");
            false
        }
    }
}

/// A diagnostic names its file and a line that is there, and says something.
fn helpful(problem: &Diagnostic, file: &str, text: &str) {
    assert!(!problem.message.is_empty(), "an error without words");
    let place = problem.place.as_ref().expect("an error without a place");
    assert_eq!(place.file, file);
    // In YAML a lone carriage return ends a line too; and a parser may stop at the end
    // of the text, which is a line after the last.
    let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count() + 2;
    assert!(place.line as usize <= lines, "line {} of {lines}: {}", place.line, problem.message);
}

/// Calls for each value with its JSON pointer, the whole first.
fn visit(value: &Value, pointer: &mut String, call: &mut dyn FnMut(&str, &Value)) {
    call(pointer, value);
    let Value::Object(map) = value else { return };
    for (key, value) in map {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        visit(value, pointer, call);
        pointer.truncate(length);
    }
}

/// A tree of a few files in one directory.
struct Files(BTreeMap<String, Vec<u8>>);

impl Tree for Files {
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError> {
        Ok(self.0.get(path).map(|content| TreeEntry {
            name: path.rsplit('/').next().unwrap_or(path).to_owned(),
            id: Digest::of(content).to_string(),
            size: content.len() as u64,
            dir: false,
        }))
    }

    fn list(&self, _: &str) -> Result<Option<Vec<TreeEntry>>, SourceError> {
        Ok(None)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }

    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError> {
        Ok(self.0.get(path).map(|content| (Digest::of(content), content.len() as u64)))
    }

    fn glob(&self, _: &str, _: &str) -> Result<Vec<String>, SourceError> {
        Ok(vec![])
    }

    fn holding(&self, _: &str) -> Result<Vec<String>, SourceError> {
        Ok(vec![])
    }
}
