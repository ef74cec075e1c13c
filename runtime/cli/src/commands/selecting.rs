//! Which lanes and which files: the arguments that `plan`, `apply`, `render` and
//! `values` share.

use tidelock_model::name::Name;
use tidelock_model::port::Want;
use tidelock_reconcile::Selection;

use crate::config::{self, Loaded};
use crate::context::Context;
use crate::error::{CliError, Kind};

/// See the module.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Selecting {
    /// Stacks, by name or glob; all where none is named
    pub(crate) stacks: Vec<String>,
    /// Targets, by name or glob
    #[arg(long, short, value_name = "TARGET")]
    pub(crate) target: Vec<String>,
    /// The source, where the config has several
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<Name>,
    /// Takes the files from this repository instead of the source's own
    #[arg(long, value_name = "PATH")]
    pub(crate) repo: Option<String>,
    /// A branch, tag or commit instead of what the config names
    #[arg(long, value_name = "REV", conflicts_with = "worktree")]
    pub(crate) rev: Option<String>,
    /// Takes the files as they lie in the work tree, committed or not
    #[arg(long)]
    pub(crate) worktree: bool,
}

impl Selecting {
    /// What the loop is to look at. Puts `--repo` into the config, and refuses a
    /// repository that holds our own files.
    pub(crate) fn select(&self, context: &Context, loaded: &mut Loaded) -> Result<Selection, CliError> {
        let source = self.chosen(loaded)?;
        let mut want = match (&self.rev, self.worktree) {
            (_, true) => Want::Worktree,
            (Some(rev), _) => Want::Rev(rev.clone()),
            (None, _) => Want::Configured,
        };
        if let Some(repo) = &self.repo {
            let path = std::path::absolute(context.here.join(repo))
                .map_err(|error| CliError::file("find", repo.as_ref(), &error))?;
            if let Some(decl) = loaded.config.sources.get_mut(&source) {
                decl.url = path.to_string_lossy().into_owned();
                // How its own server is reached says nothing of a folder.
                (decl.auth, decl.ssh, decl.ca, decl.insecure) = (None, None, None, false);
                (decl.proxy, decl.proxy_auth) = (None, None);
            }
            // What is checked out there is what its owner means, whatever the branch is called.
            if want == Want::Configured {
                want = Want::Rev("HEAD".to_owned());
            }
        }
        if let Some(decl) = loaded.config.sources.get(&source) {
            config::refuse_inside(loaded, &decl.url, context.global.trust_worktree, context.ci)?;
        }
        Ok(Selection { source: Some(source), stacks: self.stacks.clone(), targets: self.target.clone(), want })
    }

    fn chosen(&self, loaded: &Loaded) -> Result<Name, CliError> {
        let known: Vec<&str> = loaded.config.sources.keys().map(Name::as_str).collect();
        match (&self.source, known.as_slice()) {
            (Some(name), _) if loaded.config.sources.contains_key(name) => Ok(name.clone()),
            (Some(name), _) => {
                let hint = match config::toml::nearest(name.as_str(), &known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("declared: {}", known.join(", ")),
                };
                Err(CliError::new(Kind::Usage, format!("the config declares no source {name}")).hint(hint))
            }
            (None, [only]) => Ok(Name::new(*only)?),
            (None, []) => Err(CliError::new(Kind::Config, format!("{} declares no source", loaded.file.display()))
                .hint("add one:\n[sources.infra]\nurl = \"https://git.example.com/infra.git\"")),
            (None, several) => Err(CliError::new(Kind::Usage, "the config declares several sources; say which")
                .hint(format!("--source {}", several.join(" or --source ")))),
        }
    }

    /// The arguments again, for the command to type next.
    pub(crate) fn words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.stacks.iter().map(String::as_str).collect();
        for target in &self.target {
            words.extend(["--target", target]);
        }
        words.extend(self.origin());
        words
    }

    /// The arguments that say where files come from.
    pub(crate) fn origin(&self) -> Vec<&str> {
        let source = self.source.as_ref().map(Name::as_str);
        let options = [("--source", source), ("--repo", self.repo.as_deref()), ("--rev", self.rev.as_deref())];
        let mut words: Vec<&str> =
            options.into_iter().filter_map(|(name, value)| Some([name, value?])).flatten().collect();
        if self.worktree {
            words.push("--worktree");
        }
        words
    }
}
