//! The second stage: from files to what a lane should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Diagnostic, Fault, Place, Severity};
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Kind, Lane};
use tidelock_model::plugin::PluginRef;
use tidelock_model::pointer;
use tidelock_model::port::{Declared, Fetched, Provider, RenderInputs, Rendered, Renderer};
use tidelock_model::reads::{Question, answer};
use tidelock_model::resource::Resource;
use tidelock_model::snippet::{self, Hidden};

use super::guess;
use super::module::{self, Module};
use super::rejected::{hidden, reject};
use crate::contents::{BlobSet, text_files};
use crate::error::RunError;
use crate::read::values::{Layers, layers};
use crate::read::{nearest, resource, stack};
use crate::runtime::{Runtime, Selection};
use crate::secrets;
use crate::select::{Selected, kind_allowed, mistyped_kind};
use crate::undo::Apart;

/// The reserved settings key under which a renderer finds the values files of its module.
const VALUES_FILES: &str = "$values";

/// A lane, rendered.
pub(super) struct RenderedLane {
    pub(super) desired: Desired,
    pub(super) blobs: BlobSet,
    /// Providers of every kind that is desired or owned here, by name.
    pub(super) providers: BTreeMap<String, Arc<dyn Provider>>,
    pub(super) kinds: BTreeMap<Kind, KindInfo>,
    /// What does not follow Git, by a person's word.
    pub(super) apart: Apart,
}

/// Renders the lanes of a selection and stops there.
///
/// # Errors
/// The first lane that cannot be rendered.
pub async fn render(runtime: &Runtime, selection: &Selection) -> Result<Vec<Desired>, RunError> {
    let fetched = super::source::fetch(runtime, selection).await?;
    let lanes = super::source::lanes(runtime, selection, &fetched).await?;
    let mut all = Vec::new();
    for selected in &lanes.selected {
        let files = lanes.pins.files(&selected.lane.stack, &fetched);
        let module = module::of(runtime, files, &selected.stack, lanes.pins.in_force).await?;
        all.push(lane(runtime, files, module.as_ref(), selected).await?.desired);
    }
    Ok(all)
}

/// The merged values of the lanes of a selection.
///
/// # Errors
/// The first lane whose values cannot be read.
pub async fn values(runtime: &Runtime, selection: &Selection) -> Result<Vec<(Lane, Layers)>, RunError> {
    let fetched = super::source::fetch(runtime, selection).await?;
    let lanes = super::source::lanes(runtime, selection, &fetched).await?;
    lanes
        .selected
        .iter()
        .map(|selected| {
            let files = lanes.pins.files(&selected.lane.stack, &fetched);
            layers(files.tree.as_ref(), &selected.stack, selected.lane.target.as_str())
                .map(|layers| (selected.lane.clone(), layers))
                .map_err(RunError::Rejected)
        })
        .collect()
}

/// Renders one lane: its stack and values from the revision, its module from there too or
/// from where the stack says.
#[tracing::instrument(name = "render", skip_all, fields(lane = %selected.lane))]
pub(super) async fn lane(
    runtime: &Runtime,
    stack: &Fetched,
    module: Option<&Module>,
    selected: &Selected,
) -> Result<RenderedLane, RunError> {
    let renderer = runtime.plugins.renderer(&selected.stack.decl.renderer).await;
    let renderer = renderer.map_err(|fault| unknown_renderer(fault, stack, selected))?;
    let values =
        layers(stack.tree.as_ref(), &selected.stack, selected.lane.target.as_str()).map_err(RunError::Rejected)?;
    let fetched = module.map_or(stack, |module| &module.fetched);
    let tree = fetched.tree.as_ref();
    let inputs = inputs(runtime, fetched, selected, &values);
    let (rendered, cached) = cached(runtime, renderer.as_ref(), &inputs, selected).await?;
    let event = RunEvent::Rendered { resources: rendered.docs.len(), cached };
    runtime.emit(None, Some(&selected.lane), &event)?;

    let read = resource::all(&rendered.docs);
    let read = read.and_then(|resources| targets_exist(runtime, &resources).map(|()| resources));
    let mut resources = match read {
        Ok(resources) => resources,
        Err(problems) => return Err(reject(problems, fetched, &hidden(runtime, selected, &rendered.docs).await)),
    };
    resources.retain(|r| r.decl.target.as_ref().is_none_or(|target| *target == selected.lane.target));
    let providers = match providers(runtime, selected, &resources).await {
        Ok(providers) => providers,
        Err(RunError::Rejected(problems)) => {
            return Err(reject(problems, fetched, &hidden(runtime, selected, &rendered.docs).await));
        }
        Err(error) => return Err(error),
    };
    let kinds = kinds_of(&providers).await?;
    let hidden: Hidden = kinds.values().flat_map(snippet::hidden_by).collect();
    let reject = |problems| reject(problems, fetched, &hidden);
    let mut blobs = BlobSet::new(fetched.tree.clone(), runtime.store.clone());
    check_kinds(runtime, selected, &resources, &kinds).map_err(reject)?;
    let read = secrets::read(runtime, selected, fetched, &mut resources, &mut blobs).await?;
    read.map_err(reject)?;
    let taken = complete(&mut resources, &kinds, &mut blobs).map_err(reject)?;
    let (resources, mut warnings) = spelled(runtime, selected, resources, taken, &providers, &reject).await?;

    // The default takes all but what the stack itself leaves out.
    if !runtime.looping && selected.stack.decl.renderer != stack::RENDERER {
        let asked = rendered.reads.iter().filter_map(|read| match &read.question {
            Question::File(path) => Some(path.as_str()),
            _ => None,
        });
        let asked: BTreeSet<&str> = asked.collect();
        if let Some(mut found) = guess::passed_over(tree, &selected.stack, &asked) {
            found.hint = Some(format!("{}: {}", renderer.plugin().name, renderer.describe().await?.summary));
            warnings.push(found);
        }
    } else if !runtime.looping {
        warnings.extend(guess::templates(tree, &selected.stack));
    }

    let mut plugins = vec![renderer.plugin().clone()];
    plugins.extend(providers.values().map(|provider| provider.plugin().clone()));
    let desired = Desired {
        lane: selected.lane.clone(),
        stack: selected.stack.clone(),
        revision: stack.revision.clone(),
        module: module.map(|module| module.at.clone()),
        resources,
        plugins,
        settings: settings(selected),
        warnings,
    };
    Ok(RenderedLane { desired, blobs, providers, kinds, apart: Apart::default() })
}

/// A renderer that is not there is a mistake of the stack, or of who installs plugins.
fn unknown_renderer(fault: Fault, stack: &Fetched, selected: &Selected) -> RunError {
    if fault.code != "not-found" {
        return fault.into();
    }
    let message = format!("stack {}: {}", selected.stack.decl.name, fault.message);
    let problem = Diagnostic { hint: fault.hint, ..Diagnostic::error(message, Some(stack::place(&selected.stack))) };
    reject(vec![problem.at("/renderer")], stack, &Hidden::new())
}

/// A lane of which nothing is to stay: there is nothing to render.
pub(super) async fn nothing(
    runtime: &Runtime,
    fetched: &Fetched,
    selected: &Selected,
) -> Result<RenderedLane, RunError> {
    let providers = providers(runtime, selected, &[]).await?;
    let kinds = kinds_of(&providers).await?;
    let desired = Desired {
        lane: selected.lane.clone(),
        stack: selected.stack.clone(),
        revision: fetched.revision.clone(),
        module: None,
        resources: vec![],
        plugins: providers.values().map(|provider| provider.plugin().clone()).collect(),
        settings: settings(selected),
        warnings: vec![],
    };
    let blobs = BlobSet::new(fetched.tree.clone(), runtime.store.clone());
    Ok(RenderedLane { desired, blobs, providers, kinds, apart: Apart::default() })
}

/// The digest of what a stack says of how it is applied.
fn settings(selected: &Selected) -> Digest {
    let decl = &selected.stack.decl;
    Digest::of_json(&json!({ "on_commit": decl.on_commit, "on_drift": decl.on_drift, "budget": decl.budget }))
}

fn inputs(runtime: &Runtime, fetched: &Fetched, selected: &Selected, values: &Layers) -> RenderInputs {
    let module = selected.stack.module();
    let prefix = if module.is_empty() { String::new() } else { format!("{module}/") };
    let mut settings = match &selected.stack.decl.settings {
        Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    let inside: Vec<&str> = values.files.iter().filter_map(|file| file.strip_prefix(&prefix)).collect();
    settings.insert(VALUES_FILES.to_owned(), json!(inside));
    let target = runtime.config.targets.get(&selected.lane.target);
    RenderInputs {
        tree: fetched.tree.clone(),
        module,
        settings: Value::Object(settings),
        values: values.values.clone(),
        target: selected.lane.target.clone(),
        labels: target.map(|target| target.labels.clone()).unwrap_or_default(),
        facts: target.map(|target| target.facts.clone()).unwrap_or_default(),
    }
}

/// Renders, or takes what an earlier render gave when all that it read is unchanged.
///
/// Two keys are tried: one for all targets, which holds while nothing of the target was
/// read, so that many equal targets render once; then the target's own.
async fn cached(
    runtime: &Runtime,
    renderer: &dyn Renderer,
    inputs: &RenderInputs,
    selected: &Selected,
) -> Result<(Rendered, bool), RunError> {
    let key = |target: &str| {
        let plugin = renderer.plugin().digest.to_string();
        let parts = [selected.lane.source.as_str(), &plugin, &inputs.module, selected.stack.decl.name.as_str(), target];
        Digest::of_parts(parts.iter().map(|part| part.as_bytes()))
    };
    let keys = [key(""), key(&format!("@{}", selected.lane.target))];
    for key in &keys {
        if let Some(rendered) = runtime.store.render(key)?
            && still_holds(&rendered, inputs)?
        {
            return Ok((rendered, true));
        }
    }
    let rendered = renderer.render(inputs).await?;
    let of_target = |question: &Question| matches!(question, Question::Target | Question::Label(_) | Question::Fact(_));
    let own = rendered.reads.iter().any(|read| of_target(&read.question));
    runtime.store.put_render(&keys[usize::from(own)], &rendered)?;
    Ok((rendered, false))
}

fn still_holds(rendered: &Rendered, inputs: &RenderInputs) -> Result<bool, RunError> {
    for read in &rendered.reads {
        if answer(&read.question, inputs)? != read.answer {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn providers(
    runtime: &Runtime,
    selected: &Selected,
    resources: &[Resource],
) -> Result<BTreeMap<String, Arc<dyn Provider>>, RunError> {
    let mut names: BTreeSet<String> = resources.iter().map(|r| r.decl.kind.plugin().to_owned()).collect();
    let owned = runtime.store.inventory(&selected.lane.target)?;
    names.extend(
        owned
            .iter()
            .filter(|entry| entry.address.lane() == selected.lane)
            .map(|entry| entry.address.resource.kind.plugin().to_owned()),
    );
    let mut providers = BTreeMap::new();
    for name in names {
        match runtime.plugins.provider(&name, &selected.lane.target).await {
            Ok(provider) => {
                providers.insert(name, provider);
            }
            // Not known at all: the kind is mistyped, or its plugin is not installed.
            Err(fault) if fault.code == "not-found" => {
                let users = resources.iter().filter(|r| r.decl.kind.plugin() == name);
                let problems: Vec<Diagnostic> = users
                    .map(|r| Diagnostic {
                        hint: fault.hint.clone(),
                        ..Diagnostic::error(
                            format!("no plugin serves the kind {}: {}", r.decl.kind, fault.message),
                            Some(r.place.clone()),
                        )
                        .at("/kind")
                    })
                    .collect();
                return Err(if problems.is_empty() { fault.into() } else { RunError::Rejected(problems) });
            }
            // The target is not of a type that the kind is for: told where that is declared.
            Err(fault) if fault.code == "invalid" && fault.blame == Blame::Target => {
                let mut users = resources.iter().filter(|r| r.decl.kind.plugin() == name);
                let Some(first) = users.next() else { return Err(fault.into()) };
                let more = users.count();
                let also = if more == 0 { String::new() } else { format!(" (and {more} more like it)") };
                let message = format!("{}{also}: {}", first.decl.id(), fault.message);
                let problem = Diagnostic { hint: fault.hint, ..Diagnostic::error(message, Some(first.place.clone())) };
                return Err(RunError::Rejected(vec![problem.at("/kind")]));
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(providers)
}

pub(crate) async fn kinds_of(
    providers: &BTreeMap<String, Arc<dyn Provider>>,
) -> Result<BTreeMap<Kind, KindInfo>, RunError> {
    let mut kinds = BTreeMap::new();
    for (name, provider) in providers {
        for info in provider.describe().await?.kinds {
            if let Ok(kind) = Kind::new(format!("{name}.{}", info.name)) {
                kinds.insert(kind, info);
            }
        }
    }
    Ok(kinds)
}

/// A mistyped `target:` would leave a resource out, and what is left out is removed.
fn targets_exist(runtime: &Runtime, resources: &[Resource]) -> Result<(), Vec<Diagnostic>> {
    let known = &runtime.config.targets;
    let problems: Vec<Diagnostic> = resources
        .iter()
        .filter_map(|resource| {
            Some((resource, resource.decl.target.as_ref().filter(|name| !known.contains_key(*name))?))
        })
        .map(|(resource, name)| {
            let near = nearest(name.as_str(), known.keys().map(tidelock_model::name::Name::as_str));
            let problem =
                Diagnostic::error(format!("the config declares no target {name}"), Some(resource.place.clone()));
            let problem = problem.at("/target");
            match near {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            }
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn check_kinds(
    runtime: &Runtime,
    selected: &Selected,
    resources: &[Resource],
    kinds: &BTreeMap<Kind, KindInfo>,
) -> Result<(), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut allowed: BTreeMap<&Kind, bool> = BTreeMap::new();
    for resource in resources {
        let kind = &resource.decl.kind;
        let place = Some(resource.place.clone());
        if !kinds.contains_key(kind) {
            let hint = there_are(kind, kinds.keys());
            problems.push(Diagnostic::error(format!("there is no kind {kind}"), place).at("/kind").hint(hint));
            continue;
        }
        let allowed =
            *allowed.entry(kind).or_insert_with(|| kind_allowed(&runtime.config, selected, kind).unwrap_or(false));
        if !allowed {
            let lane = &selected.lane;
            let message = format!("kind {kind} is not allowed by this operator on target {}", lane.target);
            let hint = match mistyped_kind(&runtime.config, selected, kind, |word| {
                kinds.keys().any(|kind| kind.as_str() == word)
            }) {
                Some(pattern) => format!(
                    "a rule of [[sources.{}.allow]] allows {pattern:?}, which no plugin has: did you mean {kind}?",
                    lane.source
                ),
                None => {
                    format!("allow it in tidelock.toml, in [[sources.{}.allow]]: kinds = [\"{kind}\"]", lane.source)
                }
            };
            problems.push(Diagnostic::error(message, place).at("/kind").hint(hint));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What a lane owns must be of kinds that it may hold: a stack's name alone gives it no
/// right over what another directory made under that name.
pub(super) fn owned_kinds_allowed(
    runtime: &Runtime,
    desired: &Desired,
    inventory: &[InventoryEntry],
) -> Result<(), RunError> {
    let selected = Selected { lane: desired.lane.clone(), stack: desired.stack.clone() };
    let mut kinds: BTreeMap<&Kind, &InventoryEntry> = BTreeMap::new();
    for entry in inventory.iter().filter(|entry| entry.address.lane() == desired.lane) {
        kinds.entry(&entry.address.resource.kind).or_insert(entry);
    }
    for (kind, entry) in kinds {
        if !kind_allowed(&runtime.config, &selected, kind)? {
            let stack = &desired.stack;
            let message = format!(
                "stack {} owns {} on {}, and no list of this operator allows {kind} to the directory {:?}",
                stack.decl.name, entry.address.resource, desired.lane.target, stack.dir
            );
            let hint = "a stack that moved needs the rights of its old directory, or another name";
            return Err(Fault::new("denied", Blame::Target, message).hint(hint).into());
        }
    }
    Ok(())
}

/// The kinds that the plugin of a mistyped one has, and the one that was likely meant. Only what
/// follows the dot is compared: the plugin is the same.
fn there_are<'a>(kind: &Kind, kinds: impl Iterator<Item = &'a Kind>) -> String {
    let own: Vec<&str> = kinds.filter(|known| known.plugin() == kind.plugin()).map(Kind::as_str).collect();
    let last = |kind: &'a str| kind.split_once('.').map_or(kind, |(_, last)| last);
    let wanted = kind.as_str().split_once('.').map_or("", |(_, last)| last);
    let near = nearest(wanted, own.iter().copied().map(last));
    let list = format!("{} has: {}", kind.plugin(), own.join(", "));
    near.map_or(list.clone(), |near| format!("did you mean {}.{near}? {list}", kind.plugin()))
}

/// Replaces contents and fills defaults in. Gives back what was taken out of each resource for that.
fn complete(
    resources: &mut [Resource],
    kinds: &BTreeMap<Kind, KindInfo>,
    blobs: &mut BlobSet,
) -> Result<Vec<Taken>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut all = vec![Taken::default(); resources.len()];
    for (resource, taken) in resources.iter_mut().zip(&mut all) {
        let Some(info) = kinds.get(&resource.decl.kind) else { continue };
        taken.texts = text_files(&resource.decl.spec, info, &resource.place);
        match blobs.replace(&mut resource.decl.spec, info, &resource.place) {
            Ok(found) => taken.withheld = found,
            Err(found) => problems.extend(found),
        }
        for field in &info.fields {
            if let Some(default) = &field.default {
                fill(&mut resource.decl.spec, &field.path, default);
            }
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

fn fill(spec: &mut Value, path: &str, default: &Value) {
    let Some((parent, key)) = path.rsplit_once('/') else { return };
    for pointer in pointer::matching(spec, parent) {
        if let Some(Value::Object(map)) = spec.pointer_mut(&pointer) {
            map.entry(key).or_insert_with(|| default.clone());
        }
    }
}

/// What was taken out of a resource's spec, or put into it, before its provider sees it.
#[derive(Debug, Clone, Default)]
struct Taken {
    /// What is made of secrets, each with a digest of how it is made.
    withheld: BTreeMap<String, Digest>,
    /// The files that texts came from, by field.
    texts: BTreeMap<String, String>,
}

/// Asks the providers what each resource is, and how the target spells it.
async fn spelled(
    runtime: &Runtime,
    selected: &Selected,
    resources: Vec<Resource>,
    mut taken: Vec<Taken>,
    providers: &BTreeMap<String, Arc<dyn Provider>>,
    reject: &(dyn Fn(Vec<Diagnostic>) -> RunError + Sync),
) -> Result<(Vec<DesiredResource>, Vec<Diagnostic>), RunError> {
    let mut done: Vec<Option<DesiredResource>> = Vec::new();
    done.resize_with(resources.len(), || None);
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut unspelled = false;
    for (name, provider) in providers {
        let mine: Vec<usize> = (0..resources.len()).filter(|i| resources[*i].decl.kind.plugin() == name).collect();
        if mine.is_empty() {
            continue;
        }
        let declared: Vec<Declared> = mine.iter().map(|i| declared(&resources[*i])).collect();
        let checked = provider.check(&declared).await?;
        for (i, checked) in mine.iter().zip(&checked) {
            for diagnostic in &checked.diagnostics {
                let found = in_its_text(placed(diagnostic, &resources[*i].place), &resources[*i], &taken[*i]);
                if found.severity == Severity::Error { problems.push(found) } else { warnings.push(found) }
            }
        }
        if !problems.is_empty() {
            continue;
        }
        let normal = provider.normalise(&declared).await?;
        for ((i, checked), normal) in mine.into_iter().zip(checked).zip(normal) {
            let Resource { decl, place } = resources[i].clone();
            match normal {
                Ok(spec) => {
                    done[i] = Some(DesiredResource {
                        id: decl.id(),
                        identity: checked.identity,
                        provides: checked.provides,
                        requires: checked.requires,
                        parts: checked.parts,
                        needs: decl.needs,
                        spec,
                        withheld: std::mem::take(&mut taken[i].withheld),
                        on_remove: decl.on_remove,
                        protect: decl.protect,
                        ignore: decl.ignore,
                        notify: decl.notify,
                        place,
                    });
                }
                Err(fault) => {
                    unspelled = true;
                    let field = fault.field.as_deref().map(|field| format!("/spec{field}"));
                    let found = Diagnostic { field, hint: fault.hint, ..Diagnostic::error(fault.message, Some(place)) };
                    problems.push(in_its_text(found, &resources[i], &taken[i]));
                }
            }
        }
    }
    if unspelled {
        // A target that does not answer is no mistake of any file: that is said once, of the target.
        runtime.targets.target(&selected.lane.target)?.fingerprint().await?;
    }
    if !problems.is_empty() {
        return Err(reject(problems));
    }
    Ok((done.into_iter().flatten().collect(), warnings))
}

fn declared(resource: &Resource) -> Declared {
    Declared {
        address: resource.decl.id().to_string(),
        kind: resource.decl.kind.clone(),
        spec: resource.decl.spec.clone(),
    }
}

/// A plugin's remark is about the spec; people see the resource's file.
fn placed(diagnostic: &Diagnostic, place: &Place) -> Diagnostic {
    Diagnostic {
        place: Some(place.clone()),
        field: diagnostic.field.as_deref().map(|field| format!("/spec{field}")),
        ..diagnostic.clone()
    }
}

/// A remark about a text that came from a file stands in that file: at the line that it says, if it says one.
fn in_its_text(found: Diagnostic, resource: &Resource, taken: &Taken) -> Diagnostic {
    let field = found.field.as_deref().and_then(|field| field.strip_prefix("/spec"));
    let Some((field, file)) = field.and_then(|field| taken.texts.get_key_value(field)) else { return found };
    let (line, column) = line_in(&found.message).unwrap_or_default();
    let key = field.trim_start_matches('/');
    Diagnostic {
        message: format!("{} (`{key}` of {})", found.message, resource.decl.id()),
        place: Some(Place { file: file.clone(), line, column }),
        field: None,
        ..found
    }
}

/// The line that a message is about, and the column or 0: `line 3: ...`, `...: line 3:7-11: ...`.
fn line_in(message: &str) -> Option<(u32, u32)> {
    fn number(text: &str) -> Option<(u32, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        Some((text[..end].parse().ok()?, &text[end..]))
    }
    let rest = message.strip_prefix("line ").or_else(|| message.split_once(": line ").map(|(_, rest)| rest))?;
    let (line, rest) = number(rest)?;
    let column = rest.strip_prefix(':').and_then(number).map_or(0, |(column, _)| column);
    rest.starts_with(':').then_some((line, column))
}

/// The plugins of a lane by name, for the planner.
pub(super) fn plugins(providers: &BTreeMap<String, Arc<dyn Provider>>) -> BTreeMap<String, PluginRef> {
    providers.iter().map(|(name, provider)| (name.clone(), provider.plugin().clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::line_in;

    #[test]
    fn a_message_says_its_line_first_or_after_who_says_it() {
        for (message, wanted) in [
            ("line 4: `foo bar` is no part of a table", Some((4, 0))),
            ("nft does not take it: line 3:7-11: Error: syntax error\n tcp dprot", Some((3, 7))),
            ("nft does not take it: Error: No such file or directory", None),
            ("a ruleset holds no NUL", None),
            ("see: line 3 of it", None),
        ] {
            assert_eq!(line_in(message), wanted, "{message}");
        }
    }
}
