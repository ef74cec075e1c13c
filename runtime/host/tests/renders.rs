//! Renderers: what they read is recorded, what they give is bounded.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{World, name, tight};
use serde_json::json;
use tidelock_model::digest::Digest;
use tidelock_model::error::Fault;
use tidelock_model::limits::Limits;
use tidelock_model::port::{PluginError, RenderInputs, Rendered, SourceError, Tree, TreeEntry};
use tidelock_model::reads::{self, Question};

/// Files in memory. `panic` panics, as a fault of the host; `corrupt` is corrupt.
struct Files(BTreeMap<String, Vec<u8>>);

impl Tree for Files {
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError> {
        match path.rsplit('/').next() {
            Some("panic") => panic!("a fault of the host"),
            Some("corrupt") => return Err(SourceError::new("corrupt", "object 1234 of `corrupt` cannot be read")),
            _ => {}
        }
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
    fn glob(&self, dir: &str, pattern: &str) -> Result<Vec<String>, SourceError> {
        let glob =
            tidelock_model::grant::glob(pattern, true).map_err(|fault| SourceError::new("invalid", fault.message))?;
        let names = self.0.keys().filter_map(|path| path.strip_prefix(&format!("{dir}/")));
        Ok(names.filter(|name| glob.is_match(name)).map(str::to_owned).collect())
    }
    fn holding(&self, _: &str) -> Result<Vec<String>, SourceError> {
        Ok(vec![])
    }
}

fn inputs(word: &str) -> RenderInputs {
    let files =
        [("web/a.txt", "a"), ("web/b.txt", "one\ntwo \u{1b}[2J\nthree\n"), ("web/c.md", "c"), ("other/d.txt", "d")];
    RenderInputs {
        tree: Arc::new(Files(
            files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
        )),
        module: "web".into(),
        settings: json!({"do": word}),
        values: json!({"a": {"b": 3}}),
        target: name("web-1"),
        labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        facts: BTreeMap::from([("os".to_owned(), json!("debian"))]),
    }
}

async fn render(world: &World, word: &str) -> Result<Rendered, PluginError> {
    world.renderer().await.render(&inputs(word)).await
}

async fn fault(world: &World, word: &str) -> Fault {
    match render(world, word).await {
        Err(PluginError::Fault(fault)) => fault,
        other => panic!("{word}: {other:?}"),
    }
}

#[tokio::test]
async fn a_render_records_each_question_once_not_found_too() {
    let world = World::new();
    let rendered = render(&world, "honest").await.unwrap();
    let docs: Vec<_> = rendered.docs.iter().map(|doc| (doc.document.as_str(), doc.place.file.as_str())).collect();
    assert_eq!(docs, [(r#"{"name":"a.txt","size":1}"#, "web/a.txt"), (r#"{"name":"b.txt","size":19}"#, "web/b.txt")]);
    let questions: Vec<_> = rendered.reads.iter().map(|read| read.question.clone()).collect();
    let file = |path: &str| Question::File(path.to_owned());
    assert_eq!(
        questions,
        [
            file("web/a.txt"),
            file("web/b.txt"),
            file("web/missing.txt"),
            Question::Glob("*.txt".into()),
            Question::Settings
        ]
    );
    for read in &rendered.reads {
        assert_eq!(reads::answer(&read.question, &inputs("honest")).unwrap(), read.answer);
    }
    assert_eq!(render(&world, "honest").await.unwrap(), rendered, "equal answers, equal output");
}

#[tokio::test]
async fn inputs_are_read_and_recorded_by_name() {
    let world = World::new();
    let rendered = render(&world, "inputs").await.unwrap();
    assert_eq!(rendered.docs[0].document, r#"{"said":"web-1 Some(3) None Some(web) Some(debian)"}"#);
    assert!(rendered.reads.iter().any(|read| read.question == Question::Values("/nothing".into())));
    assert!(rendered.reads.iter().any(|read| read.question == Question::Target));
}

#[tokio::test]
async fn problems_come_with_the_line_that_they_are_about() {
    let world = World::new();
    let Err(PluginError::Problems(problems)) = render(&world, "problems").await else { panic!("no problems") };
    assert_eq!(problems[0].message, "bad\u{fffd}[2J colour");
    assert_eq!(problems[0].place.as_ref().unwrap().to_string(), "web/b.txt:2:1");
    assert_eq!(problems[0].snippet.as_deref(), Some("two \u{fffd}[2J"));
    assert_eq!(problems[0].hint.as_deref(), Some("mend\u{fffd}[2J it"));
    assert_eq!(problems[1].place, None, "a place outside of the source is dropped");
    assert!(fault(&world, "no-problems").await.message.contains("did not say why"));
}

#[tokio::test]
async fn misdeeds_of_a_renderer_end_its_render() {
    for (word, code, words) in [
        ("loop", "timeout", "did not end `render` within 1500 ms"),
        ("panic", "trap", "panicked: no paint at renderer/src/lib.rs:"),
        ("grow-memory", "limit", "wants more memory"),
        ("emit-flood", "limit", "hands over too much"),
        ("question-flood", "limit", "hands over too much"),
        ("emit-rubbish", "rule", "emitted a resource as JSON that cannot be read"),
        ("emit-list", "rule", "not an object"),
        ("emit-elsewhere", "rule", "which is not a path of the source"),
    ] {
        let world = World::with(Limits { render_ms: if code == "timeout" { 1500 } else { 20_000 }, ..tight() });
        let fault = fault(&world, word).await;
        assert_eq!(fault.code, code, "{word}: {fault:?}");
        assert!(fault.message.contains(words) && fault.message.contains("painter"), "{word}: {fault}");
        world.assert_recorded(&fault);
    }
}

#[tokio::test]
async fn a_tree_that_cannot_answer_ends_the_render_whatever_the_guest_does() {
    let world = World::new();
    let fault = fault(&world, "swallow").await;
    assert_eq!(fault.code, "corrupt");
    assert!(fault.message.contains("object 1234"), "{fault}");
}

#[tokio::test]
async fn a_bad_pattern_is_the_guests_to_mend() {
    let world = World::new();
    render(&world, "bad-pattern").await.unwrap();
    assert!(world.heard.log()[0].contains("pattern"), "{:?}", world.heard.log());
}

#[tokio::test]
async fn no_path_leaves_the_source() {
    let world = World::new();
    let rendered = render(&world, "climb").await.unwrap();
    assert_eq!(world.heard.log(), ["Ok(None)"]);
    assert!(rendered.reads.iter().any(|read| read.question == Question::File("etc/passwd".into())));
}

#[tokio::test]
async fn a_panic_of_the_host_is_a_fault_and_the_host_goes_on() {
    let world = World::new();
    let renderer = world.renderer().await;
    let PluginError::Fault(fault) = renderer.render(&inputs("host-panic")).await.unwrap_err() else { panic!() };
    assert_eq!(fault.code, "panic");
    assert!(fault.message.contains("a fault of the host") && fault.message.contains("painter"), "{fault}");
    assert!(renderer.render(&inputs("honest")).await.is_ok());
}
