//! SECURITY.md promises tests by name: they must exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_threat_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root");
    let table = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let named: Vec<String> = table
        .lines()
        .filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_') && !name.contains('.'))
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 40, "the table was not understood: {named:?}");

    let mut code = String::new();
    for folder in ["runtime", "plugins", "sdk", "tests"] {
        collect(&root.join(folder), &mut code);
    }
    let missing: Vec<_> = named.iter().filter(|name| !defines(&code, name)).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:?}");
}

/// Whether a function of this name follows a test attribute.
fn defines(code: &str, name: &str) -> bool {
    let signature = format!("fn {name}()");
    code.match_indices(&signature).any(|(at, _)| {
        let before = &code[..at];
        let start = before.rfind(['}', ';']).unwrap_or(0);
        before[start..].contains("test")
    })
}

fn collect(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        // Cargo marks its build results; `runtime/target` is a crate.
        if path.is_dir() && !path.join("CACHEDIR.TAG").is_file() {
            collect(&path, code);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            code.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}
