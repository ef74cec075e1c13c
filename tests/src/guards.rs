//! Guards that stand for a world: the processes that take effects back.

use crate::environment::TestEnvironment;

/// The process that stands guard in a world, where one does.
#[must_use]
pub fn standing(world: &TestEnvironment) -> Option<i32> {
    let folder = world.path("guards").display().to_string();
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let words = std::fs::read(process.path().join("cmdline")).ok()?;
        let words: Vec<_> = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let stands = words.get(1..3).is_some_and(|words| words[0] == "guard" && words[1] == folder);
        if stands { process.file_name().to_str()?.parse().ok() } else { None }
    })
}

/// Kills one.
pub fn kill(process: i32) {
    let status = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
    assert!(status.unwrap().success());
}
