//! `cargo xtask demo`: Tidelock at work, from an empty folder to history and blame.
//!
//! Each scene does one thing that a user does, shows what the binary says, and
//! checks that it did what the scene says: a demo that only looks right fails.
//! Everything happens in one throw-away folder, on a Git repository that the
//! demo makes and serves over HTTP on the loopback.

mod content;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tidelock_tests::{GitHttp, Repo};

use self::stage::Stage;
use crate::workspace::Workspace;
use crate::{packages, test};

/// How the demo is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// An empty or absent folder for everything; default a new one in the temporary folder
    folder: Option<PathBuf>,
    /// Remove the folder at the end
    #[arg(long)]
    clean: bool,
    /// Play with the binary that is there, without building
    #[arg(long)]
    built: bool,
}

/// Builds everything, and plays the demo.
pub(crate) fn demo(workspace: &Workspace, options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD])?;
    if !options.built {
        test::binary(workspace)?;
    }
    let folder = folder(options.folder.as_deref())?;
    let stage = Stage::new(&folder);
    let repo = Repo::init(&folder.join("infra"));
    let server = GitHttp::serve(&folder);
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));

    opening(&stage, &repo, &url)?;
    plugins(&stage)?;
    first_contact(&stage)?;
    first_apply(&stage)?;
    changed_template(&stage, &repo)?;
    change_by_hand(&stage)?;
    removed_from_git(&stage, &repo)?;
    renamed(&stage, &repo)?;
    bad_commit(&stage, &repo)?;
    looking_back(&stage)?;

    // The server ends with us; the folder itself is as good a source.
    drop(server);
    stage.write("tidelock.toml", &content::config(&repo.path().display().to_string()))?;
    if options.clean {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        stage.say("All as promised. The folder is gone.");
        return Ok(());
    }
    epilogue(&stage, &folder);
    Ok(())
}

fn folder(wanted: Option<&Path>) -> Result<PathBuf> {
    let Some(folder) = wanted else {
        return Ok(tempfile::Builder::new().prefix("tidelock-demo-").tempdir()?.keep());
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let is_empty = fs::read_dir(folder)?.next().is_none();
    ensure!(is_empty, "{} is not empty, and the demo touches nothing that it did not make", folder.display());
    Ok(fs::canonicalize(folder)?)
}

fn opening(stage: &Stage, repo: &Repo, url: &str) -> Result<()> {
    stage.scene("A repository says what a machine should hold");
    for (path, text) in content::REPOSITORY {
        repo.write(path, text);
    }
    let commit = repo.commit("A web site and a greeting");
    stage.write("tidelock.toml", &content::config(url))?;
    for folder in ["etc", "srv"] {
        fs::create_dir_all(stage.machine(folder))?;
    }
    fs::write(stage.machine("etc/machine-id"), "7ed1ec0de7ed1ec0de7ed1ec0de7ed10\n")?;
    stage.say(&format!("Git, at commit {}, served at {url}:", &commit[..12]));
    stage.show_file("envs/prod/web/stack.yaml", content::STACK);
    stage.show_file(content::MODULE_PATH, content::MODULE);
    stage.show_file(content::PAGE_PATH, content::PAGE);
    stage.say("The operator's config, which is not in Git. The \"machine\" is the folder machine/:");
    stage.show_file("tidelock.toml", &content::config(url));
    Ok(())
}

fn plugins(stage: &Stage) -> Result<()> {
    stage.scene("A plugin's imports are its permissions");
    stage.tidelock(&["plugin", "inspect", "server"], 0)?.says("tidelock:machine/propose")?;
    stage.say("Whoever accepts a plugin binds its name to this digest, in tidelock.lock:");
    stage.tidelock(&["plugin", "accept", "jinja", "server"], 0)?;
    Ok(())
}

fn first_contact(stage: &Stage) -> Result<()> {
    stage.scene("First contact changes nothing without a person's yes");
    stage.tidelock(&["plan"], 0)?.says("create")?;
    stage.say("Nobody is at a terminal to say yes, so `apply` waits, with exit code 5:");
    stage.tidelock(&["apply"], 5)?;
    stage.check(
        "nothing was written",
        !stage.machine("etc/motd").try_exists()? && !stage.machine("srv/www").try_exists()?,
    )
}

fn first_apply(stage: &Stage) -> Result<()> {
    stage.scene("The first apply");
    stage.tidelock(&["apply", "--yes"], 0)?;
    stage.holds("srv/www/index.html", "Hello from prod")?;
    stage.holds("etc/motd", "kept by Tidelock")?;
    stage.say("Once more: there is nothing left to do, so `--detailed-exitcode` ends with 0.");
    stage.tidelock(&["plan", "--detailed-exitcode"], 0)?;
    Ok(())
}

fn changed_template(stage: &Stage, repo: &Repo) -> Result<()> {
    stage.scene("A commit that changes a template");
    repo.edit(content::PAGE_PATH, "Hello from", "Good morning from").commit("Greet like the morning");
    stage.tidelock(&["plan", "--detailed-exitcode"], 2)?.says("Good morning from")?;
    stage.tidelock(&["apply", "--yes"], 0)?;
    stage.holds("srv/www/index.html", "Good morning from prod")
}

fn change_by_hand(stage: &Stage) -> Result<()> {
    stage.scene("A change made by hand is found, and undone");
    let motd = stage.machine("etc/motd");
    fs::write(&motd, "I fixed this quickly on Friday night.\n")?;
    stage.did("echo 'I fixed this quickly on Friday night.' > machine/etc/motd");
    stage.tidelock(&["plan", "--detailed-exitcode"], 2)?.says("drift")?.says("Friday night")?;
    stage.tidelock(&["apply", "--yes"], 0)?;
    stage.holds("etc/motd", "kept by Tidelock")
}

fn removed_from_git(stage: &Stage, repo: &Repo) -> Result<()> {
    stage.scene("What leaves Git leaves the machine");
    ensure!(stage.machine("srv/www/about.html").is_file(), "about.html was never there");
    repo.remove(content::ABOUT_PATH).commit("Nobody read the about page");
    stage.tidelock(&["plan", "--detailed-exitcode"], 2)?.says("delete")?;
    stage.tidelock(&["apply", "--yes"], 0)?;
    stage.check("about.html is gone", !stage.machine("srv/www/about.html").try_exists()?)?;
    stage.check("index.html is still there", stage.machine("srv/www/index.html").is_file())
}

fn renamed(stage: &Stage, repo: &Repo) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    stage.scene("A renamed resource moves, and nothing on the machine is touched");
    let before = fs::metadata(stage.machine("etc/motd"))?;
    repo.edit(content::MODULE_PATH, "name: motd", "name: welcome").commit("A better name");
    stage.tidelock(&["plan", "--detailed-exitcode"], 2)?.says("move")?;
    stage.tidelock(&["apply", "--yes"], 0)?;
    let after = fs::metadata(stage.machine("etc/motd"))?;
    let untouched = before.ino() == after.ino() && before.ctime_nsec() == after.ctime_nsec();
    stage.check("the file was not written again", untouched)
}

fn bad_commit(stage: &Stage, repo: &Repo) -> Result<()> {
    stage.scene("A bad commit is refused, and says where it is wrong");
    repo.edit(content::PAGE_PATH, "{{ env }}", "{{ environment }}").commit("A slip of the pen");
    let refused = stage.tidelock_fails(&["apply", "--yes"])?;
    refused.says("index.html.j2")?.says("environment")?;
    stage.holds("srv/www/index.html", "Good morning from prod")?;
    repo.git(["revert", "--no-edit", "--quiet", "HEAD"]);
    stage.did("git revert HEAD");
    stage.tidelock(&["plan", "--detailed-exitcode"], 0)?;
    Ok(())
}

fn looking_back(stage: &Stage) -> Result<()> {
    stage.scene("Who changed what, when and why");
    stage.tidelock(&["status"], 0)?;
    stage.tidelock(&["history"], 0)?.says("drift")?;
    stage.tidelock(&["blame", "server.file/index"], 0)?.says("Ada Lovelace")?;
    Ok(())
}

fn epilogue(stage: &Stage, folder: &Path) {
    let binary = tidelock_tests::tidelock::binary();
    stage.scene("All as promised. Try next");
    stage.say("The config now names the repository by its path, as the server ends with the demo.");
    stage.plain(&format!("cd {}", folder.display()));
    stage.plain(&format!("alias tidelock={}", binary.display()));
    for line in [
        "echo mine > machine/srv/www/index.html && tidelock plan",
        "tidelock apply                      # asks, as you are at a terminal",
        "tidelock blame path:/srv/www/index.html",
        "tidelock plugin inspect server      # its imports are its permissions",
        "tidelock events",
        "$EDITOR infra/modules/web/index.html.j2 && tidelock plan --worktree --repo infra",
    ] {
        stage.plain(line);
    }
    stage.plain(&format!("rm -r {}", folder.display()));
}
