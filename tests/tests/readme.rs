//! The README's first five minutes are what a newcomer sees: its commands are run, and
//! what they print is compared with what it shows, but for what no two runs share.
//!
//! With `TIDELOCK_BLESS=1` the sample output is written anew instead.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tidelock_tests::TestEnvironment;
use tidelock_tests::environment::hermetic;
use tidelock_tests::tidelock::binary;

const HEADING: &str = "## The first five minutes\n";
const FENCE: &str = "```\n";
/// Stands for output that is left out.
const LEFT_OUT: &str = "...";
/// Between the outputs of two commands.
const MARK: &str = "\u{1}";
/// Who runs the sample's commands.
const USER: &str = "ada";

/// A command, and the lines that it prints.
struct Step {
    command: String,
    output: Vec<String>,
}

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// The sample's text, and where in the README it stands.
fn sample(text: &str) -> (usize, usize) {
    let heading = text.find(HEADING).expect("the heading of the sample");
    let start = heading + text[heading..].find(FENCE).expect("a block") + FENCE.len();
    (start, start + text[start..].find(FENCE).expect("the end of the block"))
}

fn steps(sample: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in sample.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), output: vec![] }),
            (None, Some(step)) => step.output.push(line.to_owned()),
            (None, None) => panic!("the sample does not begin with a command: {line}"),
        }
    }
    for step in &mut steps {
        trim(&mut step.output);
    }
    steps
}

/// Blank lines at the end only set commands apart.
fn trim(lines: &mut Vec<String>) {
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
}

/// Runs the commands one after the other in one shell.
fn run(steps: &[Step]) -> Vec<Vec<String>> {
    let world = TestEnvironment::new();
    let tools = binary().parent().expect("a folder").to_path_buf();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script.push_str(&format!("printf '{MARK}\\n'\n{}\n", step.command));
    }
    let mut shell = Command::new("sh");
    hermetic(&mut shell, &world.path("home")).current_dir(world.root());
    shell.env("PATH", format!("{}:{path}", tools.display())).args(["-euc", &script]);
    let output = shell.output().expect("a shell");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "a command of the README fails:\n{said}");
    let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id runs").stdout).expect("a name");
    let mut outputs: Vec<Vec<String>> = Vec::new();
    for line in said.lines() {
        match outputs.last_mut() {
            _ if line == MARK => outputs.push(Vec::new()),
            Some(output) => output.push(as_ada(line, user.trim())),
            None => panic!("something was said before the first command: {line}"),
        }
    }
    outputs.iter_mut().for_each(trim);
    outputs
}

/// Lines that name whoever runs the command name the sample's user instead.
fn as_ada(line: &str, user: &str) -> String {
    let names = ["  asked by  ", "  approved  ", "Approved by "].iter().find(|start| line.starts_with(**start));
    match names.and_then(|start| Some((start, line[start.len()..].strip_prefix(user)?))) {
        Some((start, rest)) => format!("{start}{USER}{rest}"),
        None => line.to_owned(),
    }
}

/// A line without digests, commits, runs and times.
fn masked(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':');
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(if is_word(c) { 0 } else { c.len_utf8() });
        let (word, after) = rest.split_at(end);
        out.push_str(mask(word).unwrap_or(word));
        rest = after;
    }
    out
}

fn mask(word: &str) -> Option<&'static str> {
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match shape.as_str() {
        "0000-00-00" => return Some("[date]"),
        "00:00:00Z" => return Some("[time]"),
        shape if shape.starts_with("00000000T000000000-") => return Some("[run]"),
        _ => {}
    }
    let digest = word.strip_prefix("sha256:").is_some_and(|digest| hex(digest, 64));
    (digest || hex(word, 12) || hex(word, 40)).then_some("[id]")
}

/// Whether lines are those of the sample, in which `...` stands for any number of lines.
fn is_as_shown(shown: &[String], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((first, shown)) if first == LEFT_OUT => (0..=said.len()).any(|from| is_as_shown(shown, &said[from..])),
        Some((first, shown)) => {
            said.split_first().is_some_and(|(line, said)| masked(first) == masked(line) && is_as_shown(shown, said))
        }
    }
}

#[test]
fn the_first_five_minutes_are_real() {
    let text = fs::read_to_string(readme()).expect("the README");
    let (start, end) = sample(&text);
    let steps = steps(&text[start..end]);
    let outputs = run(&steps);
    assert_eq!(outputs.len(), steps.len());
    let bless = std::env::var_os("TIDELOCK_BLESS").is_some();
    let mut written = String::new();
    for (step, said) in steps.iter().zip(&outputs) {
        let fits = is_as_shown(&step.output, said);
        let (shown, said) = (step.output.join("\n"), said.join("\n"));
        let command = &step.command;
        assert!(
            fits || bless,
            "`{command}` does not print what the README shows; TIDELOCK_BLESS=1 writes it anew\n--- shown\n{shown}\n--- said\n{said}"
        );
        let kept = if fits || shown.contains(LEFT_OUT) { shown } else { said };
        written.push_str(&format!("$ {command}\n{kept}\n\n").replace("\n\n\n", "\n\n"));
    }
    if bless {
        let text = format!("{}{}\n{}", &text[..start], written.trim_end(), &text[end..]);
        fs::write(readme(), text).expect("the README can be written");
    }
}

#[test]
fn only_what_no_two_runs_share_is_masked() {
    assert_eq!(masked("at 9fa85e55d033 (hello: a message)"), "at [id] (hello: a message)");
    assert_eq!(
        masked("  what  update at 2026-11-23 13:36:28Z, run 20261123T133628652-c4c3db"),
        "  what  update at [date] [time], run [run]"
    );
    assert_eq!(masked("mode 0644, server 0.1.0, +++ b/etc/motd"), "mode 0644, server 0.1.0, +++ b/etc/motd");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(is_as_shown(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(!is_as_shown(&lines("a\n...\nd"), &lines("a\nb\nc")));
    assert!(!is_as_shown(&lines("a"), &lines("a\nb")));
}
