//! Effects: typed writes, as data. A plugin proposes; it never writes.
//!
//! Each sort of effect goes to the host by a function of its own, and only those that
//! a plugin uses end up in its import list. So there is no enum to match on here: one
//! match over all of them would import them all.

/// Which function of the host an effect goes to; `once` for what may be sent once for a change.
macro_rules! proposable {
    ($($body:ty => $call:ident $(, once: $once:literal)?);* $(;)?) => {$(
        impl Proposable for $body {}
        impl sealed::Send for $body {
            $(const ONCE: bool = $once;)?
            fn send(self, common: Common, port: ProposePort<'_>) -> Result<(), Error> {
                port.$call(common, self)
            }
        }
    )*};
}

pub mod dns;
pub mod network;

use std::cell::Cell;

use crate::error::Error;
use crate::host::ProposePort;
use crate::provider::AnyChange;
use crate::sql::statement;

/// What to do when a crash leaves it unknown whether an effect happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// Look again and plan anew.
    Observe,
    /// Do it again: it may be done twice.
    Repeat,
    /// Ask a person.
    Ask,
}

/// What every effect carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// The change's id.
    pub change: u32,
    /// The token of the read that the effect relies on.
    pub precondition: Option<String>,
    /// Effects with equal keys form one group.
    pub together: Option<String>,
    /// What to do after a crash.
    pub after_crash: AfterCrash,
}

/// Who may do what with a path. `None` leaves what is there, or the default of a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, 0 to 0o7777.
    pub mode: Option<u32>,
    /// User name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
}

/// Puts a file in place: written beside, given its attributes, then renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutFile {
    /// Where.
    pub path: String,
    /// A digest that the change's desired spec names.
    pub content: String,
    /// Attributes, set before the rename.
    pub attributes: Attributes,
    /// Whether missing parent directories are made, with mode 0755.
    pub parents: bool,
    /// Keeps what was there under this suffix.
    pub backup: Option<String>,
    /// Must end with 0 before the rename; `%s` stands for the staged file.
    pub validate: Option<Vec<String>>,
}

/// Puts a text of the plugin's own making in place: it stands in the change's desired spec, as
/// the value of a field whose name is the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutText {
    /// Where.
    pub path: String,
    /// What the file is to hold.
    pub text: String,
}

/// Changes the attributes of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAttributes {
    /// Where.
    pub path: String,
    /// What to set.
    pub attributes: Attributes,
}

/// Makes a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeDirectory {
    /// Where.
    pub path: String,
    /// Attributes of the new directory.
    pub attributes: Attributes,
    /// Whether missing parent directories are made, with mode 0755.
    pub parents: bool,
}

/// Makes a symbolic link, in place of a link or of nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where.
    pub path: String,
    /// The link's text.
    pub to: String,
}

/// Removes a file, a link or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    /// Where.
    pub path: String,
    /// Whether a directory goes with all below it; else it must be empty.
    pub tree: bool,
}

/// Runs a program. No shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The program's absolute path and its words.
    pub argv: Vec<String>,
    /// The directory to start in.
    pub cwd: Option<String>,
    /// The whole environment, besides PATH, LANG and HOME.
    pub env: Vec<(String, String)>,
    /// Ended after this time.
    pub timeout_ms: u32,
}

/// An effect under construction: made by one of the functions of this module,
/// handed in with [`Proposals::add`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an effect does nothing until it is added to the proposals"]
pub struct Effect<B> {
    pub(crate) body: B,
    precondition: Option<String>,
    together: Option<String>,
    after_crash: AfterCrash,
}

pub(crate) fn effect<B>(body: B, after_crash: AfterCrash) -> Effect<B> {
    Effect { body, precondition: None, together: None, after_crash }
}

/// Puts a file with a content, named by its digest, in place.
pub fn put_file(path: impl Into<String>, content: &crate::Content) -> Effect<PutFile> {
    let body = PutFile {
        path: path.into(),
        content: content.digest.clone(),
        attributes: Attributes::default(),
        parents: false,
        backup: None,
        validate: None,
    };
    effect(body, AfterCrash::Observe)
}

/// Puts a text of the plugin's own making in place, with missing parent directories. It must stand
/// in the desired spec, as the value of a field whose name is the path.
pub fn put_text(path: impl Into<String>, text: impl Into<String>) -> Effect<PutText> {
    effect(PutText { path: path.into(), text: text.into() }, AfterCrash::Observe)
}

/// Changes the attributes of what is at a path.
pub fn set_attributes(path: impl Into<String>) -> Effect<SetAttributes> {
    effect(SetAttributes { path: path.into(), attributes: Attributes::default() }, AfterCrash::Observe)
}

/// Makes a directory.
pub fn make_directory(path: impl Into<String>) -> Effect<MakeDirectory> {
    let body = MakeDirectory { path: path.into(), attributes: Attributes::default(), parents: false };
    effect(body, AfterCrash::Observe)
}

/// Makes a symbolic link.
pub fn link(path: impl Into<String>, to: impl Into<String>) -> Effect<Link> {
    effect(Link { path: path.into(), to: to.into() }, AfterCrash::Observe)
}

/// Removes a file, a link or an empty directory.
pub fn remove(path: impl Into<String>) -> Effect<Remove> {
    effect(Remove { path: path.into(), tree: false }, AfterCrash::Observe)
}

/// Removes a directory and all below it.
pub fn remove_tree(path: impl Into<String>) -> Effect<Remove> {
    effect(Remove { path: path.into(), tree: true }, AfterCrash::Observe)
}

/// Runs a program by its absolute path. After a crash a person is asked, for nobody
/// else can know what it did.
pub fn exec(argv: impl IntoIterator<Item = impl Into<String>>) -> Effect<Exec> {
    let body =
        Exec { argv: argv.into_iter().map(Into::into).collect(), cwd: None, env: Vec::new(), timeout_ms: 60_000 };
    effect(body, AfterCrash::Ask)
}

impl<B> Effect<B> {
    /// What to do when a crash leaves it unknown whether it happened.
    pub fn after_crash(mut self, what: AfterCrash) -> Self {
        self.after_crash = what;
        self
    }

    /// Effects with equal keys form one group, across calls and changes.
    pub fn together(mut self, key: impl Into<String>) -> Self {
        self.together = Some(key.into());
        self
    }

    /// Relies on another read than the first that `observe` named for the change.
    pub fn seen(mut self, token: impl Into<String>) -> Self {
        self.precondition = Some(token.into());
        self
    }
}

/// The builder methods of effects that carry attributes.
macro_rules! with_attributes {
    ($($body:ty),*) => {$(
        impl Effect<$body> {
            /// Permission bits, 0 to 0o7777.
            pub fn mode(mut self, mode: impl Into<Option<u32>>) -> Self {
                self.body.attributes.mode = mode.into();
                self
            }

            /// User name or number.
            pub fn owner(mut self, owner: impl Into<Option<String>>) -> Self {
                self.body.attributes.owner = owner.into();
                self
            }

            /// Group name or number.
            pub fn group(mut self, group: impl Into<Option<String>>) -> Self {
                self.body.attributes.group = group.into();
                self
            }

            /// All attributes at once.
            pub fn attributes(mut self, attributes: Attributes) -> Self {
                self.body.attributes = attributes;
                self
            }
        }
    )*};
}
with_attributes!(PutFile, SetAttributes, MakeDirectory);

impl Effect<PutFile> {
    /// Makes missing parent directories, with mode 0755.
    pub fn parents(mut self, parents: bool) -> Self {
        self.body.parents = parents;
        self
    }

    /// Keeps what was there under a suffix.
    pub fn backup(mut self, suffix: impl Into<Option<String>>) -> Self {
        self.body.backup = suffix.into();
        self
    }

    /// A command that must end with 0 before the rename; `%s` stands for the staged file.
    pub fn validate(mut self, argv: impl Into<Option<Vec<String>>>) -> Self {
        self.body.validate = argv.into();
        self
    }
}

impl Effect<MakeDirectory> {
    /// Makes missing parent directories, with mode 0755.
    pub fn parents(mut self, parents: bool) -> Self {
        self.body.parents = parents;
        self
    }
}

impl Effect<Exec> {
    /// The directory to start in.
    pub fn cwd(mut self, cwd: impl Into<Option<String>>) -> Self {
        self.body.cwd = cwd.into();
        self
    }

    /// The environment, besides PATH, LANG and HOME.
    pub fn env(mut self, env: impl IntoIterator<Item = (String, String)>) -> Self {
        self.body.env = env.into_iter().collect();
        self
    }

    /// Ended after this time.
    pub fn timeout_ms(mut self, timeout: u32) -> Self {
        self.body.timeout_ms = timeout;
        self
    }
}

/// Where the effects of one change go.
pub struct Proposals<'h> {
    port: ProposePort<'h>,
    change: u32,
    seen: Option<String>,
    /// Whether a statement of the change relies on `seen` already.
    relied_on: Cell<bool>,
    all: &'h [AnyChange],
}

impl<'h> Proposals<'h> {
    pub(crate) fn new(port: ProposePort<'h>, change: u32, seen: Option<&String>, all: &'h [AnyChange]) -> Self {
        Self { port, change, seen: seen.cloned(), relied_on: Cell::new(false), all }
    }

    /// All changes that the call is about, of all kinds and this one too. Not always all of the
    /// plan: the host splits long lists.
    #[must_use]
    pub fn all_changes(&self) -> &'h [AnyChange] {
        self.all
    }

    /// Adds an effect to the change. It relies on the first read that `observe` named,
    /// unless it names another. Of the statements of a change only the first does: what it
    /// relied on has changed once the next one's turn comes. Nothing is performed.
    ///
    /// # Errors
    /// The host refused it: not granted, not part of the change, or no longer true.
    pub fn add<B: Proposable>(&self, effect: Effect<B>) -> Result<(), Error> {
        let seen = if B::ONCE && self.relied_on.replace(true) { None } else { self.seen.clone() };
        let common = Common {
            change: self.change,
            precondition: effect.precondition.or(seen),
            together: effect.together,
            after_crash: effect.after_crash,
        };
        effect.body.send(common, self.port)
    }
}

/// A sort of effect: the bodies of this module and of [`statement`], and no others.
pub trait Proposable: sealed::Send {}

mod sealed {
    use super::{Common, Error, ProposePort};

    /// Each sort calls its own import and no other.
    pub trait Send {
        /// Whether only the first effect of a change relies on what `observe` saw.
        const ONCE: bool = false;
        fn send(self, common: Common, port: ProposePort<'_>) -> Result<(), Error>;
    }
}

proposable! {
    PutFile => put_file;
    PutText => put_text;
    SetAttributes => set_attributes;
    MakeDirectory => make_directory;
    Link => link;
    Remove => remove;
    Exec => exec;
    statement::Execute => sql_execute, once: true;
    statement::Rename => sql_rename, once: true;
    statement::Set => sql_set, once: true;
    statement::Grant => sql_grant, once: true;
}
