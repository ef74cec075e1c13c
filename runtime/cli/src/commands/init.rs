//! `tidelock init [DIR]`: config beside a new repository, one throw-away machine, and
//! the first-party plugins accepted. Never overwrites anything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tidelock_host::Lock;
use tidelock_model::plugin::PluginFacts;

use crate::config;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::one_line;
use crate::output::progress::Progress;
use crate::plugins;

const CONFIG: &str = include_str!("init/tidelock.toml");
/// The repository, by path within it.
const REPOSITORY: [(&str, &str); 3] = [
    ("hello/stack.yaml", include_str!("init/stack.yaml")),
    ("hello/motd.yaml", include_str!("init/motd.yaml")),
    ("hello/motd.txt", include_str!("init/motd.txt")),
];

/// Of the first commit.
const SUBJECT: &str = "hello: a message of the day";
/// Who commits where Git does not know.
const AUTHOR: [(&str, &str); 2] = [("user.name", "Tidelock"), ("user.email", "tidelock@localhost")];

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where; made if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A directory of plugins besides those that this build embeds
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let dir = context.here.join(&args.dir);
    for name in ["tidelock.toml", "tidelock.lock", "repo", "machine"] {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(CliError::new(
                Kind::Usage,
                format!("{} is there already; nothing was changed", path.display()),
            )
            .hint("name another directory: tidelock init DIR"));
        }
    }
    let git = Git::find()?;
    let plugins = args.plugins.as_ref().map(|plugins| absolute(&context.here.join(plugins))).transpose()?;
    let config = with_plugins(plugins.as_deref());

    make_dir(&dir)?;
    write_new(&dir.join("tidelock.toml"), &config)?;
    let accepted = accept(&dir).inspect_err(|_| drop(std::fs::remove_file(dir.join("tidelock.toml"))))?;
    make_machine(&dir.join("machine"))?;
    let stand_in = make_repository(&git, &dir.join("repo"))?;
    tell(context, args, &dir, &accepted, stand_in)?;
    Ok(Exit::Done)
}

fn with_plugins(dir: Option<&Path>) -> String {
    let table = match dir {
        Some(dir) => format!("[plugins]\ndir = {}", toml::Value::from(dir.to_string_lossy().into_owned())),
        None => "# [plugins]\n# dir = \"plugins\"          # *.wasm of your own, besides the built-in ones".to_owned(),
    };
    CONFIG.replace("#PLUGINS#", &table)
}

/// Accepts every plugin that is there: at this moment they are what came with the
/// binary, or what the person named.
fn accept(dir: &Path) -> Result<Vec<PluginFacts>, CliError> {
    let loaded = config::load(&dir.join("tidelock.toml"))?;
    let host = plugins::host(&loaded, Arc::new(Progress::new(false)))?;
    let facts = host.facts();
    if facts.is_empty() {
        return Err(plugins::none(&loaded).hint("or name it here: tidelock init DIR --plugins target/plugins"));
    }
    let mut lock = Lock::read(loaded.lock())?;
    for one in &facts {
        lock.accept(&one.plugin);
    }
    lock.write()?;
    Ok(facts)
}

/// A folder that stands for a machine, with an id of its own, so that it stays the same
/// machine when it is moved.
fn make_machine(root: &Path) -> Result<(), CliError> {
    make_dir(&root.join("etc"))?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| CliError::new(Kind::Io, format!("no randomness: {error}")))?;
    write_new(&root.join("etc/machine-id"), &format!("{}\n", hex::encode(id)))
}

/// Makes the repository with its first commit, and says whether commits in it have a stand-in
/// for an author, since Git knows none here.
fn make_repository(git: &Git, repo: &Path) -> Result<bool, CliError> {
    for (name, text) in REPOSITORY {
        let path = repo.join(name);
        make_dir(path.parent().unwrap_or(repo))?;
        write_new(&path, text)?;
    }
    git.run(repo, &["init", "--quiet"])?;
    // `init -b` is younger than many a server's Git.
    git.run(repo, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    git.run(repo, &["add", "--all"])?;
    let stand_in = !git.knows_who(repo);
    if stand_in {
        // In this repository alone: the next commit, a person's first, would fail as well.
        for (key, value) in AUTHOR {
            git.run(repo, &["config", "--local", key, value])?;
        }
    }
    // A passphrase prompt has no place here.
    let commit = ["-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "--message", SUBJECT];
    git.run(repo, &commit)?;
    Ok(stand_in)
}

/// The person's own Git, away from any repository around us.
struct Git;

impl Git {
    fn find() -> Result<Self, CliError> {
        match Self::command().arg("--version").output() {
            Ok(out) if out.status.success() => Ok(Self),
            _ => Err(CliError::new(Kind::Io, "`git` does not run, and init makes a Git repository")
                .hint("install it, such as with: apt-get install git")),
        }
    }

    fn command() -> Command {
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, repo: &Path, args: &[&str]) -> Result<(), CliError> {
        let out = Self::command().current_dir(repo).args(args).output();
        let out = out.map_err(|error| CliError::new(Kind::Io, format!("cannot run git: {error}")))?;
        if out.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr);
        Err(CliError::new(Kind::Io, format!("git {} failed in {}", args.join(" "), repo.display()))
            .because(one_line(&said)))
    }

    /// Whether Git knows whose commits are made here, by its config or the environment. It may
    /// guess from the machine's name otherwise, and on most machines refuses to.
    fn knows_who(&self, repo: &Path) -> bool {
        let told = |what: &str| {
            ["AUTHOR", "COMMITTER"]
                .iter()
                .all(|who| std::env::var_os(format!("GIT_{who}_{what}")).is_some_and(|told| !told.is_empty()))
        };
        [("user.name", "NAME"), ("user.email", "EMAIL")]
            .iter()
            .all(|(key, what)| told(what) || self.run(repo, &["config", key]).is_ok())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    path.canonicalize().map_err(|error| CliError::file("find", path, &error))
}

fn make_dir(path: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(path).map_err(|error| CliError::file("make", path, &error))
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| CliError::file("write", path, &error);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn tell(context: &Context, args: &Args, dir: &Path, accepted: &[PluginFacts], stand_in: bool) -> Result<(), CliError> {
    let shown = args.dir.display().to_string();
    let mut next = vec!["tidelock plan".to_owned(), "tidelock apply".to_owned(), "tidelock status".to_owned()];
    if shown != "." {
        next.insert(0, tidelock_model::effect::shown(&["cd".to_owned(), shown.clone()]));
    }
    if context.out.is_json() {
        let plugins: Vec<_> = accepted.iter().map(|facts| &facts.plugin).collect();
        let value = json!({ "format": "tidelock.init/1", "dir": dir, "accepted": plugins, "next": next });
        return context.out.json(&value);
    }
    let paint = context.out.paint;
    let names: Vec<String> =
        accepted.iter().map(|facts| format!("{} {}", facts.plugin.name, one_line(&facts.plugin.version))).collect();
    let line = |name: &str, what: &str| format!("  {name:<15} {what}\n");
    let mut text = format!("Made in {}:\n", paint.bold(&shown));
    text.push_str(&line("tidelock.toml", "who may do what; read it, it is short"));
    text.push_str(&line("tidelock.lock", &format!("the plugins that may run: {}", names.join(", "))));
    text.push_str(&line("repo/", "a Git repository with one stack, hello"));
    text.push_str(&line("machine/", "a throw-away folder that stands for a machine"));
    if stand_in {
        let [(_, name), (_, mail)] = AUTHOR;
        text.push_str(&format!(
            "\nGit does not know who you are, so commits in repo/ are by {name} <{mail}>. To change that:\n"
        ));
        text.push_str("  git config --global user.name NAME; git config --global user.email MAIL\n");
        text.push_str("  git config --remove-section user     (in repo/)\n");
    }
    text.push_str("\nNext:\n");
    for command in next {
        text.push_str(&format!("  {command}\n"));
    }
    context.out.text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_that_init_writes_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tidelock.toml");
        for plugins in [None, Some(Path::new("/a \"b\"/plugins"))] {
            std::fs::write(&file, with_plugins(plugins)).unwrap();
            let loaded = config::load(&file).unwrap();
            assert_eq!(loaded.plugins_dir().as_deref(), plugins);
            assert_eq!(
                loaded.config.targets.values().next().unwrap().root.as_deref(),
                dir.path().join("machine").to_str()
            );
            let source = loaded.config.sources.values().next().unwrap();
            assert_eq!(source.url, dir.path().join("repo").display().to_string());
            assert_eq!(source.allow[0].kinds, ["server.*"]);
            // What init lays out must pass the rule that it exists for.
            std::fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
            config::refuse_inside(&loaded, &source.url, false, true).unwrap();
        }
    }

    #[test]
    fn a_repository_is_made_with_one_commit() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        let git = Git::find().unwrap();
        make_repository(&git, &repo).unwrap();
        git.run(&repo, &["rev-parse", "--verify", "refs/heads/main^{commit}"]).unwrap();
        git.run(&repo, &["diff", "--exit-code", "HEAD"]).unwrap();
        assert!(write_new(&repo.join("hello/motd.txt"), "other").is_err(), "nothing is overwritten");
    }
}
