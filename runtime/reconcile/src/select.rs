//! Which lanes are meant, and whether the operator allows them.
//!
//! **Invariant.** Git says where a stack wants to go; only the operator's `allow`
//! lists say that it may. What no list allows is not even rendered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use globset::GlobMatcher;
use tidelock_model::config::{AllowDecl, Config, TargetDecl};
use tidelock_model::error::{Diagnostic, Fault};
use tidelock_model::grant::glob;
use tidelock_model::name::{Kind, Lane, Name};
use tidelock_model::stack::{Selector, Stack};

use crate::error::RunError;
use crate::read::nearest;
use crate::read::stack::place;

/// A lane that will be looked at.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The lane.
    pub lane: Lane,
    /// Its stack.
    pub stack: Stack,
}

/// The lanes of each stack at the revision that it was listed at last: every lane of a
/// rollout asks for its siblings, and they are listed once. Belongs to one config.
#[derive(Clone, Default)]
pub struct Siblings(Arc<Mutex<Listed>>);

/// By source and stack: the revision, and the lanes there.
type Listed = BTreeMap<(Name, Name), (String, Arc<Vec<Lane>>)>;

impl Siblings {
    /// The lanes of a stack at a revision, in the order of their targets.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub(crate) fn of(
        &self,
        config: &Config,
        source: &Name,
        stack: &Stack,
        revision: &str,
    ) -> Result<Arc<Vec<Lane>>, RunError> {
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.clone(), stack.decl.name.clone());
        if let Some((at, lanes)) = listed.get(&key)
            && at == revision
        {
            return Ok(Arc::clone(lanes));
        }
        let (selected, _) = lanes(config, source, std::slice::from_ref(stack), &[], &[], &|_| vec![])?;
        let found = Arc::new(selected.into_iter().map(|one| one.lane).collect::<Vec<_>>());
        listed.insert(key, (revision.to_owned(), Arc::clone(&found)));
        Ok(found)
    }
}

/// A name or glob, read. What most people write takes no regular expression: each pass reads
/// several and asks them about every target.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `*`.
    All,
    /// A name.
    Name(String),
    /// `web-*`, without its star.
    Start(String),
    /// Anything else.
    Glob(GlobMatcher),
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// It is no glob.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let plain = |text: &str| !text.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        Ok(match text.strip_suffix('*') {
            Some("") => Self::All,
            Some(start) if plain(start) => Self::Start(start.to_owned()),
            None if plain(text) => Self::Name(text.to_owned()),
            _ => Self::Glob(glob(text, false)?),
        })
    }

    /// Whether a name is meant.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(own) => own == name,
            Self::Start(start) => name.starts_with(start.as_str()),
            Self::Glob(glob) => glob.is_match(name),
        }
    }
}

/// Reads names and globs.
///
/// # Errors
/// A pattern that cannot be read.
pub fn patterns(patterns: &[String]) -> Result<Vec<Pattern>, RunError> {
    patterns.iter().map(|pattern| Pattern::read(pattern).map_err(RunError::from)).collect()
}

/// Chooses lanes among the stacks of a source. Sorted. What is chosen by name and not
/// allowed is an error; what a pattern or nothing chose is left out with a warning. A target
/// that a stack names and nobody declared is a problem of the stack, unless targets were chosen.
/// `kinds` tells which kinds a stack seems to hold, for the lines that would allow it.
///
/// # Errors
/// A name that does not exist, or that the operator does not allow.
pub fn lanes(
    config: &Config,
    source: &Name,
    stacks: &[Stack],
    wanted_stacks: &[String],
    wanted_targets: &[String],
    kinds: &dyn Fn(&Stack) -> Vec<String>,
) -> Result<(Vec<Selected>, Vec<Diagnostic>), RunError> {
    known("stack", wanted_stacks, stacks.iter().map(|stack| stack.decl.name.as_str()))?;
    known("target", wanted_targets, config.targets.keys().map(Name::as_str))?;
    let stack_globs = patterns(wanted_stacks)?;
    let target_globs = patterns(wanted_targets)?;
    let meant = |globs: &[Pattern], name: &Name| globs.is_empty() || globs.iter().any(|g| g.is_match(name.as_str()));
    let allow = config.sources.get(source).map_or(&[][..], |decl| &decl.allow);
    let mut chosen = Vec::new();
    let mut warnings = Vec::new();
    let targets: Vec<(&Name, &TargetDecl)> =
        config.targets.iter().filter(|(target, _)| meant(&target_globs, target)).collect();
    for stack in stacks.iter().filter(|stack| meant(&stack_globs, &stack.decl.name)) {
        let selects = Selects::of(&stack.decl.targets);
        let rules = Rules::of(allow, stack)?;
        let here = targets.iter().filter(|(target, decl)| selects.target(target, decl));
        let mut on = 0;
        // Looked for once, for as many targets as it may be.
        let held = std::cell::LazyCell::new(|| kinds(stack));
        for (target, _) in here.copied() {
            on += 1;
            if rules.on(target).next().is_none() {
                let message = format!("stack {} on target {target} is not allowed by this operator", stack.decl.name);
                let hint = match rules.mistyped(config, target) {
                    Some(name) => format!(
                        "a rule of [[sources.{source}.allow]] is for {name}, which the config does not declare: did you \
                         mean {target}?"
                    ),
                    None => allowing(source, stack, target, &held),
                };
                if wanted_stacks.iter().any(|wanted| wanted == stack.decl.name.as_str()) {
                    return Err(RunError::selection(message, Some(hint)));
                }
                warnings.push(warning(message, Some(hint)));
                continue;
            }
            chosen.push(Selected {
                lane: Lane { source: source.clone(), stack: stack.decl.name.clone(), target: target.clone() },
                stack: stack.clone(),
            });
        }
        let strangers = undeclared(config, stack);
        if !strangers.is_empty() && wanted_targets.is_empty() {
            warnings.extend(strangers);
        } else if on == 0 && !config.targets.iter().any(|(target, decl)| selects.target(target, decl)) {
            warnings.push(Diagnostic {
                place: Some(place(stack)),
                field: Some("/targets".to_owned()),
                ..warning(
                    format!("stack {} selects no target that the config declares", stack.decl.name),
                    Some(format!("declared: {}", listed(config.targets.keys().map(Name::as_str)))),
                )
            });
        }
    }
    chosen.sort_by(|a, b| a.lane.cmp(&b.lane));
    Ok((chosen, warnings))
}

/// The targets that a stack names in full and the config does not declare, each as an error.
pub(crate) fn undeclared(config: &Config, stack: &Stack) -> Vec<Diagnostic> {
    let names = match &stack.decl.targets {
        Selector::One(name) => std::slice::from_ref(name),
        Selector::Names(names) => names.as_slice(),
        Selector::Labels(_) => &[],
    };
    let known = || config.targets.keys().map(Name::as_str);
    let strangers = names.iter().filter(|name| is_literal(name) && !known().any(|known| known == name.as_str()));
    let problem = |name: &String| {
        let message = format!("stack {} is for {name}, and the config declares no target {name}", stack.decl.name);
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("declared: {}", listed(known())),
        };
        Diagnostic::error(message, Some(place(stack))).at("/targets").hint(hint)
    };
    strangers.map(problem).collect()
}

/// The lines that would allow a stack on a target.
fn allowing(source: &Name, stack: &Stack, target: &Name, kinds: &[String]) -> String {
    let stacks = if stack.dir.is_empty() { "**" } else { &stack.dir };
    let kinds = if kinds.is_empty() { "\"PLUGIN.KIND\"".to_owned() } else { format!("\"{}\"", kinds.join("\", \"")) };
    format!(
        "allow it in tidelock.toml:\n\n[[sources.{source}.allow]]\nstacks = \"{stacks}\"\ntargets = [\"{target}\"]\n\
         kinds = [{kinds}]"
    )
}

/// Whether every kind may stand in a stack on a target.
///
/// # Errors
/// A pattern that cannot be read.
pub fn kind_allowed(config: &Config, selected: &Selected, kind: &Kind) -> Result<bool, RunError> {
    let allow = config.sources.get(&selected.lane.source).map_or(&[][..], |decl| &decl.allow);
    for rule in Rules::of(allow, &selected.stack)?.on(&selected.lane.target) {
        for pattern in &rule.kinds {
            if Pattern::read(pattern)?.is_match(kind.as_str()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A pattern of the rules for a lane that is nearly a kind, and is not one.
pub(crate) fn mistyped_kind<'a>(
    config: &'a Config,
    selected: &Selected,
    kind: &Kind,
    known: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let allow = config.sources.get(&selected.lane.source).map_or(&[][..], |decl| &decl.allow);
    let rules = Rules::of(allow, &selected.stack).ok()?;
    let patterns = rules.on(&selected.lane.target).flat_map(|rule| &rule.kinds);
    patterns.map(String::as_str).find(|pattern| {
        let (plugin, rest) = pattern.split_once('.').unwrap_or((*pattern, ""));
        match plugin == kind.plugin() {
            true => is_literal(rest) && !known(pattern) && near_enough(pattern, kind.as_str()),
            false => is_literal(plugin) && near_enough(plugin, kind.plugin()),
        }
    })
}

/// Whether a word differs from another in two letters at most.
fn near_enough(word: &str, other: &str) -> bool {
    strsim::damerau_levenshtein(word, other) <= 2
}

/// The rules of an allow list that are about a stack, with their patterns read: there may be
/// thousands of targets.
pub(crate) struct Rules<'a>(Vec<(&'a AllowDecl, Vec<Pattern>)>);

impl<'a> Rules<'a> {
    pub(crate) fn of(allow: &'a [AllowDecl], stack: &Stack) -> Result<Self, RunError> {
        let mut rules = Vec::new();
        for rule in allow {
            if rule.stacks == "**" || glob(&rule.stacks, true)?.is_match(&stack.dir) {
                rules.push((rule, patterns(&rule.targets)?));
            }
        }
        Ok(Self(rules))
    }

    /// A target that one of them names, which nobody declared and which is nearly this one.
    fn mistyped(&self, config: &Config, target: &Name) -> Option<&'a str> {
        let names = self.0.iter().flat_map(|(rule, _)| &rule.targets).map(String::as_str);
        let strangers =
            names.filter(|name| is_literal(name) && !config.targets.keys().any(|known| known.as_str() == *name));
        nearest(target.as_str(), strangers)
    }

    /// Those that are about a target too.
    pub(crate) fn on(&self, target: &Name) -> impl Iterator<Item = &'a AllowDecl> {
        let meant = move |globs: &[Pattern]| globs.iter().any(|glob| glob.is_match(target.as_str()));
        self.0.iter().filter(move |(_, globs)| meant(globs)).map(|(rule, _)| *rule)
    }
}

/// Whether a target is one that a stack is for.
pub(crate) fn selects(selector: &Selector, target: &Name, decl: &TargetDecl) -> bool {
    Selects::of(selector).target(target, decl)
}

/// What a stack says of its targets, with its patterns read. One that cannot be read selects nothing.
enum Selects<'a> {
    Names(Vec<Pattern>),
    Labels(&'a indexmap::IndexMap<String, String>),
}

impl<'a> Selects<'a> {
    fn of(selector: &'a Selector) -> Self {
        let read = |patterns: &[String]| patterns.iter().filter_map(|pattern| Pattern::read(pattern).ok()).collect();
        match selector {
            Selector::One(pattern) => Self::Names(read(std::slice::from_ref(pattern))),
            Selector::Names(patterns) => Self::Names(read(patterns)),
            Selector::Labels(labels) => Self::Labels(labels),
        }
    }

    fn target(&self, target: &Name, decl: &TargetDecl) -> bool {
        match self {
            Self::Names(globs) => globs.iter().any(|glob| glob.is_match(target.as_str())),
            Self::Labels(labels) => {
                !labels.is_empty() && labels.iter().all(|(key, value)| decl.labels.get(key) == Some(value))
            }
        }
    }
}

/// Whether a pattern is a name.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '{', '\\', '!'])
}

/// Names without a wildcard must exist.
fn known<'a>(what: &str, wanted: &[String], known: impl Iterator<Item = &'a str> + Clone) -> Result<(), RunError> {
    for name in wanted.iter().filter(|name| is_literal(name)) {
        if !known.clone().any(|candidate| candidate == name) {
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", listed(known)),
            };
            return Err(RunError::selection(format!("there is no {what} {name}"), Some(hint)));
        }
    }
    Ok(())
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(10);
    names.truncate(10);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn warning(message: String, hint: Option<String>) -> Diagnostic {
    Diagnostic { severity: tidelock_model::error::Severity::Warning, hint, ..Diagnostic::error(message, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    fn example() -> (Config, Vec<Stack>) {
        let config = config(
            r#"{"sources":{"infra":{"url":"x","allow":[{"stacks":"envs/prod/**","targets":["web-*"],"kinds":["server.*"]}]}},
                "targets":{"web-1":{"type":"machine","labels":{"role":"web"}},"db-1":{"type":"machine","labels":{"role":"db"}}}}"#,
        );
        let stack = |name: &str, dir: &str, targets: &str| Stack {
            decl: serde_json::from_str(&format!(r#"{{"name":"{name}","targets":{targets}}}"#)).unwrap(),
            dir: dir.to_owned(),
        };
        let stacks = vec![
            stack("web", "envs/prod/web", r#"{"role":"web"}"#),
            stack("all", "envs/prod/all", r#""*""#),
            stack("dev", "envs/dev/web", r#"["web-1"]"#),
        ];
        (config, stacks)
    }

    fn chosen(stacks: &[&str], targets: &[&str]) -> Result<(Vec<String>, usize), RunError> {
        let (config, all) = example();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (lanes, warnings) =
            lanes(&config, &Name::new("infra").unwrap(), &all, &words(stacks), &words(targets), &|_| vec![])?;
        Ok((lanes.iter().map(|s| format!("{}@{}", s.lane.stack, s.lane.target)).collect(), warnings.len()))
    }

    #[test]
    fn a_pattern_means_what_its_glob_means() {
        for text in ["*", "web", "web-*", "*-1", "w?b", "{web,db}-1", "web-[12]", "", "web*1", "**", "!web"] {
            let (ours, theirs) = (Pattern::read(text).unwrap(), glob(text, false).unwrap());
            for name in ["", "web", "web-1", "web-2", "db-1", "wob", "webx", "!web", "we"] {
                assert_eq!(ours.is_match(name), theirs.is_match(name), "{text:?} {name:?}");
            }
        }
        assert!(Pattern::read("[").is_err());
    }

    #[test]
    fn what_no_list_allows_is_left_out() {
        let (lanes, warnings) = chosen(&[], &[]).unwrap();
        assert_eq!(lanes, ["all@web-1", "web@web-1"]);
        assert_eq!(warnings, 2, "all@db-1 and dev@web-1");
    }

    #[test]
    fn what_was_named_and_is_not_allowed_is_an_error() {
        let error = chosen(&["dev"], &[]).unwrap_err();
        assert!(error.to_string().contains("not allowed by this operator"), "{error}");
    }

    #[test]
    fn a_target_that_a_stack_names_and_nobody_declared_is_a_problem_of_the_stack() {
        let (config, mut all) = example();
        all[2].decl.targets = Selector::Names(vec!["web-1".to_owned(), "wep-1".to_owned(), "gone-*".to_owned()]);
        let source = Name::new("infra").unwrap();
        let look = |targets: &[String]| lanes(&config, &source, &all[2..], &[], targets, &|_| vec![]).unwrap().1;
        let told = look(&[]);
        let problem = told.iter().find(|one| one.severity == tidelock_model::error::Severity::Error).unwrap();
        assert_eq!(problem.message, "stack dev is for wep-1, and the config declares no target wep-1");
        assert_eq!(problem.hint.as_deref(), Some("did you mean web-1?"));
        assert_eq!(problem.place.as_ref().unwrap().file, "envs/dev/web/stack.yaml");
        // Of a target that was chosen, it says nothing.
        assert!(look(&["web-1".to_owned()]).iter().all(|one| !one.message.contains("wep-1")));
    }

    #[test]
    fn lines_that_allow_a_stack_hold_its_kinds() {
        let (config, all) = example();
        let kinds = |_: &Stack| vec!["server.file".to_owned(), "server.link".to_owned()];
        let source = Name::new("infra").unwrap();
        let (_, warnings) = lanes(&config, &source, &all[2..], &[], &[], &kinds).unwrap();
        assert!(
            warnings[0].hint.as_ref().unwrap().ends_with("kinds = [\"server.file\", \"server.link\"]"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_mistyped_stack_is_answered_with_the_nearest() {
        let RunError::Selection { hint, .. } = chosen(&["wep"], &[]).unwrap_err() else { panic!() };
        assert_eq!(hint.unwrap(), "did you mean web?");
    }
}
