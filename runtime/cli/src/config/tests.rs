//! The config as people write it, and what they are told of their mistakes.

mod files;
mod gates;
mod grants;
mod syntax;
mod values;

use super::*;
use crate::output::note::error_text;

/// The whole message that a person sees for a config with this text.
fn complaint(text: &str) -> String {
    let error = parse(Path::new("tidelock.toml"), text).expect_err("the config is wrong");
    assert_eq!(error.exit().code(), 1);
    error_text(&error, false)
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}
