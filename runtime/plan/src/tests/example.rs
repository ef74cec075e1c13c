//! An example system: a stack, a target and a ledger small enough to read, with a
//! provider that answers as a real one would.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Diagnostic, Fault, Place};
use tidelock_model::inventory::{Claim, InventoryEntry, Origin};
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Address, Identity, Kind, Lane, Name};
use tidelock_model::observation::{Observation, Readiness};
use tidelock_model::plan::{Action, Cause, Plan};
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{LaneRecord, StepAnswer, StepRequest};
use tidelock_model::resource::Notify;
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::{Status, Trigger};
use tidelock_model::stack::{Stack, StackDecl};

use crate::{Draft, LaneInput, LanePart, Ledger, draft, lane_plan, observe, word};

/// A name of the example.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The identity of a path.
pub(crate) fn path(text: &str) -> Identity {
    Identity::new(format!("path:{text}"))
}

/// A stack's lane on the example's target.
pub(crate) fn lane(stack: &str) -> Lane {
    lane_on(stack, "web-1")
}

pub(crate) fn lane_on(stack: &str, target: &str) -> Lane {
    Lane { source: name("infra"), stack: name(stack), target: name(target) }
}

pub(crate) fn revision() -> Revision {
    Revision {
        source: name("infra"),
        id: "1a2b3c4d5e6f70819203".to_owned(),
        wanted: "main".to_owned(),
        author: "Ada <ada@example.com>".to_owned(),
        committer: "Ada <ada@example.com>".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        subject: "Greet".to_owned(),
        signature: Signature::NotAsked,
    }
}

/// The example's only provider.
pub(crate) fn plugin(digest: &str) -> PluginRef {
    PluginRef { name: "server".to_owned(), version: "0.3.1".to_owned(), digest: Digest::of(digest.as_bytes()) }
}

pub(crate) fn kinds() -> BTreeMap<Kind, KindInfo> {
    let kind = |name: &str, fields: Value, triggers: Value| {
        let info = json!({
            "name": name, "doc": "", "schema": {}, "fields": fields, "holds_data": name == "table",
            "whole_target": false, "settle_ms": 0, "triggers": triggers,
        });
        (Kind::new(format!("server.{name}")).unwrap(), serde_json::from_value(info).unwrap())
    };
    [
        kind(
            "file",
            json!([{"path": "/fixed", "roles": {"immutable": true}}, {"path": "/secret", "roles": {"sensitive": true}}]),
            json!([]),
        ),
        kind("directory", json!([{"path": "/strays", "roles": {"strays": true}}]), json!([])),
        kind("service", json!([]), json!(["reload", "restart"])),
        kind("table", json!([]), json!([])),
    ]
    .into()
}

/// One stack on one target, what is there, and what the ledger says.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) lane: Lane,
    pub(crate) resources: Vec<DesiredResource>,
    /// What is on the target, by identity.
    pub(crate) world: BTreeMap<Identity, Value>,
    /// Answers that stand in for looking.
    pub(crate) answers: BTreeMap<Identity, Observation>,
    pub(crate) inventory: Vec<InventoryEntry>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) contacted: bool,
    pub(crate) unheard: Vec<String>,
    pub(crate) due: Vec<Trigger>,
    pub(crate) doubtful: Vec<Identity>,
    pub(crate) digest: &'static str,
    pub(crate) hint: Option<Cause>,
    pub(crate) destroys: bool,
    pub(crate) undone: Vec<Identity>,
    pub(crate) revision: Revision,
}

impl Example {
    pub(crate) fn new() -> Self {
        Self {
            lane: lane("web"),
            resources: Vec::new(),
            world: BTreeMap::new(),
            answers: BTreeMap::new(),
            inventory: Vec::new(),
            claims: Vec::new(),
            contacted: true,
            unheard: Vec::new(),
            due: Vec::new(),
            doubtful: Vec::new(),
            digest: "plugin",
            hint: None,
            destroys: false,
            undone: Vec::new(),
            revision: revision(),
        }
    }

    /// Declares a resource; its identity is its path.
    pub(crate) fn want(&mut self, id: &str, spec: &Value) -> &mut DesiredResource {
        let at = spec["path"].as_str().unwrap();
        let line = u32::try_from(self.resources.len()).unwrap() + 1;
        self.resources.push(DesiredResource {
            id: id.parse().unwrap(),
            identity: path(at),
            provides: vec![],
            requires: vec![],
            parts: vec![],
            needs: vec![],
            spec: spec.clone(),
            withheld: BTreeMap::new(),
            on_remove: None,
            protect: false,
            ignore: vec![],
            notify: vec![],
            place: Place { file: "web.yaml".to_owned(), line, column: 1 },
        });
        self.resources.last_mut().unwrap()
    }

    /// Declares a file with a mode.
    pub(crate) fn file(&mut self, id: &str, at: &str, mode: &str) -> &mut DesiredResource {
        self.want(&format!("server.file/{id}"), &json!({"path": at, "mode": mode}))
    }

    /// Puts something on the target.
    pub(crate) fn there(&mut self, at: &str, mode: &str) {
        self.world.insert(path(at), json!({"path": at, "mode": mode}));
    }

    /// Writes a line into the ledger, as a stack's own.
    pub(crate) fn owned_by(&mut self, stack: &str, id: &str, at: &str, mode: &str) -> &mut InventoryEntry {
        self.inventory.push(InventoryEntry {
            address: Address::new(&lane_on(stack, self.lane.target.as_str()), id.parse().unwrap()),
            identity: path(at),
            plugin: plugin("plugin"),
            spec_version: 0,
            handle: None,
            applied: json!({"path": at, "mode": mode}),
            withheld: BTreeMap::new(),
            requires: vec![],
            provides: vec![],
            needs: vec![],
            protect: false,
            on_remove: None,
            holds_data: false,
            origin: Origin::Created,
            run: "r0".to_owned(),
            revision: "0".to_owned(),
        });
        self.inventory.last_mut().unwrap()
    }

    /// A file that is on the target and in the ledger.
    pub(crate) fn have(&mut self, id: &str, at: &str, mode: &str) -> &mut InventoryEntry {
        self.there(at, mode);
        self.owned_by("web", &format!("server.file/{id}"), at, mode)
    }

    pub(crate) fn claim(&mut self, stack: &str, id: &str, at: &str) {
        self.claims.push(Claim {
            target: self.lane.target.clone(),
            identity: path(at),
            source: name("infra"),
            stack: name(stack),
            resource: id.parse().unwrap(),
        });
    }

    pub(crate) fn fails(&mut self, at: &str, message: &str) {
        self.answers.insert(path(at), Observation::Failed { fault: Fault::new("io", Blame::Target, message) });
    }

    pub(crate) fn desired(&self) -> Desired {
        Desired {
            lane: self.lane.clone(),
            stack: Stack {
                decl: serde_json::from_value::<StackDecl>(json!({"name": self.lane.stack, "targets": "*"})).unwrap(),
                dir: "envs/prod/web".to_owned(),
            },
            revision: self.revision.clone(),
            module: None,
            resources: self.resources.clone(),
            plugins: vec![],
            settings: Digest::of(b"settings"),
            warnings: vec![],
        }
    }

    fn look(&self, identity: &Identity) -> Observation {
        if let Some(answer) = self.answers.get(identity) {
            return answer.clone();
        }
        match self.world.get(identity) {
            Some(observed) => Observation::Present {
                observed: observed.clone(),
                unknown: vec![],
                handle: None,
                readiness: Readiness::Ready,
                seen: vec!["seen".to_owned()],
                probes: vec![],
            },
            None => Observation::Absent { seen: vec!["seen".to_owned()] },
        }
    }

    /// Runs the planner as the loop does, and hands every request to `watch`.
    pub(crate) fn part_watched(&self, watch: &mut dyn FnMut(&StepRequest)) -> Result<LanePart, Vec<Diagnostic>> {
        let (desired, kinds) = (self.desired(), kinds());
        let observed: BTreeMap<Identity, Observation> = observe::subjects(&desired, &self.inventory, &kinds)
            .into_iter()
            .map(|subject| (subject.identity.clone(), self.look(&subject.identity)))
            .collect();
        let record = LaneRecord {
            status: Status::Converged,
            contacted: self.contacted,
            ..LaneRecord::unknown(self.lane.clone())
        };
        let input = LaneInput {
            desired: &desired,
            observed: &observed,
            inventory: &self.inventory,
            claims: &self.claims,
            kinds: &kinds,
            record: Some(&record),
            unheard: &self.unheard,
            due: &self.due,
            open_unknown: &self.doubtful,
            fingerprint: "machine-1",
            plugins: [("server".to_owned(), plugin(self.digest))].into(),
            destroys: self.destroys,
            undone: &self.undone,
            taken_back: None,
            cause_hint: self.hint,
        };
        let mut draft: Draft = draft(&input)?;
        loop {
            let requests = draft.requests();
            let answers = requests
                .into_iter()
                .map(|(plugin, request)| {
                    assert_eq!(plugin, "server");
                    watch(&request);
                    let answer = self.steps(&request);
                    (request.address.resource, answer)
                })
                .collect();
            if !draft.answer(answers) {
                return lane_plan(&input, draft);
            }
        }
    }

    pub(crate) fn part(&self) -> Result<LanePart, Vec<Diagnostic>> {
        self.part_watched(&mut |_| {})
    }

    pub(crate) fn plan(&self) -> (Plan, Ledger) {
        let part = self.part().unwrap_or_else(|errors| panic!("{errors:?}"));
        crate::plan(&self.revision, vec![part])
    }

    /// The provider: files are put, removed and replaced; `inplace: false` in a spec asks for
    /// a replace, `refuse: true` refuses, `together` names a group.
    fn steps(&self, request: &StepRequest) -> StepAnswer {
        let of = |key: &str| {
            let spec = request.desired.as_ref().or(request.last.as_ref());
            spec.and_then(|spec| spec.get(key)).cloned().unwrap_or_default()
        };
        if of("refuse") == json!(true) {
            return StepAnswer::Refused(Fault::new("denied", Blame::Target, "not allowed here").hint("grant it"));
        }
        if of("inplace") == json!(false) && request.action == Action::Update {
            return StepAnswer::NeedsReplace(vec!["/inplace".to_owned()]);
        }
        let at = request.identity.path().unwrap().to_owned();
        let state = match self.world.get(&request.identity) {
            None => PathState::Absent,
            Some(_) => {
                PathState::File { digest: None, mode: 0o644, owner: "root".into(), group: "root".into(), size: 1 }
            }
        };
        let folder = format!("{at}/");
        let below = self.world.keys().filter_map(|identity| identity.path()?.strip_prefix(&folder));
        let inside: Vec<String> = below.filter(|name| !name.contains('/')).map(ToOwned::to_owned).collect();
        let put = EffectBody::PutFile {
            path: at.clone(),
            content: Digest::of(of("mode").to_string().as_bytes()),
            attributes: Attributes { mode: None, owner: None, group: None },
            parents: false,
            backup: None,
            validate: None,
        };
        let remove = EffectBody::Remove { path: at, tree: false };
        let bodies = match request.action {
            Action::Delete => vec![remove],
            Action::Replace => vec![remove, put],
            Action::Trigger => vec![EffectBody::Exec {
                argv: vec![
                    "/bin/ctl".into(),
                    request.trigger.clone().unwrap(),
                    request.address.resource.name.to_string(),
                ],
                cwd: None,
                env: vec![],
                timeout_ms: 1_000,
            }],
            _ => vec![put],
        };
        let effect = |body: EffectBody| Effect {
            resource: request.address.resource.clone(),
            identity: request.identity.clone(),
            plugin: "server".to_owned(),
            precondition: body.path().map(|path| Precondition::Path { path: path.to_owned(), state: state.clone() }),
            body,
            after_crash: AfterCrash::Observe,
            together: of("together").as_str().map(ToOwned::to_owned),
            inverse: None,
            inside: inside.clone(),
        };
        StepAnswer::Effects(bodies.into_iter().map(effect).collect())
    }

    /// Does what a plan says, to the target and to the ledger, in its order.
    pub(crate) fn apply(&mut self, plan: &Plan, ledger: &Ledger) {
        self.due.clear();
        for change in &plan.changes {
            let Some(line) = ledger.get(change) else { continue };
            match change.action {
                Action::Create | Action::Update | Action::Replace | Action::TakeOver if change.group.is_some() => {
                    self.world.insert(change.identity.clone(), line.entry.as_ref().unwrap().applied.clone());
                }
                Action::Delete => {
                    self.world.remove(&change.identity);
                }
                _ => {}
            }
            self.inventory.retain(|entry| entry.identity != change.identity);
            self.inventory.extend(line.entry.clone());
        }
        self.contacted = true;
    }
}

/// Asks a resource to notify another.
pub(crate) fn notify(resource: &mut DesiredResource, to: &str, ask: &str) {
    resource.notify.push(Notify { to: to.parse().unwrap(), ask: ask.to_owned() });
}

/// A plan in short: changes, groups, and what else it says.
pub(crate) fn outline(part: &Result<LanePart, Vec<Diagnostic>>) -> String {
    let mut out = String::new();
    let part = match part {
        Ok(part) => part,
        Err(errors) => {
            for error in errors {
                let place = error.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
                let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                out.push_str(&format!("refused: {place}{}{hint}\n", error.message));
            }
            return out;
        }
    };
    for change in &part.changes {
        let group = change.group.map(|id| format!(" [{id}]")).unwrap_or_default();
        let fields: Vec<&str> = change.fields.iter().map(|field| field.path.as_str()).collect();
        let fields = if fields.is_empty() { String::new() } else { format!(" {}", fields.join(" ")) };
        let cause = change.cause.map(|cause| format!(" {cause:?}").to_lowercase()).unwrap_or_default();
        let reason = change.reason.as_ref().map(|reason| format!(" -- {reason}")).unwrap_or_default();
        out.push_str(&format!("{} {}{group}{fields}{cause}{reason}\n", word(change.action), change.address.resource));
    }
    for group in &part.groups {
        let effects: Vec<&str> = group.effects.iter().map(|effect| effect.effect.body.word()).collect();
        let atomic = if group.atomic { " atomic" } else { "" };
        out.push_str(&format!("group {}{atomic} after {:?}: {}\n", group.id, group.after, effects.join(", ")));
    }
    for wait in &part.lane.waits {
        out.push_str(&format!("waits: {} -- {}\n", wait.code, wait.message));
    }
    for (word, list) in [("error", &part.errors), ("warning", &part.warnings)] {
        for diagnostic in list {
            out.push_str(&format!("{word}: {}\n", diagnostic.message));
        }
    }
    if out.is_empty() {
        out.push_str("nothing\n");
    }
    out
}
