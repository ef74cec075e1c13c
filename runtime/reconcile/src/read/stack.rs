//! Reads `stack.yaml`.

use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::grant::glob;
use tidelock_model::port::{SourceError, Tree};
use tidelock_model::stack::{Selector, Stack, StackDecl};

use super::yaml;

/// The file that makes a directory a stack.
pub const FILE: &str = "stack.yaml";

/// Reads the text of a `stack.yaml`.
///
/// # Errors
/// Every problem that was found, with its place.
pub fn parse(text: &str, dir: &str) -> Result<Stack, Vec<Diagnostic>> {
    let file = if dir.is_empty() { FILE.to_owned() } else { format!("{dir}/{FILE}") };
    let decl: StackDecl = yaml::typed(text, &file).map_err(|diagnostic| vec![explain(diagnostic)])?;
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| {
        problems.push(Diagnostic::error(message, Some(Place::file(&file))).at(field));
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
    if !(decl.settings.is_null() || decl.settings.is_object()) {
        problem("/settings", "`settings` must be a map".to_owned());
    }
    if problems.is_empty() { Ok(Stack { decl, dir: dir.to_owned() }) } else { Err(problems) }
}

/// Untagged values are told apart by trying; their error says too little.
fn explain(mut diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.message.contains("untagged enum Selector") {
        diagnostic.message = "`targets` must be a name, a list of names or globs, or a map of labels".to_owned();
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
                Some(other) => problems.push(Diagnostic::error(
                    format!("stack {} is declared twice: in {:?} and in {dir:?}", stack.decl.name, other.dir),
                    Some(Place::file(file)),
                )),
                None => stacks.push(stack),
            },
            Err(found) => problems.extend(found),
        }
    }
    Ok((stacks, problems))
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
    fn targets_of_a_wrong_shape_are_explained() {
        let problems = parse("name: web\ntargets: 3\n", "").unwrap_err();
        assert!(problems[0].message.contains("a list of names or globs"), "{problems:?}");
    }
}
