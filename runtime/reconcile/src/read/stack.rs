//! Reads `stack.yaml`.

use std::collections::BTreeSet;

use tidelock_model::check::filled;
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::grant::glob;
use tidelock_model::name::Name;
use tidelock_model::port::{SourceError, Tree};
use tidelock_model::snippet::Hidden;
use tidelock_model::stack::{Fixed, ModuleDecl, Selector, Stack, StackDecl, confirm_ms};

use super::resource::with_snippet;
use super::{nearest, yaml};

/// The file that makes a directory a stack.
pub const FILE: &str = "stack.yaml";
/// The renderer of a stack that names none.
pub const RENDERER: &str = "yaml";
/// What is written for it by mistake.
const MISNAMED: &str = "stack.yml";

/// Where a stack begins to speak of itself.
#[must_use]
pub fn place(stack: &Stack) -> Place {
    start(&stack.file())
}

fn start(file: &str) -> Place {
    Place { file: file.to_owned(), line: 1, column: 1 }
}

/// Reads the text of a `stack.yaml`.
///
/// # Errors
/// Every problem that was found, with its place.
pub fn parse(text: &str, dir: &str) -> Result<Stack, Vec<Diagnostic>> {
    let file = if dir.is_empty() { FILE.to_owned() } else { format!("{dir}/{FILE}") };
    let decl: StackDecl = yaml::typed(text, &file).map_err(|diagnostic| vec![explain(diagnostic)])?;
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| {
        problems.push(Diagnostic::error(message, Some(start(&file))).at(field));
    };
    let patterns: &[String] = match &decl.targets {
        Selector::One(pattern) => std::slice::from_ref(pattern),
        Selector::Names(patterns) => patterns,
        Selector::Labels(labels) => {
            if labels.is_empty() {
                problem("/targets", "`targets: {}` chooses nothing; name labels, targets or globs".to_owned());
            }
            &[]
        }
    };
    for pattern in patterns {
        if let Err(fault) = glob(pattern, false) {
            problem("/targets", fault.message);
        }
    }
    for (i, path) in decl.values.iter().enumerate() {
        if path.trim_end_matches('?').is_empty() {
            problem(&format!("/values/{i}"), "a values file needs a path".to_owned());
        }
    }
    if let Some(ModuleDecl::At(at)) = &decl.from
        && let Err(message) = Fixed::parse(&at.rev)
    {
        problem("/from/rev", message);
    }
    if !(decl.settings.is_null() || decl.settings.is_object()) {
        problem("/settings", "`settings` must be a map".to_owned());
    }
    for (i, check) in decl.checks.iter().enumerate() {
        // With what every target has: its labels are known when a lane is planned.
        let filled = |text: &str| filled(text, "target", |_| Some("1".to_owned()));
        if let Err(message) = check.probe(filled).and_then(|_| check.within()) {
            problem(&format!("/checks/{i}"), message);
        }
    }
    if let Some(Err(message)) = decl.confirm.as_deref().map(confirm_ms) {
        problem("/confirm", message);
    }
    if problems.is_empty() { Ok(Stack { decl, dir: dir.to_owned() }) } else { Err(problems) }
}

/// Untagged values are told apart by trying; their error says too little.
fn explain(mut diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.message.contains("untagged enum Selector") {
        diagnostic.message = "`targets` must be a name, a list of names or globs, or a map of labels".to_owned();
    }
    if diagnostic.message.contains("untagged enum ModuleDecl") {
        diagnostic.message =
            "`from` must be a directory, or `{ path, rev }` with a directory and a tag or commit".to_owned();
        diagnostic.hint = Some("put a tag in quotes that looks like a number, such as \"1.0\"".to_owned());
    }
    if diagnostic.message.contains("untagged enum BudgetText") {
        diagnostic.message = "a budget is a number, such as 3, or a part of what is owned, such as 25%".to_owned();
    }
    if diagnostic.message.contains("unexpected end of input") {
        diagnostic.message = "the file is empty; a stack has at least a name and targets".to_owned();
        diagnostic.hint = Some("such as:\nname: web\ntargets: [web-1]".to_owned());
    }
    if diagnostic.message.contains("expected mapping start") {
        diagnostic.message = "a stack is a map of `name`, `targets` and more".to_owned();
    }
    if diagnostic.message.contains("missing field `targets`") {
        diagnostic.hint = Some("say where the stack goes, such as `targets: [web-1]`".to_owned());
    }
    diagnostic
}

/// Reads every stack of a tree. A stack that cannot be read does not hide the others.
///
/// # Errors
/// The tree cannot be read.
pub fn all(tree: &dyn Tree) -> Result<(Vec<Stack>, Vec<Diagnostic>), SourceError> {
    let mut stacks: Vec<Stack> = Vec::new();
    let mut problems = Vec::new();
    for dir in tree.stacks()? {
        let file = if dir.is_empty() { FILE.to_owned() } else { format!("{dir}/{FILE}") };
        let Some(bytes) = tree.read(&file)? else { continue };
        let Ok(text) = String::from_utf8(bytes) else {
            problems.push(Diagnostic::error("the file is not UTF-8", Some(Place::file(file))));
            continue;
        };
        match parse(&text, &dir) {
            Ok(stack) => match stacks.iter().find(|other| other.decl.name == stack.decl.name) {
                Some(other) => {
                    let message = format!("stack {} is declared twice: in {} and here", stack.decl.name, other.file());
                    let hint = "a name is unique in its source: give one of the two another";
                    problems.push(Diagnostic::error(message, Some(start(&file))).at("/name").hint(hint));
                }
                None => stacks.push(stack),
            },
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(misnamed(tree)?);
    let (stacks, found) = needing(stacks, problems.is_empty());
    problems.extend(found);
    problems.iter_mut().for_each(|problem| with_snippet(problem, tree, &Hidden::new()));
    Ok((stacks, problems))
}

/// Stacks in files that nobody reads. What other programs call so (a compose file) is none of them:
/// a stack says its targets.
fn misnamed(tree: &dyn Tree) -> Result<Vec<Diagnostic>, SourceError> {
    let mut problems = Vec::new();
    for dir in tree.holding(MISNAMED)? {
        let path = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let file = path(MISNAMED);
        // What cannot be read here is told by whoever has to read it.
        let Ok(Some(bytes)) = tree.read(&file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        if text.lines().any(|line| line.starts_with("targets:")) && tree.entry(&path(FILE))?.is_none() {
            let message = format!("a stack in a file of this name is not read: Tidelock reads {FILE}");
            let hint = format!("git mv {file} {}", path(FILE));
            problems.push(Diagnostic::error(message, Some(Place::file(&file))).hint(hint));
        }
    }
    Ok(problems)
}

/// Leaves out the stacks that need one that is not there, or that needs them in turn: their
/// turn would never come. Where some could not be read (not `all`), one that is not there may be among them.
fn needing(stacks: Vec<Stack>, all: bool) -> (Vec<Stack>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    for stack in &stacks {
        for needed in &stack.decl.needs {
            let (message, hint) = if !stacks.iter().any(|other| other.decl.name == *needed) {
                let read = if all { "" } else { " that can be read" };
                let others = stacks.iter().map(|other| other.decl.name.as_str());
                let near = nearest(needed.as_str(), others.filter(|other| *other != stack.decl.name.as_str()));
                let message =
                    format!("stack {} needs {needed}, and there is no stack of that name{read}", stack.decl.name);
                (message, near.map(|near| format!("did you mean {near}?")))
            } else if let Some(way) = way_back(&stacks, stack, needed) {
                (format!("stack {} needs itself: {}", stack.decl.name, way.join(" needs ")), None)
            } else {
                continue;
            };
            let problem = Diagnostic::error(message, Some(place(stack))).at("/needs");
            problems.push(Diagnostic { hint, ..problem });
            break;
        }
    }
    let bad = |stack: &Stack| {
        let file = stack.file();
        problems.iter().any(|problem| problem.place.as_ref().is_some_and(|place| place.file == file))
    };
    let stacks = stacks.into_iter().filter(|stack| !bad(stack)).collect();
    (stacks, problems)
}

/// The way along `needs` from a stack by way of one that it needs back to itself.
fn way_back(stacks: &[Stack], stack: &Stack, by: &Name) -> Option<Vec<String>> {
    let mut open = vec![vec![stack.decl.name.clone(), by.clone()]];
    let mut known = BTreeSet::new();
    while let Some(way) = open.pop() {
        let last = way.last()?;
        if *last == stack.decl.name {
            return Some(way.iter().map(ToString::to_string).collect());
        }
        if !known.insert(last.clone()) {
            continue;
        }
        let next = stacks.iter().find(|other| other.decl.name == *last).map_or(&[][..], |other| &other.decl.needs);
        open.extend(next.iter().map(|name| [way.clone(), vec![name.clone()]].concat()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_says_what_it_must() {
        let stack = parse("name: web\ntargets: [web-*]\non_drift: apply\n", "envs/prod").unwrap();
        assert_eq!(stack.module(), "envs/prod");
        assert_eq!(stack.decl.renderer, "yaml");
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_line() {
        let problems = parse("name: web\ntargts: [a]\n", "web").unwrap_err();
        let problem = &problems[0];
        assert_eq!(problem.place.as_ref().unwrap().to_string(), "web/stack.yaml:2:1");
        assert_eq!(problem.hint.as_deref(), Some("did you mean `targets`?"));
        assert_eq!(problem.snippet.as_deref(), Some("targts: [a]"));
    }

    #[test]
    fn what_the_reader_alone_would_say_is_put_in_words() {
        for (text, words) in [
            ("", "the file is empty"),
            ("[]\n", "a stack is a map"),
            ("name: web\ntargets: [a]\nbudget: { destroy: -1 }\n", "a budget is a number"),
            ("name: web\nname: db\ntargets: [a]\n", "duplicate mapping key: name"),
        ] {
            let problem = &parse(text, "web").unwrap_err()[0];
            assert!(problem.message.starts_with(words), "{text:?}: {problem:?}");
            assert!(!problem.message.contains("Options"), "{problem:?}");
        }
    }

    #[test]
    fn a_check_or_a_rollout_that_cannot_be_is_named() {
        for (text, words) in [
            ("checks: [{ tcp: a }]", "is not host:port"),
            ("checks: [{ http: 'http://{nobody}/' }]", "{nobody} is neither {target} nor {labels.KEY}"),
            ("checks: [{ tcp: 'a:1', within: soon }]", "is not a duration"),
            ("checks: [{ ping: a }]", "unknown field `ping`"),
            ("rollout: { first: some }", "neither a number nor a percentage"),
        ] {
            let problems = parse(&format!("name: web\ntargets: [a]\n{text}\n"), "web").unwrap_err();
            assert!(problems[0].message.contains(words), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_module_at_a_revision_names_both() {
        let stack = parse("name: web\ntargets: [a]\nfrom: { path: /modules/web, rev: v1 }\n", "envs/prod").unwrap();
        assert_eq!((stack.module().as_str(), stack.module_rev()), ("modules/web", Some("v1")));
        for (from, words) in [
            ("{ path: /m, rev: refs/heads/main }", "a branch would move by itself"),
            ("{ path: /m }", "`from` must be a directory, or"),
            ("{ path: /m, rev: 1.0 }", "`from` must be a directory, or"),
            ("{ path: /m, rev: v1, ref: x }", "`from` must be a directory, or"),
        ] {
            let problems = parse(&format!("name: web\ntargets: [a]\nfrom: {from}\n"), "web").unwrap_err();
            assert!(problems[0].message.contains(words), "{from}: {problems:?}");
        }
    }

    #[test]
    fn a_stack_that_needs_itself_or_nobody_has_no_turn() {
        let stack =
            |name: &str, needs: &str| parse(&format!("name: {name}\ntargets: [a]\nneeds: [{needs}]\n"), name).unwrap();
        let stacks =
            vec![stack("web", "db"), stack("db", "net"), stack("net", "web"), stack("free", ""), stack("app", "gone")];
        let (left, problems) = needing(stacks, true);
        assert_eq!(left.iter().map(|stack| stack.dir.as_str()).collect::<Vec<_>>(), ["free"]);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages[0], "stack web needs itself: web needs db needs net needs web");
        assert_eq!(messages[3], "stack app needs gone, and there is no stack of that name");
    }

    #[test]
    fn targets_of_a_wrong_shape_are_explained() {
        let problems = parse("name: web\ntargets: 3\n", "").unwrap_err();
        assert!(problems[0].message.contains("a list of names or globs"), "{problems:?}");
    }
}
