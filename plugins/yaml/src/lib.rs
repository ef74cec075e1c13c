//! The renderer `yaml`: every YAML document of the module is a resource.
//!
//! It reads all `*.yaml` and `*.yml` below the module's directory but `stack.yaml`, the
//! stack's values files and what `settings.exclude` names. Nested stacks and names that
//! start with a dot are passed over by the host. What SOPS encrypted holds secrets and no
//! resources. Values are not looked at: who wants them wants the renderer `jinja`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidelock_documents::{Fault, Limits, read};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Inputs, Output, Place, Problem, Problems, Renderer, Tree};

/// What makes a directory a stack.
const STACK: &str = "stack.yaml";

/// The renderer.
pub struct Yaml;

/// The stack's `settings:`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Patterns of files that hold no resources, such as `notes/**`.
    #[serde(default)]
    exclude: Vec<String>,
}

impl Renderer for Yaml {
    const NAME: &'static str = "yaml";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Every YAML document of the module is a resource";

    type Settings = Settings;

    fn render(tree: &Tree, inputs: &Inputs, out: &mut Output) -> Result<(), Problems> {
        let settings: Settings = inputs.settings()?;
        let mut passed_over: BTreeSet<String> = inputs.values_files()?.into_iter().collect();
        passed_over.insert(STACK.to_owned());
        for pattern in &settings.exclude {
            passed_over.extend(tree.glob(pattern)?);
        }
        let mut problems = Problems::default();
        for file in tree.glob("**/*.{yaml,yml}")? {
            if !passed_over.contains(&file) {
                problems.take(resources(&file, tree, out));
            }
        }
        problems.into_result()
    }
}

fn resources(file: &str, tree: &Tree, out: &mut Output) -> Result<(), Problems> {
    let text = tree.text(file).map_err(|error| Problem::new(error.message).at(Place::file(file)))?;
    // Gone between two answers of one revision: the host would be wrong, not Git.
    let Some(text) = text else { return Ok(()) };
    let (documents, fault) = read(&text, &Limits::default());
    let mut problems = Problems::default();
    for document in documents {
        let place = Place::at(file, document.line, document.column);
        if is_encrypted(&document.value) {
            continue;
        }
        if document.value.is_object() {
            out.emit(&document.value, place)?;
        } else {
            problems.push(not_a_resource(place));
        }
    }
    problems.0.extend(fault.map(|fault| problem(file, fault)));
    problems.into_result()
}

/// Whether SOPS wrote it: what it says of itself has a MAC.
fn is_encrypted(value: &Value) -> bool {
    value.pointer("/sops/mac").is_some_and(Value::is_string)
}

fn not_a_resource(place: Place) -> Problem {
    Problem::new("this document is not a mapping with `kind`, `name` and `spec`")
        .at(place)
        .hint("name a file without resources in `settings: { exclude: [...] }` of stack.yaml")
}

fn problem(file: &str, fault: Fault) -> Problem {
    Problem { message: fault.message, place: Some(Place::at(file, fault.line, fault.column)), hint: fault.hint }
}

tidelock_sdk::register_renderer!(Yaml);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidelock_sdk::testkit::{Question, Tree};

    use super::*;

    const MOTD: &str = "kind: server.file\nname: motd\nspec: {path: /etc/motd, content: hi, mode: '0644'}\n";

    fn problems(tree: &Tree) -> Vec<(String, Option<Place>)> {
        let found = tree.render::<Yaml>().unwrap_err();
        found.0.into_iter().map(|problem| (problem.message, problem.place)).collect()
    }

    #[test]
    fn every_document_is_a_resource_with_its_place() {
        let two = format!("# first\n{MOTD}---\n{MOTD}");
        let tree = Tree::new([("a.yaml", MOTD), ("sub/b.yml", &two), ("notes.txt", "no")]);
        let rendered = tree.render::<Yaml>().unwrap();
        let places: Vec<_> = rendered.iter().map(|(_, place)| place.clone()).collect();
        assert_eq!(places, [Place::at("a.yaml", 1, 1), Place::at("sub/b.yml", 2, 1), Place::at("sub/b.yml", 6, 1)]);
        let spec = json!({"path": "/etc/motd", "content": "hi", "mode": "0644"});
        assert_eq!(rendered[0].0, json!({"kind": "server.file", "name": "motd", "spec": spec}));
    }

    #[test]
    fn stacks_values_and_excluded_files_hold_no_resources() {
        let tree = Tree::new([
            ("stack.yaml", "name: x"),
            ("values.yaml", "a: 1"),
            ("notes/x.yaml", "- just a list"),
            (".hidden.yaml", "- x"),
            ("nested/stack.yaml", "name: y"),
            ("nested/a.yaml", MOTD),
            ("a.yaml", MOTD),
        ])
        .settings(json!({"$values": ["values.yaml"], "exclude": ["notes/**"]}));
        assert_eq!(tree.render::<Yaml>().unwrap().len(), 1);
        assert!(!tree.asked().contains(&Question::File("values.yaml".into())), "what is passed over is not read");
        assert!(!tree.asked().iter().any(|asked| matches!(asked, Question::Values(_))));
    }

    #[test]
    fn what_sops_encrypted_holds_no_resources() {
        let sops = "db: {password: 'ENC[AES256_GCM,data:x]'}\nsops: {mac: 'ENC[AES256_GCM,data:y]', version: 3.11.0}\n";
        let tree = Tree::new([("a.yaml", MOTD), ("secrets.yaml", sops), ("b.yaml", "sops: {version: 3}\nkind: x\n")]);
        assert_eq!(tree.render::<Yaml>().unwrap().len(), 2, "a resource that is called so is one");
    }

    #[test]
    fn all_problems_are_found_with_their_places() {
        let tree = Tree::new([
            ("a.yaml", "kind: x\nkind: y\n"),
            ("b.yaml", "- a list\n"),
            ("c.yaml", "a: [\n"),
            ("d.yaml", MOTD),
        ]);
        let found = problems(&tree);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].1, Some(Place::at("a.yaml", 2, 1)));
        assert_eq!(found[1].1, Some(Place::at("b.yaml", 1, 1)));
        assert!(found[2].1.as_ref().is_some_and(|place| place.file == "c.yaml" && place.line > 0));
    }

    #[test]
    fn text_that_is_no_text_is_named() {
        let tree = Tree::new([("a.yaml", b"a: 1\nb: \xff\n".to_vec())]);
        let found = problems(&tree);
        assert!(found[0].0.contains("not UTF-8") && found[0].0.contains("line 2"), "{found:?}");
    }

    #[test]
    fn settings_that_do_not_exist_are_named() {
        let tree = Tree::new([("a.yaml", MOTD)]).settings(json!({"exclud": []}));
        let problem = tree.render::<Yaml>().unwrap_err().0.remove(0);
        assert_eq!(problem.hint.as_deref(), Some("did you mean `exclude`?"));
    }

    #[test]
    fn pages_stay_small() {
        let many: String =
            (0..1201).map(|n| format!("---\nkind: server.file\nname: n{n}\nspec: {{path: /n{n}}}\n")).collect();
        let tree = Tree::new([("a.yaml", many)]);
        assert_eq!(tree.render::<Yaml>().unwrap().len(), 1201);
        assert_eq!(tree.pages(), [500, 500, 201]);
    }

    #[test]
    fn the_same_module_renders_the_same() {
        let tree = Tree::new([("b.yaml", MOTD), ("a.yaml", MOTD)]);
        assert_eq!(tree.render::<Yaml>().unwrap(), tree.render::<Yaml>().unwrap());
    }
}
