//! A renderer of JSON files, and a provider that puts files on a machine.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, Effect, EffectBody, Precondition};
use tidelock_model::error::{Blame, Fault, Place};
use tidelock_model::kind::{Checked, FieldInfo, KindInfo, ProviderInfo, RendererInfo, Roles};
use tidelock_model::name::{Identity, Name};
use tidelock_model::network::{NetworkEffect, Object, ObjectName, Sysctl};
use tidelock_model::observation::{Observation, Readiness, Subject};
use tidelock_model::plan::Action;
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{
    Declared, PluginError, Plugins, Provider, RenderInputs, Rendered, Renderer, StepAnswer, StepRequest,
};
use tidelock_model::reads::{Question, Read, answer};
use tidelock_model::resource::RenderedDoc;

use super::machine::{Machine, setting, state};

fn plugin(name: &str) -> PluginRef {
    PluginRef { name: name.to_owned(), version: "1.0.0".into(), digest: Digest::of(name.as_bytes()) }
}

pub(super) struct FakePlugins(pub(super) Arc<Machine>);

#[async_trait]
impl Plugins for FakePlugins {
    async fn renderer(&self, _: &str) -> Result<Arc<dyn Renderer>, Fault> {
        Ok(Arc::new(FakeRenderer(plugin("fake"))))
    }
    async fn provider(&self, name: &str, _: &Name) -> Result<Arc<dyn Provider>, Fault> {
        if name != "fake" {
            return Err(Fault::new("not-found", Blame::Target, format!("there is no plugin {name}")));
        }
        Ok(Arc::new(FakeProvider { plugin: plugin("fake"), machine: self.0.clone() }))
    }
}

/// Reads `*.json`, a resource each.
struct FakeRenderer(PluginRef);

#[async_trait]
impl Renderer for FakeRenderer {
    fn plugin(&self) -> &PluginRef {
        &self.0
    }
    async fn describe(&self) -> Result<RendererInfo, Fault> {
        Ok(RendererInfo {
            name: "fake".into(),
            version: "1".into(),
            summary: String::new(),
            settings_schema: json!({}),
        })
    }
    async fn render(&self, inputs: &RenderInputs) -> Result<Rendered, PluginError> {
        let mut questions = vec![Question::Glob("*.json".into())];
        let mut docs = Vec::new();
        for file in inputs.tree.glob("", "*.json").unwrap() {
            let text = inputs.tree.read(&file).unwrap().unwrap();
            questions.push(Question::File(file.clone()));
            let place = Place { file, line: 1, column: 1 };
            docs.push(RenderedDoc { document: String::from_utf8(text).unwrap(), place });
        }
        let reads = questions
            .into_iter()
            .map(|question| Read { answer: answer(&question, inputs).unwrap(), question })
            .collect();
        Ok(Rendered { docs, reads })
    }
}

struct FakeProvider {
    plugin: PluginRef,
    machine: Arc<Machine>,
}

#[async_trait]
impl Provider for FakeProvider {
    fn plugin(&self) -> &PluginRef {
        &self.plugin
    }

    async fn describe(&self) -> Result<ProviderInfo, Fault> {
        let content = FieldInfo {
            path: "/content".into(),
            roles: Roles { content: true, ..Roles::default() },
            list_key: None,
            owns_listed: false,
            default: None,
        };
        let file = KindInfo {
            name: "file".into(),
            doc: String::new(),
            schema: json!({}),
            fields: vec![content],
            holds_data: false,
            whole_target: false,
            settle_ms: 0,
            triggers: vec!["reload".into()],
        };
        Ok(ProviderInfo { name: "fake".into(), version: "1".into(), summary: String::new(), kinds: vec![file] })
    }

    async fn check(&self, resources: &[Declared]) -> Result<Vec<Checked>, Fault> {
        Ok(resources
            .iter()
            .map(|resource| Checked {
                identity: Identity::new(format!("path:{}", resource.spec["path"].as_str().unwrap_or_default())),
                provides: vec![],
                requires: vec![],
                parts: vec![],
                diagnostics: vec![],
            })
            .collect())
    }

    async fn normalise(&self, resources: &[Declared]) -> Result<Vec<Result<Value, Fault>>, Fault> {
        Ok(resources.iter().map(|resource| Ok(resource.spec.clone())).collect())
    }

    async fn observe(&self, subjects: &[Subject]) -> Result<Vec<Observation>, Fault> {
        if *self.machine.blinds.lock().unwrap() && !self.machine.performed.lock().unwrap().is_empty() {
            return Err(Fault::new("io", Blame::Target, "it does not answer"));
        }
        let paths = self.machine.paths.lock().unwrap();
        let after = self.machine.after.lock().unwrap();
        Ok(subjects
            .iter()
            .map(|subject| {
                let path = subject.identity.path().unwrap();
                if let Some(first) = after.get(path).filter(|first| !paths.contains_key(*first)) {
                    return Observation::Waits { on: Identity::of_path(first), why: "not there".into() };
                }
                match paths.get(path) {
                    None => Observation::Absent { seen: vec![path.to_owned()] },
                    Some(digest) => Observation::Present {
                        observed: json!({"path": path, "content": {"digest": digest}}),
                        unknown: vec![],
                        handle: None,
                        readiness: Readiness::Ready,
                        seen: vec![path.to_owned()],
                        probes: vec![],
                    },
                }
            })
            .collect())
    }

    async fn steps(&self, changes: &[StepRequest]) -> Result<Vec<StepAnswer>, Fault> {
        let paths = self.machine.paths.lock().unwrap();
        Ok(changes
            .iter()
            .map(|change| {
                let path = change.identity.path().unwrap().to_owned();
                let digest = |desired: &Value| desired.pointer("/content/digest").unwrap().as_str().unwrap().to_owned();
                // What a guard may stand over.
                let setting = setting(&path);
                let body = match (&change.desired, change.action) {
                    (Some(desired), _) if setting.is_some() => {
                        let sysctl = Sysctl { name: setting.unwrap_or_default(), value: digest(desired) };
                        EffectBody::Network(NetworkEffect::Put { object: Object::Sysctl(sysctl) })
                    }
                    (None, Action::Delete) if setting.is_some() => {
                        let object = ObjectName::Sysctl { name: setting.unwrap_or_default() };
                        EffectBody::Network(NetworkEffect::Remove { object })
                    }
                    (Some(desired), _) => EffectBody::PutFile {
                        path: path.clone(),
                        content: digest(desired).parse().unwrap(),
                        attributes: Attributes::default(),
                        parents: false,
                        backup: None,
                        validate: None,
                    },
                    (None, Action::Delete) => EffectBody::Remove { path: path.clone(), tree: false },
                    (None, _) => panic!("no desired for {change:?}"),
                };
                StepAnswer::Effects(vec![Effect {
                    resource: change.address.resource.clone(),
                    identity: change.identity.clone(),
                    plugin: "fake".into(),
                    body,
                    precondition: Some(Precondition::Path { state: state(paths.get(&path)), path }),
                    // As a command would: nobody can tell by looking whether it ran.
                    after_crash: if change.identity.as_str().contains("ask") {
                        AfterCrash::Ask
                    } else {
                        AfterCrash::Observe
                    },
                    together: None,
                    inverse: None,
                    inside: vec![],
                }])
            })
            .collect())
    }
}
