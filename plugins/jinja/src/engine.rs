//! The template engine: strict, without escaping, with limits, and fed from the tree.

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use tidelock_sdk::{Inputs, Place, Problem, Problems, Tree};

use crate::filters;
use crate::problem;
use crate::scope::Scope;

/// Steps of one template: seconds of work, far more than a config file needs.
const FUEL: u64 = 10_000_000;
/// Templates, macros and loops in each other. A guest's stack holds more.
const DEPTH: usize = 64;

/// Renders templates of one module for one target.
pub(crate) struct Engine {
    templates: Environment<'static>,
    inputs: Inputs,
}

impl Engine {
    pub(crate) fn new(tree: &Tree, inputs: &Inputs) -> Self {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        templates.set_fuel(Some(FUEL));
        templates.set_recursion_limit(DEPTH);
        // Gives errors their column.
        templates.set_debug(true);
        // A tag in a line of its own leaves no empty line, and a file keeps its last one.
        let mut syntax = templates.syntax().to_builder();
        if let Ok(syntax) = syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build() {
            templates.set_syntax(syntax);
        }
        templates.set_path_join_callback(|name, parent| beside(parent, name).into());
        filters::add(&mut templates);
        let tree = tree.clone();
        templates.set_loader(move |name| load(&tree, name));
        Self { templates, inputs: inputs.clone() }
    }

    /// Renders one template.
    pub(crate) fn render(&self, file: &str) -> Result<String, Problems> {
        if !is_template(file) {
            let message = format!("{file} is not a template: its name does not end in .j2");
            return Err(Problem::new(message).at(Place::file(file)).into());
        }
        let scope = Scope::of(self.inputs.clone());
        self.templates
            .get_template(file)
            .and_then(|template| template.render(scope))
            .map_err(|error| problem::of(&error, file, &self.inputs).into())
    }
}

fn is_template(path: &str) -> bool {
    path.ends_with(".j2")
}

fn load(tree: &Tree, name: &str) -> Result<Option<String>, Error> {
    if !is_template(name) {
        let message = format!("{name} is not a template: its name does not end in .j2");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    tree.text(name).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.message))
}

/// A path that stands in a file: from the source's root with a leading slash, else from
/// the file's own directory.
pub(crate) fn beside(file: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let (root, file) = file.strip_prefix('/').map_or(("", file), |file| ("/", file));
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // What climbs out of the module stays as it is: the host says that it cannot.
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn paths_start_at_their_file() {
        for (file, path, found) in [
            ("a.yaml.j2", "b.j2", "b.j2"),
            ("x/a.yaml.j2", "b.j2", "x/b.j2"),
            ("x/a.yaml.j2", "../b.j2", "b.j2"),
            ("x/a.yaml.j2", "./y//b.j2", "x/y/b.j2"),
            ("x/a.yaml.j2", "/lib/b.j2", "/lib/b.j2"),
            ("/lib/b.j2", "c.j2", "/lib/c.j2"),
            ("a.yaml.j2", "../../b.j2", "../../b.j2"),
        ] {
            assert_eq!(beside(file, path), found);
        }
    }
}
